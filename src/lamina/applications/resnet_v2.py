"""ResNetV2 (He et al. 2016, arXiv:1603.05027): normalization and activation in front of each convolution."""

from __future__ import annotations

from lamina.applications.ending import Architecture, Request, model_functions
from lamina.applications.imagenet_utils import decode_predictions
from lamina.applications.parts import channel_axis
from lamina.applications.preprocessing import tf_mode
from lamina.applications.published import SERVER
from lamina.applications.resnet import Stage
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers import Activation, Add, BatchNormalization, Conv2D, MaxPooling2D, ZeroPadding2D


def _architecture(name: str, *blocks: int) -> Architecture:
    """The stride of a stage is that of its last block, where that of ResNet is at its first."""
    rows = zip(("conv2", "conv3", "conv4", "conv5"), (64, 128, 256, 512), blocks, (2, 2, 2, 1), strict=True)
    return Architecture(name, tuple(Stage(*row) for row in rows), "resnet_v2", origin=f"{SERVER}/resnet")


ARCHITECTURES = {
    "ResNet50V2": _architecture("resnet50v2", 3, 4, 6, 3),
    "ResNet101V2": _architecture("resnet101v2", 3, 4, 23, 3),
    "ResNet152V2": _architecture("resnet152v2", 3, 8, 36, 3),
}


def _activate(x: KerasTensor, name: str) -> KerasTensor:
    x = BatchNormalization(axis=channel_axis(), epsilon=1.001e-5, name=f"{name}_bn")(x)
    return Activation("relu", name=f"{name}_relu")(x)


def _block(x: KerasTensor, filters: int, stride: int, project: bool, name: str) -> KerasTensor:
    """1×1, 3×3, 1×1 convolutions beside the shortcut, which is projected, thinned out to the stride, or left alone."""
    y = _activate(x, f"{name}_preact")
    if project:
        shortcut = Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(y)
    else:
        shortcut = MaxPooling2D(1, strides=stride)(x) if stride > 1 else x
    y = Conv2D(filters, 1, use_bias=False, name=f"{name}_1_conv")(y)
    y = _activate(y, f"{name}_1")
    y = ZeroPadding2D(1, name=f"{name}_2_pad")(y)
    y = Conv2D(filters, 3, strides=stride, use_bias=False, name=f"{name}_2_conv")(y)
    y = _activate(y, f"{name}_2")
    y = Conv2D(4 * filters, 1, name=f"{name}_3_conv")(y)
    return Add(name=f"{name}_out")([shortcut, y])


def _body(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    """ResNetV2 of 50, 101 or 152 layers: (batch, height, width, channels) → (batch, classes).

    Without the top it gives 2048 feature maps of 1/32 the size. Parameters and errors: as those of `ResNet50`. Images
    come from `resnet_v2.preprocess_input`, −1 to 1.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     lamina.applications.ResNet50V2(weights=None).count_params()
    25613800
    """
    x = ZeroPadding2D(3, name="conv1_pad")(x)
    x = Conv2D(64, 7, strides=2, name="conv1_conv")(x)
    x = ZeroPadding2D(1, name="pool1_pad")(x)
    x = MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage in architecture.stages:
        for number in range(1, stage.blocks + 1):
            stride = stage.stride if number == stage.blocks else 1
            x = _block(x, stage.filters, stride, number == 1, f"{stage.name}_block{number}")
    return _activate(x, "post")


ResNet50V2, ResNet101V2, ResNet152V2 = model_functions(ARCHITECTURES, _body)
preprocess_input = tf_mode
__all__ = ["ResNet50V2", "ResNet101V2", "ResNet152V2", "decode_predictions", "preprocess_input"]
