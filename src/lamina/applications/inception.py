"""What InceptionV3 and Inception-ResNet-V2 share: units, branches of units side by side, and the first layers."""

from __future__ import annotations

from dataclasses import dataclass

from lamina.applications.parts import channel_axis
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers import Activation, AveragePooling2D, BatchNormalization, Concatenate, Conv2D, MaxPooling2D


@dataclass(frozen=True)
class Conv:
    """A convolution without bias, a normalization without scale, ReLU. `kernel`: height and width, or both in one."""

    filters: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1
    padding: str = "same"


@dataclass(frozen=True)
class Pooling:
    """Over 3×3: an average that keeps the size, or a maximum that halves it."""

    maximum: bool


@dataclass(frozen=True)
class Mixed:
    """Branches that read the same input, each a row of units, joined along the channels."""

    name: str | None
    branches: tuple[Branch, ...]


Unit = Conv | Pooling | Mixed
Branch = tuple[Unit, ...]

AVERAGE, MAXIMUM = Pooling(maximum=False), Pooling(maximum=True)
STEM: Branch = (
    Conv(32, 3, stride=2, padding="valid"),
    Conv(32, 3, padding="valid"),
    Conv(64, 3),
    MAXIMUM,
    Conv(80, padding="valid"),
    Conv(192, 3, padding="valid"),
    MAXIMUM,
)


def mixed(name: str | None, *branches: Branch) -> Mixed:
    return Mixed(name, branches)


def halving(filters: int) -> Conv:
    """A 3×3 convolution that halves the size, as a maximum beside it does."""
    return Conv(filters, 3, 2, "valid")


def run(x: KerasTensor, units: Branch) -> KerasTensor:
    """The units one behind the other."""
    for unit in units:
        if isinstance(unit, Conv):
            x = convolution(x, unit)
        elif isinstance(unit, Mixed):
            x = Concatenate(axis=channel_axis(), name=unit.name)([run(x, branch) for branch in unit.branches])
        elif unit.maximum:
            x = MaxPooling2D(3, strides=2)(x)
        else:
            x = AveragePooling2D(3, strides=1, padding="same")(x)
    return x


def convolution(x: KerasTensor, unit: Conv, name: str | None = None) -> KerasTensor:
    """Without a name the three layers have automatic ones."""
    x = Conv2D(unit.filters, unit.kernel, strides=unit.stride, padding=unit.padding, use_bias=False, name=name)(x)
    x = BatchNormalization(axis=channel_axis(), scale=False, name=name and f"{name}_bn")(x)
    return Activation("relu", name=name and f"{name}_ac")(x)
