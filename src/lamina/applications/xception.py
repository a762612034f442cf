"""Xception (Chollet 2016, arXiv:1610.02357): separable convolutions with a shortcut around every two or three."""

from __future__ import annotations

from dataclasses import dataclass

from lamina.applications.ending import Architecture, Request, model_function
from lamina.applications.imagenet_utils import decode_predictions
from lamina.applications.parts import channel_axis
from lamina.applications.preprocessing import tf_mode
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers import Activation, Add, BatchNormalization, Conv2D, MaxPooling2D, SeparableConv2D


@dataclass(frozen=True)
class Block:
    """The filters of separable convolutions in a row, and the shortcut around them.

    `shortcut`: "" for none, "input" for the block's input, "projected" for a 1×1 convolution of it with stride 2,
    beside a pooling of stride 2.

    With a shortcut the activations are in front of the convolutions, without it behind them. `activate_first=False`:
    none in front of the first, whose input comes from one.
    """

    filters: tuple[int, ...]
    shortcut: str
    activate_first: bool = True


def _normalize(x: KerasTensor, name: str | None = None) -> KerasTensor:
    return BatchNormalization(axis=channel_axis(-1), name=name)(x)


def _convolution(x: KerasTensor, filters: int, stride: int, name: str) -> KerasTensor:
    x = Conv2D(filters, 3, strides=stride, use_bias=False, name=name)(x)
    x = _normalize(x, f"{name}_bn")
    return Activation("relu", name=f"{name}_act")(x)


def _block(x: KerasTensor, block: Block, name: str) -> KerasTensor:
    y = x
    for number, filters in enumerate(block.filters, start=1):
        inner = f"{name}_sepconv{number}"
        if block.shortcut and (number > 1 or block.activate_first):
            y = Activation("relu", name=f"{inner}_act")(y)
        y = SeparableConv2D(filters, 3, padding="same", use_bias=False, name=inner)(y)
        y = _normalize(y, f"{inner}_bn")
        if not block.shortcut:
            y = Activation("relu", name=f"{inner}_act")(y)
    if not block.shortcut:
        return y
    if block.shortcut == "projected":
        x = _normalize(Conv2D(block.filters[-1], 1, strides=2, padding="same", use_bias=False)(x))
        y = MaxPooling2D(3, strides=2, padding="same", name=f"{name}_pool")(y)
    return Add()([y, x])


def _body(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    """Xception: (batch, height, width, channels) → (batch, classes), or 2048 feature maps of 1/32 the size.

    Parameters and errors: as those of `ResNet50`, with 71 as the smallest and 299 as the usual height and width. Images
    come from `xception.preprocess_input`, −1 to 1.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     lamina.applications.Xception(weights=None).count_params()
    22910480
    """
    x = _convolution(x, 32, 2, "block1_conv1")
    x = _convolution(x, 64, 1, "block1_conv2")
    for number, block in enumerate(architecture.stages, start=2):
        x = _block(x, block, f"block{number}")
    return x


ARCHITECTURE = Architecture(
    "xception",
    (
        Block((128, 128), "projected", activate_first=False),
        Block((256, 256), "projected"),
        Block((728, 728), "projected"),
        *[Block((728, 728, 728), "input")] * 8,
        Block((728, 1024), "projected"),
        Block((1536, 2048), ""),
    ),
    "xception",
    min_size=71,
    default_size=299,
    pooling_names=(None, None),
)
Xception = model_function("Xception", ARCHITECTURE, _body)
preprocess_input = tf_mode
__all__ = ["Xception", "decode_predictions", "preprocess_input"]
