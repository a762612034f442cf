"""Which call of one model is which call of another: two graphs laid side by side."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lamina.base import tree
from lamina.base.errors import LaminaError
from lamina.base.names import to_snake_case
from lamina.graph.history import ancestors, kind_of
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node, Operation, node_of
from lamina.layers.layer import Layer
from lamina.layers.weights import weight_name

_NAME, _NAME_OF_OTHER_CLASS = 12, 4  # a name that was given outweighs all other signs of a match


@dataclass(frozen=True, eq=False)
class Item:
    """One call of a layer or function (or, in a model without a graph, one layer) as it is compared.

    `settings` are the layer's config without its name, and what else it was called with; `producers` the places, in the
    list of items, of the calls whose results it reads, each with the number of the result; `role` the kinds of these
    and of the calls that read its own; `again` marks the second and further calls of a layer.
    """

    operation: Any
    label: str
    kind: str
    settings: dict[str, Any]
    outputs: tuple[tuple[int | None, ...], ...] = ()
    weights: tuple[tuple[str, tuple[int, ...]], ...] = ()
    producers: tuple[tuple[int, int], ...] = ()
    role: tuple[str, ...] = ()
    node: Node | None = None
    again: bool = False

    @property
    def given(self) -> bool:
        """Whether the name was chosen by someone: it is not the one that a layer gets of itself."""
        operation = self.operation
        own = operation.function.__name__ if isinstance(operation, Operation) else type(operation).__name__
        return re.fullmatch(rf"{re.escape(to_snake_case(own))}(_\d+)?", operation.name) is None


def items_of(model: Any) -> list[Item]:
    """The calls of a model's graph, each branch in one piece; without a graph, its layers in their order."""
    graph = getattr(model, "graph", None)
    if graph is None:
        layers = [layer for layer in model.layers if isinstance(layer, Layer)]
        return [Item(layer, layer.name, _kind(layer), _settings(layer), (), _weights(layer)) for layer in layers]
    known = {id(node): node for node in graph.topology.nodes}
    ordered = ancestors(graph.outputs, among=set(known))
    reached = {id(node) for node in ordered}
    ordered = [node for key, node in known.items() if key not in reached] + ordered
    place = {id(node): number for number, node in enumerate(ordered)}
    given = {id(tensor) for tensor in graph.inputs}
    producers = [_producers(node, place, given) for node in ordered]
    kinds = [_kind(node.operation) for node in ordered]
    readers: list[list[str]] = [[] for _ in ordered]
    for number, read in enumerate(producers):
        for one in {one for one, _ in read}:
            readers[one].append(kinds[number])
    roles = [
        (*(kinds[one] for one, _ in read), "→", *sorted(following))
        for read, following in zip(producers, readers, strict=True)
    ]
    calls: dict[int, int] = {}
    return [_item(node, read, role, calls) for node, read, role in zip(ordered, producers, roles, strict=True)]


def _producers(node: Node, place: dict[int, int], given: set[int]) -> tuple[tuple[int, int], ...]:
    if all(id(one) in given for one in node.output_tensors):
        return ()
    made = [(node_of(one), one) for one in node.input_tensors]
    return tuple((place[id(maker)], result_of(maker, one)) for maker, one in made)


def result_of(node: Node, tensor: KerasTensor) -> int:
    """Which of a call's results a tensor is, counted from 0."""
    return next(number for number, one in enumerate(node.output_tensors) if one is tensor)


def _item(node: Node, producers: tuple[tuple[int, int], ...], role: tuple[str, ...], calls: dict[int, int]) -> Item:
    operation = node.operation
    call = calls[id(operation)] = calls.get(id(operation), 0) + 1
    return Item(
        operation,
        operation.name if call == 1 else f"{operation.name} (call {call})",
        _kind(operation),
        _settings(operation, node),
        tuple(tensor.shape for tensor in node.output_tensors),
        _weights(operation),
        producers,
        role,
        node,
        again=call > 1,
    )


def _kind(operation: Any) -> str:
    """The class or function; a nested graph is a model, however it was written."""
    return "Model" if getattr(operation, "graph", None) is not None else kind_of(operation)


def _weights(operation: Any) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((weight_name(weight), tuple(weight.shape)) for weight in getattr(operation, "weights", ()))


def _settings(operation: Any, node: Node | None = None) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if isinstance(operation, Layer) and getattr(operation, "graph", None) is None:
        try:
            settings = dict(operation.get_config())
        except (LaminaError, NotImplementedError):  # a lambda, or a user's layer that does not say its config
            settings = {"settings": operation}
    for name in ("name", "batch_shape"):  # an input's shape is compared as its output
        settings.pop(name, None)
    if node is not None:
        extra = [one for one in tree.flatten((node.args, node.kwargs)) if one is not None]
        extra = [one for one in extra if not isinstance(one, KerasTensor)]
        if extra:
            settings["called with"] = extra
    return settings


# --------------------------------------------------------------------------------------------------------- matching


def matched(a: Sequence[Item], b: Sequence[Item]) -> list[tuple[int | None, int | None]]:
    """The places of a and b in one list: pairs that stand for the same, and those that only one has.

    Of all pairings that keep the order of both, the one with the most signs of a match: the same given name counts
    most, then equal settings, output shape and role. Pairs of one name that this order leaves apart are joined at last.
    """
    pairs = _aligned(_signs(a, b))
    return _joined_by_name(a, b, pairs)


def _signs(a: Sequence[Item], b: Sequence[Item]) -> np.ndarray[Any, Any]:
    """How much speaks for each pair; 0 where they cannot be a pair."""

    def equal(read: Callable[[Item], Hashable]) -> np.ndarray[Any, Any]:
        codes: dict[Hashable, int] = {}
        one, other = ([codes.setdefault(read(item), len(codes)) for item in items] for items in (a, b))
        return np.equal.outer(one, other)

    same_kind = equal(lambda item: item.kind)
    one_given, other_given = (np.array([item.given for item in items], bool) for items in (a, b))
    both_given = np.logical_and.outer(one_given, other_given)
    same_name = both_given & equal(lambda item: item.label)
    alike = (
        2 * equal(lambda item: repr(item.settings))
        + 2 * equal(lambda item: item.outputs)
        + equal(lambda item: item.role)
    )
    renamed = both_given & ~same_name & (alike < 2)  # other names and hardly anything in common
    signs = np.where(same_kind & ~renamed, 1 + alike + _NAME * same_name, 0)
    return np.where(same_name & ~same_kind, _NAME_OF_OTHER_CLASS, signs)


def _aligned(signs: np.ndarray[Any, Any]) -> list[tuple[int | None, int | None]]:
    """The pairing in order with the largest sum of signs (Needleman and Wunsch 1970, gaps cost nothing)."""
    rows, columns = signs.shape
    best = np.zeros((rows + 1, columns + 1), np.int64)
    for row in range(rows):
        best[row + 1, 1:] = np.maximum.accumulate(np.maximum(best[row, 1:], best[row, :-1] + signs[row]))
    pairs: list[tuple[int | None, int | None]] = []
    row, column = rows, columns
    while row or column:
        sign = signs[row - 1, column - 1] if row and column else 0
        if sign and best[row, column] == best[row - 1, column - 1] + sign:
            row, column = row - 1, column - 1
            pairs.append((row, column))
        elif column and best[row, column] == best[row, column - 1]:
            column -= 1
            pairs.append((None, column))
        else:
            row -= 1
            pairs.append((row, None))
    return pairs[::-1]


def _joined_by_name(
    a: Sequence[Item], b: Sequence[Item], pairs: list[tuple[int | None, int | None]]
) -> list[tuple[int | None, int | None]]:
    left = {b[j].label: j for i, j in pairs if i is None and j is not None and b[j].given}
    moved = {i: left[a[i].label] for i, j in pairs if j is None and i is not None and a[i].given and a[i].label in left}
    taken = set(moved.values())
    return [(i, moved.get(i, j) if i is not None else j) for i, j in pairs if i is not None or j not in taken]
