"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381): blocks that are wide inside and narrow between."""

from __future__ import annotations

from dataclasses import dataclass

from lamina import layers
from lamina.applications.ending import Architecture, Request, Top, model_function
from lamina.applications.imagenet_utils import decode_predictions
from lamina.applications.mobilenet import named_size
from lamina.applications.parts import channel_axis, channels, depthwise, fitting_width
from lamina.applications.preprocessing import tf_mode
from lamina.applications.published import SERVER, Published
from lamina.graph.keras_tensor import KerasTensor

_ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)  # the widths of the published weights
_SIZES = (96, 128, 160, 192, 224)


@dataclass(frozen=True)
class Stage:
    """Blocks in a row: how many times wider they are inside, their filters at alpha 1, how many, the first stride."""

    expansion: int
    filters: int
    blocks: int
    stride: int


def _naming(architecture: Architecture, request: Request) -> str:
    return f"mobilenetv2_{request.options['alpha']:.2f}_{named_size(architecture, request, _SIZES)}"


def _published(architecture: Architecture, request: Request) -> Published:
    alpha = request.options["alpha"]
    if alpha not in _ALPHAS:
        raise ValueError(
            f"Weights are published for alpha of {', '.join(map(str, _ALPHAS))}; got {alpha}. Take one of these, or "
            f"weights=None."
        )
    size = named_size(architecture, request, _SIZES)
    top = "" if request.include_top else "_no_top"
    file = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{float(alpha)}_{size}{top}.h5"
    return Published(file, f"{SERVER}/mobilenet_v2/{file}")


def _normalize(x: KerasTensor, name: str) -> KerasTensor:
    return layers.BatchNormalization(axis=channel_axis(-1), momentum=0.999, name=name)(x)


def _block(x: KerasTensor, expansion: int, filters: int, stride: int, name: str) -> KerasTensor:
    """1×1 to many channels, 3×3 of each alone, 1×1 to few without an activation; a shortcut where the shape stays."""
    y, width = x, channels(x)
    if expansion > 1:
        y = layers.Conv2D(expansion * width, 1, padding="same", use_bias=False, name=f"{name}_expand")(y)
        y = _normalize(y, f"{name}_expand_BN")
        y = layers.ReLU(6.0, name=f"{name}_expand_relu")(y)
    y = depthwise(y, 3, stride, f"{name}_depthwise", f"{name}_pad")
    y = _normalize(y, f"{name}_depthwise_BN")
    y = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(y)
    y = layers.Conv2D(filters, 1, padding="same", use_bias=False, name=f"{name}_project")(y)
    y = _normalize(y, f"{name}_project_BN")
    return layers.Add(name=f"{name}_add")([x, y]) if stride == 1 and width == filters else y


def _body(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    """MobileNetV2: (batch, height, width, channels) → (batch, classes), or 1280 feature maps of 1/32 the size.

    Parameters: `alpha` multiplies the filters of all layers, rounded to multiples of 8; the last convolution has never
    fewer than 1280. The others are those of `ResNet50`. Without a `name` the model is called
    mobilenetv2_`alpha`_`height`. The pretrained weights are those for squares of 96, 128, 160 or 192 where the images
    are such, else those for 224. Errors: as those of `ResNet50`; a ValueError where no weights are published for
    `alpha`.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     [lamina.applications.MobileNetV2(alpha=alpha, weights=None).count_params() for alpha in (0.5, 1.0)]
    [1987224, 3538984]
    """
    alpha = request.options["alpha"]
    x = layers.Conv2D(fitting_width(32 * alpha), 3, strides=2, padding="same", use_bias=False, name="Conv1")(x)
    x = _normalize(x, "bn_Conv1")
    x = layers.ReLU(6.0, name="Conv1_relu")(x)
    name, count = "expanded_conv", 0
    for stage in architecture.stages:
        for number in range(stage.blocks):
            stride = stage.stride if number == 0 else 1
            x = _block(x, stage.expansion, fitting_width(int(stage.filters * alpha)), stride, name)
            count += 1
            name = f"block_{count}"
    x = layers.Conv2D(fitting_width(1280 * alpha) if alpha > 1 else 1280, 1, use_bias=False, name="Conv_1")(x)
    x = _normalize(x, "Conv_1_bn")
    return layers.ReLU(6.0, name="out_relu")(x)


_ROWS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
ARCHITECTURE = Architecture(
    "mobilenetv2",
    tuple(Stage(*row) for row in _ROWS),
    "mobilenet_v2",
    top=Top(average=None),
    pooling_names=(None, None),
    arguments="input_shape alpha include_top weights input_tensor pooling classes classifier_activation",
    options={"alpha": 1.0},
    published=_published,
    naming=_naming,
)
MobileNetV2 = model_function("MobileNetV2", ARCHITECTURE, _body)
preprocess_input = tf_mode
__all__ = ["MobileNetV2", "decode_predictions", "preprocess_input"]
