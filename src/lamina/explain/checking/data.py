"""D: a sample of the data against what the model begins with."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from lamina.explain.checking.registry import Problem, check
from lamina.explain.checking.subject import Subject, View
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers.convolution import ConvBase
from lamina.layers.core import Identity
from lamina.layers.dense import Dense
from lamina.layers.pooling import GlobalPooling, Pooling
from lamina.layers.random_layers import Dropout, SpatialDropout1D, SpatialDropout2D, SpatialDropout3D
from lamina.layers.reshaping import Flatten, Permute, Reshape
from lamina.layers.spatial import Cropping, UpSampling, ZeroPadding

# Layers that hand numbers on in the range that they have.
_KEEP_RANGE = (
    *(Cropping, Dropout, Flatten, GlobalPooling, Identity, Permute, Pooling, Reshape, UpSampling, ZeroPadding),
    *(SpatialDropout1D, SpatialDropout2D, SpatialDropout3D),
)
_BRIGHT = 32  # a batch of images of bytes without one brighter pixel is hardly one


@check("D501", "unscaled-images", "images with numbers up to 255, and nothing in the model that scales them")
def unscaled_images(subject: Subject) -> Iterator[Problem]:
    for view, tensor, name in subject.inputs():
        value = subject.x.get(name)
        if value is None or not _bytes_of_images(value):
            continue
        first = _first_weights(view, tensor)
        if first is not None:
            yield Problem(
                name,
                f"The sample's {name!r} goes from {value.min().item():g} to {value.max().item():g}, and nothing scales "
                f"it before the first weights, those of {first!r}.",
                "initial weights and learning rates are made for numbers around 0 of size 1; with 255 the first steps "
                "are far too large. A pretrained model needs the scaling that it was trained with",
                "Rescaling(1 / 255) behind the input, x / 255, or the preprocess_input of the application",
            )


def _bytes_of_images(value: torch.Tensor) -> bool:
    """Whether data look like images of bytes: numbers from 0 to 255, and a shape that images have."""
    shape = value.shape
    colours = value.dim() == 4 and (shape[-1] in (1, 3, 4) or shape[1] in (1, 3, 4)) and min(shape[1:], default=0) > 0
    grey = value.dim() == 3 and min(shape[1:]) >= 8 and (shape[1] == shape[2] or value.dtype is torch.uint8)
    if not value.numel() or not (colours or grey or value.dtype is torch.uint8):
        return False
    return bool(value.min() >= 0) and _BRIGHT <= float(value.max()) <= 255


def _first_weights(view: View, tensor: KerasTensor) -> str | None:
    """The first convolution or Dense that numbers of an input reach as they are; None where another layer, which may
    scale them, comes before it on some way."""
    found = None
    for node in view.readers(tensor):
        operation = node.operation
        inner = getattr(operation, "graph", None)
        if isinstance(operation, ConvBase | Dense):
            name: str | None = view.path(node)
        elif isinstance(operation, _KEEP_RANGE):
            name = _first_weights(view, node.output_tensors[0])
        elif inner is not None and len(inner.inputs) == 1:
            name = _first_weights(View(operation, f"{view.path(node)}/"), inner.inputs[0])
        else:
            return None
        if name is None:
            return None
        found = found or name
    return found
