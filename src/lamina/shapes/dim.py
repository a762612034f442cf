"""A size that writes down how it came about."""

from __future__ import annotations

_SUM, _PRODUCT, _ATOM = 1, 2, 3


class Dim:
    """A size with a name and, if it is known, a value. Its operators build the formula in names and in numbers.

    >>> height = Dim("height", 224)
    >>> out = (height + 6 - 7) // 2 + 1
    >>> out.formula, out.arithmetic, out.value
    ('⌊(height + 6 − 7)/2⌋ + 1', '⌊(224 + 6 − 7)/2⌋ + 1', 112)
    """

    __slots__ = ("_level", "_number_text", "formula", "is_formula", "value")

    def __init__(self, name: str, value: int | None = None):
        self.formula = name
        self.value = value
        self._number_text = name if value is None else f"{value:,}"
        self._level = _ATOM
        self.is_formula = False  # whether the size was computed rather than handed on

    @classmethod
    def written(cls, text: str, value: int) -> Dim:
        """A number that is shown as it comes about: `(2·(5 − 1) + 1)` for 9.

        >>> (Dim("height", 100) - Dim.written("(2·(5 − 1) + 1)", 9) + 1).arithmetic
        '100 − (2·(5 − 1) + 1) + 1'
        """
        made = cls(text, value)
        made._number_text = text
        return made

    @property
    def arithmetic(self) -> str:
        """The formula with the numbers in place of the names."""
        return self._number_text

    def _make(self, level: int, value: int | None, formula: str, numbers: str) -> Dim:
        made = Dim.__new__(Dim)
        made._level, made.value, made.formula, made._number_text = level, value, formula, numbers
        made.is_formula = True
        return made

    def _join(self, other: Size, sign: str, level: int, value: int | None, swapped: bool = False) -> Dim:
        texts = []
        for numbers in (False, True):
            left, right = _text(self, level, numbers), _text(other, level + (sign in "−·"), numbers)
            if swapped:
                left, right = _text(other, level, numbers), _text(self, level + (sign in "−·"), numbers)
            texts.append(f"{left}{sign}{right}" if sign == "·" else f"{left} {sign} {right}")
        return self._make(level, value, *texts)

    def __add__(self, other: Size) -> Size:
        if other is None:
            return None
        if isinstance(other, int) and other <= 0:
            return self if other == 0 else self - (-other)
        return self._join(other, "+", _SUM, _apply(lambda a, b: a + b, self, other))

    __radd__ = __add__

    def __sub__(self, other: Size) -> Size:
        if other is None:
            return None
        if isinstance(other, int) and other <= 0:
            return self if other == 0 else self + (-other)
        return self._join(other, "−", _SUM, _apply(lambda a, b: a - b, self, other))

    def __rsub__(self, other: int) -> Size:
        return self._join(other, "−", _SUM, _apply(lambda a, b: b - a, self, other), swapped=True)

    def __mul__(self, other: Size) -> Size:
        if other is None:
            return None
        if isinstance(other, int) and other == 1:
            return self
        return self._join(other, "·", _PRODUCT, _apply(lambda a, b: a * b, self, other))

    def __rmul__(self, other: int) -> Size:
        if other == 1:
            return self
        return self._join(other, "·", _PRODUCT, _apply(lambda a, b: a * b, self, other), swapped=True)

    def __floordiv__(self, other: int) -> Size:
        if other == 1:
            return self
        formula, numbers = (f"⌊{_text(self, _PRODUCT, flag)}/{other}⌋" for flag in (False, True))
        return self._make(_ATOM, _apply(lambda a, b: a // b, self, other), formula, numbers)

    def ceil_div(self, other: int) -> Size:
        if other == 1:
            return self
        formula, numbers = (f"⌈{_text(self, _PRODUCT, flag)}/{other}⌉" for flag in (False, True))
        return self._make(_ATOM, _apply(lambda a, b: -(-a // b), self, other), formula, numbers)

    def __repr__(self) -> str:
        return f"Dim({self.formula} = {self.value})"


Size = int | None | Dim


def _text(size: Size, level: int, numbers: bool) -> str:
    if not isinstance(size, Dim):
        return f"{size:,}"
    text = size._number_text if numbers else size.formula
    return f"({text})" if size._level < level else text


def _apply(function: object, one: Dim, other: Size) -> int | None:
    second = value_of(other)
    if one.value is None or second is None:
        return None
    return function(one.value, second)  # type: ignore[operator,no-any-return]


def value_of(size: Size) -> int | None:
    """The number, or None where it is not known."""
    return size.value if isinstance(size, Dim) else size


def ceil_div(size: Size, divisor: int) -> Size:
    """⌈size/divisor⌉ for an int, None or a Dim."""
    if size is None:
        return None
    return size.ceil_div(divisor) if isinstance(size, Dim) else -(-size // divisor)


def maximum(sizes: list[Size]) -> Size:
    """The largest known size; None if one is open."""
    values = [value_of(size) for size in sizes]
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None
