"""EfficientNetV2 (Tan and Le 2021, arXiv:2104.00298): EfficientNet with full convolutions in its first stages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lamina.applications.efficient_blocks import Stage, Variant, end, network, scaled
from lamina.applications.ending import ARGUMENTS, Architecture, Request, Top, model_function
from lamina.applications.first_layers import normalized_colours, per_channel
from lamina.applications.imagenet_utils import decode_predictions
from lamina.applications.parts import channel_axis
from lamina.applications.preprocessing import unchanged
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers import Rescaling
from lamina.models import Model

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


def _architecture(name: str, size: int, table: tuple[object, ...], hashes: tuple[str, str]) -> Architecture:
    return Architecture(
        name,
        table,
        "efficientnet_v2",
        hashes,
        default_size=size,
        top=Top(dropout=0.2),
        files=("{name}.h5", "{name}_notop.h5"),
        arguments=f"{ARGUMENTS} include_preprocessing",
        options={"include_preprocessing": True},
        end=partial(end, bias="constant"),
    )


def _base(width: float, depth: float) -> tuple[object, ...]:
    """A network of the series B: the width is the nearest multiple of 8."""
    return scaled(32, _B, 1280, width, depth, fit=lambda filters: max(8, int(filters + 4) // 8 * 8))


ARCHITECTURES = {
    f"efficientnetv2-{size}": _architecture(f"efficientnetv2-{size}", pixels, table, hashes)
    for size, pixels, table, hashes in (
        ("b0", 224, _base(1.0, 1.0), ("21ecbf6da12460d5c40bb2f29ceb2188", "893217f2bb855e2983157299931e43ff")),
        ("b1", 240, _base(1.0, 1.1), ("069f0534ff22adf035c89e2d9547a9dc", "0e80663031ca32d657f9caa404b6ec37")),
        ("b2", 260, _base(1.1, 1.2), ("424e49f28180edbde1e94797771950a7", "1dfe2e7a5d45b6632553a8961ea609eb")),
        ("b3", 300, _base(1.2, 1.4), ("1f1fc43bd98a6e4fd8fdfd551e02c7a0", "f6abf7b5849ac99a89b50dd3fd532856")),
        ("s", 384, scaled(24, _S, 1280), ("e1d88a8495beba45748fedd0cecbe016", "af0682fb74e8c54910f2d4393339c070")),
        ("m", 480, scaled(24, _M, 1280), ("a3bf6aa3276309f4fc6a34aa114c95cd", "1b8dc055df72dde80d614482840fe342")),
        ("l", 480, scaled(32, _L, 1280), ("27e6d408b53c7ebc868fefa357689935", "b0b66b5c863aef5b46e8608fe1711615")),
    )
}


def _body(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    series_b = "-b" in architecture.name
    if request.options["include_preprocessing"]:
        # The series B was trained on ImageNet's normalised colours, the others (and what is no colour) on −1 to 1.
        if series_b and per_channel(_MEANS, x, request) is not None:
            x = normalized_colours(Rescaling(1 / 255)(x), _MEANS, _VARIANCES, request, axis=channel_axis())
        else:
            x = Rescaling(1 / 128, offset=-1)(x)
    # In the series B all sizes leave blocks out as B0 does.
    return network(x, architecture.stages, _VARIANT, blocks=sum(stage.blocks for stage in _B) if series_b else None)


def _public(function_name: str, docstring: str) -> Callable[..., Model]:
    size = function_name.removeprefix("EfficientNetV2").lower()
    return model_function(function_name, ARCHITECTURES[f"efficientnetv2-{size}"], _body, docstring)


EfficientNetV2B0 = _public(
    "EfficientNetV2B0",
    """EfficientNetV2B0: (batch, height, width, channels) → (batch, classes), or 1280 feature maps of 1/32 the size.

    Parameters: `include_preprocessing`, whether the first layers scale values of 0 to 255 and normalise them; without,
    the model expects what those layers would give. The others, and errors: as those of `ResNet50`; with the top an
    image of 224×224 unless `input_shape` says another.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     lamina.applications.EfficientNetV2B0(weights=None).count_params()
    7200312
    """,
)
_SAME = "the arguments are those of `EfficientNetV2B0`."
EfficientNetV2B1 = _public("EfficientNetV2B1", f"EfficientNetV2B1, for images of 240×240; {_SAME}")
EfficientNetV2B2 = _public("EfficientNetV2B2", f"EfficientNetV2B2, for images of 260×260; {_SAME}")
EfficientNetV2B3 = _public("EfficientNetV2B3", f"EfficientNetV2B3, for images of 300×300; {_SAME}")
EfficientNetV2S = _public("EfficientNetV2S", f"EfficientNetV2S, for images of 384×384 scaled to −1…1; {_SAME}")
EfficientNetV2M = _public("EfficientNetV2M", f"EfficientNetV2M, for images of 480×480 scaled to −1…1; {_SAME}")
EfficientNetV2L = _public("EfficientNetV2L", f"EfficientNetV2L, for images of 480×480 scaled to −1…1; {_SAME}")
preprocess_input = unchanged
__all__ = [
    *(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")),
    "decode_predictions",
    "preprocess_input",
]
