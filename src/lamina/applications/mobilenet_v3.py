"""MobileNetV3 (Howard et al. 2019, arXiv:1905.02244): blocks of V2 found by a search, with gates on their channels."""

from __future__ import annotations

from dataclasses import dataclass

from lamina import layers
from lamina.applications.ending import Architecture, Request, Top, model_functions, pooled
from lamina.applications.imagenet_utils import decode_predictions
from lamina.applications.parts import channel_axis, channels, depthwise, fitting_width
from lamina.applications.preprocessing import unchanged
from lamina.applications.published import HASHES, SERVER, Published
from lamina.graph.keras_tensor import KerasTensor


@dataclass(frozen=True)
class Block:
    """How many times wider the block is inside than before, its filters at alpha 1, and the depthwise convolution.

    `gated`: the channels inside are multiplied by gates that are computed from their means. `hard`: the activation is
    hard swish; otherwise ReLU. A minimalistic model has 3×3 kernels and ReLU everywhere and no gates.
    """

    expansion: float
    filters: int
    kernel: int
    stride: int
    gated: bool
    hard: bool


_LARGE = (
    Block(1, 16, 3, 1, False, False),
    Block(4, 24, 3, 2, False, False),
    Block(3, 24, 3, 1, False, False),
    Block(3, 40, 5, 2, True, False),
    *[Block(3, 40, 5, 1, True, False)] * 2,
    Block(6, 80, 3, 2, False, True),
    Block(2.5, 80, 3, 1, False, True),
    *[Block(2.3, 80, 3, 1, False, True)] * 2,
    *[Block(6, 112, 3, 1, True, True)] * 2,
    Block(6, 160, 5, 2, True, True),
    *[Block(6, 160, 5, 1, True, True)] * 2,
)
_SMALL = (
    Block(1, 16, 3, 2, True, False),
    Block(72 / 16, 24, 3, 2, False, False),
    Block(88 / 24, 24, 3, 1, False, False),
    Block(4, 40, 5, 2, True, True),
    *[Block(6, 40, 5, 1, True, True)] * 2,
    *[Block(3, 48, 5, 1, True, True)] * 2,
    Block(6, 96, 5, 2, True, True),
    *[Block(6, 96, 5, 1, True, True)] * 2,
)


def _published(architecture: Architecture, request: Request) -> Published:
    alpha, minimalistic = float(request.options["alpha"]), request.options["minimalistic"]
    size = architecture.name.removeprefix("MobileNetV3").lower()
    top = "" if request.include_top else "_no_top_v2"
    file = f"weights_mobilenet_v3_{size}{'_minimalistic' * bool(minimalistic)}_224_{alpha}_float{top}.h5"
    if file not in HASHES:
        raise ValueError(
            f"Weights are published for alpha of 0.75 and 1.0, minimalistic for 1.0 alone; got alpha={alpha} and "
            f"minimalistic={minimalistic}. Take one of these, or weights=None."
        )
    return Published(file, f"{SERVER}/mobilenet_v3/{file}")


def _normalize(x: KerasTensor, name: str) -> KerasTensor:
    return layers.BatchNormalization(axis=channel_axis(-1), momentum=0.999, name=name)(x)


def _activate(x: KerasTensor, hard: bool) -> KerasTensor:
    return layers.Activation("hard_silu")(x) if hard else layers.ReLU()(x)


def _gate(x: KerasTensor, name: str) -> KerasTensor:
    width = channels(x)
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_avg_pool")(x)
    y = layers.Conv2D(fitting_width(width / 4), 1, padding="same", name=f"{name}_conv")(y)
    y = layers.ReLU(name=f"{name}_relu")(y)
    y = layers.Conv2D(width, 1, padding="same", name=f"{name}_conv_1")(y)
    y = layers.ReLU(6.0)(y + 3.0) * (1.0 / 6.0)
    return layers.Multiply(name=f"{name}_mul")([x, y])


def _block(x: KerasTensor, block: Block, filters: int, expand: bool, name: str) -> KerasTensor:
    """1×1 to many channels, a convolution of each alone, gates, 1×1 to few; a shortcut where the shape stays."""
    y, width = x, channels(x)
    if expand:
        wide = fitting_width(width * block.expansion)
        y = layers.Conv2D(wide, 1, padding="same", use_bias=False, name=f"{name}_expand")(y)
        y = _activate(_normalize(y, f"{name}_expand_bn"), block.hard)
    y = depthwise(y, block.kernel, block.stride, f"{name}_depthwise", f"{name}_depthwise_pad")
    y = _activate(_normalize(y, f"{name}_depthwise_bn"), block.hard)
    if block.gated:
        y = _gate(y, f"{name}_squeeze_excite")
    y = layers.Conv2D(filters, 1, padding="same", use_bias=False, name=f"{name}_project")(y)
    y = _normalize(y, f"{name}_project_bn")
    return layers.Add(name=f"{name}_add")([x, y]) if block.stride == 1 and width == filters else y


def _body(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    """MobileNetV3, small or large: (batch, height, width, channels) → (batch, classes).

    Without the top it gives 576 (small) or 960 (large) feature maps of 1/32 the size. Images have values of 0 to 255;
    the first layer scales them, unless `include_preprocessing=False`. With its top, too, it takes images of any size.

    Parameters: `alpha` multiplies the filters of the blocks, rounded to multiples of 8; `minimalistic` has no gates, no
    hard swish and no 5×5 kernels; `dropout_rate`, before the last convolution; the others as those of `ResNet50`.
    Errors: as those of `ResNet50`; a ValueError where no weights are published for `alpha` and `minimalistic`.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     small = lamina.applications.MobileNetV3Small(weights=None)
    ...     large = lamina.applications.MobileNetV3Large(weights=None)
    >>> small.input_shape, small.count_params(), large.count_params()
    ((None, None, None, 3), 2554968, 5507432)
    """
    alpha, minimalistic = request.options["alpha"], request.options["minimalistic"]
    if request.options["include_preprocessing"]:
        x = layers.Rescaling(1 / 127.5, offset=-1.0)(x)
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="conv")(x)
    x = _activate(_normalize(x, "conv_bn"), hard=not minimalistic)
    for number, block in enumerate(architecture.stages):
        if minimalistic:
            block = Block(block.expansion, block.filters, 3, block.stride, gated=False, hard=False)
        name = f"expanded_conv_{number}" if number else "expanded_conv"
        x = _block(x, block, fitting_width(block.filters * alpha), number > 0, name)
    x = layers.Conv2D(fitting_width(6 * channels(x)), 1, padding="same", use_bias=False, name="conv_1")(x)
    return _activate(_normalize(x, "conv_1_bn"), hard=not minimalistic)


def _end(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    if not request.include_top:
        return pooled(x, architecture, request)
    alpha, rate = request.options["alpha"], request.options["dropout_rate"]
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    for name, width in architecture.top.hidden:
        x = layers.Conv2D(fitting_width(width * alpha) if alpha > 1 else width, 1, padding="same", name=name)(x)
        x = _activate(x, hard=not request.options["minimalistic"])
    if rate > 0:
        x = layers.Dropout(rate)(x)
    x = layers.Conv2D(request.classes, 1, padding="same", name="logits")(x)
    return layers.Activation(request.classifier_activation, name="predictions")(layers.Flatten()(x))


def _architecture(name: str, blocks: tuple[Block, ...], width: int) -> Architecture:
    return Architecture(
        name,
        blocks,
        "mobilenet_v3",
        default_size=None,
        top=Top(hidden=(("conv_2", width),)),
        arguments="input_shape alpha minimalistic include_top weights input_tensor classes pooling dropout_rate "
        "classifier_activation include_preprocessing",
        options={"alpha": 1.0, "minimalistic": False, "dropout_rate": 0.2, "include_preprocessing": True},
        end=_end,
        published=_published,
    )


ARCHITECTURES = {
    "MobileNetV3Small": _architecture("MobileNetV3Small", _SMALL, 1024),
    "MobileNetV3Large": _architecture("MobileNetV3Large", _LARGE, 1280),
}
MobileNetV3Small, MobileNetV3Large = model_functions(ARCHITECTURES, _body)
preprocess_input = unchanged
__all__ = ["MobileNetV3Large", "MobileNetV3Small", "decode_predictions", "preprocess_input"]
