"""EfficientNetV2 (Tan and Le 2021, arXiv:2104.00298): EfficientNet with full convolutions in its first stages."""

from __future__ import annotations

from functools import partial

from lamina.applications.efficient_blocks import Stage, Variant, end, network, scaled
from lamina.applications.ending import ARGUMENTS, Architecture, Request, Top, model_functions
from lamina.applications.first_layers import normalized_colours, per_channel
from lamina.applications.imagenet_utils import decode_predictions
from lamina.applications.parts import channel_axis
from lamina.applications.preprocessing import unchanged
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers import Rescaling

_VARIANT = Variant(momentum=0.9, padded=False, depthwise="dwconv2")
_MEANS = (0.485, 0.456, 0.406)  # of ImageNet's red, green and blue, from 0 to 1
_VARIANCES = (0.229**2, 0.224**2, 0.225**2)


def _stages(*rows: tuple[int, int, int, int]) -> tuple[Stage, ...]:
    """Of rows (filters, blocks, expansion, stride); the first three stages are fused and have no gate."""
    return tuple(Stage(3, *row, squeeze=0 if place < 3 else 0.25, fused=place < 3) for place, row in enumerate(rows))


_B = _stages((16, 1, 1, 1), (32, 2, 4, 2), (48, 2, 4, 2), (96, 3, 4, 2), (112, 5, 6, 1), (192, 8, 6, 2))
_S = _stages((24, 2, 1, 1), (48, 4, 4, 2), (64, 4, 4, 2), (128, 6, 4, 2), (160, 9, 6, 1), (256, 15, 6, 2))
_M = _stages(
    (24, 3, 1, 1), (48, 5, 4, 2), (80, 5, 4, 2), (160, 7, 4, 2), (176, 14, 6, 1), (304, 18, 6, 2), (512, 5, 6, 1)
)
_L = _stages(
    (32, 4, 1, 1), (64, 7, 4, 2), (96, 7, 4, 2), (192, 10, 4, 2), (224, 19, 6, 1), (384, 25, 6, 2), (640, 7, 6, 1)
)


def _architecture(name: str, size: int, table: tuple[object, ...]) -> Architecture:
    return Architecture(
        name,
        table,
        "efficientnet_v2",
        default_size=size,
        top=Top(dropout=0.2),
        file="{name}{top}.h5",
        arguments=f"{ARGUMENTS} include_preprocessing",
        options={"include_preprocessing": True},
        end=partial(end, bias="constant"),
    )


def _base(width: float, depth: float) -> tuple[object, ...]:
    """A network of the series B: the width is the nearest multiple of 8."""
    return scaled(32, _B, 1280, width, depth, fit=lambda filters: max(8, int(filters + 4) // 8 * 8))


ARCHITECTURES = {
    f"EfficientNetV2{size}": _architecture(f"efficientnetv2-{size.lower()}", pixels, table)
    for size, pixels, table in (
        ("B0", 224, _base(1.0, 1.0)),
        ("B1", 240, _base(1.0, 1.1)),
        ("B2", 260, _base(1.1, 1.2)),
        ("B3", 300, _base(1.2, 1.4)),
        ("S", 384, scaled(24, _S, 1280)),
        ("M", 480, scaled(24, _M, 1280)),
        ("L", 480, scaled(32, _L, 1280)),
    )
}


def _body(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    """EfficientNetV2, B0 to B3, S, M and L: (batch, height, width, channels) → (batch, classes).

    Without the top it gives 1280 feature maps (B2: 1408, B3: 1536) of 1/32 the size.

    Parameters: `include_preprocessing`, whether the first layers scale values of 0 to 255 (in the series B to
    ImageNet's mean and deviation, else to −1…1); without them the model expects what they would give. The others, and
    errors: as those of `ResNet50`. With the top the image is of the size that the network was made for, 224×224 for B0
    to 480×480 for L, unless `input_shape` says another.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     lamina.applications.EfficientNetV2B0(weights=None).count_params()
    7200312
    """
    series_b = "-b" in architecture.name
    if request.options["include_preprocessing"]:
        # The series B was trained on ImageNet's normalised colours, the others (and what is no colour) on −1 to 1.
        if series_b and per_channel(_MEANS, x, request) is not None:
            x = normalized_colours(Rescaling(1 / 255)(x), _MEANS, _VARIANCES, request, axis=channel_axis())
        else:
            x = Rescaling(1 / 128, offset=-1)(x)
    # In the series B all sizes leave blocks out as B0 does.
    return network(x, architecture.stages, _VARIANT, blocks=sum(stage.blocks for stage in _B) if series_b else None)


(
    EfficientNetV2B0,
    EfficientNetV2B1,
    EfficientNetV2B2,
    EfficientNetV2B3,
    EfficientNetV2S,
    EfficientNetV2M,
    EfficientNetV2L,
) = model_functions(ARCHITECTURES, _body)
preprocess_input = unchanged
__all__ = [
    *(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")),
    "decode_predictions",
    "preprocess_input",
]
