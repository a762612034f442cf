"""ResNet (He et al. 2015, arXiv:1512.03385): bottleneck blocks with a shortcut around each."""

from __future__ import annotations

from dataclasses import dataclass

from lamina.applications.ending import Architecture, Request, model_functions
from lamina.applications.imagenet_utils import decode_predictions
from lamina.applications.parts import channel_axis
from lamina.applications.preprocessing import caffe_mode
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers import Activation, Add, BatchNormalization, Conv2D, MaxPooling2D, ZeroPadding2D


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
    "ResNet50": Architecture("resnet50", _stages(3, 4, 6, 3), "resnet"),
    "ResNet101": Architecture("resnet101", _stages(3, 4, 23, 3), "resnet"),
    "ResNet152": Architecture("resnet152", _stages(3, 8, 36, 3), "resnet"),
}


def _normalize(x: KerasTensor, name: str) -> KerasTensor:
    return BatchNormalization(axis=channel_axis(), epsilon=1.001e-5, name=name)(x)


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
    """ResNet of 50, 101 or 152 layers: (batch, height, width, channels) → (batch, classes).

    Without the top it gives 2048 feature maps of 1/32 the size. Images come from `resnet.preprocess_input`.

    Parameters: `include_top`, whether the mean of the feature maps and a Dense give classes; `weights`, None,
    "imagenet" (fetched once into `~/.keras/models`, or below `LAMINA_HOME`) or a weights file; `input_tensor`, a tensor
    to build on in place of a new input; `input_shape` without the batch axis, None for an open height or width: with
    the top 224×224 unless another is stated, which its mean allows, in the pretrained top too (Keras refuses it there);
    `pooling`, "avg" or "max" over all positions, without the top; `classes` and `classifier_activation` of the last
    Dense; `name` of the model; `min_size`, the smallest height and width that is accepted: the stated 32 (the total
    stride), another number, or None for any; `adapt_channels`, how weights trained on 3 channels read another number:
    "repeat" (in turn) or "mean", both scaled so that a grey image gives the same activations, "zero" (new channels
    start without effect), or "error", not at all.

    Errors: a ShapeError below `min_size` and for weights that do not fit, a ValueError for arguments that contradict
    each other, a DownloadError without a network.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     lamina.applications.ResNet50(weights=None).count_params()
    25636712
    """
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


ResNet50, ResNet101, ResNet152 = model_functions(ARCHITECTURES, _body)
preprocess_input = caffe_mode
__all__ = ["ResNet50", "ResNet101", "ResNet152", "decode_predictions", "preprocess_input"]
