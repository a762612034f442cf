"""Functions that give a tensor another form and leave its values as they are: reshape, transpose, join, split, pad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lamina.base.registry import public
from lamina.graph.record import op
from lamina.ops.convert import Axis, Tensor, as_axes, as_sizes, as_tensor, promote


@public("ops")
@op
def reshape(x: Any, newshape: Any) -> Tensor:
    """The same elements in another shape; one size may be -1 and is worked out.

    >>> reshape([1, 2, 3, 4], (2, -1)).tolist()
    [[1, 2], [3, 4]]
    """
    return torch.reshape(as_tensor(x), as_sizes(newshape))


@public("ops")
@op
def ravel(x: Any) -> Tensor:
    """All elements on one axis.

    >>> ravel([[1, 2], [3, 4]]).tolist()
    [1, 2, 3, 4]
    """
    return torch.ravel(as_tensor(x))


@public("ops")
@op
def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """The axes in another order, reversed when none is given.

    >>> transpose([[1, 2], [3, 4]]).tolist()
    [[1, 3], [2, 4]]
    """
    x = as_tensor(x)
    return x.permute(*(reversed(range(x.ndim)) if axes is None else axes))


@public("ops")
@op
def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """Two axes in each other's place.

    >>> swapaxes([[1, 2], [3, 4]], 0, 1).tolist()
    [[1, 3], [2, 4]]
    """
    return torch.swapaxes(as_tensor(x), axis1, axis2)


@public("ops")
@op
def moveaxis(x: Any, source: Any, destination: Any) -> Tensor:
    """Axes moved to other places; the rest keep their order.

    >>> moveaxis(torch.ones(2, 3, 4), 0, -1).shape
    torch.Size([3, 4, 2])
    """
    return torch.moveaxis(as_tensor(x), source, destination)


@public("ops")
@op
def squeeze(x: Any, axis: Axis = None) -> Tensor:
    """Without axes of size 1: all of them, or those named. Errors: a named axis of another size is a ValueError.

    >>> squeeze([[[1, 2]]], axis=0).tolist()
    [[1, 2]]
    """
    x = as_tensor(x)
    if axis is None:
        return torch.squeeze(x)
    for one in as_axes(axis, x.ndim):
        if x.shape[one] != 1:
            raise ValueError(f"squeeze() takes away axes of size 1; axis {one} of {tuple(x.shape)} is not one.")
    return torch.squeeze(x, as_axes(axis, x.ndim))


@public("ops")
@op
def expand_dims(x: Any, axis: Axis) -> Tensor:
    """New axes of size 1; the numbers count in the result.

    >>> expand_dims([1, 2], -1).tolist()
    [[1], [2]]
    """
    x = as_tensor(x)
    count = 1 if isinstance(axis, int) else len(axis or ())
    for one in as_axes(axis, x.ndim + count):
        x = x.unsqueeze(one)
    return x


@public("ops")
@op
def broadcast_to(x: Any, shape: Any) -> Tensor:
    """Axes of size 1 repeated until the shape is reached.

    >>> broadcast_to([1, 2], (2, 2)).tolist()
    [[1, 2], [1, 2]]
    """
    return torch.broadcast_to(as_tensor(x), as_sizes(shape))


@public("ops")
@op
def concatenate(xs: Any, axis: int | None = 0) -> Tensor:
    """Tensors one behind the other along an axis; None flattens them first.

    >>> concatenate([[1, 2], [3]]).tolist()
    [1, 2, 3]
    """
    tensors = promote(*xs)
    return torch.cat([tensor.flatten() for tensor in tensors]) if axis is None else torch.cat(tensors, axis)


@public("ops")
@op
def append(x1: Any, x2: Any, axis: int | None = None) -> Tensor:
    """`x2` behind `x1` along an axis; None flattens both.

    >>> append([1, 2], [3]).tolist()
    [1, 2, 3]
    """
    return concatenate([x1, x2], axis)


@public("ops")
@op
def stack(x: Any, axis: int = 0) -> Tensor:
    """Tensors of one shape along a new axis.

    >>> stack([[1, 2], [3, 4]], axis=1).tolist()
    [[1, 3], [2, 4]]
    """
    return torch.stack(promote(*x), axis)


@public("ops")
@op
def hstack(xs: Any) -> Tensor:
    """Tensors one beside the other, along axis 1 (axis 0 if they have one axis).

    >>> hstack([[1, 2], [3]]).tolist()
    [1, 2, 3]
    """
    return torch.hstack(promote(*xs))


@public("ops")
@op
def vstack(xs: Any) -> Tensor:
    """Tensors one below the other, along axis 0.

    >>> vstack([[1, 2], [3, 4]]).tolist()
    [[1, 2], [3, 4]]
    """
    return torch.vstack(promote(*xs))


@public("ops")
@op
def dstack(xs: Any) -> Tensor:
    """Tensors one behind the other, along axis 2.

    >>> dstack([[1, 2], [3, 4]]).tolist()
    [[[1, 3], [2, 4]]]
    """
    return torch.dstack(promote(*xs))


_MOST_PARTS = 100_000  # tensors that one tensor is cut into


def _expect_few(parts: int) -> None:
    """Errors: a ValueError for so many parts that listing them would take the memory, whatever their size."""
    if parts > _MOST_PARTS:
        raise ValueError(f"A tensor is cut into at most {_MOST_PARTS:,} parts; these would be {parts:,}.")


@public("ops")
@op
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """A list of parts along an axis: so many equal ones, or cut before the indices.

    >>> [part.tolist() for part in split([1, 2, 3, 4], [1, 3])]
    [[1], [2, 3], [4]]
    """
    x = as_tensor(x)
    if isinstance(indices_or_sections, int) and x.shape[axis] % indices_or_sections:
        raise ValueError(f"An axis of {x.shape[axis]} cannot be split into {indices_or_sections} equal parts.")
    return array_split(x, indices_or_sections, axis)


@public("ops")
@op
def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """`split` whose parts may differ by one element.

    >>> [part.tolist() for part in array_split([1, 2, 3], 2)]
    [[1, 2], [3]]
    """
    parts = indices_or_sections if isinstance(indices_or_sections, int) else as_sizes(indices_or_sections)
    _expect_few(parts if isinstance(parts, int) else len(parts))
    return list(torch.tensor_split(as_tensor(x), parts, axis))


@public("ops")
@op
def hsplit(x: Any, indices_or_sections: Any) -> list[Tensor]:
    """`split` along axis 1 (axis 0 if there is one only).

    >>> [part.tolist() for part in hsplit([1, 2], 2)]
    [[1], [2]]
    """
    x = as_tensor(x)
    return split(x, indices_or_sections, 1 if x.ndim > 1 else 0)


@public("ops")
@op
def vsplit(x: Any, indices_or_sections: Any) -> list[Tensor]:
    """`split` along axis 0.

    >>> [part.tolist() for part in vsplit([[1], [2]], 2)]
    [[[1]], [[2]]]
    """
    return split(x, indices_or_sections, 0)


@public("ops")
@op
def dsplit(x: Any, indices_or_sections: Any) -> list[Tensor]:
    """`split` along axis 2.

    >>> [part.tolist() for part in dsplit([[[1, 2]]], 2)]
    [[[[1]]], [[[2]]]]
    """
    return split(x, indices_or_sections, 2)


@public("ops")
@op
def unstack(x: Any, num: int | None = None, axis: int = 0) -> list[Tensor]:
    """A list of the slices along an axis, which goes away.

    >>> [part.tolist() for part in unstack([[1, 2], [3, 4]], axis=1)]
    [[1, 3], [2, 4]]
    """
    x = as_tensor(x)
    _expect_few(x.shape[axis])
    return list(torch.unbind(x, axis))


@public("ops")
@op
def flip(x: Any, axis: Axis = None) -> Tensor:
    """The elements in reverse order along axes (None: all).

    >>> flip([1, 2, 3]).tolist()
    [3, 2, 1]
    """
    x = as_tensor(x)
    return torch.flip(x, as_axes(axis, x.ndim))


@public("ops")
@op
def fliplr(x: Any) -> Tensor:
    """Columns in reverse order.

    >>> fliplr([[1, 2]]).tolist()
    [[2, 1]]
    """
    return torch.fliplr(as_tensor(x))


@public("ops")
@op
def flipud(x: Any) -> Tensor:
    """Rows in reverse order.

    >>> flipud([[1], [2]]).tolist()
    [[2], [1]]
    """
    return torch.flipud(as_tensor(x))


@public("ops")
@op
def rot90(array: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Tensor:
    """Turned by `k` quarters from the first axis towards the second.

    >>> rot90([[1, 2], [3, 4]]).tolist()
    [[2, 4], [1, 3]]
    """
    return torch.rot90(as_tensor(array), k, axes)


@public("ops")
@op
def roll(x: Any, shift: Any, axis: Any = None) -> Tensor:
    """Moved along axes, with what leaves one end coming in at the other; None moves the flat tensor.

    >>> roll([1, 2, 3], 1).tolist()
    [3, 1, 2]
    """
    return torch.roll(as_tensor(x), shift, axis)


@public("ops")
@op
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Tensor:
    """Every element repeated: all as often, or each so often as its number says. None flattens first.

    >>> repeat([1, 2], [1, 2]).tolist()
    [1, 2, 2]
    """
    x = as_tensor(x)
    x, axis = (x.flatten(), 0) if axis is None else (x, axis)
    if isinstance(repeats, int):
        return torch.repeat_interleave(x, repeats, axis)
    length = int(np.sum(repeats)) if isinstance(repeats, list | tuple | np.ndarray) else None
    counts = as_tensor(repeats, torch.int64, x.device).flatten()
    if counts.numel() == 1:
        return torch.repeat_interleave(x, counts.expand(x.shape[axis]), axis)
    return torch.repeat_interleave(x, counts, axis, output_size=length)


@public("ops")
@op
def tile(x: Any, repeats: Any) -> Tensor:
    """The whole tensor repeated along each axis.

    >>> tile([1, 2], 2).tolist()
    [1, 2, 1, 2]
    """
    return torch.tile(as_tensor(x), as_sizes(repeats))


@public("ops")
@op
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Tensor:
    """Grown at both ends of each axis: (…, n, …) to (…, before + n + after, …).

    Parameters: `pad_width`, an int, one pair for all axes, or a pair per axis; `mode`, `"constant"` (with
    `constant_values`, 0 by default), or one of NumPy's that repeat elements: `"reflect"`, `"symmetric"`, `"edge"`,
    `"wrap"`.

    >>> pad([1, 2, 3], (1, 2), mode="reflect").tolist()
    [2, 1, 2, 3, 2, 1]
    """
    x = as_tensor(x)
    widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2)).tolist()
    if mode == "constant":
        flat = [width for before_after in reversed(widths) for width in before_after]
        return torch.nn.functional.pad(x, flat, value=0 if constant_values is None else constant_values)
    if constant_values is not None:
        raise ValueError(f"constant_values go with mode='constant'; got mode={mode!r}.")
    if mode not in ("reflect", "symmetric", "edge", "wrap"):
        raise ValueError(f"mode is 'constant', 'reflect', 'symmetric', 'edge' or 'wrap'; got {mode!r}.")
    for axis, (before, after) in enumerate(widths):
        if before or after:  # NumPy pads the indices of the axis, torch gathers them
            places = np.pad(np.arange(x.shape[axis]), (before, after), mode=mode)  # type: ignore[call-overload]
            x = torch.index_select(x, axis, torch.as_tensor(places, device=x.device))
    return x


@public("ops")
@op
def meshgrid(*x: Any, indexing: str = "xy") -> list[Tensor]:
    """Coordinates of a grid from those of its axes; with `"xy"` the second tensor's axis comes first.

    >>> [grid.tolist() for grid in meshgrid([1, 2], [3, 4])]
    [[[1, 2], [1, 2]], [[3, 3], [4, 4]]]
    """
    return list(torch.meshgrid([as_tensor(one).flatten() for one in x], indexing=indexing))


@public("ops")
@op
def tril(x: Any, k: int = 0) -> Tensor:
    """Zeros above the `k`th diagonal of the last two axes.

    >>> tril([[1, 2], [3, 4]]).tolist()
    [[1, 0], [3, 4]]
    """
    return torch.tril(as_tensor(x), k)


@public("ops")
@op
def triu(x: Any, k: int = 0) -> Tensor:
    """Zeros below the `k`th diagonal of the last two axes.

    >>> triu([[1, 2], [3, 4]]).tolist()
    [[1, 2], [0, 4]]
    """
    return torch.triu(as_tensor(x), k)


@public("ops")
@op
def diag(x: Any, k: int = 0) -> Tensor:
    """The `k`th diagonal of a matrix, or a matrix with a vector on it.

    >>> diag([1, 2]).tolist()
    [[1, 0], [0, 2]]
    """
    return torch.diag(as_tensor(x), k)


@public("ops")
@op
def diagflat(x: Any, k: int = 0) -> Tensor:
    """A matrix with the flat elements on its `k`th diagonal.

    >>> diagflat([[1, 2]]).tolist()
    [[1, 0], [0, 2]]
    """
    return torch.diagflat(as_tensor(x), k)


@public("ops")
@op
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The diagonal of two axes, as a new last axis.

    >>> diagonal([[1, 2], [3, 4]]).tolist()
    [1, 4]
    """
    return torch.diagonal(as_tensor(x), offset, axis1, axis2)


@public("ops")
@op
def extract_sequences(x: Any, sequence_length: int, sequence_stride: int) -> Tensor:
    """Windows along the last axis: (…, n) to (…, (n - length) // stride + 1, length).

    >>> extract_sequences([1, 2, 3, 4], 3, 1).tolist()
    [[1, 2, 3], [2, 3, 4]]
    """
    return as_tensor(x).unfold(-1, sequence_length, sequence_stride)


@public("ops")
@op
def depth_to_space(x: Any, block_size: int, data_format: str = "channels_last") -> Tensor:
    """Channels laid out as blocks of pixels: (b, h, w, c·s²) to (b, h·s, w·s, c).

    >>> depth_to_space([[[[1, 2, 3, 4]]]], 2).tolist()
    [[[[1], [2]], [[3], [4]]]]
    """
    x, s = as_tensor(x), block_size
    if data_format == "channels_first":
        return torch.moveaxis(depth_to_space(torch.moveaxis(x, 1, -1), s), -1, 1)
    batch, height, width, channels = x.shape
    blocks = x.reshape(batch, height, width, s, s, channels // (s * s)).permute(0, 1, 3, 2, 4, 5)
    return blocks.reshape(batch, height * s, width * s, channels // (s * s))


@public("ops")
@op
def space_to_depth(x: Any, block_size: int, data_format: str = "channels_last") -> Tensor:
    """Blocks of pixels laid out as channels: (b, h·s, w·s, c) to (b, h, w, c·s²).

    >>> space_to_depth([[[[1], [2]], [[3], [4]]]], 2).tolist()
    [[[[1, 2, 3, 4]]]]
    """
    x, s = as_tensor(x), block_size
    if data_format == "channels_first":
        return torch.moveaxis(space_to_depth(torch.moveaxis(x, 1, -1), s), -1, 1)
    batch, height, width, channels = x.shape
    blocks = x.reshape(batch, height // s, s, width // s, s, channels).permute(0, 1, 3, 2, 4, 5)
    return blocks.reshape(batch, height // s, width // s, s * s * channels)
