"""Sums, means, extremes and their kin: functions that take axes away, or run along one.

`axis` is an int, several ints, or None for all axes; `keepdims` leaves axes of size 1 in their place.
"""

from __future__ import annotations

from typing import Any

import torch

from lamina.base.registry import public
from lamina.engine.dtypes import torch_dtype
from lamina.graph.record import op
from lamina.ops.convert import Axis, Tensor, as_arithmetic, as_axes, as_float, as_tensor, is_float, promote


def _summed_dtype(x: Tensor) -> torch.dtype:
    """The type of a sum: integers of fewer than 32 bits would overflow."""
    return torch.int32 if x.dtype in (torch.bool, torch.int8, torch.uint8, torch.int16) else x.dtype


def _one_axis(x: Tensor, axis: Axis) -> tuple[Tensor, tuple[int, ...]]:
    """The tensor with the reduced axes joined into one at the end, and which they were."""
    axes = as_axes(axis, x.ndim)
    kept = [one for one in range(x.ndim) if one not in axes]
    return x.permute(*kept, *axes).reshape([x.shape[one] for one in kept] + [-1]), axes


def _expand(x: Tensor, axes: tuple[int, ...], keepdims: bool, leading: int = 0) -> Tensor:
    """Puts axes of size 1 back; `leading` axes stand before the tensor's own."""
    for axis in axes if keepdims else ():
        x = x.unsqueeze(axis + leading)
    return x


@public("ops")
@op
def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum.

    >>> sum([[1, 2], [3, 4]], axis=0).tolist()
    [4, 6]
    """
    x = as_tensor(x)
    return torch.sum(x, as_axes(axis, x.ndim), keepdims, dtype=_summed_dtype(x))


@public("ops")
@op
def prod(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    """The product.

    >>> prod([[1, 2], [3, 4]], axis=1).tolist()
    [2, 12]
    """
    x = as_tensor(x)
    x = x.to(_summed_dtype(x) if dtype is None else torch_dtype(dtype))
    flat, axes = _one_axis(x, axis)
    return _expand(torch.prod(flat, -1, dtype=x.dtype), axes, keepdims)


@public("ops")
@op
def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean; integers give floats.

    >>> mean([[1, 2], [3, 4]], axis=1).tolist()
    [1.5, 3.5]
    """
    x = as_float(x)
    return torch.mean(x, as_axes(axis, x.ndim), keepdims)


@public("ops")
@op
def var(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The variance of the population: the mean squared distance from the mean.

    >>> var([1, 3]).tolist()
    1.0
    """
    x = as_float(x)
    return torch.var(x, as_axes(axis, x.ndim), correction=0, keepdim=keepdims)


@public("ops")
@op
def std(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The standard deviation of the population.

    >>> std([1, 3]).tolist()
    1.0
    """
    x = as_float(x)
    return torch.std(x, as_axes(axis, x.ndim), correction=0, keepdim=keepdims)


def _extreme(reduce: Any, join: Any, x: Tensor, axis: Axis, keepdims: bool, initial: Any) -> Tensor:
    if initial is not None and x.numel() == 0:
        kept = torch.sum(x, as_axes(axis, x.ndim), keepdims, dtype=x.dtype)
        return torch.full_like(kept, initial)
    result = reduce(x, as_axes(axis, x.ndim), keepdims)
    return result if initial is None else join(*promote(result, initial))


@public("ops")
@op
def max(x: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Tensor:
    """The largest element; `initial` joins in as one more.

    >>> max([[1, 5], [3, 4]], axis=1).tolist()
    [5, 4]
    """
    return _extreme(torch.amax, torch.maximum, as_tensor(x), axis, keepdims, initial)


@public("ops")
@op
def min(x: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Tensor:
    """The smallest element; `initial` joins in as one more.

    >>> min([[1, 5], [3, 4]], axis=1).tolist()
    [1, 3]
    """
    return _extreme(torch.amin, torch.minimum, as_tensor(x), axis, keepdims, initial)


@public("ops")
@op
def amax(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """`max` by NumPy's other name.

    >>> amax([1, 5, 3]).tolist()
    5
    """
    return max(x, axis, keepdims)


@public("ops")
@op
def amin(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """`min` by NumPy's other name.

    >>> amin([1, 5, 3]).tolist()
    1
    """
    return min(x, axis, keepdims)


@public("ops")
@op
def ptp(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest less the smallest element.

    >>> ptp([1, 5, 3]).tolist()
    4
    """
    return max(x, axis, keepdims) - min(x, axis, keepdims)


@public("ops")
@op
def any(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether one element is true (not 0).

    >>> any([[True, False], [False, False]], axis=1).tolist()
    [True, False]
    """
    x = as_tensor(x).to(torch.bool)
    return torch.any(x, as_axes(axis, x.ndim), keepdims)


@public("ops")
@op
def all(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether every element is true (not 0).

    >>> all([[True, False], [True, True]], axis=1).tolist()
    [False, True]
    """
    x = as_tensor(x).to(torch.bool)
    return torch.all(x, as_axes(axis, x.ndim), keepdims)


@public("ops")
@op
def count_nonzero(x: Any, axis: Axis = None) -> Tensor:
    """How many elements are not 0, as int32.

    >>> count_nonzero([[1, 0], [2, 3]], axis=1).tolist()
    [1, 2]
    """
    return sum(as_tensor(x) != 0, axis)


def _place_of_extreme(find: Any, x: Any, axis: int | None, keepdims: bool) -> Tensor:
    x = as_tensor(x)
    x = x.to(torch.uint8) if x.dtype is torch.bool else x
    return find(x, axis, keepdims).to(torch.int32)


@public("ops")
@op
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the largest element along an axis (None: in the flat tensor), as int32.

    >>> argmax([[1, 5], [4, 3]], axis=1).tolist()
    [1, 0]
    """
    return _place_of_extreme(torch.argmax, x, axis, keepdims)


@public("ops")
@op
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the smallest element along an axis (None: in the flat tensor), as int32.

    >>> argmin([[1, 5], [4, 3]], axis=1).tolist()
    [0, 1]
    """
    return _place_of_extreme(torch.argmin, x, axis, keepdims)


def _running(accumulate: Any, x: Any, axis: int | None, dtype: Any) -> Tensor:
    (x,) = as_arithmetic(x)
    wanted = x.dtype if dtype is None else torch_dtype(dtype)
    return accumulate(x.flatten(), 0, dtype=wanted) if axis is None else accumulate(x, axis, dtype=wanted)


@public("ops")
@op
def cumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    """The sums of the first 1, 2, 3, ... elements along an axis; None flattens first.

    >>> cumsum([1, 2, 3]).tolist()
    [1, 3, 6]
    """
    return _running(torch.cumsum, x, axis, dtype)


@public("ops")
@op
def cumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    """The products of the first 1, 2, 3, ... elements along an axis; None flattens first.

    >>> cumprod([1, 2, 3]).tolist()
    [1, 2, 6]
    """
    return _running(torch.cumprod, x, axis, dtype)


@public("ops")
@op
def diff(a: Any, n: int = 1, axis: int = -1) -> Tensor:
    """Each element less the one before, `n` times over; the axis loses `n`.

    >>> diff([1, 4, 9]).tolist()
    [3, 5]
    """
    return torch.diff(as_tensor(a), n, axis)


@public("ops")
@op
def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Tensor:
    """The integral by the trapezoid rule, over places `x` or steps of `dx`.

    >>> trapezoid([1.0, 2.0, 3.0]).tolist()
    4.0
    """
    y = as_float(y)
    return torch.trapezoid(y, dx=dx, dim=axis) if x is None else torch.trapezoid(y, as_float(x), dim=axis)


@public("ops")
@op
def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """`log(sum(exp(x)))`, without overflow.

    >>> logsumexp([1000.0]).tolist()
    1000.0
    """
    x = as_float(x)
    return torch.logsumexp(x, as_axes(axis, x.ndim), keepdims)


@public("ops")
@op
def average(x: Any, axis: Axis = None, weights: Any = None) -> Tensor:
    """The mean, or the weighted mean with weights of the shape of `x` or of its one axis.

    >>> average([1.0, 2.0], weights=[1.0, 3.0]).tolist()
    1.75
    """
    if weights is None:
        return mean(x, axis)
    x, weights = promote(x, weights, floating=True)
    if weights.ndim == 1 and x.ndim > 1 and isinstance(axis, int):
        weights = weights.reshape([-1 if one == axis % x.ndim else 1 for one in range(x.ndim)])
    weights = weights.broadcast_to(x.shape)
    return sum(x * weights, axis) / sum(weights, axis)


_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


@public("ops")
@op
def quantile(x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Tensor:
    """The value below which the share `q` of the elements lies; the axes of `q` come first in the result.

    Parameters: `method`, what holds between two elements: `"linear"`, `"lower"`, `"higher"`, `"midpoint"`, `"nearest"`.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5).tolist()
    2.5
    """
    return _quantile(torch.quantile, x, q, axis, method, keepdims)


def _quantile(compute: Any, x: Any, q: Any, axis: Axis, method: str, keepdims: bool) -> Tensor:
    if method not in _METHODS:
        raise ValueError(f"method is one of {', '.join(_METHODS)}; got {method!r}.")
    x = as_float(x)
    # torch computes quantiles of these two types only.
    wide = x if x.dtype in (torch.float32, torch.float64) else x.to(torch.float32)
    q = as_tensor(q, wide.dtype, wide.device)
    flat, axes = _one_axis(wide, axis)
    result = compute(flat, q.reshape(-1), -1, interpolation=method)
    result = result.reshape([*q.shape, *result.shape[1:]])
    return _expand(result, axes, keepdims, leading=q.ndim).to(x.dtype)


@public("ops")
@op
def percentile(x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Tensor:
    """`quantile` with `q` between 0 and 100.

    >>> percentile([1.0, 2.0, 3.0], 50).tolist()
    2.0
    """
    return quantile(x, as_float(q) / 100, axis, method, keepdims)


@public("ops")
@op
def median(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The middle element, or the mean of the two in the middle.

    >>> median([1, 3, 2, 9]).tolist()
    2.5
    """
    return quantile(x, 0.5, axis, "linear", keepdims)


def _without_nan(x: Any, filling: float) -> Tensor:
    x = as_tensor(x)
    return torch.where(torch.isnan(x), filling, x) if is_float(x.dtype) else x


def _all_nan(x: Any, axis: Axis, keepdims: bool) -> Tensor:
    return all(torch.isnan(as_tensor(x)), axis, keepdims)


@public("ops")
@op
def nansum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """`sum` over the elements that are numbers.

    >>> nansum([1.0, float("nan")]).tolist()
    1.0
    """
    return sum(_without_nan(x, 0), axis, keepdims)


@public("ops")
@op
def nanprod(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """`prod` over the elements that are numbers.

    >>> nanprod([2.0, float("nan")]).tolist()
    2.0
    """
    return prod(_without_nan(x, 1), axis, keepdims)


@public("ops")
@op
def nancumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    """`cumsum` that passes over nan.

    >>> nancumsum([1.0, float("nan"), 2.0]).tolist()
    [1.0, 1.0, 3.0]
    """
    return cumsum(_without_nan(x, 0), axis, dtype)


@public("ops")
@op
def nancumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    """`cumprod` that passes over nan.

    >>> nancumprod([1.0, float("nan"), 2.0]).tolist()
    [1.0, 1.0, 2.0]
    """
    return cumprod(_without_nan(x, 1), axis, dtype)


@public("ops")
@op
def nanmean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """`mean` over the elements that are numbers.

    >>> nanmean([1.0, float("nan"), 2.0]).tolist()
    1.5
    """
    x = as_float(x)
    return torch.nanmean(x, as_axes(axis, x.ndim), keepdims)


@public("ops")
@op
def nanvar(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """`var` over the elements that are numbers.

    >>> nanvar([1.0, float("nan"), 3.0]).tolist()
    1.0
    """
    x = as_float(x)
    return nanmean(torch.square(x - nanmean(x, axis, keepdims=True)), axis, keepdims)


@public("ops")
@op
def nanstd(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """`std` over the elements that are numbers.

    >>> nanstd([1.0, float("nan"), 3.0]).tolist()
    1.0
    """
    return torch.sqrt(nanvar(x, axis, keepdims))


@public("ops")
@op
def nanquantile(x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Tensor:
    """`quantile` over the elements that are numbers.

    >>> nanquantile([1.0, float("nan"), 3.0], 0.5).tolist()
    2.0
    """
    return _quantile(torch.nanquantile, x, q, axis, method, keepdims)


@public("ops")
@op
def nanpercentile(x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Tensor:
    """`percentile` over the elements that are numbers.

    >>> nanpercentile([1.0, float("nan"), 3.0], 50).tolist()
    2.0
    """
    return nanquantile(x, as_float(q) / 100, axis, method, keepdims)


@public("ops")
@op
def nanmedian(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """`median` over the elements that are numbers.

    >>> nanmedian([1.0, float("nan"), 3.0]).tolist()
    2.0
    """
    return nanquantile(x, 0.5, axis, "linear", keepdims)


@public("ops")
@op
def nanmax(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """`max` over the elements that are numbers; nan where there are none.

    >>> nanmax([1.0, float("nan")]).tolist()
    1.0
    """
    x = as_tensor(x)
    if not is_float(x.dtype):
        return max(x, axis, keepdims)
    return torch.where(_all_nan(x, axis, keepdims), torch.nan, max(_without_nan(x, -torch.inf), axis, keepdims))


@public("ops")
@op
def nanmin(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """`min` over the elements that are numbers; nan where there are none.

    >>> nanmin([1.0, float("nan")]).tolist()
    1.0
    """
    x = as_tensor(x)
    if not is_float(x.dtype):
        return min(x, axis, keepdims)
    return torch.where(_all_nan(x, axis, keepdims), torch.nan, min(_without_nan(x, torch.inf), axis, keepdims))


@public("ops")
@op
def nanargmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """`argmax` over the elements that are numbers; -1 where there are none.

    >>> nanargmax([1.0, float("nan"), 3.0]).tolist()
    2
    """
    return torch.where(_all_nan(x, axis, keepdims), -1, argmax(_without_nan(x, -torch.inf), axis, keepdims))


@public("ops")
@op
def nanargmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """`argmin` over the elements that are numbers; -1 where there are none.

    >>> nanargmin([1.0, float("nan"), 3.0]).tolist()
    0
    """
    return torch.where(_all_nan(x, axis, keepdims), -1, argmin(_without_nan(x, torch.inf), axis, keepdims))
