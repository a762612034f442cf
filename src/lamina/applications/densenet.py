"""DenseNet (Huang et al. 2016, arXiv:1608.06993): every layer reads what all before it in its block gave."""

from __future__ import annotations

from lamina.applications.ending import Architecture, Request, model_functions
from lamina.applications.imagenet_utils import decode_predictions
from lamina.applications.parts import channel_axis, channels
from lamina.applications.preprocessing import torch_mode
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    MaxPooling2D,
    ZeroPadding2D,
)

GROWTH = 32  # channels that each layer of a block adds

ARCHITECTURES = {  # `stages`: the number of layers in each of the four blocks
    "DenseNet121": Architecture("densenet121", (6, 12, 24, 16), "densenet"),
    "DenseNet169": Architecture("densenet169", (6, 12, 32, 32), "densenet"),
    "DenseNet201": Architecture("densenet201", (6, 12, 48, 32), "densenet"),
}


def _normalize(x: KerasTensor, name: str, activation_name: str) -> KerasTensor:
    x = BatchNormalization(axis=channel_axis(), epsilon=1.001e-5, name=name)(x)
    return Activation("relu", name=activation_name)(x)


def _layer(x: KerasTensor, name: str) -> KerasTensor:
    """A 1×1 and a 3×3 convolution whose result is joined to what came in."""
    y = _normalize(x, f"{name}_0_bn", f"{name}_0_relu")
    y = Conv2D(4 * GROWTH, 1, use_bias=False, name=f"{name}_1_conv")(y)
    y = _normalize(y, f"{name}_1_bn", f"{name}_1_relu")
    y = Conv2D(GROWTH, 3, padding="same", use_bias=False, name=f"{name}_2_conv")(y)
    return Concatenate(axis=channel_axis(), name=f"{name}_concat")([x, y])


def _transition(x: KerasTensor, name: str) -> KerasTensor:
    """Half the channels, half the height and width."""
    x = _normalize(x, f"{name}_bn", f"{name}_relu")
    x = Conv2D(channels(x) // 2, 1, use_bias=False, name=f"{name}_conv")(x)
    return AveragePooling2D(2, strides=2, name=f"{name}_pool")(x)


def _body(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    """DenseNet of 121, 169 or 201 layers: (batch, height, width, channels) → (batch, classes).

    Without the top it gives 1024, 1664 or 1920 feature maps of 1/32 the size. Images come from
    `densenet.preprocess_input`. Parameters and errors: as those of `ResNet50`.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     lamina.applications.DenseNet121(weights=None).count_params()
    8062504
    """
    blocks = architecture.stages
    x = ZeroPadding2D(3)(x)
    x = Conv2D(64, 7, strides=2, use_bias=False, name="conv1_conv")(x)
    x = _normalize(x, "conv1_bn", "conv1_relu")
    x = ZeroPadding2D(1)(x)
    x = MaxPooling2D(3, strides=2, name="pool1")(x)
    for stage, layers in enumerate(blocks, start=2):
        for number in range(1, layers + 1):
            x = _layer(x, f"conv{stage}_block{number}")
        if stage < len(blocks) + 1:
            x = _transition(x, f"pool{stage}")
    return _normalize(x, "bn", "relu")


DenseNet121, DenseNet169, DenseNet201 = model_functions(ARCHITECTURES, _body)
preprocess_input = torch_mode
__all__ = ["DenseNet121", "DenseNet169", "DenseNet201", "decode_predictions", "preprocess_input"]
