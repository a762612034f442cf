"""Order and counting: sort, the largest k, search in sorted values, unique values, bins."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from lamina.base.registry import public
from lamina.graph.record import op
from lamina.ops.convert import Tensor, as_float, as_tensor, promote


class TopK(NamedTuple):
    """The largest values and where they were."""

    values: Tensor
    indices: Tensor


@public("ops")
@op
def sort(x: Any, axis: int | None = -1) -> Tensor:
    """The elements in rising order along an axis; None flattens first.

    >>> sort([3, 1, 2]).tolist()
    [1, 2, 3]
    """
    x = as_tensor(x)
    flat, along = (x.flatten(), 0) if axis is None else (x, axis)
    return torch.sort(flat, dim=along, stable=True).values


@public("ops")
@op
def argsort(x: Any, axis: int | None = -1) -> Tensor:
    """The indices that sort a tensor, as int32; equal elements keep their order.

    >>> argsort([3, 1, 2]).tolist()
    [1, 2, 0]
    """
    x = as_tensor(x)
    order = torch.argsort(x.flatten(), stable=True) if axis is None else torch.argsort(x, dim=axis, stable=True)
    return order.to(torch.int32)


@public("ops")
@op
def argpartition(x: Any, kth: int, axis: int = -1) -> Tensor:
    """Indices, as int32, that put the `kth` element in its place, smaller ones before it and larger ones behind.

    >>> argpartition([3, 1, 2], 1).tolist()
    [1, 2, 0]
    """
    return argsort(x, axis)


@public("ops")
@op
def top_k(x: Any, k: int, sorted: bool = True) -> TopK:
    """The `k` largest elements of the last axis and their indices (int64, as torch gives them).

    >>> values, indices = top_k([1.0, 3.0, 2.0], 2)
    >>> values.tolist(), indices.tolist()
    ([3.0, 2.0], [1, 2])
    """
    return TopK(*torch.topk(as_tensor(x), k, sorted=sorted))


@public("ops")
@op
def in_top_k(targets: Any, predictions: Any, k: int) -> Tensor:
    """Whether the class `targets` (batch,) is among the `k` likeliest of `predictions` (batch, classes).

    >>> in_top_k([0, 1], [[0.9, 0.1], [0.8, 0.2]], k=1).tolist()
    [True, False]
    """
    targets, predictions = as_tensor(targets).to(torch.int64), as_tensor(predictions)
    inside = (targets >= 0) & (targets < predictions.shape[-1])
    score = torch.take_along_dim(predictions, torch.where(inside, targets, 0)[:, None], 1)
    return inside & torch.isfinite(score[:, 0]) & ((predictions > score).sum(1) < k)


@public("ops")
@op
def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Tensor:
    """The places, as int32, at which values would enter a sorted sequence (1D); `"right"`: behind equal ones.

    >>> searchsorted([1.0, 2.0, 3.0], [2.5, 1.0]).tolist()
    [2, 0]
    """
    sequence, values = promote(sorted_sequence, values, one_device=True)
    if sequence.ndim != 1:
        raise ValueError(f"searchsorted() takes a sequence of one axis; got shape {tuple(sequence.shape)}.")
    return torch.searchsorted(sequence, values.contiguous(), side=side, out_int32=True)


@public("ops")
@op
def digitize(x: Any, bins: Any) -> Tensor:
    """The number of the bin, as int32, in which each element lies: 0 below the first of the rising edges `bins`.

    >>> digitize([0.5, 1.5, 2.0], [1.0, 2.0]).tolist()
    [0, 1, 2]
    """
    x, bins = promote(x, bins, one_device=True)
    return torch.bucketize(x, bins, right=True, out_int32=True)


@public("ops")
@op
def bincount(x: Any, weights: Any = None, minlength: int = 0, sparse: bool = False) -> Tensor:
    """How often each integer 0, 1, 2, ... occurs, or the sum of its weights; a batch (2D) is counted row by row.

    The result has `max(max(x) + 1, minlength)` counts, so a symbolic tensor cannot say its length.

    >>> bincount([0, 1, 1, 3]).tolist()
    [1, 2, 0, 1]
    """
    if sparse:
        raise ValueError("bincount(sparse=True) is not there on torch.")
    x = as_tensor(x).to(torch.int64)
    length = max(minlength, int(x.max()) + 1 if x.numel() else 0)
    ones = torch.ones_like(x, dtype=torch.int32) if weights is None else as_tensor(weights)
    counts = torch.zeros(*x.shape[:-1], length, dtype=ones.dtype, device=x.device)
    return counts.scatter_add(-1, x, ones)


@public("ops")
@op
def histogram(x: Any, bins: int = 10, range: tuple[float, float] | None = None) -> tuple[Tensor, Tensor]:
    """How many elements lie in each of the evenly wide bins, and the `bins + 1` edges.

    >>> counts, edges = histogram([1.0, 2.0, 3.0, 3.0], bins=2)
    >>> counts.tolist(), edges.tolist()
    ([1.0, 3.0], [1.0, 2.0, 3.0])
    """
    x = as_float(x).flatten()
    low, high = range if range is not None else (float(x.min()), float(x.max()))
    counts, edges = torch.histogram(x.detach().cpu(), bins, range=(low, high))
    return counts.to(x.device), edges.to(x.device)


@public("ops")
@op
def nonzero(x: Any) -> Tensor:
    """The indices, as int32, of the elements that are not 0: a row per axis. Their number depends on the values.

    >>> nonzero([[1, 0], [0, 2]]).tolist()
    [[0, 1], [0, 1]]
    """
    return torch.nonzero(as_tensor(x)).T.to(torch.int32)


@public("ops")
@op
def unique(
    x: Any,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The different elements (or slices along `axis`), with their first places, inverse and counts when asked for.

    Parameters: `size` cuts or fills the result to a length that does not depend on the values (`fill_value`, else the
    smallest element).

    >>> values, counts = unique([3, 1, 1], return_counts=True)
    >>> values.tolist(), counts.tolist()
    ([1, 3], [2, 1])
    """
    x = as_tensor(x)
    values, inverse, counts = torch.unique(x, sorted=True, return_inverse=True, return_counts=True, dim=axis)
    along = 0 if axis is None else axis
    length = values.shape[along]
    places = torch.arange(inverse.numel(), device=x.device)
    first = torch.full((length,), inverse.numel(), device=x.device).scatter_reduce(
        0, inverse.flatten(), places, "amin", include_self=True
    )
    if size is not None:
        values, first, counts = (
            _to_length(tensor, size, one, filling)
            for tensor, one, filling in ((values, along, fill_value), (first, 0, None), (counts, 0, 0))
        )
    results = [values]
    results += [first] if return_index else []
    results += [inverse] if return_inverse else []
    results += [counts] if return_counts else []
    return results[0] if len(results) == 1 else tuple(results)


def _to_length(x: Tensor, length: int, axis: int, filling: Any) -> Tensor:
    x = x.narrow(axis, 0, min(length, x.shape[axis]))
    missing = length - x.shape[axis]
    if not missing:
        return x
    extra = x.narrow(axis, 0, 1).repeat_interleave(missing, axis)
    return torch.cat([x, extra if filling is None else torch.full_like(extra, filling)], axis)


@public("ops")
@op
def unravel_index(indices: Any, shape: Any) -> tuple[Tensor, ...]:
    """The index along each axis behind indices into the flat tensor of a shape.

    >>> rows, columns = unravel_index([3, 5], (2, 3))
    >>> rows.tolist(), columns.tolist()
    ([1, 1], [0, 2])
    """
    flat = as_tensor(indices)
    flat = torch.where(flat < 0, flat + int(np.prod(shape)), flat)
    results = []
    for size in reversed(tuple(shape)):
        results.append(flat % size)
        flat = flat // size
    return tuple(reversed(results))
