"""Weights as Keras 1, Keras on Theano and the CuDNN layers of Keras 2 stored them, as today's."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lamina.layers.convolution import Conv, ConvTranspose, SeparableConv
from lamina.layers.recurrent import GRUCell, LSTMCell
from lamina.layers.weights import weight_name

Kernel = np.ndarray[Any, Any]
Turn = Callable[[Kernel], Kernel]
Meant = tuple[Any, Any, Any]  # a layer, its weight and the array meant for it

_GATE = re.compile(r"(?P<layer>.+)_(?P<kind>[WUb])_(?P<gate>[a-z])(_\d+)?(:\d+)?")  # lstm_1_W_i
_GATES_TODAY = ("ifco", "zrh")  # of LSTM and GRU, side by side


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

    def __getitem__(self, everything: tuple[()]) -> Kernel:
        return np.ascontiguousarray(self.turn(np.asarray(self.stored[everything])))


@dataclass(frozen=True)
class JoinedArray:
    """Stored arrays that are one weight of today, side by side on the last axis."""

    parts: tuple[Any, ...]

    @property
    def dtype(self) -> Any:
        return self.parts[0].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.parts[0].shape[:-1], sum(part.shape[-1] for part in self.parts))

    def __getitem__(self, everything: tuple[()]) -> Kernel:
        return np.concatenate([np.asarray(part[everything]) for part in self.parts], axis=-1)


def joined_gates(arrays: dict[str, Any]) -> dict[str, Any]:
    """The arrays of a layer with those of Keras 1's gates (`lstm_W_i`, `lstm_U_i`, `lstm_b_i`, `lstm_W_c`, ...) joined
    into today's kernel, recurrent kernel and bias; what is no whole set of gates stays as it is.

    >>> names = [f"gru_{kind}_{gate}" for gate in "zrh" for kind in "WUb"]
    >>> joined = joined_gates({name: np.zeros(4) for name in names})
    >>> {name: array.shape for name, array in joined.items()}
    {'gru_W': (12,), 'gru_U': (12,), 'gru_b': (12,)}
    """
    found: dict[str, dict[str, Any]] = {}
    for name, array in arrays.items():
        if match := _GATE.fullmatch(name):
            found.setdefault(match["layer"], {})[match["kind"] + match["gate"]] = array
    order = {layer: gates for layer, own in found.items() for gates in _GATES_TODAY if _are_gates(own, gates)}
    joined: dict[str, Any] = {}
    for name, array in arrays.items():
        match = _GATE.fullmatch(name)
        if match is None or match["layer"] not in order:
            joined[name] = array
            continue
        layer = match["layer"]
        for kind in "WUb":
            joined[f"{layer}_{kind}"] = JoinedArray(tuple(found[layer][kind + gate] for gate in order[layer]))
    return joined


def _are_gates(arrays: dict[str, Any], gates: str) -> bool:
    """Whether these are the arrays of all the gates, and fit side by side."""
    if arrays.keys() != {kind + gate for kind in "WUb" for gate in gates}:
        return False
    likes = [{(one.dtype, one.shape) for name, one in arrays.items() if name[0] == kind} for kind in "WUb"]
    return all(len(like) == 1 and len(next(iter(like))[1]) > 0 for like in likes)


def weight_conversion(version: str, backend: str) -> Callable[[list[Meant]], list[Any]]:
    """What makes the arrays that a file of this Keras has for a layer's weights those of today; most stay as they are.

    Keras 1 stored the kernels of channels_first layers as (filters, channels, *window), those of Conv1D with an axis of
    1, and those of Conv2DTranspose with filters and channels exchanged. On Theano every kernel is stored mirrored.
    CuDNNLSTM and CuDNNGRU of Keras 2 stored what the library of that name reads: two biases, one behind the other, and
    each gate's kernel turned. The length of the bias tells.
    """
    is_keras_1 = version.split(".")[0] == "1"
    is_mirrored = backend == "theano"

    def turns_of(layer: Any, weight: Any, stored: Any) -> list[Turn]:
        turns: list[Turn] = []
        if not weight_name(weight).endswith("kernel"):
            return turns
        if is_keras_1 and isinstance(layer, Conv | ConvTranspose | SeparableConv):
            turns += _turns_of_keras_1(layer, stored.shape)
        if is_mirrored and isinstance(layer, Conv | ConvTranspose):
            turns.append(_mirror)
        return turns

    def convert(meant: list[Meant]) -> list[Any]:
        of_cudnn = {id(cell) for cell, weight, stored in meant if _is_cudnn_bias(cell, weight, stored)}
        converted = []
        for layer, weight, stored in meant:
            turns = _turns_of_cudnn(layer, weight, stored) if id(layer) in of_cudnn else turns_of(layer, weight, stored)
            for turn in turns:
                stored = TurnedArray(stored, turn)
            converted.append(stored)
        return converted

    return convert


def _is_cudnn_bias(cell: Any, weight: Any, stored: Any) -> bool:
    """Whether this is the bias of an LSTM or GRU of CuDNN, for one of today that computes the same."""
    if not isinstance(cell, LSTMCell) and not (isinstance(cell, GRUCell) and cell.reset_after):
        return False
    return weight_name(weight) == "bias" and stored.shape == (2 * cell.gates * cell.units,)


def _turns_of_cudnn(cell: Any, weight: Any, stored: Any) -> list[Turn]:
    if weight_name(weight) == "bias":
        return [_added_biases if isinstance(cell, LSTMCell) else _two_rows]
    if stored.shape != tuple(weight.shape):  # compared, and refused, as it stands
        return []
    return [partial(_gates_from_cudnn if weight_name(weight) == "kernel" else _gates_turned, gates=cell.gates)]


def _two_rows(bias: Kernel) -> Kernel:
    return bias.reshape(2, -1)


def _added_biases(bias: Kernel) -> Kernel:
    return _two_rows(bias).sum(0)


def _gates_from_cudnn(kernel: Kernel, gates: int) -> Kernel:
    """Each gate's numbers, (features, units) in the file, are a matrix (units, features) row by row."""
    parts = [part.reshape(part.shape[::-1]).T for part in np.split(kernel, gates, axis=1)]
    return np.concatenate(parts, axis=1)


def _gates_turned(kernel: Kernel, gates: int) -> Kernel:
    return np.concatenate([part.T for part in np.split(kernel, gates, axis=1)], axis=1)


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
