"""MobileNet (Howard et al. 2017, arXiv:1704.04861): a 3×3 convolution of each channel alone, then a 1×1 over all."""

from __future__ import annotations

from dataclasses import dataclass

from lamina import layers
from lamina.applications.ending import Architecture, Request, model_function, pooled
from lamina.applications.imagenet_utils import decode_predictions
from lamina.applications.parts import channel_axis, image_size
from lamina.applications.preprocessing import tf_mode
from lamina.applications.published import SERVER, Published
from lamina.graph.keras_tensor import KerasTensor

_ALPHAS = {0.25: "2_5", 0.5: "5_0", 0.75: "7_5", 1.0: "1_0"}  # the published widths, as their files spell them
_SIZES = (128, 160, 192, 224)


@dataclass(frozen=True)
class Block:
    """A depthwise and a pointwise convolution: the filters of the second at alpha 1, the stride of the first."""

    filters: int
    stride: int


def named_size(architecture: Architecture, request: Request, published: tuple[int, ...]) -> int | None:
    """The size that the names of the model and of its weights file tell: the height of the images.

    Pretrained weights are `published` for squares of some sizes; those of 224 serve for all others. Of a given tensor
    Keras's names tell the default size, not its height.
    """
    height, width = image_size(request.input_shape)
    if request.weights == "imagenet":
        own = height == width and height in published and request.input_tensor is None
        return int(height) if own else 224
    if request.input_tensor is not None:
        return architecture.default_size if request.include_top else None
    return None if height is None else int(height)


def _naming(architecture: Architecture, request: Request) -> str:
    return f"mobilenet_{request.options['alpha']:.2f}_{named_size(architecture, request, _SIZES)}"


def _published(architecture: Architecture, request: Request) -> Published:
    alpha, multiplier = request.options["alpha"], request.options["depth_multiplier"]
    if alpha not in _ALPHAS or multiplier != 1:
        raise ValueError(
            f"Weights are published for alpha of {', '.join(map(str, _ALPHAS))} and depth_multiplier=1; got "
            f"alpha={alpha} and depth_multiplier={multiplier}. Take one of these, or weights=None."
        )
    size = named_size(architecture, request, _SIZES)
    file = f"mobilenet_{_ALPHAS[alpha]}_{size}_tf{'' if request.include_top else '_no_top'}.h5"
    return Published(file, f"{SERVER}/mobilenet/{file}")


def _activate(x: KerasTensor, name: str) -> KerasTensor:
    x = layers.BatchNormalization(axis=channel_axis(-1), name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x)


def _body(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    """MobileNet: (batch, height, width, channels) → (batch, classes), or 1024·alpha feature maps of 1/32 the size.

    Parameters: `alpha` multiplies the filters of all layers, and their weights about by alpha²; `depth_multiplier`, how
    many filters the depthwise convolutions have for a channel; `dropout`, the rate before the last convolution; the
    others as those of `ResNet50`. Without a `name` the model is called mobilenet_`alpha`_`height`. The pretrained
    weights are those for squares of 128, 160 or 192 where the images are such, else those for 224. Errors: as those of
    `ResNet50`; a ValueError where no weights are published for `alpha` or `depth_multiplier`.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     [lamina.applications.MobileNet(alpha=alpha, weights=None).count_params() for alpha in (0.5, 1.0)]
    [1342536, 4253864]
    """
    alpha, multiplier = request.options["alpha"], request.options["depth_multiplier"]
    x = layers.Conv2D(int(32 * alpha), 3, strides=2, padding="same", use_bias=False, name="conv1")(x)
    x = _activate(x, "conv1")
    for number, block in enumerate(architecture.stages, start=1):
        if block.stride == 2:
            x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{number}")(x)
        x = layers.DepthwiseConv2D(
            3,
            strides=block.stride,
            padding="same" if block.stride == 1 else "valid",
            depth_multiplier=multiplier,
            use_bias=False,
            name=f"conv_dw_{number}",
        )(x)
        x = _activate(x, f"conv_dw_{number}")
        x = layers.Conv2D(int(block.filters * alpha), 1, padding="same", use_bias=False, name=f"conv_pw_{number}")(x)
        x = _activate(x, f"conv_pw_{number}")
    return x


def _end(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    if not request.include_top:
        return pooled(x, architecture, request)
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Dropout(request.options["dropout"], name="dropout")(x)
    x = layers.Conv2D(request.classes, 1, padding="same", name="conv_preds")(x)
    x = layers.Reshape((request.classes,), name="reshape_2")(x)
    return layers.Activation(request.classifier_activation, name="predictions")(x)


_ROWS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
ARCHITECTURE = Architecture(
    "mobilenet",
    tuple(Block(*row) for row in _ROWS),
    "mobilenet",
    pooling_names=(None, None),
    arguments="input_shape alpha depth_multiplier dropout include_top weights input_tensor pooling classes "
    "classifier_activation",
    options={"alpha": 1.0, "depth_multiplier": 1, "dropout": 1e-3},
    end=_end,
    published=_published,
    naming=_naming,
)
MobileNet = model_function("MobileNet", ARCHITECTURE, _body)
preprocess_input = tf_mode
__all__ = ["MobileNet", "decode_predictions", "preprocess_input"]
