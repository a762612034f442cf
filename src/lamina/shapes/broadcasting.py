"""Broadcasting and products of sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lamina.base.errors import ShapeError
from lamina.shapes.dim import Dim, Size, value_of


def broadcast(*shapes: Sequence[Size]) -> tuple[Size, ...]:
    """The shape that several shapes broadcast to: axes meet from the right, 1 stretches, an open size yields.

    Errors: a ShapeError that names the axis where two sizes differ and none is 1.

    >>> broadcast((None, 1, 3), (5, 3))
    (None, 5, 3)
    """
    rank = max(len(shape) for shape in shapes)
    result: list[Size] = []
    for axis in range(rank):
        meeting = [shape[len(shape) - rank + axis] for shape in shapes if len(shape) - rank + axis >= 0]
        result.append(_meet(meeting, axis - rank, shapes))
    return tuple(result)


def _meet(sizes: list[Size], axis: int, shapes: Sequence[Sequence[Size]]) -> Size:
    chosen: Size = 1
    for size in sizes:
        value, kept = value_of(size), value_of(chosen)
        if value == 1:
            continue
        if kept == 1 or (kept is None and value is not None):
            chosen = size
        elif value is not None and value != kept:
            plain = " and ".join(str(tuple(value_of(s) for s in shape)) for shape in shapes)
            raise ShapeError(
                f"sizes {kept} and {value} do not meet",
                received=plain,
                expected="on every axis, counted from the last, equal sizes or 1",
                because=f"at axis {axis} the sizes are {kept} and {value}; they must be equal, or one of them 1",
                mend="bring both to one shape (reshape, transpose), or give one an axis of 1 there (expand_dims)",
            )
    return chosen


def multiply(sizes: Iterable[Size]) -> Size:
    """The product; None if a size is open, unless another is a `Dim`, which keeps the formula."""
    product: Size = 1
    for size in sizes:
        if size is None or product is None:
            return None
        if isinstance(product, int) and product == 1:
            product = size
        elif isinstance(product, int) and isinstance(size, Dim):
            product = size.__rmul__(product)
        else:
            product = product * size
    return product


def total(sizes: Iterable[Size]) -> Size:
    """The sum; None if a size is open."""
    result: Size = 0
    for size in sizes:
        if size is None or result is None:
            return None
        result = size if isinstance(result, int) and result == 0 else result + size
    return result
