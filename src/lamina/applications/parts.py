"""What several families compute: where the channels are, widths in multiples of eight, padding for a stride."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lamina.base import config
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers import DepthwiseConv2D, ZeroPadding2D


def channel_axis(last: int = 3) -> int:
    """The axis of the channels of an image batch: 1 with channels first, else `last`, as the family counts it."""
    return 1 if config.image_data_format() == "channels_first" else last


def image_size(input_shape: Sequence[Any]) -> tuple[Any, ...]:
    """Height and width in an input shape without the batch axis."""
    return tuple(input_shape[1:] if channel_axis() == 1 else input_shape[:2])


def channels(x: KerasTensor) -> int:
    """How many channels a tensor of the graph has."""
    return int(x.shape[channel_axis()] or 0)


def fitting_width(width: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to a width, but never less than nine tenths of the width.

    >>> fitting_width(0.35 * 32), fitting_width(0.35 * 96), fitting_width(11)
    (16, 32, 16)
    """
    nearest = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * width else nearest


def padding_for_stride_2(x: KerasTensor, kernel: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Zeros above and below, left and right, so that a window of stride 2 ends exactly at the border of `x`.

    An even size gets one row less above than below, an odd one as many; an open size counts as even.
    """
    sizes = x.shape[2:] if channel_axis() == 1 else x.shape[1:3]
    half = kernel // 2
    even = [None in sizes or (size or 0) % 2 == 0 for size in sizes]
    return (half - even[0], half), (half - even[1], half)


def depthwise(x: KerasTensor, kernel: int, stride: int, name: str, pad: str) -> KerasTensor:
    """A convolution of each channel alone; before a stride of 2 zeros come from a layer of their own, called `pad`."""
    if stride == 2:
        x = ZeroPadding2D(padding_for_stride_2(x, kernel), name=pad)(x)
    padding = "valid" if stride == 2 else "same"
    return DepthwiseConv2D(kernel, strides=stride, padding=padding, use_bias=False, name=name)(x)
