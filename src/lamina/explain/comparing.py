"""Two models side by side: which layers are equal, what is changed in the others, what only one of them has."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch

from lamina.base.errors import LaminaError
from lamina.explain.matching import Item, items_of, matched, result_of
from lamina.explain.report import Report
from lamina.explain.table import Column, Row, Table, format_count
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import node_of
from lamina.layers.layer import Layer

EQUAL, CHANGED, ONLY_IN_A, ONLY_IN_B = "=", "~", "−", "+"
_SIZES = ("output", "parameters", "weights' shapes")
_SHOWN = 4  # rows of one kind in a row; of more, the first and the last are shown


@dataclass(frozen=True)
class Difference:
    """What differs in a pair of layers, and how it reads in either: `filters: 16 → 32`.

    `text` says it where there is no value in either, or shorter than with the two values.
    """

    what: str
    a: str = ""
    b: str = ""
    text: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.text or f'{self.a} → {self.b}'}"


@dataclass(frozen=True)
class Match:
    """A layer of one model and what stands for it in the other; one of them is None where there is no such layer."""

    a: str | None
    b: str | None
    class_name: str
    differences: tuple[Difference, ...] = ()
    inner: Comparison | None = None

    @property
    def mark(self) -> str:
        """`=` equal, `~` changed, `−` only in a, `+` only in b."""
        if self.b is None:
            return ONLY_IN_A
        if self.a is None:
            return ONLY_IN_B
        return CHANGED if self.differences else EQUAL

    @property
    def follows(self) -> bool:
        """Whether only sizes are changed: the settings are equal, and the sizes follow from those before."""
        return bool(self.differences) and all(difference.what in _SIZES for difference in self.differences)

    def to_dict(self) -> dict[str, Any]:
        return {
            "mark": self.mark,
            "a": self.a,
            "b": self.b,
            "class_name": self.class_name,
            "differences": [vars(difference) for difference in self.differences],
            "inner": None if self.inner is None else self.inner.to_dict(),
        }


@dataclass(frozen=True)
class Comparison(Report):
    """Two models side by side. As a truth value it says whether they are equal.

    `matches`: the layers in their order. `differences`: what differs in the models and in no layer of theirs.
    `parameters`: the count of each. `values`: whether the weights' values were compared too.
    """

    a: str
    b: str
    matches: tuple[Match, ...]
    parameters: tuple[int, int]
    differences: tuple[Difference, ...] = ()
    values: bool = False

    @property
    def equal(self) -> bool:
        """Whether nothing differs: no layer is changed or only in one model, and inputs and outputs are the same."""
        return not self.differences and all(match.mark == EQUAL for match in self.matches)

    def __bool__(self) -> bool:
        return self.equal

    @property
    def same(self) -> tuple[Match, ...]:
        return self._marked(EQUAL)

    @property
    def changed(self) -> tuple[Match, ...]:
        return self._marked(CHANGED)

    @property
    def only_in_a(self) -> tuple[str, ...]:
        return tuple(str(match.a) for match in self._marked(ONLY_IN_A))

    @property
    def only_in_b(self) -> tuple[str, ...]:
        return tuple(str(match.b) for match in self._marked(ONLY_IN_B))

    def _marked(self, mark: str) -> tuple[Match, ...]:
        return tuple(match for match in self.matches if match.mark == mark)

    @property
    def counts(self) -> str:
        """How many layers are equal, changed, and only in one model, and what else differs."""
        follow = sum(match.follows for match in self.changed)
        sizes = f" ({follow} only in {'its' if follow == 1 else 'their'} sizes)" if follow else ""
        names = (repr(self.a), repr(self.b)) if self.a != self.b else ("a", "b")
        counts = (
            (len(self.same), "equal"),
            (len(self.changed), f"changed{sizes}"),
            (len(self.only_in_a), f"only in {names[0]}"),
            (len(self.only_in_b), f"only in {names[1]}"),
        )
        told = [f"{count} {what}" for count, what in counts if count]
        return ", ".join([*told, *(f"other {difference.what}" for difference in self.differences)])

    @property
    def conclusion(self) -> str:
        """Whether the models are equal, in a sentence."""
        if not self.equal:
            return f"The models differ: {self.counts}."
        weights = "weights and all" if self.values else "their weights' values not compared"
        layers = f"{len(self.matches)} layer{'s' * (len(self.matches) != 1)}"
        return f"The models are equal: {layers}, {weights}."

    def parts(self) -> Iterator[str | Table]:
        if not self.equal:
            titles = (Column(""), Column(f"a: {self.a}"), Column(f"b: {self.b}"), Column("Difference"))
            yield Table(titles, list(_rows(self.matches)), lines=False)
        yield from (str(difference) for difference in self.differences)
        yield self.conclusion
        one, other = self.parameters
        more = f", {other - one:+,}".replace("-", "−") if one != other else ""
        yield f"Parameters: {format_count(one)}" + (f" and {format_count(other)}{more}" if more else " in both") + "."

    def to_dict(self) -> dict[str, Any]:
        return {
            "a": self.a,
            "b": self.b,
            "equal": self.equal,
            "values_compared": self.values,
            "parameters": list(self.parameters),
            "differences": [vars(difference) for difference in self.differences],
            "matches": [match.to_dict() for match in self.matches],
        }


def _rows(matches: Iterable[Match], inside: str = "") -> Iterator[Row]:
    """A row for each match; of a long run, equal, changed in sizes only or in one model only, the first and last."""
    for (mark, follows), run in groupby(matches, key=lambda match: (match.mark, match.follows)):
        rows = list(run)
        if len(rows) > _SHOWN and (follows or mark != CHANGED):
            more = f"… {len(rows) - 2} more"
            names = (more * (mark != ONLY_IN_B), more * (mark != ONLY_IN_A))
            yield _row(rows[0], inside)
            yield Row((mark, *names, "only their sizes" * follows))
            yield _row(rows[-1], inside)
            continue
        for match in rows:
            yield _row(match, inside)
            if match.inner is not None and match.mark == CHANGED:
                yield from _rows(match.inner.matches, f"{inside}{match.b}/")


def _row(match: Match, inside: str) -> Row:
    told = [difference for difference in match.differences if difference.what != "name"] or match.differences
    names = (f"{inside}{name}" if name else "" for name in (match.a, match.b))
    return Row((match.mark, *names, "\n".join(map(str, told)) or match.class_name))


# -------------------------------------------------------------------------------------------------------- comparing


def compare(a: Any, b: Any, weights: bool = False) -> Comparison:
    """Two models side by side: which layers are equal, what is changed in the others, and what only one model has.

    The layers are matched by the graph: by given names, settings, shapes, and by what comes before and behind. Compared
    are class, settings, shapes, weights' shapes, which weights are shared, and what each layer reads; names that were
    given automatically (`conv2d_3`) and what `compile` was told do not count. A Sequential equals a Functional of the
    same layers. With `weights=True` the weights' values are compared too. Models without a graph are compared by their
    layers in the order in which they were made: how such a model connects them is not known.

    Errors: a LaminaError for what is no model, and for values of weights under `lamina.device("meta")`.

    >>> import lamina
    >>> def model(filters):
    ...     x = lamina.Input((8, 8, 3))
    ...     y = lamina.layers.Conv2D(filters, 3, name="conv")(x)
    ...     return lamina.Model(x, lamina.layers.Flatten(name="flat")(y), name=f"net_{filters}")
    >>> comparison = lamina.compare(model(4), model(8))
    >>> comparison.equal, [match.a for match in comparison.changed]
    (False, ['conv', 'flat'])
    >>> print(comparison.changed[0].differences[0])
    filters: 4 → 8
    """
    for model in (a, b):
        if not hasattr(model, "layers") or not isinstance(model, Layer):
            raise LaminaError(f"lamina.compare compares two models; got {type(model).__name__} {model!r:.80}.")
    has_graphs = all(getattr(model, "graph", None) is not None for model in (a, b))
    one, other = items_of(a), items_of(b)
    if not has_graphs:
        one, other = (_only_layers(items) for items in (one, other))
    pairs = matched(one, other)
    partner = {i: j for i, j in pairs if i is not None and j is not None}
    sharing = _Sharing()
    matches = []
    for i, j in pairs:
        if i is None or j is None:
            left, right = None if i is None else one[i], None if j is None else other[j]
            matches.append(_single(left, right))
        else:
            matches.append(_match(one, other, i, j, partner if has_graphs else None, sharing, weights))
    differences = tuple(_ends(a, b, one, other, partner)) if has_graphs else tuple(_classes(a, b))
    return Comparison(a.name, b.name, tuple(matches), (_count(a), _count(b)), differences, weights)


def _single(a: Item | None, b: Item | None) -> Match:
    """What only one model has."""
    kinds = [item.kind for item in (a, b) if item is not None]
    return Match(None if a is None else a.label, None if b is None else b.label, kinds[0])


def _only_layers(items: Sequence[Item]) -> list[Item]:
    """The layers that a model without a graph can be compared with: no inputs, no functions, no second calls."""
    return [
        Item(item.operation, item.label, item.kind, item.settings, (), item.weights)
        for item in items
        if isinstance(item.operation, Layer) and item.kind != "InputLayer" and not item.again
    ]


def _count(model: Any) -> int:
    """The parameters of a model, of one that is not built those that it has by now."""
    return sum({id(weight): weight.numel() for weight in model.weights}.values())


def _classes(a: Any, b: Any) -> Iterator[Difference]:
    """The code of models without a graph is their class."""
    if type(a) is not type(b):
        yield Difference("class", type(a).__name__, type(b).__name__)


def _ends(a: Any, b: Any, one: list[Item], other: list[Item], partner: dict[int, int]) -> Iterator[Difference]:
    """Inputs and outputs of the models that are not the same tensors in the same order."""
    for what in ("inputs", "outputs"):
        made = [
            [_maker(items, tensor) for tensor in getattr(model.graph, what)] for model, items in ((a, one), (b, other))
        ]
        if [(partner.get(place), result) for place, result in made[0]] != made[1]:
            yield Difference(what, _labels(one, made[0]), _labels(other, made[1]))


def _maker(items: Sequence[Item], tensor: KerasTensor) -> tuple[int, int]:
    """The place of the call that makes a tensor, and which of its results this is."""
    node = node_of(tensor)
    return next(place for place, item in enumerate(items) if item.node is node), result_of(node, tensor)


def _labels(items: Sequence[Item], made: Iterable[tuple[int, int]]) -> str:
    return ", ".join(f"{items[place].label!r}" + f" (result {result + 1})" * (result > 0) for place, result in made)


class _Sharing:
    """Which layer of a stands for which of b: a layer that is called twice has to do so each time."""

    def __init__(self) -> None:
        self._partners: tuple[dict[int, Item], dict[int, Item]] = ({}, {})

    def differences(self, one: Item, other: Item) -> Iterator[Difference]:
        expected = self._partners[0].get(id(one.operation)), self._partners[1].get(id(other.operation))
        if (expected[0] is None or expected[0].operation is other.operation) and (
            expected[1] is None or expected[1].operation is one.operation
        ):
            self._partners[0].setdefault(id(one.operation), other)
            self._partners[1].setdefault(id(other.operation), one)
            return
        yield Difference("weights", _owner(one), _owner(other))


def _owner(item: Item) -> str:
    return f"those of {item.operation.name!r}" if item.again else "its own"


def _match(
    one: list[Item], other: list[Item], i: int, j: int, partner: dict[int, int] | None, sharing: _Sharing, values: bool
) -> Match:
    a, b = one[i], other[j]
    inner = None
    if a.kind == b.kind == "Model":
        inner = compare(a.operation, b.operation, weights=values)
    differences = [
        *_of_names(a, b),
        *_of_settings(a.settings, b.settings),
        *_of_shapes(a, b, inner is not None),
        *sharing.differences(a, b),
        *(() if partner is None else _of_producers(one, other, i, j, partner)),
        *(_of_values(a, b) if values and inner is None and not a.again else ()),
        *(() if inner is None or inner.equal else [Difference("inside", text=inner.counts)]),
    ]
    return Match(a.label, b.label, b.kind, tuple(differences), inner)


def _of_names(a: Item, b: Item) -> Iterator[Difference]:
    if a.kind != b.kind:
        yield Difference("class", a.kind, b.kind)
    if a.given and b.given and a.operation.name != b.operation.name:
        yield Difference("name", a.operation.name, b.operation.name)


def _of_settings(a: dict[str, Any], b: dict[str, Any]) -> Iterator[Difference]:
    for key in dict.fromkeys([*a, *b]):
        if not _alike(a.get(key), b.get(key)):
            yield Difference(key, *(_text(one[key]) if key in one else "not there" for one in (a, b)))


def _alike(one: Any, other: Any) -> bool:
    """Whether two settings are equal, be they lists or tuples."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, np.ndarray | torch.Tensor) or isinstance(other, np.ndarray | torch.Tensor):
        return np.array_equal(np.asarray(one), np.asarray(other))
    return bool(one is other or one == other)


def _text(value: Any) -> str:
    """A setting in short: an object in a config by its class and what was said of it."""
    if isinstance(value, dict) and "class_name" in value:
        config = value.get("config")
        inner = config.values() if isinstance(config, dict) else [config]
        return f"{value['class_name']}({', '.join(_text(one) for one in inner if one is not None)})"
    if isinstance(value, Layer):
        return "not known (its config cannot be written)"
    return str(value) if not isinstance(value, str) else repr(value)


def _of_shapes(a: Item, b: Item, nested: bool) -> Iterator[Difference]:
    if a.outputs != b.outputs:
        one, other = (", ".join(map(str, item.outputs)) for item in (a, b))
        yield Difference("output", one, other, _changed_axes(a.outputs, b.outputs))
    if nested or a.weights == b.weights:
        return
    counts = [sum(math.prod(shape) for _, shape in item.weights) for item in (a, b)]
    if counts[0] != counts[1]:
        yield Difference("parameters", *map(format_count, counts))
        return
    texts = (", ".join(f"{name} {shape}" for name, shape in item.weights) for item in (a, b))
    yield Difference("weights' shapes", *texts)


def _changed_axes(a: Sequence[Sequence[int | None]], b: Sequence[Sequence[int | None]]) -> str:
    """`(None, 10, 10, 8 → 16)`; "" for several outputs, and where the ranks differ."""
    if len(a) != 1 or len(b) != 1 or len(a[0]) != len(b[0]):
        return ""
    axes = (str(one) if one == other else f"{one} → {other}" for one, other in zip(a[0], b[0], strict=True))
    return f"({', '.join(axes)})"


def _of_producers(one: list[Item], other: list[Item], i: int, j: int, partner: dict[int, int]) -> Iterator[Difference]:
    """Other inputs, where the layers that make them are in both models; else these are what is told."""
    known = set(partner.values())
    read, wanted = one[i].producers, other[j].producers
    if any(place not in partner for place, _ in read) or any(place not in known for place, _ in wanted):
        return
    if tuple((partner[place], result) for place, result in read) != wanted:
        yield Difference("reads", _labels(one, read), _labels(other, wanted))


def _of_values(a: Item, b: Item) -> Iterator[Difference]:
    pairs = zip(getattr(a.operation, "weights", ()), getattr(b.operation, "weights", ()), strict=False)
    for (name, shape), (one, other) in zip(a.weights, pairs, strict=False):
        if one.is_meta or other.is_meta:
            raise LaminaError(
                f"The weight {name!r} of {a.label!r} has no values that could be compared: it is on the meta device. "
                f"Call model.materialize() or load weights first, or compare without weights=True."
            )
        if shape == tuple(other.shape) and not torch.equal(one.detach(), other.detach().to(one.device, one.dtype)):
            largest = float((one.detach().double() - other.detach().to(one.device).double()).abs().max())
            yield Difference(f"values of {name}", text=f"differ by up to {largest:.3g}")
