"""Convolutions and pools of every rank. Images keep Keras's layout; torch sees a channels-first view of them.

Shapes below are channels_last: (batch, *spatial, channels), with one, two or three spatial axes. Kernels are
(*spatial, in, out). Sizes follow `lamina.shapes.window`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from lamina.base import config
from lamina.base.registry import public
from lamina.engine import kernels
from lamina.engine.layout import as_given, channels_second
from lamina.graph.record import op
from lamina.ops.convert import as_float, as_tensor, promote
from lamina.shapes.window import TransposedWindow, Window


def _per_axis(value: Any, rank: int, name: str) -> tuple[int, ...]:
    values = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(values) != rank:
        raise ValueError(f"{name} is an int or {rank} ints, one per spatial axis; got {value!r}.")
    return values


def _windows(
    x: torch.Tensor, kernel: Sequence[int], strides: Any, padding: str | tuple[int, int], dilation: Any
) -> list[Window]:
    """The window of each spatial axis of a channels-first tensor, after a look whether it fits."""
    rank = x.ndim - 2
    strides, dilation = _per_axis(strides, rank, "strides"), _per_axis(dilation, rank, "dilation_rate")
    windows = [Window(k, s, d, padding) for k, s, d in zip(kernel, strides, dilation, strict=True)]
    for window, size in zip(windows, x.shape[2:], strict=True):
        window.output(size)
    return windows


@public("ops")
@op
def conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> torch.Tensor:
    """Convolution: (batch, *spatial, in) with a kernel (*spatial, in / groups, out) to (batch, *spatial', out).

    Parameters: `strides`, `dilation_rate`, an int or one per axis; `padding`, `"valid"` or `"same"`. Errors: a kernel
    larger than the padded input, or channels that do not match, are a ShapeError or a ValueError.

    >>> conv(torch.ones(1, 5, 5, 3), torch.ones(3, 3, 3, 8), strides=2).shape
    torch.Size([1, 2, 2, 8])
    """
    data_format = config.standardize_data_format(data_format)
    inputs, kernel = promote(inputs, kernel)
    x = channels_second(inputs, data_format)
    channels, expected = x.shape[1], kernel.shape[-2]
    if channels % expected:
        raise ValueError(f"A kernel {tuple(kernel.shape)} takes {expected} channels a group; the input has {channels}.")
    windows = _windows(x, kernel.shape[:-2], strides, padding, dilation_rate)
    result = kernels.convolve(x, kernels.torch_kernel(kernel), None, windows, groups=channels // expected)
    return as_given(result, data_format)


@public("ops")
@op
def depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> torch.Tensor:
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
) -> torch.Tensor:
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
) -> torch.Tensor:
    """The transpose of a convolution: (batch, *spatial, in), kernel (*spatial, out, in) to (batch, *spatial', out).

    Sizes: n·stride (same), n·stride + max(kernel - stride, 0) (valid).

    >>> conv_transpose(torch.ones(1, 5, 5, 3), torch.ones(3, 3, 8, 3), strides=2, padding="same").shape
    torch.Size([1, 10, 10, 8])
    """
    data_format = config.standardize_data_format(data_format)
    inputs, kernel = promote(inputs, kernel)
    x = channels_second(inputs, data_format)
    rank = x.ndim - 2
    strides, dilation = _per_axis(strides, rank, "strides"), _per_axis(dilation_rate, rank, "dilation_rate")
    extra = (None,) * rank if output_padding is None else _per_axis(output_padding, rank, "output_padding")
    zipped = zip(kernel.shape[:-2], strides, dilation, extra, strict=True)
    windows = [TransposedWindow(k, s, d, padding, more) for k, s, d, more in zipped]
    return as_given(kernels.convolve_transposed(x, kernels.torch_kernel(kernel), None, windows), data_format)


def _pool_windows(x: torch.Tensor, pool_size: Any, strides: Any, padding: str) -> list[Window]:
    sizes = _per_axis(pool_size, x.ndim - 2, "pool_size")
    return _windows(x, sizes, sizes if strides is None else strides, padding, 1)


@public("ops")
@op
def max_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None
) -> torch.Tensor:
    """The largest element of each window; the strides are the pool's size by default.

    >>> max_pool(torch.ones(1, 6, 6, 3), 2).shape
    torch.Size([1, 3, 3, 3])
    """
    data_format = config.standardize_data_format(data_format)
    x = channels_second(as_tensor(inputs), data_format)
    return as_given(kernels.max_pool(x, _pool_windows(x, pool_size, strides, padding)), data_format)


@public("ops")
@op
def average_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None
) -> torch.Tensor:
    """The mean of each window, over the positions that lie inside the input.

    >>> average_pool(torch.ones(1, 5, 5, 3), 2, padding="same").shape
    torch.Size([1, 3, 3, 3])
    """
    data_format = config.standardize_data_format(data_format)
    x = channels_second(as_float(inputs), data_format)
    return as_given(kernels.average_pool(x, _pool_windows(x, pool_size, strides, padding)), data_format)


def _adaptive(kind: str, inputs: Any, output_size: Any, data_format: str | None) -> torch.Tensor:
    data_format = config.standardize_data_format(data_format)
    x = channels_second(as_float(inputs), data_format)
    pool = getattr(functional, f"adaptive_{kind}_pool{x.ndim - 2}d")
    return as_given(pool(x, _per_axis(output_size, x.ndim - 2, "output_size")), data_format)


@public("ops")
@op
def adaptive_average_pool(inputs: Any, output_size: Any, data_format: str | None = None) -> torch.Tensor:
    """The mean of windows chosen so that `output_size` of them cover each spatial axis.

    >>> adaptive_average_pool(torch.ones(1, 5, 7, 3), 2).shape
    torch.Size([1, 2, 2, 3])
    """
    return _adaptive("avg", inputs, output_size, data_format)


@public("ops")
@op
def adaptive_max_pool(inputs: Any, output_size: Any, data_format: str | None = None) -> torch.Tensor:
    """The largest element of windows chosen so that `output_size` of them cover each spatial axis.

    >>> adaptive_max_pool(torch.ones(1, 5, 7, 3), 2).shape
    torch.Size([1, 2, 2, 3])
    """
    return _adaptive("max", inputs, output_size, data_format)


@public("ops")
@op
def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> torch.Tensor:
    """The patches of channels-first images as columns: (b, c, h, w) to (b, c·kh·kw, patches).

    >>> unfold(torch.ones(1, 2, 4, 4), 2).shape
    torch.Size([1, 8, 9])
    """
    return functional.unfold(as_float(x), kernel_size, dilation, padding, stride)


@public("ops")
@op
def fold(
    x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> torch.Tensor:
    """Patches added up to images, the transpose of `unfold`: (b, c·kh·kw, patches) to (b, c, *output_size).

    >>> fold(torch.ones(1, 8, 9), (4, 4), 2).shape
    torch.Size([1, 2, 4, 4])
    """
    return functional.fold(as_float(x), output_size, kernel_size, dilation, padding, stride)
