"""Shape rules as data: a rule is run on integers that write down what is done to them, along every way it can take.

A rule is Python: it computes with sizes (`(n + 6 - 7) // 2 + 1`), compares them (`if size < 1: raise ...`) and writes
them into messages. `Traced` integers note all three. At each comparison the rule is run once for either outcome, so
that a rule becomes a `Program`: questions, and at their ends the output sizes as expressions, or the error's text with
expressions in it. A page evaluates it for sizes that Python never saw, with the rule still written once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lamina.base.errors import ShapeError

# An expression: a number, ("size", input, axis), or (operator, left, right) with an operator of `_APPLY`.
Expression = int | tuple[Any, ...]
# A text with holes: strings and (expression, whether thousands are set apart).
Text = tuple[str | tuple[Expression, bool], ...]

_MOST_RUNS = 240  # of one rule; what was not run by then is written as not known
_OPEN, _CLOSE, _NAME = "\ue000", "\ue001", "\ue002"  # in texts: around the number of a hole; the layer's name

_APPLY: dict[str, Callable[[int, int], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "==": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}


@dataclass(frozen=True)
class Question:
    """A comparison that a rule makes, and what follows from either outcome."""

    asks: tuple[Any, ...]  # (operator, left, right)
    yes: Program
    no: Program


@dataclass(frozen=True)
class Failure:
    """The rule refuses these sizes: the texts of its `ShapeError`."""

    headline: Text
    because: Text
    mend: Text


@dataclass(frozen=True)
class Unknown:
    """What the rule says here was not found out: it left the integers that can be followed, or has too many ways."""


@dataclass(frozen=True)
class Result:
    """The end of a way through the rule: what the caller of `program_of` made of the rule's result."""

    value: Any


Program = Question | Failure | Unknown | Result


class Run:
    """One run of a rule, with the outcomes of its first comparisons decided beforehand."""

    def __init__(self, decided: Sequence[bool] = ()):
        self.decided = decided
        self.asked: list[tuple[tuple[Any, ...], bool]] = []
        self.escaped = False  # a size was used in a way that leaves no trace
        self._holes: list[tuple[Expression, bool]] = []
        self._facts: dict[tuple[Any, ...], bool] = {}
        self._equal: dict[Expression, int] = {}

    def size(self, value: int, *place: int) -> Traced:
        """The size of an axis: `place` is the number of the input and of the axis."""
        return Traced(value, ("size", *place), self)

    def answer(self, operator: str, left: Expression, right: Expression, natural: bool) -> bool:
        """The outcome of a comparison on this way: known from earlier ones, decided, or that of the real sizes."""
        left, right = self._equal.get(left, left), self._equal.get(right, right)
        if isinstance(left, int) and isinstance(right, int):
            return bool(_APPLY[operator](left, right))
        if left == right:
            return operator != "<"
        if operator == "==" and isinstance(left, int):
            left, right = right, left
        question = (operator, left, right)
        if question in self._facts:
            return self._facts[question]
        number = len(self.asked)
        outcome = self.decided[number] if number < len(self.decided) else natural
        self.asked.append((question, outcome))
        self._facts[question] = outcome
        if operator == "==" and outcome and isinstance(right, int):
            self._equal[left] = right
        return outcome

    def hole(self, expression: Expression, separated: bool) -> str:
        self._holes.append((expression, separated))
        return f"{_OPEN}{len(self._holes) - 1}{_CLOSE}"

    def text(self, written: str | None, name: str = "") -> Text:
        """A text that was written in this run, with its holes; the layer's name in quotes is a hole `_NAME`."""
        if not written:
            return ()
        written = written.replace(repr(name), _NAME) if name else written
        first, *others = written.split(_OPEN)
        parts: list[str | tuple[Expression, bool]] = [first]
        for piece in others:
            number, _, rest = piece.partition(_CLOSE)
            parts += [self._holes[int(number)], rest]
        return tuple(part for part in parts if part)


class PlainRun:
    """In place of a `Run`: a rule computes with the given sizes, input by input, and nothing is noted."""

    def __init__(self, sizes: Sequence[Sequence[int | None]]):
        self.sizes = sizes

    def size(self, value: int, *place: int) -> int | None:
        number, axis = place
        return self.sizes[number][axis]

    def text(self, written: str | None, name: str = "") -> Text:
        return ()


def expression_of(value: int | None) -> Expression | None:
    """How an integer came about; None for None."""
    return None if value is None else _traces(value)


def _traces(value: int) -> Expression:
    return value.expression if isinstance(value, Traced) else int(value)


class Traced(int):
    """An integer that knows its expression; comparisons ask the run, texts of it are holes."""

    expression: Expression
    run: Run

    def __new__(cls, value: int, expression: Expression, run: Run) -> Traced:
        made = super().__new__(cls, value)
        made.expression, made.run = expression, run
        return made

    @property
    def plain(self) -> int:
        return int.__add__(self, 0)

    def _compare(self, operator: str, other: Any, swapped: bool = False) -> Any:
        if not isinstance(other, int):
            return NotImplemented
        one, two = (other, self) if swapped else (self, other)
        values = [part.plain if isinstance(part, Traced) else int(part) for part in (one, two)]
        return self.run.answer(operator, _traces(one), _traces(two), bool(_APPLY[operator](*values)))

    def __eq__(self, other: Any) -> Any:
        return self._compare("==", other)

    def __ne__(self, other: Any) -> Any:
        equal = self._compare("==", other)
        return equal if equal is NotImplemented else not equal

    def __lt__(self, other: Any) -> Any:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Any:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Any:
        return self._compare("<", other, swapped=True)

    def __ge__(self, other: Any) -> Any:
        return self._compare("<=", other, swapped=True)

    def __bool__(self) -> bool:
        return not self._compare("==", 0)

    def _written(self, separated: bool = False) -> str:
        return self.run.hole(self.expression, separated)

    def __format__(self, specification: str) -> str:
        if specification not in ("", ",", "d"):
            self.run.escaped = True
        return self._written(specification == ",")

    def __repr__(self) -> str:
        return self._written()

    __str__ = __repr__


def _computing(operator: str, swapped: bool) -> Callable[[Traced, Any], Any]:
    def compute(self: Traced, other: Any) -> Any:
        if not isinstance(other, int):
            self.run.escaped = True
            return NotImplemented
        one, two = (other, self) if swapped else (self, other)
        values = [part.plain if isinstance(part, Traced) else int(part) for part in (one, two)]
        if operator in ("//", "%") and values[1] == 0:
            raise ZeroDivisionError("a size is divided by 0")
        return Traced(_APPLY[operator](*values), _simplified(operator, _traces(one), _traces(two)), self.run)

    return compute


def _simplified(operator: str, left: Expression, right: Expression) -> Expression:
    if operator == "%" and right == 1:
        return 0
    if (operator in "+-" and right == 0) or (operator in ("*", "//") and right == 1):
        return left
    if (operator == "+" and left == 0) or (operator == "*" and left == 1):
        return right
    return (operator, left, right)


def _escaping(name: str) -> Callable[..., Any]:
    plain = getattr(int, name)

    def method(self: Traced, *others: Any) -> Any:
        self.run.escaped = True
        return plain(self, *others)

    return method


for _name, _operator in {"add": "+", "sub": "-", "mul": "*", "floordiv": "//", "mod": "%"}.items():
    setattr(Traced, f"__{_name}__", _computing(_operator, swapped=False))
    setattr(Traced, f"__r{_name}__", _computing(_operator, swapped=True))
setattr(Traced, "__neg__", lambda self: 0 - self)  # noqa: B010 - beside the loops
for _name in ("hash", "int", "float", "index", "truediv", "rtruediv", "pow", "rpow", "divmod", "rdivmod", "round"):
    setattr(Traced, f"__{_name}__", _escaping(f"__{_name}__"))
for _name in ("abs", "ceil", "floor", "trunc", "and", "or", "xor", "lshift", "rshift", "invert"):
    setattr(Traced, f"__{_name}__", _escaping(f"__{_name}__"))


def program_of(rule: Callable[[Run], Any], name: str) -> Program:
    """A rule as a program. `rule` takes a `Run`, makes its sizes with `run.size` and returns plain data.

    Ways are tried in the order of how many outcomes differ from those of the real sizes: the first is the real one.
    """
    waiting: list[tuple[bool, ...]] = [()]
    ends: list[tuple[list[tuple[tuple[Any, ...], bool]], Program]] = []
    while waiting and len(ends) < _MOST_RUNS:
        decided = waiting.pop(0)
        run = Run(decided)
        ends.append((run.asked, _end(rule, run, name)))
        outcomes = [outcome for _, outcome in run.asked]
        waiting += [(*outcomes[:n], not outcomes[n]) for n in range(len(decided), len(outcomes))]
    return _joined(ends, 0)


def _end(rule: Callable[[Run], Any], run: Run, name: str) -> Program:
    try:
        result = rule(run)
    except ShapeError as error:
        texts = (run.text(text, name) for text in (error.headline, error.because, error.mend))
        return Failure(*texts) if not run.escaped else Unknown()
    except ValueError as error:  # what a constructor or a user's rule raises for sizes that it refuses
        return Failure(run.text(str(error), name), (), ()) if run.decided and not run.escaped else Unknown()
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError):
        if not run.decided:
            raise  # on the model's own sizes a rule works
        return Unknown()
    return Unknown() if run.escaped else Result(result)


def _joined(ends: list[tuple[list[tuple[tuple[Any, ...], bool]], Program]], depth: int) -> Program:
    """The ways that agree in their first `depth` outcomes as one program."""
    if not ends:
        return Unknown()
    asked, end = ends[0]
    if len(asked) <= depth:
        return end
    yes, no = (_joined([one for one in ends if one[0][depth][1] is way], depth + 1) for way in (True, False))
    return yes if yes == no else Question(asked[depth][0], yes, no)


def value_in(expression: Expression | None, sizes: Sequence[Sequence[int | None]]) -> int | None:
    """An expression's number for the inputs' sizes; None where a size that it needs is open."""
    if expression is None or isinstance(expression, int):
        return expression
    operator, one, two = expression
    if operator == "size":
        return sizes[one][two]
    left, right = value_in(one, sizes), value_in(two, sizes)
    return None if left is None or right is None else int(_APPLY[operator](left, right))


def follow(program: Program, sizes: Sequence[Sequence[int | None]]) -> Failure | Unknown | Result:
    """The end of a program for the inputs' sizes. Where an open size is asked for, the way that does not fail."""
    while isinstance(program, Question):
        operator, left, right = program.asks
        values = value_in(left, sizes), value_in(right, sizes)
        if None not in values:
            program = program.yes if _APPLY[operator](*values) else program.no  # type: ignore[arg-type]
        elif isinstance(program.yes, Failure) or isinstance(program.no, Failure):
            program = program.no if isinstance(program.yes, Failure) else program.yes
        else:
            return Unknown()
    return program
