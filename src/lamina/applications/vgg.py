"""VGG (Simonyan and Zisserman 2014, arXiv:1409.1556): 3×3 convolutions in a row, a pooling behind each stage."""

from __future__ import annotations

from dataclasses import dataclass

from lamina.applications.ending import Architecture, Request, Top, model_functions
from lamina.applications.imagenet_utils import decode_predictions
from lamina.applications.preprocessing import caffe_mode
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers import Conv2D, MaxPooling2D


@dataclass(frozen=True)
class Stage:
    """Convolutions of one size in a row: their name, the filters of each, how many."""

    name: str
    filters: int
    convolutions: int


def _architecture(name: str, *convolutions: int) -> Architecture:
    rows = enumerate(zip((64, 128, 256, 512, 512), convolutions, strict=True), start=1)
    return Architecture(
        name,
        tuple(Stage(f"block{number}", filters, count) for number, (filters, count) in rows),
        name,
        top=Top(flatten=True, hidden=(("fc1", 4096), ("fc2", 4096))),
        pooling_names=(None, None),
    )


ARCHITECTURES = {"VGG16": _architecture("vgg16", 2, 2, 3, 3, 3), "VGG19": _architecture("vgg19", 2, 2, 4, 4, 4)}


def _body(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    """VGG of 16 or 19 layers: (batch, height, width, channels) → (batch, classes).

    Without the top it gives 512 feature maps of 1/32 the size. Images come from `vgg16.preprocess_input`.

    The top flattens the feature maps, so a model with it takes images of one size, 224×224 unless `input_shape` says
    another; most of its parameters lie in the first Dense, `fc1`: 7·7·512·4096 + 4096 = 102,764,544.

    Parameters: as those of `ResNet50`. Errors: as those of `ResNet50`, and a ShapeError for a top without a stated size
    or a pretrained top on another size than 224.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     lamina.applications.VGG16(weights=None).count_params()
    138357544
    """
    for stage in architecture.stages:
        for number in range(1, stage.convolutions + 1):
            x = Conv2D(stage.filters, 3, padding="same", activation="relu", name=f"{stage.name}_conv{number}")(x)
        x = MaxPooling2D(2, strides=2, name=f"{stage.name}_pool")(x)
    return x


VGG16, VGG19 = model_functions(ARCHITECTURES, _body)
preprocess_input = caffe_mode
__all__ = ["VGG16", "VGG19", "decode_predictions", "preprocess_input"]
