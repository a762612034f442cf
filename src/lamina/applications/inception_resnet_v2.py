"""Inception-ResNet-V2 (Szegedy et al. 2016, arXiv:1602.07261): branches side by side, added to their input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from lamina.applications.ending import Architecture, Request, model_function
from lamina.applications.imagenet_utils import decode_predictions
from lamina.applications.inception import AVERAGE, MAXIMUM, STEM, Branch, Conv, Mixed, convolution, halving, mixed, run
from lamina.applications.parts import channels
from lamina.applications.preprocessing import tf_mode
from lamina.base.registry import public
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers import Activation, Add, Conv2D


@public("src.applications.inception_resnet_v2")
class CustomScaleLayer(Add):
    """The first of two inputs plus `scale` times the second. Shapes and errors as in `Add`.

    >>> CustomScaleLayer(0.5)([torch.tensor([[3.0]]), torch.tensor([[2.0]])])
    tensor([[4.]])
    """

    least, most = 2, 2

    def __init__(self, scale: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.scale = scale

    def _combine(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        return tensors[0] + tensors[1] * self.scale


@dataclass(frozen=True)
class Stage:
    """A block that changes the size, then blocks of branches whose sum, times `scale`, is added to their input."""

    first: Mixed
    name: str
    blocks: int
    scale: float
    branches: tuple[Branch, ...]


_STAGES = (
    Stage(
        mixed(
            "mixed_5b",
            (Conv(96),),
            (Conv(48), Conv(64, 5)),
            (Conv(64), Conv(96, 3), Conv(96, 3)),
            (AVERAGE, Conv(64)),
        ),
        "block35",
        10,
        0.17,
        ((Conv(32),), (Conv(32), Conv(32, 3)), (Conv(32), Conv(48, 3), Conv(64, 3))),
    ),
    Stage(
        mixed("mixed_6a", (halving(384),), (Conv(256), Conv(256, 3), halving(384)), (MAXIMUM,)),
        "block17",
        20,
        0.1,
        ((Conv(192),), (Conv(128), Conv(160, (1, 7)), Conv(192, (7, 1)))),
    ),
    Stage(
        mixed(
            "mixed_7a",
            (Conv(256), halving(384)),
            (Conv(256), halving(288)),
            (Conv(256), Conv(288, 3), halving(320)),
            (MAXIMUM,),
        ),
        "block8",
        9,
        0.2,
        ((Conv(192),), (Conv(192), Conv(224, (1, 3)), Conv(256, (3, 1)))),
    ),
)


def _residual(x: KerasTensor, branches: tuple[Branch, ...], scale: float, name: str) -> KerasTensor:
    """The branches, a 1×1 convolution to as many channels as the input has, and the scaled sum with the input."""
    y = run(x, (mixed(f"{name}_mixed", *branches),))
    y = Conv2D(channels(x), 1, padding="same", name=f"{name}_conv")(y)
    return CustomScaleLayer(scale)([x, y])


def _body(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    """Inception-ResNet-V2: (batch, height, width, channels) → (batch, classes), or 1536 feature maps of 1/32 the size.

    Parameters and errors: as those of `ResNet50`, with 75 as the smallest and 299 as the usual height and width. Images
    come from `inception_resnet_v2.preprocess_input`, −1 to 1.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     lamina.applications.InceptionResNetV2(weights=None).count_params()
    55873736
    """
    x = run(x, STEM)
    for stage in architecture.stages:
        x = run(x, (stage.first,))
        for number in range(1, stage.blocks + 1):
            name = f"{stage.name}_{number}"
            x = _residual(x, stage.branches, stage.scale, name)
            x = Activation("relu", name=f"{name}_ac")(x)
    last = architecture.stages[-1]  # once more, neither scaled nor activated
    x = _residual(x, last.branches, 1.0, f"{last.name}_{last.blocks + 1}")
    return convolution(x, Conv(1536), "conv_7b")


ARCHITECTURE = Architecture(
    "inception_resnet_v2",
    _STAGES,
    "inception_resnet_v2",
    min_size=75,
    default_size=299,
    pooling_names=(None, None),
)
InceptionResNetV2 = model_function("InceptionResNetV2", ARCHITECTURE, _body)
preprocess_input = tf_mode
__all__ = ["InceptionResNetV2", "decode_predictions", "preprocess_input"]
