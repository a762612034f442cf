"""Convolution kernels as Keras 1, and Keras on Theano, stored them, with today's order of axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lamina.layers.convolution import Conv, ConvTranspose, SeparableConv
from lamina.layers.weights import weight_name

Kernel = np.ndarray[Any, Any]
Turn = Callable[[Kernel], Kernel]  # returns a view, so that it costs no memory on an array that is not read


@dataclass(frozen=True)
class TurnedArray:
    """A stored array and what turns it into a weight of today once it is read."""

    stored: Any
    turn: Turn

    @property
    def dtype(self) -> Any:
        return self.stored.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.turn(np.broadcast_to(np.zeros((), self.dtype), self.stored.shape)).shape

    def read(self) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.turn(np.asarray(self.stored[()]))))


def kernel_conversion(version: str, backend: str) -> Callable[[Any, Any, Any], Any]:
    """What makes an array of a file of this Keras a weight of today: `(layer, weight, array)` to an array, for most the
    same.

    Keras 1 stored the kernels of channels_first layers as (filters, channels, *window), those of Conv1D with an axis of
    1, and those of Conv2DTranspose with filters and channels exchanged. On Theano every kernel is stored mirrored.
    """
    is_keras_1 = version.split(".")[0] == "1"
    is_mirrored = backend == "theano"

    def convert(layer: Any, weight: Any, stored: Any) -> Any:
        if not weight_name(weight).endswith("kernel"):
            return stored
        turns: list[Turn] = []
        if is_keras_1 and isinstance(layer, Conv | ConvTranspose | SeparableConv):
            turns += _turns_of_keras_1(layer, stored.shape)
        if is_mirrored and isinstance(layer, Conv | ConvTranspose):
            turns.append(_mirror)
        for turn in turns:
            stored = TurnedArray(stored, turn)
        return stored

    return convert


def _turns_of_keras_1(layer: Any, shape: tuple[int, ...]) -> list[Turn]:
    """None for a kernel that stands as today, and for an array that is none of Keras 1: its shape is compared later."""
    if len(shape) != max(layer.rank + 2, 4):
        return []
    if layer.rank == 1:
        as_today = shape[:2] == (*layer.kernel_size, 1) and shape[3] == layer.filters
        return [_without_axis_of_one if as_today else _filters_first_without_axis_of_one]
    channels_first = layer.data_format == "channels_first"
    if isinstance(layer, ConvTranspose):  # today's order is (window, filters, channels)
        return [_channels_second if channels_first else _exchanged]
    return [_filters_first] if channels_first else []


def _mirror(kernel: Kernel) -> Kernel:
    return np.flip(kernel, tuple(range(kernel.ndim - 2)))


def _without_axis_of_one(kernel: Kernel) -> Kernel:
    return kernel[:, 0]


def _filters_first_without_axis_of_one(kernel: Kernel) -> Kernel:
    return kernel.transpose(2, 3, 1, 0)[:, 0]


def _filters_first(kernel: Kernel) -> Kernel:
    return np.moveaxis(kernel, (0, 1), (-1, -2))


def _channels_second(kernel: Kernel) -> Kernel:
    return np.moveaxis(kernel, (0, 1), (-2, -1))


def _exchanged(kernel: Kernel) -> Kernel:
    return np.swapaxes(kernel, -1, -2)
