"""Convolutions and pools on channels-second tensors, with the windows of `lamina.shapes`: what layers and ops share.

Tensors are (batch, channels, *spatial), views made by `layout`; one window for each spatial axis. Padding that is the
same on both sides is torch's own; other padding goes before, and keeps the memory layout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from lamina.engine.depthwise import depthwise, has_slow_gradients
from lamina.shapes import TransposedWindow, Window, value_of

Pads = list[tuple[int, int]]

_CONVOLVE: dict[int, Callable[..., torch.Tensor]] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSE: dict[int, Callable[..., torch.Tensor]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
_MAX: dict[int, Callable[..., torch.Tensor]] = {
    1: functional.max_pool1d,
    2: functional.max_pool2d,
    3: functional.max_pool3d,
}
_AVERAGE: dict[int, Callable[..., torch.Tensor]] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}


def pad_spatial(x: torch.Tensor, pads: Pads, value: float = 0.0) -> torch.Tensor:
    """The tensor with positions added before and after along each spatial axis."""
    flat = [amount for pair in reversed(pads) for amount in pair]
    return functional.pad(x, flat, value=value) if any(flat) else x


def pads_of(windows: Sequence[Window], x: torch.Tensor) -> Pads:
    """(before, after) along each spatial axis of a channels-second tensor."""
    return [window.pads(size) for window, size in zip(windows, x.shape[2:], strict=True)]


def _symmetric(pads: Pads) -> bool:
    return all(before == after for before, after in pads)


def torch_kernel(kernel: torch.Tensor) -> torch.Tensor:
    """(*spatial, in, out) seen as torch's (out, in, *spatial)."""
    rank = kernel.dim() - 2
    return kernel.permute(rank + 1, rank, *range(rank))


def depthwise_kernel(kernel: torch.Tensor) -> torch.Tensor:
    """(*spatial, channels, multiplier) as torch's grouped (channels·multiplier, 1, *spatial)."""
    rank = kernel.dim() - 2
    return kernel.permute(rank, rank + 1, *range(rank)).flatten(0, 1).unsqueeze(1)


def convolve(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, windows: Sequence[Window], groups: int = 1
) -> torch.Tensor:
    """A convolution with a weight (out, in/groups, *spatial)."""
    pads = pads_of(windows, x)
    if not _symmetric(pads):
        x, pads = pad_spatial(x, pads), [(0, 0)] * len(windows)
    strides, dilations = [window.stride for window in windows], [window.dilation for window in windows]
    even = [before for before, _ in pads]
    if has_slow_gradients(x, weight, strides, dilations, groups):
        return depthwise(x, weight, bias, strides, even)
    return _CONVOLVE[len(windows)](x, weight, bias, strides, even, dilations, groups)


def convolve_transposed(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, windows: Sequence[TransposedWindow]
) -> torch.Tensor:
    """A transposed convolution with a weight (in, out, *spatial); it has the sizes that the windows say."""
    crops, extra, wanted = [], [], []
    for size, window in zip(x.shape[2:], windows, strict=True):
        crop = window.crop
        length = value_of(window.output(size)) or 0
        made = (size - 1) * window.stride - 2 * crop + window.reach
        crops.append(crop)
        extra.append(max(length - made, 0))
        wanted.append(length)
    strides, dilations = [window.stride for window in windows], [window.dilation for window in windows]
    outputs = _TRANSPOSE[len(windows)](x, weight, bias, strides, crops, extra, 1, dilations)
    for axis, length in enumerate(wanted, start=2):
        outputs = outputs.narrow(axis, 0, length) if outputs.shape[axis] > length else outputs
    return outputs


def max_pool(x: torch.Tensor, windows: Sequence[Window]) -> torch.Tensor:
    """The largest number of each window; padding never wins."""
    pads = pads_of(windows, x)
    if not _torch_pads(x, pads, windows):
        lowest: Any = float("-inf") if x.dtype.is_floating_point else torch.iinfo(x.dtype).min
        x, pads = pad_spatial(x, pads, lowest), [(0, 0)] * len(windows)
    kernel, strides = [window.kernel for window in windows], [window.stride for window in windows]
    return _MAX[len(windows)](x, kernel, strides, [before for before, _ in pads])


def average_pool(x: torch.Tensor, windows: Sequence[Window]) -> torch.Tensor:
    """The mean of each window; padding is not counted."""
    pads = pads_of(windows, x)
    average = _AVERAGE[len(windows)]
    kernel, strides = [window.kernel for window in windows], [window.stride for window in windows]
    if _torch_pads(x, pads, windows):
        return average(x, kernel, strides, [before for before, _ in pads], count_include_pad=False)
    counted = pad_spatial(torch.ones_like(x[:1, :1]), pads)
    return average(pad_spatial(x, pads), kernel, strides) / average(counted, kernel, strides)


def _torch_pads(x: torch.Tensor, pads: Pads, windows: Sequence[Window]) -> bool:
    """Whether torch's own padding will do: the same on both sides, at most half a window, and (which torch asks of
    three axes) no window larger than the image."""
    fits = all(
        2 * before <= window.kernel <= size
        for (before, _), window, size in zip(pads, windows, x.shape[2:], strict=True)
    )
    return _symmetric(pads) and fits
