"""Parts of tensors by place: take, slice, scatter, segments, one-hot codes."""

from __future__ import annotations

from typing import Any

import torch

from lamina.base.registry import public
from lamina.engine.dtypes import torch_dtype
from lamina.graph.record import op
from lamina.ops.convert import Tensor, as_index, as_sizes, as_tensor


@public("ops")
@op
def get_item(x: Any, key: Any) -> Tensor:
    """`x[key]`: ints, slices, `...`, None, or tensors of indices.

    >>> get_item([1, 2, 3], -1).tolist()
    3
    """
    return as_tensor(x)[key]


@public("ops")
@op
def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """The slices at the indices along an axis: (…, n, …) to (…, *indices.shape, …). None takes from the flat tensor.

    >>> take([[1, 2], [3, 4]], [1, 0], axis=1).tolist()
    [[2, 1], [4, 3]]
    """
    x = as_tensor(x)
    x, axis = (x.flatten(), 0) if axis is None else (x, axis % x.ndim)
    index = as_index(indices, x.shape[axis], x.device)
    taken = torch.index_select(x, axis, index.flatten())
    return taken.reshape([*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]])


@public("ops")
@op
def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """The elements at indices that differ from row to row; the indices have as many axes as `x`.

    >>> take_along_axis([[1, 2], [3, 4]], [[1], [0]], axis=1).tolist()
    [[2], [3]]
    """
    x = as_tensor(x)
    x, axis = (x.flatten(), 0) if axis is None else (x, axis)
    return torch.take_along_dim(x, as_index(indices, x.shape[axis], x.device), axis)


def _start_of(start: Any, axis: int) -> Any:
    one = start[axis]
    return one if isinstance(one, int | torch.Tensor) else int(one)


@public("ops")
@op
def slice(inputs: Any, start_indices: Any, shape: Any) -> Tensor:
    """The part of a shape that begins at the start indices; -1 in the shape reaches to the end.

    >>> slice([1, 2, 3, 4], [1], [2]).tolist()
    [2, 3]
    """
    x = as_tensor(inputs)
    for axis, size in enumerate(as_sizes(shape)):
        start = _start_of(start_indices, axis)
        if isinstance(start, torch.Tensor):  # its value is not read, so that a symbolic start works
            x = torch.index_select(x, axis, start.to(torch.int64) + torch.arange(size, device=x.device))
        else:
            x = x.narrow(axis, start, x.shape[axis] - start if size == -1 else size)
    return x


@public("ops")
@op
def slice_update(inputs: Any, start_indices: Any, updates: Any) -> Tensor:
    """A copy of the tensor with a part, from the start indices on, replaced by the updates.

    >>> slice_update([0, 0, 0], [1], [7, 8]).tolist()
    [0, 7, 8]
    """
    x = as_tensor(inputs)
    updates = as_tensor(updates, x.dtype, x.device)
    places = [
        _start_of(start_indices, axis) + torch.arange(size, device=x.device) for axis, size in enumerate(updates.shape)
    ]
    return x.index_put(tuple(torch.meshgrid(places, indexing="ij")), updates)


def _columns(indices: Any, device: torch.device) -> tuple[Tensor, ...]:
    return torch.unbind(as_tensor(indices, torch.int64, device), -1)


@public("ops")
@op
def scatter(indices: Any, values: Any, shape: Any) -> Tensor:
    """Zeros of a shape with values added at the indices, whose last axis holds one number per axis of the shape.

    >>> scatter([[0], [2], [2]], [1.0, 2.0, 3.0], (4,)).tolist()
    [1.0, 0.0, 5.0, 0.0]
    """
    values = as_tensor(values)
    zeros = torch.zeros(as_sizes(shape), dtype=values.dtype, device=values.device)
    return zeros.index_put(_columns(indices, values.device), values, accumulate=True)


@public("ops")
@op
def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: str | None = None) -> Tensor:
    """A copy with the elements at the indices replaced, or joined by `"add"`, `"max"`, `"min"` or `"mul"`.

    >>> scatter_update([0, 0, 0], [[0], [2]], [5, 6]).tolist()
    [5, 0, 6]
    """
    x = as_tensor(inputs)
    columns, updates = _columns(indices, x.device), as_tensor(updates, x.dtype, x.device)
    if reduction in (None, "add"):
        return x.index_put(columns, updates, accumulate=reduction == "add")
    joins = {"max": "amax", "min": "amin", "mul": "prod"}
    if reduction not in joins:
        raise ValueError(f"reduction is None, 'add', 'max', 'min' or 'mul'; got {reduction!r}.")
    depth = len(columns)
    flat, row = x.flatten(0, depth - 1), torch.zeros_like(columns[0])
    for column, size in zip(columns, x.shape, strict=False):
        row = row * size + torch.where(column < 0, column + size, column)
    updates = updates.reshape(-1, *x.shape[depth:])
    places = row.reshape([-1] + [1] * (updates.ndim - 1)).expand_as(updates)
    return flat.scatter_reduce(0, places, updates, joins[reduction]).reshape(x.shape)


def _segments(data: Any, segment_ids: Any, num_segments: int | None, reduction: str, start: Any) -> Tensor:
    data = as_tensor(data)
    ids = as_tensor(segment_ids, torch.int64, data.device)
    count = int(ids.max()) + 1 if num_segments is None else num_segments
    # Rows of an id that is out of range go to one more segment, which is cut off.
    ids = torch.where((ids < 0) | (ids >= count), count, ids)
    places = ids.reshape([-1] + [1] * (data.ndim - 1)).expand_as(data)
    result = torch.full((count + 1, *data.shape[1:]), start, dtype=data.dtype, device=data.device)
    return result.scatter_reduce(0, places, data, reduction)[:count]


def _limit(data: Any, sign: int) -> Any:
    dtype = as_tensor(data).dtype
    if dtype.is_floating_point:
        return sign * torch.inf
    return torch.iinfo(dtype).max if sign > 0 else torch.iinfo(dtype).min


@public("ops")
@op
def segment_sum(data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False) -> Tensor:
    """The sum of the rows with each id: (n, …) to (num_segments, …).

    Parameters: `segment_ids`, (n,); `num_segments`, the largest id and one if it is not given.

    >>> segment_sum([1, 2, 3], [0, 0, 2]).tolist()
    [3, 0, 3]
    """
    return _segments(data, segment_ids, num_segments, "sum", 0)


@public("ops")
@op
def segment_max(data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False) -> Tensor:
    """The largest of the rows with each id; minus infinity (the least integer) for an id without rows.

    >>> segment_max([1, 2, 3], [0, 0, 1]).tolist()
    [2, 3]
    """
    return _segments(data, segment_ids, num_segments, "amax", _limit(data, -1))


@public("ops")
@op
def segment_min(data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False) -> Tensor:
    """The smallest of the rows with each id; infinity (the largest integer) for an id without rows.

    >>> segment_min([1, 2, 3], [0, 0, 1]).tolist()
    [1, 3]
    """
    return _segments(data, segment_ids, num_segments, "amin", _limit(data, 1))


@public("ops")
@op
def segment_prod(data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False) -> Tensor:
    """The product of the rows with each id; 1 for an id without rows.

    >>> segment_prod([1, 2, 3], [0, 0, 1]).tolist()
    [2, 3]
    """
    return _segments(data, segment_ids, num_segments, "prod", 1)


@public("ops")
@op
def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Tensor:
    """A new axis of classes with 1 at each element's class; zeros only for a class out of range.

    >>> one_hot([0, 2], 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if sparse:
        raise ValueError("one_hot(sparse=True) is not there on torch.")
    x = as_tensor(x).to(torch.int64)
    codes = (x[..., None] == torch.arange(num_classes, device=x.device)).to(torch_dtype(dtype))
    return torch.moveaxis(codes, -1, axis)


@public("ops")
@op
def multi_hot(
    inputs: Any, num_classes: int | None = None, axis: int = -1, dtype: Any = None, sparse: bool = False
) -> Tensor:
    """1 at every class that occurs in a row: (batch, n) to (batch, classes), (n,) to (classes,).

    >>> multi_hot([[0, 2, 2]], 3).tolist()
    [[1.0, 0.0, 1.0]]
    """
    if num_classes is None:
        raise ValueError("multi_hot() needs num_classes.")
    x = as_tensor(inputs)
    return torch.amax(one_hot(x, num_classes, axis, dtype, sparse), 1 if x.ndim > 1 else 0)
