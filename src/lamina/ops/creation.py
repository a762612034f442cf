"""Tensors from nothing but a shape or a range, and windows of signal processing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lamina.base.registry import public
from lamina.engine.device import current_device
from lamina.engine.dtypes import torch_dtype
from lamina.graph.record import op
from lamina.ops.convert import Tensor, as_sizes, as_tensor, promote


@public("ops")
@op
def zeros(shape: Any, dtype: Any = None) -> Tensor:
    """Zeros of a shape.

    >>> zeros(2).tolist()
    [0.0, 0.0]
    """
    return torch.zeros(as_sizes(shape), dtype=torch_dtype(dtype), device=current_device())


@public("ops")
@op
def ones(shape: Any, dtype: Any = None) -> Tensor:
    """Ones of a shape.

    >>> ones(2, "int32").tolist()
    [1, 1]
    """
    return torch.ones(as_sizes(shape), dtype=torch_dtype(dtype), device=current_device())


@public("ops")
@op
def empty(shape: Any, dtype: Any = None) -> Tensor:
    """Memory of a shape with no values written to it.

    >>> empty((2, 3)).shape
    torch.Size([2, 3])
    """
    return torch.empty(as_sizes(shape), dtype=torch_dtype(dtype), device=current_device())


@public("ops")
@op
def full(shape: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """One value (or values that broadcast) in every place of a shape; `floatx()` where no type is named.

    >>> full((2,), 7, "int32").tolist()
    [7, 7]
    """
    return as_tensor(fill_value, torch_dtype(dtype)).broadcast_to(as_sizes(shape)).clone()


def _dtype_like(dtype: Any) -> torch.dtype | None:
    return None if dtype is None else torch_dtype(dtype)


@public("ops")
@op
def zeros_like(x: Any, dtype: Any = None) -> Tensor:
    """Zeros of the shape, and the type if no other is named, of a tensor.

    >>> zeros_like([1, 2]).tolist()
    [0, 0]
    """
    return torch.zeros_like(as_tensor(x), dtype=_dtype_like(dtype))


@public("ops")
@op
def ones_like(x: Any, dtype: Any = None) -> Tensor:
    """Ones of the shape, and the type if no other is named, of a tensor.

    >>> ones_like([1, 2]).tolist()
    [1, 1]
    """
    return torch.ones_like(as_tensor(x), dtype=_dtype_like(dtype))


@public("ops")
@op
def empty_like(x: Any, dtype: Any = None) -> Tensor:
    """Memory like that of a tensor with no values written to it.

    >>> empty_like([1, 2]).shape
    torch.Size([2])
    """
    return torch.empty_like(as_tensor(x), dtype=_dtype_like(dtype))


@public("ops")
@op
def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """One value (or values that broadcast) in every place of a tensor's shape.

    >>> full_like([1, 2], 7).tolist()
    [7, 7]
    """
    x = as_tensor(x)
    return as_tensor(fill_value, _dtype_like(dtype) or x.dtype, x.device).broadcast_to(x.shape).clone()


@public("ops")
@op
def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Tensor:
    """Evenly spaced numbers from `start` (0 if only one number is given) up to, not including, `stop`.

    >>> arange(1, 7, 2).tolist()
    [1, 3, 5]
    """
    if stop is None:
        start, stop = 0, start
    step = 1 if step is None else step
    wanted = torch_dtype(dtype) if dtype is not None else promote(start, stop, step)[0].dtype
    return torch.arange(start, stop, step, dtype=wanted, device=current_device())


@public("ops")
@op
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """`num` evenly spaced numbers from `start` to `stop`, along a new axis; with `retstep` also the step.

    >>> linspace(0, 10, 5).tolist()
    [0.0, 2.5, 5.0, 7.5, 10.0]
    """
    start, stop = promote(start, stop, floating=True)
    intervals = num - 1 if endpoint else num
    step = (stop - start) / intervals if intervals > 0 else torch.full_like(stop - start, torch.nan)
    places = torch.arange(num, dtype=start.dtype, device=start.device)
    places = places.reshape([-1] + [1] * step.ndim)
    values = start + places * (step if num > 1 else 0)
    if endpoint and num > 1:  # the last number is stop itself, whatever the rounding
        values = torch.where(places == num - 1, stop, values)
    values = torch.movedim(values, 0, axis)
    values = values if dtype is None else values.to(torch_dtype(dtype))
    return (values, step) if retstep else values


@public("ops")
@op
def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10, dtype: Any = None, axis: int = 0
) -> Tensor:
    """`base` to the power of evenly spaced numbers.

    >>> logspace(0, 2, 3).tolist()
    [1.0, 10.0, 100.0]
    """
    exponents = linspace(start, stop, num, endpoint, axis=axis)
    values = torch.pow(as_tensor(base, exponents.dtype, exponents.device), exponents)
    return values if dtype is None else values.to(torch_dtype(dtype))


@public("ops")
@op
def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Tensor:
    """Numbers from `start` to `stop`, each the same multiple of the one before.

    >>> geomspace(1.0, 1.0, 2).tolist()
    [1.0, 1.0]
    """
    start, stop = promote(start, stop, floating=True)
    exponents = linspace(torch.log2(torch.abs(start)), torch.log2(torch.abs(stop)), num, endpoint, axis=axis)
    values = torch.exp2(exponents) * torch.sign(start)
    return values if dtype is None else values.to(torch_dtype(dtype))


@public("ops")
@op
def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Tensor:
    """Ones on the `k`th diagonal of a matrix (N, M), zeros elsewhere; M is N where it is not given.

    >>> eye(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    rows = torch.arange(N, device=current_device())[:, None]
    columns = torch.arange(N if M is None else M, device=current_device())
    return (columns - rows == k).to(torch_dtype(dtype))


@public("ops")
@op
def identity(n: int, dtype: Any = None) -> Tensor:
    """The identity matrix (n, n).

    >>> identity(2, "int32").tolist()
    [[1, 0], [0, 1]]
    """
    return eye(n, dtype=dtype)


@public("ops")
@op
def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Tensor:
    """Ones on and below the `k`th diagonal of a matrix (N, M), zeros above.

    >>> tri(2).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    return torch.tril(torch.ones(N, N if M is None else M, dtype=torch_dtype(dtype), device=current_device()), k)


@public("ops")
@op
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of each element: (n,) gives (n, N), the highest power first unless `increasing`.

    >>> vander([2, 3], 3).tolist()
    [[4, 2, 1], [9, 3, 1]]
    """
    x = as_tensor(x)
    powers = torch.arange(x.shape[0] if N is None else N, device=x.device)
    return torch.pow(x[:, None], powers if increasing else powers.flip(0)).to(x.dtype)


def _window(make: Callable[..., Tensor], x: Any, **parameters: Any) -> Tensor:
    return make(int(x), periodic=False, dtype=torch_dtype(None), device=current_device(), **parameters)


@public("ops")
@op
def bartlett(x: Any) -> Tensor:
    """The triangular window of a length.

    >>> bartlett(3).tolist()
    [0.0, 1.0, 0.0]
    """
    return _window(torch.bartlett_window, x)


@public("ops")
@op
def blackman(x: Any) -> Tensor:
    """Blackman's window of a length.

    >>> blackman(5).shape
    torch.Size([5])
    """
    return _window(torch.blackman_window, x)


@public("ops")
@op
def hamming(x: Any) -> Tensor:
    """Hamming's window of a length.

    >>> hamming(5).shape
    torch.Size([5])
    """
    return _window(torch.hamming_window, x)


@public("ops")
@op
def hanning(x: Any) -> Tensor:
    """Von Hann's window of a length.

    >>> hanning(3).tolist()
    [0.0, 1.0, 0.0]
    """
    return _window(torch.hann_window, x)


@public("ops")
@op
def kaiser(x: Any, beta: Any) -> Tensor:
    """Kaiser's window of a length.

    >>> kaiser(5, 14.0).shape
    torch.Size([5])
    """
    return _window(torch.kaiser_window, x, beta=float(beta))
