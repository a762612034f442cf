"""What EfficientNet and EfficientNetV2 are built of: blocks that widen the channels, look around, narrow again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lamina.applications.ending import Architecture, Request, pooled
from lamina.applications.parts import channel_axis, channels, fitting_width, padding_for_stride_2
from lamina.graph.keras_tensor import KerasTensor
from lamina.initializers import VarianceScaling
from lamina.layers import (
    Activation,
    Add,
    BatchNormalization,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePooling2D,
    Multiply,
    Reshape,
    ZeroPadding2D,
)

DROP = 0.2  # the share of examples for which the last block is left out in training; earlier blocks less, in steps


@dataclass(frozen=True)
class Stage:
    """Blocks in a row: the window, the channels of their output, how many, how far they widen, the first stride.

    `squeeze`: the channels of the gate, as a share of the block's input; 0 for no gate. `fused`: one full convolution
    in place of a 1×1 convolution and one channel by channel.
    """

    kernel: int
    filters: int
    blocks: int
    expansion: int
    stride: int
    squeeze: float = 0.25
    fused: bool = False


@dataclass(frozen=True)
class Variant:
    """How the two families differ: the momentum of the normalisations, padding, a name."""

    momentum: float
    padded: bool  # zeros come from a layer of their own before a stride of 2, not from the convolution
    depthwise: str


def scaled(
    stem: int,
    stages: Iterable[Stage],
    head: int,
    width: float = 1,
    depth: float = 1,
    fit: Callable[[float], int] = fitting_width,
) -> tuple[Any, ...]:
    """A network's table for a size of the family: the stem's filters, the stages, the head's filters."""
    sized = (
        replace(stage, filters=fit(stage.filters * width), blocks=math.ceil(stage.blocks * depth)) for stage in stages
    )
    return (fit(stem * width), *sized, fit(head * width))


def network(x: KerasTensor, table: Sequence[Any], variant: Variant, blocks: int | None = None) -> KerasTensor:
    """The stem, the blocks and the last convolution of a table that `scaled` made.

    `blocks`: after how many the share that is left out in training reaches `DROP`; by default after all.
    """
    stem, *stages, head = table
    make = _Blocks(variant)
    x = make.normalized(make.strided(x, "stem", "conv", 3, 2, stem), "stem")
    total, built = blocks or sum(stage.blocks for stage in stages), 0
    for number, stage in enumerate(stages, start=1):
        for place in range(stage.blocks):
            row = replace(stage, stride=stage.stride if place == 0 else 1)
            x = make.block(x, row, f"block{number}{chr(ord('a') + place)}", DROP * built / total)
            built += 1
    return make.normalized(_convolution(x, head, 1, "top_conv"), "top")


def end(x: KerasTensor, architecture: Architecture, request: Request, bias: str | None = None) -> KerasTensor:
    """The usual top, with the initial values of these families. `bias`: how the biases begin, if not as usual."""
    if not request.include_top:
        return pooled(x, architecture, request)
    x = GlobalAveragePooling2D(name="avg_pool")(x)
    x = Dropout(architecture.top.dropout, name="top_dropout")(x)
    return Dense(
        request.classes,
        activation=request.classifier_activation,
        kernel_initializer=VarianceScaling(1 / 3, "fan_out", "uniform"),
        bias_initializer=bias or "zeros",
        name="predictions",
    )(x)


def _convolution(
    x: KerasTensor, filters: int, kernel: int, name: str, stride: int = 1, padding: str = "same", **options: Any
) -> KerasTensor:
    options.setdefault("use_bias", False)
    initial = VarianceScaling(2.0, "fan_out", "truncated_normal")
    return Conv2D(filters, kernel, strides=stride, padding=padding, kernel_initializer=initial, name=name, **options)(x)


@dataclass(frozen=True)
class _Blocks:
    """The pieces of the networks, as one of the two families wants them."""

    variant: Variant

    def normalized(self, x: KerasTensor, name: str, activation: bool = True) -> KerasTensor:
        x = BatchNormalization(axis=channel_axis(), momentum=self.variant.momentum, name=f"{name}_bn")(x)
        return Activation("silu", name=f"{name}_activation")(x) if activation else x

    def strided(
        self, x: KerasTensor, block: str, layer: str, kernel: int, stride: int, filters: int | None = None
    ) -> KerasTensor:
        """A convolution, channel by channel unless `filters` are given, that may take every second position."""
        name, padding = f"{block}_{layer}", "same"
        if stride == 2 and self.variant.padded:
            x = ZeroPadding2D(padding_for_stride_2(x, kernel), name=f"{name}_pad")(x)
            padding = "valid"
        if filters is not None:
            return _convolution(x, filters, kernel, name, stride, padding)
        initial = VarianceScaling(2.0, "fan_out", "truncated_normal")
        return DepthwiseConv2D(
            kernel, strides=stride, padding=padding, use_bias=False, depthwise_initializer=initial, name=name
        )(x)

    def block(self, inputs: KerasTensor, stage: Stage, name: str, drop: float) -> KerasTensor:
        """Wider, a window, narrower; what came in is added where the shapes allow it."""
        narrow = channels(inputs)
        widened = stage.expansion != 1
        x, kernel, stride = inputs, 1, 1  # of the convolution that narrows
        if widened:
            window = (stage.kernel, stage.stride) if stage.fused else (1, 1)
            x = _convolution(x, narrow * stage.expansion, window[0], f"{name}_expand_conv", window[1])
            x = self.normalized(x, f"{name}_expand")
        elif stage.fused:
            kernel, stride = stage.kernel, stage.stride
        if not stage.fused:
            x = self.strided(x, name, self.variant.depthwise, stage.kernel, stage.stride)
            x = self.normalized(x, name)
        if stage.squeeze:
            x = _gated(x, max(1, int(narrow * stage.squeeze)), name)
        x = _convolution(x, stage.filters, kernel, f"{name}_project_conv", stride)
        x = self.normalized(x, f"{name}_project", activation=stage.fused and not widened)
        if stage.stride == 1 and narrow == stage.filters:
            if drop:
                x = Dropout(drop, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(x)
            x = Add(name=f"{name}_add")([x, inputs])
        return x


def _gated(x: KerasTensor, filters: int, name: str) -> KerasTensor:
    """Each channel times a number from 0 to 1 that is computed from the means of all channels."""
    width = channels(x)
    shape = (width, 1, 1) if channel_axis() == 1 else (1, 1, width)
    gate = GlobalAveragePooling2D(name=f"{name}_se_squeeze")(x)
    gate = Reshape(shape, name=f"{name}_se_reshape")(gate)
    gate = _convolution(gate, filters, 1, f"{name}_se_reduce", activation="silu", use_bias=True)
    gate = _convolution(gate, width, 1, f"{name}_se_expand", activation="sigmoid", use_bias=True)
    return Multiply(name=f"{name}_se_excite")([x, gate])
