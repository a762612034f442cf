"""DenseNet (Huang et al. 2016, arXiv:1608.06993): every layer reads what all before it in its block gave."""

from __future__ import annotations

from collections.abc import Callable

from lamina.applications.ending import Architecture, Request, model_function
from lamina.applications.imagenet_utils import decode_predictions
from lamina.applications.preprocessing import torch_mode
from lamina.base import config
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
from lamina.models import Model

GROWTH = 32  # channels that each layer of a block adds

# `stages`: the number of layers in each of the four blocks.
ARCHITECTURES = {
    "densenet121": Architecture(
        "densenet121",
        (6, 12, 24, 16),
        "densenet",
        ("9d60b8095a5708f2dcce2bca79d332c7", "30ee3e1110167f948a6b9946edeeb738"),
    ),
    "densenet169": Architecture(
        "densenet169",
        (6, 12, 32, 32),
        "densenet",
        ("d699b8f76981ab1b30698df4c175e90b", "b8c4d4c20dd625c148057b9ff1c1176b"),
    ),
    "densenet201": Architecture(
        "densenet201",
        (6, 12, 48, 32),
        "densenet",
        ("1ceb130c1ea1b78c3bf6114dbdfd8807", "c13680b51ded0fb44dff2d8f86ac8bb1"),
    ),
}


def _channel_axis() -> int:
    return 1 if config.image_data_format() == "channels_first" else 3


def _normalize(x: KerasTensor, name: str, activation_name: str) -> KerasTensor:
    x = BatchNormalization(axis=_channel_axis(), epsilon=1.001e-5, name=name)(x)
    return Activation("relu", name=activation_name)(x)


def _layer(x: KerasTensor, name: str) -> KerasTensor:
    """A 1×1 and a 3×3 convolution whose result is joined to what came in."""
    y = _normalize(x, f"{name}_0_bn", f"{name}_0_relu")
    y = Conv2D(4 * GROWTH, 1, use_bias=False, name=f"{name}_1_conv")(y)
    y = _normalize(y, f"{name}_1_bn", f"{name}_1_relu")
    y = Conv2D(GROWTH, 3, padding="same", use_bias=False, name=f"{name}_2_conv")(y)
    return Concatenate(axis=_channel_axis(), name=f"{name}_concat")([x, y])


def _transition(x: KerasTensor, name: str) -> KerasTensor:
    """Half the channels, half the height and width."""
    x = _normalize(x, f"{name}_bn", f"{name}_relu")
    x = Conv2D(int(x.shape[_channel_axis()] or 0) // 2, 1, use_bias=False, name=f"{name}_conv")(x)
    return AveragePooling2D(2, strides=2, name=f"{name}_pool")(x)


def _body(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
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


def _public(function_name: str, docstring: str) -> Callable[..., Model]:
    return model_function(function_name, ARCHITECTURES[function_name.lower()], _body, docstring)


DenseNet121 = _public(
    "DenseNet121",
    """DenseNet121: (batch, height, width, channels) → (batch, classes), or 1024 feature maps of 1/32 the size.

    Parameters and errors: as those of `ResNet50`.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     lamina.applications.DenseNet121(weights=None).count_params()
    8062504
    """,
)
DenseNet169 = _public("DenseNet169", "DenseNet169; the arguments are those of `DenseNet121`.")
DenseNet201 = _public("DenseNet201", "DenseNet201; the arguments are those of `DenseNet121`.")
preprocess_input = torch_mode
__all__ = ["DenseNet121", "DenseNet169", "DenseNet201", "decode_predictions", "preprocess_input"]
