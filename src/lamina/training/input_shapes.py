"""Whether data fits a model's input, and what the usual mistake behind a wrong shape is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import permutations

from lamina.base.errors import ShapeError

Shape = tuple[int | None, ...]


def fits(shape: Shape, wanted: Shape) -> bool:
    """Whether two shapes agree; None agrees with every size."""
    return len(shape) == len(wanted) and all(
        one is None or other is None or one == other for one, other in zip(shape, wanted, strict=True)
    )


def trailing_change(shape: Shape, wanted: Shape) -> int | None:
    """What a last axis of size 1 must do so that data fits, as Keras lets it: 1 come, -1 go, 0 nothing; None if the
    data does not fit in any way.

    >>> trailing_change((8, 28, 28), (None, 28, 28, 1)), trailing_change((8, 5), (None, 4))
    (1, None)
    """
    if fits(shape, wanted):
        return 0
    if shape[-1:] == (1,) and fits(shape[:-1], wanted):
        return -1
    return 1 if fits((*shape, 1), wanted) else None


def input_problem(
    place: int, shapes: list[Shape], wanted: list[Shape], model: str, names: list[str], data: list[str] | None
) -> ShapeError:
    """The error of a model that does not take the data at a place among its inputs.

    Parameters: the shapes of all data and of all inputs, the inputs' `names`, and what the user calls the `data`.
    """
    shape, name, x = shapes[place], names[place], data[place] if data else "x"
    order = _other_order(shapes, wanted)
    if order is not None:
        listed = ", ".join(f"{one!r} {size}" for one, size in zip(names, wanted, strict=True))
        mend = f"give the inputs in the model's order, {listed}, or as a dict by these names"
    else:
        mend = remedy(shape, wanted[place], x)
    return ShapeError(
        f"The model {model!r} cannot take this shape as its input {name!r}.",
        layer=name,
        path=f"{model}/{name}",
        received=str(shape) if x == "x" else f"{shape}  {x}",
        expected=f"{wanted[place]}  the shape of the input {name!r}",
        because=_difference(shape, wanted[place]),
        mend=mend,
    )


def _other_order(shapes: list[Shape], wanted: list[Shape]) -> tuple[int, ...] | None:
    """An order in which the data would fit a model of few inputs; None where there is none."""
    if not 1 < len(shapes) <= 4:
        return None
    orders = permutations(range(len(shapes)))
    return next(
        (order for order in orders if all(fits(shapes[i], w) for i, w in zip(order, wanted, strict=True))), None
    )


def _difference(shape: Shape, wanted: Shape) -> str:
    if len(shape) != len(wanted):
        axes = "axis" if len(shape) == 1 else "axes"
        return f"it has {len(shape)} {axes} where the model reads {len(wanted)} (the first is the batch)"
    pairs = enumerate(zip(shape, wanted, strict=True))
    axis = next(axis for axis, (one, other) in pairs if None not in (one, other) and one != other)
    return f"axis {axis} is {shape[axis]} where the model was built for {wanted[axis]}"


def remedy(shape: Shape, wanted: Shape, x: str = "x") -> str:
    """What makes data of this shape fit, as code for NumPy arrays and torch tensors alike.

    >>> remedy((28, 28, 1), (None, 28, 28, 1))
    'add the batch axis: x[None]'
    >>> remedy((8, 5), (None, 4))
    'give data of shape (None, 4), or build the model for this: Input((5,))'
    """
    for changed, text in (*_axes_added_or_dropped(shape, x), *_axes_moved(shape, x), *_channels_changed(shape, x)):
        if fits((None, *changed[1:]), wanted):
            return text
    known = tuple(size for size in wanted[1:] if size is not None)
    if len(known) == len(wanted) - 1 != len(shape) - 1 and None not in shape:
        values, wanted_values = math.prod(size or 0 for size in shape), math.prod(known)
        if values == shape[0] * wanted_values:  # type: ignore[operator]
            return f"reshape it: {x}.reshape(-1, {', '.join(map(str, known))})"
        if values == wanted_values and len(shape) < len(wanted):
            return f"reshape the one sample: {x}.reshape(1, {', '.join(map(str, known))})"
    if len(shape) == len(wanted) == 4 and shape[-1] == wanted[-1] and None not in wanted[1:3]:
        return f"resize the images: ops.image.resize({x}, {wanted[1:3]}), or build the model for this size"
    return f"give data of shape {wanted}, or build the model for this: Input({shape[1:]})"


def _axes_added_or_dropped(shape: Shape, x: str) -> Iterator[tuple[Shape, str]]:
    yield (1, *shape), f"add the batch axis: {x}[None]"
    yield (*shape, 1), f"add the channel axis: {x}[..., None]"
    yield (1, *shape, 1), f"add the batch and the channel axis: {x}[None, ..., None]"
    if shape[:1] == (1,):
        yield shape[1:], f"drop the first axis: {x}[0]"
    for axis in range(1, len(shape)):
        if shape[axis] == 1:
            yield (*shape[:axis], *shape[axis + 1 :]), f"drop axis {axis}, which has one entry: {x}.squeeze({axis})"


def _axes_moved(shape: Shape, x: str) -> Iterator[tuple[Shape, str]]:
    def move(source: int, destination: int, then: str = "") -> str:
        both = f"{source}, {destination}"
        return f"np.moveaxis({x}, {both}){then}, or {x}.movedim({both}){then} of a tensor"

    if len(shape) > 2:
        yield (shape[0], *shape[2:], shape[1]), f"move the channels to the end: {move(1, -1)}"
        yield (shape[0], shape[-1], *shape[1:-1]), f"move the channels to the front: {move(-1, 1)}"
        added = f"move the channels to the end and add the batch axis: {move(0, -1, '[None]')}"
        yield (1, *shape[1:], shape[0]), added
    for axis in range(len(shape) - 1, 0, -1):
        moved = (shape[axis], *shape[:axis], *shape[axis + 1 :])
        yield moved, f"the samples lie along axis {axis}; move it to the front: {move(axis, 0)}"


def _channels_changed(shape: Shape, x: str) -> Iterator[tuple[Shape, str]]:
    """Between grey images, RGB and RGB with an alpha channel."""
    if len(shape) == 3:
        yield (*shape, 3), f"make three channels of the grey images: ops.repeat({x}[..., None], 3, axis=-1)"
    if len(shape) != 4:
        return
    if shape[-1] == 1:
        yield (*shape[:-1], 3), f"make three channels of the grey one: ops.repeat({x}, 3, axis=-1)"
    if shape[-1] == 3:
        yield (*shape[:-1], 1), f"make the images grey: ops.mean({x}, axis=-1, keepdims=True)"
    if shape[-1] == 4:
        yield (*shape[:-1], 3), f"drop the fourth channel (alpha): {x}[..., :3]"
