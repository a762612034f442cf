"""Convolutions and pools of every rank. Images keep Keras's layout; torch sees a channels-first view of them.

Shapes below are channels_last: (batch, *spatial, channels), with one, two or three spatial axes. Kernels are
(*spatial, in, out). Sizes follow `lamina.shapes.window`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from lamina.base import config
from lamina.base.registry import public
from lamina.graph.record import op
from lamina.ops.convert import Tensor, as_float, as_tensor, promote
from lamina.shapes.dim import value_of
from lamina.shapes.window import TransposedWindow, Window

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
_MAX_POOLS: dict[int, Callable[..., Tensor]] = {
    1: functional.max_pool1d,
    2: functional.max_pool2d,
    3: functional.max_pool3d,
}
_AVERAGE_POOLS: dict[int, Callable[..., Tensor]] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}


def _per_axis(value: Any, rank: int, name: str) -> tuple[int, ...]:
    values = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(values) != rank:
        raise ValueError(f"{name} is an int or {rank} ints, one per spatial axis; got {value!r}.")
    return values


def _channels_first(x: Tensor, data_format: str) -> Tensor:
    return x if data_format == "channels_first" else torch.moveaxis(x, -1, 1)


def _channels_back(x: Tensor, data_format: str) -> Tensor:
    return x if data_format == "channels_first" else torch.moveaxis(x, 1, -1)


def _torch_kernel(kernel: Tensor) -> Tensor:
    """(*spatial, in, out) seen as (out, in, *spatial)."""
    rank = kernel.ndim - 2
    return kernel.permute(rank + 1, rank, *range(rank))


def _windows(
    x: Tensor, kernel: Sequence[int], strides: Any, padding: str | tuple[int, int], dilation: Any
) -> list[Window]:
    """The window of each spatial axis of a channels-first tensor, after a look whether it fits."""
    rank = x.ndim - 2
    strides, dilation = _per_axis(strides, rank, "strides"), _per_axis(dilation, rank, "dilation_rate")
    windows = [Window(k, s, d, padding) for k, s, d in zip(kernel, strides, dilation, strict=True)]
    for window, size in zip(windows, x.shape[2:], strict=True):
        window.output(size)
    return windows


def _padded(x: Tensor, windows: list[Window], value: float = 0) -> tuple[Tensor, list[int]]:
    """The tensor and what torch shall still add on both sides: padding of its own where the sides are alike."""
    pads = [window.pads(size) for window, size in zip(windows, x.shape[2:], strict=True)]
    if value == 0 and all(before == after for before, after in pads):
        return x, [before for before, _ in pads]
    flat = [pad for before_after in reversed(pads) for pad in before_after]
    return functional.pad(x, flat, value=value), [0] * len(pads)


@public("ops")
@op
def conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Tensor:
    """Convolution: (batch, *spatial, in) with a kernel (*spatial, in / groups, out) to (batch, *spatial', out).

    Parameters: `strides`, `dilation_rate`, an int or one per axis; `padding`, `"valid"` or `"same"`. Errors: a kernel
    larger than the padded input, or channels that do not match, are a ShapeError or a ValueError.

    >>> conv(torch.ones(1, 5, 5, 3), torch.ones(3, 3, 3, 8), strides=2).shape
    torch.Size([1, 2, 2, 8])
    """
    data_format = config.standardize_data_format(data_format)
    inputs, kernel = promote(inputs, kernel)
    x = _channels_first(inputs, data_format)
    channels, expected = x.shape[1], kernel.shape[-2]
    if channels % expected:
        raise ValueError(f"A kernel {tuple(kernel.shape)} takes {expected} channels a group; the input has {channels}.")
    windows = _windows(x, kernel.shape[:-2], strides, padding, dilation_rate)
    x, pads = _padded(x, windows)
    result = _CONVOLUTIONS[len(windows)](
        x,
        _torch_kernel(kernel),
        stride=[window.stride for window in windows],
        padding=pads,
        dilation=[window.dilation for window in windows],
        groups=channels // expected,
    )
    return _channels_back(result, data_format)


@public("ops")
@op
def depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Tensor:
    """A convolution of each channel on its own: a kernel (*spatial, in, multiplier) gives in·multiplier channels.

    >>> depthwise_conv(torch.ones(1, 5, 5, 3), torch.ones(3, 3, 3, 2)).shape
    torch.Size([1, 3, 3, 6])
    """
    kernel = as_tensor(kernel)
    grouped = kernel.reshape([*kernel.shape[:-2], 1, kernel.shape[-2] * kernel.shape[-1]])
    return conv(inputs, grouped, strides, padding, data_format, dilation_rate)


@public("ops")
@op
def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Tensor:
    """A `depthwise_conv`, then a convolution with a kernel of size 1 that mixes the channels.

    >>> separable_conv(torch.ones(1, 5, 5, 3), torch.ones(3, 3, 3, 2), torch.ones(1, 1, 6, 4)).shape
    torch.Size([1, 3, 3, 4])
    """
    x = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return conv(x, pointwise_kernel, 1, "valid", data_format)


@public("ops")
@op
def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Tensor:
    """The transpose of a convolution: (batch, *spatial, in), kernel (*spatial, out, in) to (batch, *spatial', out).

    Sizes: n·stride (same), n·stride + max(kernel - stride, 0) (valid).

    >>> conv_transpose(torch.ones(1, 5, 5, 3), torch.ones(3, 3, 8, 3), strides=2, padding="same").shape
    torch.Size([1, 10, 10, 8])
    """
    data_format = config.standardize_data_format(data_format)
    inputs, kernel = promote(inputs, kernel)
    x = _channels_first(inputs, data_format)
    rank = x.ndim - 2
    strides, dilation = _per_axis(strides, rank, "strides"), _per_axis(dilation_rate, rank, "dilation_rate")
    extra = (None,) * rank if output_padding is None else _per_axis(output_padding, rank, "output_padding")
    sizes = x.shape[2:]
    result = _TRANSPOSED[rank](x, _torch_kernel(kernel), stride=strides, dilation=dilation)
    for axis in range(rank):
        window = TransposedWindow(kernel.shape[axis], strides[axis], dilation[axis], padding, extra[axis])
        result = _cut(result, axis + 2, _before(window), value_of(window.output(sizes[axis])))
    return _channels_back(result, data_format)


def _before(window: TransposedWindow) -> int:
    """Positions of the full transposed convolution that "same" leaves away at the front."""
    if window.padding != "same":
        return 0
    return max(window.reach - window.stride, 0) // 2 if window.output_padding is None else window.reach // 2


def _cut(x: Tensor, axis: int, start: int, length: Any) -> Tensor:
    """`length` positions from `start`, with zeros where the tensor ends before."""
    missing = start + length - x.shape[axis]
    if missing > 0:
        x = functional.pad(x, [0, 0] * (x.ndim - 1 - axis) + [0, missing])
    return x.narrow(axis, start, length)


def _pool_windows(x: Tensor, pool_size: Any, strides: Any, padding: str) -> list[Window]:
    sizes = _per_axis(pool_size, x.ndim - 2, "pool_size")
    return _windows(x, sizes, sizes if strides is None else strides, padding, 1)


@public("ops")
@op
def max_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None
) -> Tensor:
    """The largest element of each window; the strides are the pool's size by default.

    >>> max_pool(torch.ones(1, 6, 6, 3), 2).shape
    torch.Size([1, 3, 3, 3])
    """
    data_format = config.standardize_data_format(data_format)
    x = _channels_first(as_tensor(inputs), data_format)
    windows = _pool_windows(x, pool_size, strides, padding)
    lowest = -torch.inf if x.dtype.is_floating_point else torch.iinfo(x.dtype).min
    x, _ = (x, None) if padding == "valid" else _padded(x, windows, lowest)
    kernel, stride = [window.kernel for window in windows], [window.stride for window in windows]
    return _channels_back(_MAX_POOLS[len(windows)](x, kernel, stride), data_format)


@public("ops")
@op
def average_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None
) -> Tensor:
    """The mean of each window, over the positions that lie inside the input.

    >>> average_pool(torch.ones(1, 5, 5, 3), 2, padding="same").shape
    torch.Size([1, 3, 3, 3])
    """
    data_format = config.standardize_data_format(data_format)
    x = _channels_first(as_float(inputs), data_format)
    windows = _pool_windows(x, pool_size, strides, padding)
    kernel, stride = [window.kernel for window in windows], [window.stride for window in windows]
    pool = _AVERAGE_POOLS[len(windows)]
    padded, pads = _padded(x, windows)
    result = pool(padded, kernel, stride, pads)
    if padding == "same":
        ones, pads = _padded(torch.ones_like(x[:1, :1]), windows)
        result = result / pool(ones, kernel, stride, pads)
    return _channels_back(result, data_format)


def _adaptive(kind: str, inputs: Any, output_size: Any, data_format: str | None) -> Tensor:
    data_format = config.standardize_data_format(data_format)
    x = _channels_first(as_float(inputs), data_format)
    pool = getattr(functional, f"adaptive_{kind}_pool{x.ndim - 2}d")
    return _channels_back(pool(x, _per_axis(output_size, x.ndim - 2, "output_size")), data_format)


@public("ops")
@op
def adaptive_average_pool(inputs: Any, output_size: Any, data_format: str | None = None) -> Tensor:
    """The mean of windows chosen so that `output_size` of them cover each spatial axis.

    >>> adaptive_average_pool(torch.ones(1, 5, 7, 3), 2).shape
    torch.Size([1, 2, 2, 3])
    """
    return _adaptive("avg", inputs, output_size, data_format)


@public("ops")
@op
def adaptive_max_pool(inputs: Any, output_size: Any, data_format: str | None = None) -> Tensor:
    """The largest element of windows chosen so that `output_size` of them cover each spatial axis.

    >>> adaptive_max_pool(torch.ones(1, 5, 7, 3), 2).shape
    torch.Size([1, 2, 2, 3])
    """
    return _adaptive("max", inputs, output_size, data_format)


@public("ops")
@op
def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The patches of channels-first images as columns: (b, c, h, w) to (b, c·kh·kw, patches).

    >>> unfold(torch.ones(1, 2, 4, 4), 2).shape
    torch.Size([1, 8, 9])
    """
    return functional.unfold(as_float(x), kernel_size, dilation, padding, stride)


@public("ops")
@op
def fold(x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """Patches added up to images, the transpose of `unfold`: (b, c·kh·kw, patches) to (b, c, *output_size).

    >>> fold(torch.ones(1, 8, 9), (4, 4), 2).shape
    torch.Size([1, 2, 4, 4])
    """
    return functional.fold(as_float(x), output_size, kernel_size, dilation, padding, stride)
