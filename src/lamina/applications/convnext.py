"""ConvNeXt (Liu et al. 2022, arXiv:2201.03545): a convolutional network with the habits of a transformer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from lamina.applications.ending import ARGUMENTS, Architecture, Request, model_function, pooled
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
from lamina.models import Model, Sequential
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


def _architecture(
    size: str, blocks: tuple[int, ...], channels: tuple[int, ...], hashes: tuple[str, str]
) -> Architecture:
    return Architecture(
        f"convnext_{size}",
        tuple(Stage(*row) for row in zip(channels, blocks, strict=True)),
        "convnext",
        hashes,
        pooling_names=(None, None),
        files=("{name}.h5", "{name}_notop.h5"),
        arguments=ARGUMENTS.replace("include_top", "include_top include_preprocessing"),
        options={"include_preprocessing": True},
        end=_end,
    )


def _body(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
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
    size: _architecture(size, blocks, channels, hashes)
    for size, blocks, channels, hashes in (
        (
            "tiny",
            (3, 3, 9, 3),
            (96, 192, 384, 768),
            (
                "8ae6e78ce2933352b1ef4008e6dd2f17bc40771563877d156bc6426c7cf503ff",
                "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
            ),
        ),
        (
            "small",
            (3, 3, 27, 3),
            (96, 192, 384, 768),
            (
                "ce1277d8f1ee5a0ef0e171469089c18f5233860ceaf9b168049cb9263fd7483c",
                "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab",
            ),
        ),
        (
            "base",
            (3, 3, 27, 3),
            (128, 256, 512, 1024),
            (
                "52cbb006d3dadd03f6e095a8ca1aca47aecdd75acb4bc74bce1f5c695d0086e6",
                "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45",
            ),
        ),
        (
            "large",
            (3, 3, 27, 3),
            (192, 384, 768, 1536),
            (
                "070c5ed9ed289581e477741d3b34beffa920db8cf590899d6d2c67fba2a198a6",
                "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd",
            ),
        ),
        (
            "xlarge",
            (3, 3, 27, 3),
            (256, 512, 1024, 2048),
            (
                "c1f5ccab661354fc3a79a10fa99af82f0fbf10ec65cb894a3ae0815f17a889ee",
                "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05",
            ),
        ),
    )
}


def _public(function_name: str, docstring: str) -> Callable[..., Model]:
    size = function_name.removeprefix("ConvNeXt").lower()
    return model_function(function_name, ARCHITECTURES[size], _body, docstring)


ConvNeXtTiny = _public(
    "ConvNeXtTiny",
    """ConvNeXtTiny: (batch, height, width, channels) → (batch, classes), or 768 feature maps of 1/32 the size.

    Channels last only. All layers' names begin with the model's `name`.

    Parameters: `include_preprocessing`, whether a first layer normalises values of 0 to 255 (of three channels); the
    others, and errors: as those of `ResNet50`.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     lamina.applications.ConvNeXtTiny(weights=None).count_params()
    28589128
    """,
)
ConvNeXtSmall = _public("ConvNeXtSmall", "ConvNeXtSmall; the arguments are those of `ConvNeXtTiny`.")
ConvNeXtBase = _public("ConvNeXtBase", "ConvNeXtBase; the arguments are those of `ConvNeXtTiny`.")
ConvNeXtLarge = _public("ConvNeXtLarge", "ConvNeXtLarge; the arguments are those of `ConvNeXtTiny`.")
ConvNeXtXLarge = _public("ConvNeXtXLarge", "ConvNeXtXLarge; the arguments are those of `ConvNeXtTiny`.")
preprocess_input = unchanged
__all__ = [
    *(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")),
    "decode_predictions",
    "preprocess_input",
]
