"""ResNet (He et al. 2015, arXiv:1512.03385): bottleneck blocks with a shortcut around each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lamina.applications.ending import Architecture, Request, model_function
from lamina.applications.imagenet_utils import decode_predictions
from lamina.applications.preprocessing import caffe_mode
from lamina.base import config
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers import Activation, Add, BatchNormalization, Conv2D, MaxPooling2D, ZeroPadding2D
from lamina.models import Model


@dataclass(frozen=True)
class Stage:
    """Blocks in a row: their name, the filters inside each (a quarter of its output), how many, the first stride."""

    name: str
    filters: int
    blocks: int
    stride: int


def _stages(*blocks: int) -> tuple[Stage, ...]:
    rows = zip(("conv2", "conv3", "conv4", "conv5"), (64, 128, 256, 512), blocks, (1, 2, 2, 2), strict=True)
    return tuple(Stage(*row) for row in rows)


ARCHITECTURES = {
    "resnet50": Architecture(
        "resnet50",
        _stages(3, 4, 6, 3),
        "resnet",
        ("2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"),
    ),
    "resnet101": Architecture(
        "resnet101",
        _stages(3, 4, 23, 3),
        "resnet",
        ("f1aeb4b969a6efcfb50fad2f0c20cfc5", "88cf7a10940856eca736dc7b7e228a21"),
    ),
    "resnet152": Architecture(
        "resnet152",
        _stages(3, 8, 36, 3),
        "resnet",
        ("100835be76be38e30d865e96f2aaae62", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    ),
}


def _normalize(x: KerasTensor, name: str) -> KerasTensor:
    axis = 1 if config.image_data_format() == "channels_first" else 3
    return BatchNormalization(axis=axis, epsilon=1.001e-5, name=name)(x)


def _block(x: KerasTensor, filters: int, stride: int, project: bool, name: str) -> KerasTensor:
    """1×1, 3×3, 1×1 convolutions beside the shortcut, which is projected in the first block of a stage."""
    shortcut = x
    if project:
        shortcut = Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = _normalize(shortcut, f"{name}_0_bn")
    for number, (width, kernel, strides) in enumerate([(filters, 1, stride), (filters, 3, 1)], start=1):
        x = Conv2D(
            width, kernel, strides=strides, padding="same" if kernel > 1 else "valid", name=f"{name}_{number}_conv"
        )(x)
        x = _normalize(x, f"{name}_{number}_bn")
        x = Activation("relu", name=f"{name}_{number}_relu")(x)
    x = Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    x = _normalize(x, f"{name}_3_bn")
    x = Add(name=f"{name}_add")([shortcut, x])
    return Activation("relu", name=f"{name}_out")(x)


def _body(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    x = ZeroPadding2D(3, name="conv1_pad")(x)
    x = Conv2D(64, 7, strides=2, name="conv1_conv")(x)
    x = _normalize(x, "conv1_bn")
    x = Activation("relu", name="conv1_relu")(x)
    x = ZeroPadding2D(1, name="pool1_pad")(x)
    x = MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage in architecture.stages:
        for number in range(1, stage.blocks + 1):
            first = number == 1
            x = _block(x, stage.filters, stage.stride if first else 1, first, f"{stage.name}_block{number}")
    return x


def _public(function_name: str, docstring: str) -> Callable[..., Model]:
    return model_function(function_name, ARCHITECTURES[function_name.lower()], _body, docstring)


ResNet50 = _public(
    "ResNet50",
    """ResNet50: (batch, height, width, channels) → (batch, classes), or feature maps of 1/32 the size without the top.

    Parameters: `weights`, None, "imagenet" (fetched once into `~/.keras/models`, or below `LAMINA_HOME`) or a weights
    file; `input_shape` without the batch axis; `pooling`, "avg" or "max" without the top; `min_size`, the smallest
    height and width that is accepted: the stated 32 (the total stride), another number, or None for any;
    `adapt_channels`, how weights trained on 3 channels read another number: "repeat" (in turn) or "mean", both scaled
    so that a grey image gives the same activations, "zero" (new channels start without effect), or "error", not at all.

    Errors: a ShapeError below `min_size` and for weights that do not fit, a DownloadError without a network.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     lamina.applications.ResNet50(weights=None).count_params()
    25636712
    """,
)
ResNet101 = _public("ResNet101", "ResNet101; the arguments are those of `ResNet50`.")
ResNet152 = _public("ResNet152", "ResNet152; the arguments are those of `ResNet50`.")
preprocess_input = caffe_mode
__all__ = ["ResNet50", "ResNet101", "ResNet152", "decode_predictions", "preprocess_input"]
