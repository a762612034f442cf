"""What all families share: the signature, the input, its smallest size, the top, the pooling, the weights.

A family is data (an `Architecture` per model) and a function for its body, `(x, architecture, request)` → x; where the
usual ones do not do, also functions for the model's end, its name and its published weights. `request` holds the user's
arguments, those that only this family has in `request.options`.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lamina.applications.parts import channel_axis, image_size
from lamina.applications.published import SERVER, Published
from lamina.base.collecting import collector_paused
from lamina.base.errors import ShapeError
from lamina.data import get_file
from lamina.engine.device import device
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers import Dense, Dropout, Flatten, GlobalAveragePooling2D, GlobalMaxPooling2D, Input
from lamina.models import Model
from lamina.saving.channels import WAYS

# The arguments of most families in Keras's order. `name` follows them in every family, then lamina's own two.
ARGUMENTS = "include_top weights input_tensor input_shape pooling classes classifier_activation"


@dataclass(frozen=True)
class Request:
    """The arguments with which a user asked for a model; `options` are those that not every family has."""

    include_top: bool = True
    weights: Any = "imagenet"
    input_tensor: Any = None
    input_shape: Any = None
    pooling: str | None = None
    classes: int = 1000
    classifier_activation: Any = "softmax"
    name: str | None = None
    min_size: int | str | None = "stated"
    adapt_channels: str = "error"
    options: Mapping[str, Any] = field(default_factory=dict)


Part = Callable[[KerasTensor, "Architecture", Request], KerasTensor]


@dataclass(frozen=True)
class Top:
    """How feature maps become classes: their mean (or, with `flatten`, all their positions), then Dense layers.

    A flattened top ties the model to one image size: its first Dense has a row for every position and channel.
    `average`: the name of the layer of the mean; None for an automatic name. `hidden`: the name and width of the Dense
    layers before the last, which is `predictions`. `dropout`: the rate of a Dropout `top_dropout` before the last
    Dense; 0 for none.
    """

    flatten: bool = False
    average: str | None = "avg_pool"
    hidden: tuple[tuple[str, int], ...] = ()
    dropout: float = 0


def usual_end(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    """The top that `architecture.top` describes, or without a top the pooling."""
    if not request.include_top:
        return pooled(x, architecture, request)
    top = architecture.top
    x = Flatten(name="flatten")(x) if top.flatten else GlobalAveragePooling2D(name=top.average)(x)
    for name, width in top.hidden:
        x = Dense(width, activation="relu", name=name)(x)
    if top.dropout:
        x = Dropout(top.dropout, name="top_dropout")(x)
    return Dense(request.classes, activation=request.classifier_activation, name="predictions")(x)


def pooled(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    """What the model gives without its top: the feature maps, or their average or maximum over all positions."""
    average, maximum = architecture.pooling_names
    if request.pooling == "avg":
        return GlobalAveragePooling2D(name=average)(x)
    if request.pooling == "max":
        return GlobalMaxPooling2D(name=maximum)(x)
    return x


def usual_weights(architecture: Architecture, request: Request) -> Published:
    """The published file by the pattern in `architecture.file`."""
    file = architecture.file.format(name=architecture.name, top="" if request.include_top else "_notop")
    return Published(file, f"{architecture.origin or f'{SERVER}/{architecture.folder}'}/{file}")


@dataclass(frozen=True)
class Architecture:
    """One model of a family: its name, the table its builder reads, its sizes, and where its weights are published.

    - `stages`: the table that the family's builder reads. `folder`: Keras's name of the family's module.
    - `total_stride`: the product of all strides from the input to the last feature map. `min_size`: the smallest height
      and width that Keras accepts. `default_size`: height and width where the user states none; None leaves them open.
      `open_size`: whether they are open by default without the top.
    - `top`, `pooling_names`: what the usual end reads; the latter are the names of the average and the maximum over all
      positions where one of them ends the model; None for an automatic name. `end`: what follows the body.
    - `file`, `origin`: the pattern of the weights files' names, with {name} and {top}, and the address they lie under
      (None: `SERVER`/`folder`). `published`: which file a request asks for.
    - `arguments`: the public function's arguments in Keras's order; `options`: the defaults of those that a `Request`
      does not know. `naming`: the model's name where the user gives none and the signature's default is None.
    """

    name: str
    stages: tuple[Any, ...]
    folder: str
    total_stride: int = 32
    min_size: int = 32
    default_size: int | None = 224
    open_size: bool = True
    top: Top = Top()
    pooling_names: tuple[str | None, str | None] = ("avg_pool", "max_pool")
    file: str = "{name}_weights_tf_dim_ordering_tf_kernels{top}.h5"
    origin: str | None = None
    arguments: str = ARGUMENTS
    options: Mapping[str, Any] = field(default_factory=dict)
    end: Part = usual_end
    published: Callable[[Architecture, Request], Published] = usual_weights
    naming: Callable[[Architecture, Request], str] | None = None


def model_functions(architectures: Mapping[str, Architecture], body: Part) -> tuple[Callable[..., Model], ...]:
    """The public functions of a family, in the order of the table `architectures`, which lies under their names."""
    return tuple(model_function(name, architecture, body) for name, architecture in architectures.items())


def model_function(function_name: str, architecture: Architecture, body: Part) -> Callable[..., Model]:
    """The public function that builds one model, with Keras's signature and `min_size` and `adapt_channels` behind.

    It has the docstring of `body`.
    """
    signature = _signature(architecture)

    def make(*positional: Any, **named: Any) -> Model:
        try:
            bound = signature.bind(*positional, **named)
        except TypeError as error:
            raise TypeError(f"{function_name}: {error}. Its arguments are {signature}.") from None
        bound.apply_defaults()
        options = {key: bound.arguments.pop(key) for key in architecture.options}
        with collector_paused():
            return build(architecture, body, Request(**bound.arguments, options=options))

    make.__name__ = make.__qualname__ = function_name
    make.__module__ = f"lamina.applications.{architecture.folder}"
    make.__doc__ = body.__doc__
    make.__signature__ = signature  # type: ignore[attr-defined]
    return make


def _signature(architecture: Architecture) -> inspect.Signature:
    request = Request(name=None if architecture.naming else architecture.name)
    defaults = {**vars(request), **architecture.options}
    names = [*architecture.arguments.split(), "name", "min_size", "adapt_channels"]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind, default=defaults[name]) for name in names]
    return inspect.Signature(parameters, return_annotation=Model)


def build(architecture: Architecture, body: Part, request: Request) -> Model:
    """The model: input, the family's body, then top or pooling, then weights.

    Errors: unknown weights or pooling, an input below the smallest size, 1000 classes of the pretrained top.
    """
    _check(request)
    request = replace(request, input_shape=_input_shape(architecture, body, request))
    if request.name is None and architecture.naming:
        request = replace(request, name=architecture.naming(architecture, request))
    if request.include_top and architecture.top.flatten:
        _check_flattened(architecture, request)
    given = request.input_tensor
    if given is None:
        inputs = Input(request.input_shape)
    else:
        inputs = given if isinstance(given, KerasTensor) else Input(tensor=given)
    x = architecture.end(body(inputs, architecture, request), architecture, request)
    model = Model(inputs, x, name=request.name)
    _load(model, architecture, request)
    return model


def _check(request: Request) -> None:
    weights = request.weights
    if weights is not None and not isinstance(weights, str | os.PathLike):
        raise ValueError(f"weights is None, 'imagenet' or the path of a weights file; got {weights!r}.")
    if weights not in (None, "imagenet") and not Path(weights).is_file():
        raise ValueError(f"weights is None, 'imagenet' or a weights file; there is no file {str(weights)!r}.")
    if request.pooling not in (None, "avg", "max"):
        raise ValueError(f"pooling is None, 'avg' or 'max'; got {request.pooling!r}.")
    if request.adapt_channels not in ("error", *WAYS):
        raise ValueError(f"adapt_channels is 'error', {', '.join(map(repr, WAYS))}; got {request.adapt_channels!r}.")
    size = request.min_size
    if size not in ("stated", None) and (isinstance(size, bool) or not isinstance(size, int)):
        raise ValueError(f"min_size is 'stated', a number of pixels, or None for any size; got {size!r}.")
    if weights == "imagenet" and request.include_top and request.classes != 1000:
        raise ValueError(
            f"The pretrained top has 1000 classes, and classes={request.classes}. Take include_top=False and a Dense "
            f"of your own, or weights=None."
        )


def _input_shape(architecture: Architecture, body: Part, request: Request) -> tuple[int | None, ...]:
    """The input shape without the batch axis. Errors: a ShapeError below the smallest size."""
    first = channel_axis() == 1
    size = architecture.default_size if request.include_top or not architecture.open_size else None
    default = (3, size, size) if first else (size, size, 3)
    if request.input_tensor is not None and request.input_shape is None:
        return tuple(request.input_tensor.shape[1:])
    shape = tuple(request.input_shape) if request.input_shape is not None else default
    if len(shape) != 3:
        raise ValueError(f"input_shape has three entries, height, width and channels; got {shape}.")
    if request.weights == "imagenet" and request.adapt_channels == "error" and shape[0 if first else 2] != 3:
        raise ValueError(
            f"The pretrained weights read 3 channels, and input_shape is {shape}. adapt_channels says what becomes of "
            f'them: "repeat" copies the weights of red, green and blue to the channels in turn, "mean" gives every '
            f'channel their mean (both scaled, so that a grey image gives the same activations), "zero" lets channels '
            f"behind the third start without effect. Or take weights=None."
        )
    smallest = architecture.min_size if request.min_size == "stated" else request.min_size
    if isinstance(smallest, int) and any(one is not None and one < smallest for one in image_size(shape)):
        raise _too_small(architecture, body, replace(request, input_shape=shape), smallest)
    return shape


def _check_flattened(architecture: Architecture, request: Request) -> None:
    """A flattened top needs a stated size, and its pretrained weights one certain size."""
    shape, size = request.input_shape, architecture.default_size
    pretrained = request.weights == "imagenet"
    if None not in shape and (not pretrained or image_size(shape) == (size, size)):
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


def _too_small(architecture: Architecture, body: Part, request: Request, smallest: int) -> ShapeError:
    stride = architecture.total_stride
    halvings = stride.bit_length() - 1
    power = str(halvings).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    image = "×".join(map(str, image_size(request.input_shape)))
    where, possible = _where_it_shrinks(architecture, body, request, image)
    if request.min_size != "stated":
        reason = f"min_size={smallest} was asked for."
    elif smallest == stride:
        reason = (
            f"{smallest} is the total stride 2{power}: the model halves height and width {halvings} times, so {stride} "
            f"positions become one."
        )
    else:
        reason = (
            f"{smallest} is the minimum stated for this model: it halves height and width {halvings} times (total "
            f"stride 2{power} = {stride}), and its windows without padding cut the border off as well."
        )
    return ShapeError(
        f"{architecture.name} takes images of {smallest}×{smallest} or more and got {image}.",
        layer=architecture.name,
        received=f"input_shape={request.input_shape}",
        expected=f"height and width of {smallest} or more",
        because=f"{reason} {where}",
        mend=f"resize the images to {smallest}×{smallest} or more"
        + f", or min_size=None to build for {image} all the same" * possible,
    )


def _where_it_shrinks(architecture: Architecture, body: Part, request: Request, image: str) -> tuple[str, bool]:
    """Which layer first has one position, or none, found by building the body without memory; whether it builds."""
    try:
        with device("meta"):
            inputs = Input(request.input_shape)
            graph = Model(inputs, body(inputs, architecture, request)).graph
    except ShapeError as error:
        return f"At {image} the windows of {error.layer!r} find no position at all.", False
    maps = [node for node in graph.topology.nodes if node.output_tensors[0].ndim == 4]
    sizes = [image_size(node.output_tensors[0].shape[1:]) for node in maps]
    last = max((position for position, size in enumerate(sizes) if size != (1, 1)), default=-1)
    if last == len(maps) - 1:
        return f"At {image} the last feature maps are {'×'.join(map(str, sizes[-1]))}.", True
    layer = maps[last + 1].operation.name
    stage = re.match(r"(conv|block|stage)\d+(?=_)", layer)
    place = f"stage {stage[0]} (layer {layer!r})" if stage else repr(layer)
    return f"An image of {image} has shrunk to 1×1 at {place}; all behind it sees one position.", True


def _load(model: Model, architecture: Architecture, request: Request) -> None:
    if request.weights is None:
        return
    path = request.weights
    if path == "imagenet":
        published = architecture.published(architecture, request)
        path = get_file(published.file, published.origin, cache_subdir="models", file_hash=published.file_hash)
    model.load_weights(path, adapt_channels=request.adapt_channels)
