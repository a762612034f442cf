"""What all families share: the input, its smallest size, the top, the pooling, the weights."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamina.base import config
from lamina.base.errors import ShapeError
from lamina.data import get_file
from lamina.engine.device import device
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers import Dense, Flatten, GlobalAveragePooling2D, GlobalMaxPooling2D, Input
from lamina.models import Model

_SERVER = "https://storage.googleapis.com/tensorflow/keras-applications"

Body = Callable[[KerasTensor], KerasTensor]


@dataclass(frozen=True)
class Top:
    """How feature maps become classes: their mean (or, with `flatten`, all their positions), then Dense layers.

    `hidden`: the name and width of the Dense layers before the last, which is `predictions`. A flattened top ties the
    model to one image size: its first Dense has a row for every position and channel.
    """

    flatten: bool = False
    hidden: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Architecture:
    """One model of a family: its name, total stride, smallest stated input, and the published weights' hashes.

    `stages`: the table that the family's builder reads. `total_stride`: the product of all strides from the input to
    the last feature map. `hashes`: MD5 of the weights files with and without the top. `pooling_names`: what the average
    and the maximum over all positions are called where they end the model; None for an automatic name.
    """

    name: str
    stages: tuple[Any, ...]
    folder: str
    hashes: tuple[str, str]
    total_stride: int = 32
    min_size: int = 32
    default_size: int = 224
    top: Top = Top()
    pooling_names: tuple[str | None, str | None] = ("avg_pool", "max_pool")


@dataclass(frozen=True)
class Request:
    """The arguments with which a user asked for a model."""

    include_top: bool = True
    weights: Any = "imagenet"
    input_tensor: Any = None
    input_shape: Any = None
    pooling: str | None = None
    classes: int = 1000
    classifier_activation: Any = "softmax"
    name: str = ""
    min_size: int | str | None = "stated"


def model_function(function_name: str, architecture: Architecture, body: Body, docstring: str) -> Callable[..., Model]:
    """The public function that builds one model: the one signature that all families share."""

    def make(
        include_top: bool = True,
        weights: Any = "imagenet",
        input_tensor: Any = None,
        input_shape: Any = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: Any = "softmax",
        name: str = architecture.name,
        min_size: int | str | None = "stated",
    ) -> Model:
        request = Request(
            include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name, min_size
        )
        return build(architecture, body, request)

    make.__name__ = make.__qualname__ = function_name
    make.__module__ = f"lamina.applications.{architecture.folder}"
    make.__doc__ = docstring
    return make


def build(architecture: Architecture, body: Body, request: Request) -> Model:
    """The model: input, the family's body, then top or pooling, then weights.

    Errors: unknown weights or pooling, an input below the smallest size, 1000 classes of the pretrained top.
    """
    _check(request)
    shape = _input_shape(architecture, body, request)
    if request.include_top and architecture.top.flatten:
        _check_flattened(architecture, request, shape)
    given = request.input_tensor
    inputs = given if isinstance(given, KerasTensor) else Input(shape) if given is None else Input(tensor=given)
    x = _finish(body(inputs), architecture, request)
    model = Model(inputs, x, name=request.name)
    _load(model, architecture, request)
    return model


def _finish(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    if request.include_top:
        top = architecture.top
        x = Flatten(name="flatten")(x) if top.flatten else GlobalAveragePooling2D(name="avg_pool")(x)
        for name, width in top.hidden:
            x = Dense(width, activation="relu", name=name)(x)
        return Dense(request.classes, activation=request.classifier_activation, name="predictions")(x)
    average, maximum = architecture.pooling_names
    if request.pooling == "avg":
        return GlobalAveragePooling2D(name=average)(x)
    if request.pooling == "max":
        return GlobalMaxPooling2D(name=maximum)(x)
    return x


def _check(request: Request) -> None:
    weights = request.weights
    if weights not in (None, "imagenet") and not Path(os.fspath(weights)).is_file():
        raise ValueError(f"weights is None, 'imagenet' or a weights file; there is no file {str(weights)!r}.")
    if request.pooling not in (None, "avg", "max"):
        raise ValueError(f"pooling is None, 'avg' or 'max'; got {request.pooling!r}.")
    if weights == "imagenet" and request.include_top and request.classes != 1000:
        raise ValueError(
            f"The pretrained top has 1000 classes, and classes={request.classes}. Take include_top=False and a Dense "
            f"of your own, or weights=None."
        )


def _input_shape(architecture: Architecture, body: Body, request: Request) -> tuple[int | None, ...]:
    """The input shape without the batch axis. Errors: a ShapeError below the smallest size."""
    first = config.image_data_format() == "channels_first"
    size = architecture.default_size if request.include_top else None
    default = (3, size, size) if first else (size, size, 3)
    if request.input_tensor is not None and request.input_shape is None:
        return tuple(request.input_tensor.shape[1:])
    shape = tuple(request.input_shape) if request.input_shape is not None else default
    if len(shape) != 3:
        raise ValueError(f"input_shape has three entries, height, width and channels; got {shape}.")
    if request.weights == "imagenet" and shape[0 if first else 2] != 3:
        raise ValueError(
            f"The pretrained weights read 3 channels, and input_shape is {shape}. Build with weights=None and load the "
            f'file with model.load_weights(path, adapt_channels="repeat").'
        )
    stated = architecture.min_size if request.min_size == "stated" else request.min_size
    spatial = shape[1:] if first else shape[:2]
    if isinstance(stated, int) and any(one is not None and one < stated for one in spatial):
        raise _too_small(architecture, body, shape, spatial, stated)
    return shape


def _check_flattened(architecture: Architecture, request: Request, shape: tuple[int | None, ...]) -> None:
    """A flattened top needs a stated size, and its pretrained weights one certain size."""
    spatial = shape[1:] if config.image_data_format() == "channels_first" else shape[:2]
    size = architecture.default_size
    pretrained = request.weights == "imagenet"
    if None not in spatial and (not pretrained or spatial == (size, size)):
        return
    raise ShapeError(
        f"The {'pretrained ' * pretrained}top of {architecture.name} needs "
        f"{f'images of {size}×{size}' if pretrained else 'a height and a width'} and got {shape}.",
        layer=architecture.name,
        received=f"input_shape={shape}",
        expected=f"height and width of {size}" if pretrained else "a number for height and for width",
        because=f"the top flattens the last feature maps, and {architecture.top.hidden[0][0]!r} has a row of weights "
        f"for every position of them",
        mend='include_top=False with pooling="avg" reads images of any size'
        + (f", or resize the images to {size}×{size}" if pretrained else ", or state the size"),
    )


def _too_small(architecture: Architecture, body: Body, shape: Any, spatial: Any, stated: int) -> ShapeError:
    stride = architecture.total_stride
    power = str(stride.bit_length() - 1).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    image = "×".join(map(str, spatial))
    where, possible = _where_it_shrinks(body, shape, image)
    because = (
        f"{stated} is the total stride 2{power}: the model halves height and width {stride.bit_length() - 1} times, "
        f"so {stride} positions become one. {where}"
    )
    return ShapeError(
        f"{architecture.name} takes images of {stated}×{stated} or more and got {image}.",
        layer=architecture.name,
        received=f"input_shape={tuple(shape)}",
        expected=f"height and width of {stated} or more",
        because=because,
        mend=f"resize the images to {stated}×{stated} or more"
        + f", or min_size=None to build for {image} all the same" * possible,
    )


def _where_it_shrinks(body: Body, shape: Any, image: str) -> tuple[str, bool]:
    """Which layer first has one position, or none, found by building the body without memory; whether it builds."""
    from lamina.shapes import axis_names

    try:
        with device("meta"):
            inputs = Input(shape)
            graph = Model(inputs, body(inputs)).graph
    except ShapeError as error:
        return f"At {image} the windows of {error.layer!r} find no position at all.", False
    for node in graph.topology.nodes:
        tensor = node.output_tensors[0]
        sizes = dict(zip(axis_names(tensor.ndim, config.image_data_format()), tensor.shape, strict=True))
        if tensor.ndim == 4 and sizes["height"] == sizes["width"] == 1:
            stage = node.operation.name.split("_")[0]
            return (
                f"An image of {image} has shrunk to 1×1 at stage {stage} (layer {node.operation.name!r}); "
                f"all behind it sees one position."
            ), True
    return "", True


def _load(model: Model, architecture: Architecture, request: Request) -> None:
    if request.weights is None:
        return
    path = request.weights
    if path == "imagenet":
        top = "" if request.include_top else "_notop"
        file = f"{architecture.name}_weights_tf_dim_ordering_tf_kernels{top}.h5"
        path = get_file(
            file,
            f"{_SERVER}/{architecture.folder}/{file}",
            cache_subdir="models",
            file_hash=architecture.hashes[0 if request.include_top else 1],
        )
    model.load_weights(path)
