"""ConvNeXt (Liu et al. 2022, arXiv:2201.03545): a convolutional network with the habits of a transformer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from lamina.applications.ending import ARGUMENTS, Architecture, Request, model_functions, pooled
from lamina.applications.first_layers import normalized_colours
from lamina.applications.imagenet_utils import decode_predictions
from lamina.applications.preprocessing import unchanged
from lamina.base import config
from lamina.base.registry import public
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers import (
    Activation,
    Conv2D,
    Dense,
    GlobalAveragePooling2D,
    LayerNormalization,
)
from lamina.layers.parts import expect_size
from lamina.layers.same_shape import SameShape
from lamina.models import Sequential
from lamina.shapes import Axes

_PACKAGE = "src.applications.convnext"  # where Keras's files say that the two layers are
_MEANS = (123.675, 116.28, 103.53)  # of ImageNet's red, green and blue, from 0 to 255
_VARIANCES = ((0.229 * 255) ** 2, (0.224 * 255) ** 2, (0.225 * 255) ** 2)


@public(_PACKAGE)
class LayerScale(SameShape):
    """Each feature (the last axis) times a learned number of its own. Touvron et al. 2021, arXiv:2103.17239.

    Shapes: (…, features) → the same. Parameters: `projection_dim`, the number of features and of weights;
    `init_values`, the weights' first value. Errors: another number of features is a ShapeError.

    >>> LayerScale(0.5, 3)(torch.ones(1, 3))
    tensor([[0.5000, 0.5000, 0.5000]], grad_fn=<MulBackward0>)
    """

    def __init__(self, init_values: float, projection_dim: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.init_values = init_values
        self.projection_dim = projection_dim
        self.gamma: Any = None

    def build(self, input_shape: Any) -> None:
        initial = {"class_name": "Constant", "config": {"value": self.init_values}}
        self.gamma = self.add_weight((self.projection_dim,), initial, axes=("features",))

    def shape_rule(self, inputs: Axes) -> Axes:
        why = f"projection_dim={self.projection_dim}, and each feature has a weight"
        expect_size(self, inputs, inputs.names[-1], self.projection_dim, "gamma", why)
        return inputs

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * self.gamma


@public(_PACKAGE)
class StochasticDepth(SameShape):
    """In training, sets whole examples to 0 with probability `drop_path_rate` and scales the others by 1/(1 - rate).

    Beside a shortcut it leaves a block out for some examples. Huang et al. 2016, arXiv:1603.09382.

    Shapes: the input's. No weights. Errors: a rate outside [0, 1] is a ValueError.

    >>> StochasticDepth(0.5)(torch.ones(1, 2))  # no training: unchanged
    tensor([[1., 1.]])
    """

    def __init__(self, drop_path_rate: float, **kwargs: Any):
        super().__init__(**kwargs)
        if not 0 <= drop_path_rate <= 1:
            raise ValueError(f"StochasticDepth: drop_path_rate is a number from 0 to 1; got {drop_path_rate!r}.")
        self.drop_path_rate = drop_path_rate

    def call(self, inputs: torch.Tensor, training: bool | None = None) -> torch.Tensor:
        if not training or self.drop_path_rate == 0:
            return inputs
        kept = 1 - self.drop_path_rate
        mask = inputs.new_empty((len(inputs), *(1,) * (inputs.dim() - 1))).bernoulli_(kept)
        return inputs * (mask / kept if kept else mask)


@dataclass(frozen=True)
class Stage:
    """Blocks of one size in a row: the number of channels, and how many blocks."""

    channels: int
    blocks: int


def _architecture(name: str, blocks: tuple[int, ...], channels: int) -> Architecture:
    """`channels` are those of the first stage; each stage has twice as many as the one before."""
    return Architecture(
        name,
        tuple(Stage(channels * 2**number, count) for number, count in enumerate(blocks)),
        "convnext",
        pooling_names=(None, None),
        file="{name}{top}.h5",
        arguments=ARGUMENTS.replace("include_top", "include_top include_preprocessing"),
        options={"include_preprocessing": True},
        end=_end,
    )


def _body(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    """ConvNeXt, Tiny to XLarge: (batch, height, width, channels) → (batch, classes).

    Without the top it gives 768 (Tiny, Small), 1024, 1536 or 2048 (XLarge) feature maps of 1/32 the size. Channels last
    only. The names of most layers begin with the model's `name`.

    Parameters: `include_preprocessing`, whether a first layer normalises values of 0 to 255 (of three channels); the
    others, and errors: as those of `ResNet50`; a ValueError with channels first.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     lamina.applications.ConvNeXtTiny(weights=None).count_params()
    28589128
    """
    if config.image_data_format() == "channels_first":
        raise ValueError(
            "ConvNeXt computes with the channels on the last axis only. Call "
            'lamina.config.set_image_data_format("channels_last") before, and give images with the channels last.'
        )
    name = request.name
    if request.options["include_preprocessing"]:
        x = normalized_colours(x, _MEANS, _VARIANCES, request, name=f"{name}_prestem_normalization")
    stem = architecture.stages[0]
    convolution = Conv2D(stem.channels, 4, strides=4, name=f"{name}_stem_conv")
    x = Sequential([convolution, _normalization(f"{name}_stem_layernorm")], name=f"{name}_stem")(x)
    for number, stage in enumerate(architecture.stages):
        if number > 0:
            x = _halved(x, stage.channels, name, number - 1)
        for place in range(stage.blocks):
            x = _block(x, stage.channels, f"{name}_stage_{number}_block_{place}")
    return x


def _normalization(name: str | None = None) -> LayerNormalization:
    return LayerNormalization(epsilon=1e-6, name=name)


def _halved(x: KerasTensor, channels: int, name: str | None, number: int) -> KerasTensor:
    """Half the height and width, in a model of its own."""
    layers = [
        _normalization(f"{name}_downsampling_layernorm_{number}"),
        Conv2D(channels, 2, strides=2, name=f"{name}_downsampling_conv_{number}"),
    ]
    return Sequential(layers, name=f"{name}_downsampling_block_{number}")(x)


def _block(inputs: KerasTensor, channels: int, name: str) -> KerasTensor:
    """A 7×7 window channel by channel, then two Dense layers over the channels, added to what came in."""
    x = Conv2D(channels, 7, padding="same", groups=channels, name=f"{name}_depthwise_conv")(inputs)
    x = _normalization(f"{name}_layernorm")(x)
    x = Dense(4 * channels, name=f"{name}_pointwise_conv_1")(x)
    x = Activation("gelu", name=f"{name}_gelu")(x)
    x = Dense(channels, name=f"{name}_pointwise_conv_2")(x)
    x = LayerScale(1e-6, channels, name=f"{name}_layer_scale")(x)
    return inputs + Activation("linear", name=f"{name}_identity")(x)


def _end(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    name = request.name
    if not request.include_top:
        return _normalization()(pooled(x, architecture, request))
    x = GlobalAveragePooling2D(name=f"{name}_head_gap")(x)
    x = _normalization(f"{name}_head_layernorm")(x)
    return Dense(request.classes, activation=request.classifier_activation, name=f"{name}_head_dense")(x)


ARCHITECTURES = {
    "ConvNeXtTiny": _architecture("convnext_tiny", (3, 3, 9, 3), 96),
    "ConvNeXtSmall": _architecture("convnext_small", (3, 3, 27, 3), 96),
    "ConvNeXtBase": _architecture("convnext_base", (3, 3, 27, 3), 128),
    "ConvNeXtLarge": _architecture("convnext_large", (3, 3, 27, 3), 192),
    "ConvNeXtXLarge": _architecture("convnext_xlarge", (3, 3, 27, 3), 256),
}
ConvNeXtTiny, ConvNeXtSmall, ConvNeXtBase, ConvNeXtLarge, ConvNeXtXLarge = model_functions(ARCHITECTURES, _body)
preprocess_input = unchanged
__all__ = [
    *(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")),
    "decode_predictions",
    "preprocess_input",
]
