"""EfficientNet (Tan and Le 2019, arXiv:1905.11946): a small network, scaled in width, depth and image size at once."""

from __future__ import annotations

import math

from lamina.applications.efficient_blocks import Stage, Variant, end, network, scaled
from lamina.applications.ending import Architecture, Request, Top, model_functions
from lamina.applications.first_layers import per_channel
from lamina.applications.imagenet_utils import decode_predictions
from lamina.applications.parts import channel_axis
from lamina.applications.preprocessing import unchanged
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers import Normalization, Rescaling

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


def _architecture(name: str, width: float, depth: float, size: int, dropout: float) -> Architecture:
    return Architecture(
        name,
        scaled(32, _STAGES, 1280, width, depth),
        "efficientnet",
        default_size=size,
        top=Top(dropout=dropout),
        file="{name}{top}.h5",
        origin="https://storage.googleapis.com/keras-applications",
        end=end,
    )


_SCALES = (  # width, depth, image size, dropout
    (1.0, 1.0, 224, 0.2),
    (1.0, 1.1, 240, 0.2),
    (1.1, 1.2, 260, 0.3),
    (1.2, 1.4, 300, 0.3),
    (1.4, 1.8, 380, 0.4),
    (1.6, 2.2, 456, 0.4),
    (1.8, 2.6, 528, 0.5),
    (2.0, 3.1, 600, 0.5),
)
ARCHITECTURES = {
    f"EfficientNetB{number}": _architecture(f"efficientnetb{number}", *scales) for number, scales in enumerate(_SCALES)
}


def _body(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    """EfficientNet, B0 to B7: (batch, height, width, channels) → (batch, classes).

    Without the top it gives feature maps of 1/32 the size, 1280 for B0 and B1 to 2560 for B7. The model reads values of
    0 to 255 as they are: its first layers scale and normalise them.

    Parameters and errors: as those of `ResNet50`. With the top the image is of the size for which the network was
    scaled, 224×224 for B0 to 600×600 for B7, unless `input_shape` says another.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     lamina.applications.EfficientNetB0(weights=None).count_params()
    5330571
    """
    x = Rescaling(1 / 255)(x)
    x = Normalization(axis=channel_axis())(x)
    # The published weights' Normalization divides by the root of the deviation; here the other root.
    scales = per_channel([1 / math.sqrt(deviation) for deviation in _DEVIATIONS], x, request)
    if request.weights == "imagenet" and scales is not None:
        x = Rescaling(scales)(x)
    return network(x, architecture.stages, _VARIANT)


(
    EfficientNetB0,
    EfficientNetB1,
    EfficientNetB2,
    EfficientNetB3,
    EfficientNetB4,
    EfficientNetB5,
    EfficientNetB6,
    EfficientNetB7,
) = model_functions(ARCHITECTURES, _body)
preprocess_input = unchanged
__all__ = [*(f"EfficientNetB{size}" for size in range(8)), "decode_predictions", "preprocess_input"]
