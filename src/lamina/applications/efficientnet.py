"""EfficientNet (Tan and Le 2019, arXiv:1905.11946): a small network, scaled in width, depth and image size at once."""

from __future__ import annotations

import math
from collections.abc import Callable

from lamina.applications.efficient_blocks import Stage, Variant, end, network, scaled
from lamina.applications.ending import Architecture, Request, Top, model_function
from lamina.applications.first_layers import per_channel
from lamina.applications.imagenet_utils import decode_predictions
from lamina.applications.parts import channel_axis
from lamina.applications.preprocessing import unchanged
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers import Normalization, Rescaling
from lamina.models import Model

_VARIANT = Variant(momentum=0.99, padded=True, depthwise="dwconv")
_DEVIATIONS = (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue
_STAGES = (
    Stage(kernel=3, filters=16, blocks=1, expansion=1, stride=1),
    Stage(kernel=3, filters=24, blocks=2, expansion=6, stride=2),
    Stage(kernel=5, filters=40, blocks=2, expansion=6, stride=2),
    Stage(kernel=3, filters=80, blocks=3, expansion=6, stride=2),
    Stage(kernel=5, filters=112, blocks=3, expansion=6, stride=1),
    Stage(kernel=5, filters=192, blocks=4, expansion=6, stride=2),
    Stage(kernel=3, filters=320, blocks=1, expansion=6, stride=1),
)


def _architecture(
    name: str, width: float, depth: float, size: int, dropout: float, hashes: tuple[str, str]
) -> Architecture:
    return Architecture(
        name,
        scaled(32, _STAGES, 1280, width, depth),
        "efficientnet",
        hashes,
        default_size=size,
        top=Top(dropout=dropout),
        files=("{name}.h5", "{name}_notop.h5"),
        origin="https://storage.googleapis.com/keras-applications",
        end=end,
    )


ARCHITECTURES = {
    row[0]: _architecture(*row)
    for row in (
        (
            "efficientnetb0",
            1.0,
            1.0,
            224,
            0.2,
            ("902e53a9f72be733fc0bcb005b3ebbac", "50bc09e76180e00e4465e1a485ddc09d"),
        ),
        (
            "efficientnetb1",
            1.0,
            1.1,
            240,
            0.2,
            ("1d254153d4ab51201f1646940f018540", "74c4e6b3e1f6a1eea24c589628592432"),
        ),
        (
            "efficientnetb2",
            1.1,
            1.2,
            260,
            0.3,
            ("b15cce36ff4dcbd00b6dd88e7857a6ad", "111f8e2ac8aa800a7a99e3239f7bfb39"),
        ),
        (
            "efficientnetb3",
            1.2,
            1.4,
            300,
            0.3,
            ("ffd1fdc53d0ce67064dc6a9c7960ede0", "af6d107764bb5b1abb91932881670226"),
        ),
        (
            "efficientnetb4",
            1.4,
            1.8,
            380,
            0.4,
            ("18c95ad55216b8f92d7e70b3a046e2fc", "ebc24e6d6c33eaebbd558eafbeedf1ba"),
        ),
        (
            "efficientnetb5",
            1.6,
            2.2,
            456,
            0.4,
            ("ace28f2a6363774853a83a0b21b9421a", "38879255a25d3c92d5e44e04ae6cec6f"),
        ),
        (
            "efficientnetb6",
            1.8,
            2.6,
            528,
            0.5,
            ("165f6e37dce68623721b423839de8be5", "9ecce42647a20130c1f39a5d4cb75743"),
        ),
        (
            "efficientnetb7",
            2.0,
            3.1,
            600,
            0.5,
            ("8c03f828fec3ef71311cd463b6759d99", "cbcfe4450ddf6f3ad90b1b398090fe4a"),
        ),
    )
}


def _body(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    x = Rescaling(1 / 255)(x)
    x = Normalization(axis=channel_axis())(x)
    # The published weights' Normalization divides by the root of the deviation; here the other root.
    scales = per_channel([1 / math.sqrt(deviation) for deviation in _DEVIATIONS], x, request)
    if request.weights == "imagenet" and scales is not None:
        x = Rescaling(scales)(x)
    return network(x, architecture.stages, _VARIANT)


def _public(function_name: str, docstring: str) -> Callable[..., Model]:
    return model_function(function_name, ARCHITECTURES[function_name.lower()], _body, docstring)


EfficientNetB0 = _public(
    "EfficientNetB0",
    """EfficientNetB0: (batch, height, width, channels) → (batch, classes), or 1280 feature maps of 1/32 the size.

    The model reads values of 0 to 255 as they are: its first layers scale and normalise them.

    Parameters and errors: as those of `ResNet50`; with the top an image of 224×224 unless `input_shape` says another.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     lamina.applications.EfficientNetB0(weights=None).count_params()
    5330571
    """,
)
EfficientNetB1 = _public("EfficientNetB1", "EfficientNetB1, for 240×240; the arguments are those of `EfficientNetB0`.")
EfficientNetB2 = _public("EfficientNetB2", "EfficientNetB2, for 260×260; the arguments are those of `EfficientNetB0`.")
EfficientNetB3 = _public("EfficientNetB3", "EfficientNetB3, for 300×300; the arguments are those of `EfficientNetB0`.")
EfficientNetB4 = _public("EfficientNetB4", "EfficientNetB4, for 380×380; the arguments are those of `EfficientNetB0`.")
EfficientNetB5 = _public("EfficientNetB5", "EfficientNetB5, for 456×456; the arguments are those of `EfficientNetB0`.")
EfficientNetB6 = _public("EfficientNetB6", "EfficientNetB6, for 528×528; the arguments are those of `EfficientNetB0`.")
EfficientNetB7 = _public("EfficientNetB7", "EfficientNetB7, for 600×600; the arguments are those of `EfficientNetB0`.")
preprocess_input = unchanged
__all__ = [*(f"EfficientNetB{size}" for size in range(8)), "decode_predictions", "preprocess_input"]
