"""NASNet-A (Zoph et al. 2017, arXiv:1707.07012): two cells that a search found, repeated."""

from __future__ import annotations

from dataclasses import dataclass

from lamina.applications.ending import Architecture, Request, Top, model_functions
from lamina.applications.imagenet_utils import decode_predictions
from lamina.applications.parts import channel_axis, channels, padding_for_stride_2
from lamina.applications.preprocessing import tf_mode
from lamina.applications.published import SERVER, Published
from lamina.base.errors import ShapeError
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers import (
    Activation,
    Add,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Cropping2D,
    MaxPooling2D,
    SeparableConv2D,
    ZeroPadding2D,
)


@dataclass(frozen=True)
class Branch:
    """What is done with one tensor of a cell: "separable" (two convolutions), "average", "max" or "same" (nothing).

    `source`: "here", what the cell before gave; "before", what the one before that gave; or a sum of this cell.
    """

    kind: str
    source: str
    kernel: int = 3
    name: str = ""


@dataclass(frozen=True)
class Sum:
    """Two branches of a cell added up. `unnamed`: the sum's layer has an automatic name."""

    name: str
    left: Branch
    right: Branch
    unnamed: bool = False


NORMAL = (
    Sum("add_1", Branch("separable", "here", 5, "left1"), Branch("separable", "before", 3, "right1")),
    Sum("add_2", Branch("separable", "before", 5, "left2"), Branch("separable", "before", 3, "right2")),
    Sum("add_3", Branch("average", "here", 3, "left3"), Branch("same", "before")),
    Sum("add_4", Branch("average", "before", 3, "left4"), Branch("average", "before", 3, "right4")),
    Sum("add_5", Branch("separable", "here", 3, "left5"), Branch("same", "here")),
)
REDUCTION = (  # its branches from "here" and "before" take every second position
    Sum("add_1", Branch("separable", "here", 5, "left1"), Branch("separable", "before", 7, "right1")),
    Sum("add_2", Branch("max", "here", 3, "left2"), Branch("separable", "before", 7, "right2")),
    Sum("add3", Branch("average", "here", 3, "left3"), Branch("separable", "before", 5, "right3")),
    Sum("add_4", Branch("same", "add_2"), Branch("average", "add_1", 3, "left4"), unnamed=True),
    Sum("add4", Branch("separable", "add_1", 3, "left4"), Branch("max", "here", 3, "right5")),
)
# The tensors that a cell joins to its result.
JOINED: dict[tuple[Sum, ...], tuple[str, ...]] = {
    NORMAL: ("before", "add_1", "add_2", "add_3", "add_4", "add_5"),
    REDUCTION: ("add_2", "add3", "add_4", "add4"),
}


@dataclass(frozen=True)
class Cell:
    """A cell: the end of its layers' names, its sums, its filters, and whether the next but one skips its input."""

    name: str
    sums: tuple[Sum, ...]
    filters: int
    skipped: bool = False


def _stages(stem: int, filters: int, repeats: int, skipped: bool) -> tuple[int | Cell, ...]:
    """The stem's filters and the cells: two that halve, three times `repeats` normal ones, a halving between."""
    stages: list[int | Cell] = [
        stem,
        Cell("stem_1", REDUCTION, filters // 4),
        Cell("stem_2", REDUCTION, filters // 2),
    ]
    for part in range(3):
        width, first = filters * 2**part, part * repeats
        if part > 0:
            stages.append(Cell(f"reduce_{first}", REDUCTION, width, skipped))
            first += 1
        stages += [Cell(str(first + place), NORMAL, width) for place in range(repeats)]
    return tuple(stages)


def _normalized(x: KerasTensor, name: str) -> KerasTensor:
    return BatchNormalization(axis=channel_axis(-1), momentum=0.9997, epsilon=1e-3, name=name)(x)


def _convolution(x: KerasTensor, filters: int, name: str) -> KerasTensor:
    return Conv2D(filters, 1, padding="same", use_bias=False, kernel_initializer="he_normal", name=name)(x)


def _separable(x: KerasTensor, filters: int, kernel: int, stride: int, name: str) -> KerasTensor:
    """Twice: relu, a window channel by channel, a 1×1 convolution, normalisation."""
    for number, strides in ((1, stride), (2, 1)):
        x = Activation("relu")(x)
        if strides == 2:
            x = ZeroPadding2D(padding_for_stride_2(x, kernel), name=f"separable_conv_1_pad_{name}")(x)
        x = SeparableConv2D(
            filters,
            kernel,
            strides=strides,
            padding="valid" if strides == 2 else "same",
            use_bias=False,
            name=f"separable_conv_{number}_{name}",
        )(x)
        x = _normalized(x, f"separable_conv_{number}_bn_{name}")
    return x


def _halved(x: KerasTensor, filters: int, name: str) -> KerasTensor:
    """Half the height and width: one half of the channels from the even positions, the other from the odd ones."""
    x = Activation("relu", name=f"adjust_relu_1_{name}")(x)
    shifted = Cropping2D(((1, 0), (1, 0)))(ZeroPadding2D(((0, 1), (0, 1)))(x))
    halves = []
    for number, half in enumerate((x, shifted), start=1):
        half = AveragePooling2D(1, strides=2, name=f"adjust_avg_pool_{number}_{name}")(half)
        halves.append(_convolution(half, filters // 2, f"adjust_conv_{number}_{name}"))
    return _normalized(Concatenate(axis=channel_axis(-1))(halves), f"adjust_bn_{name}")


def _fitted(before: KerasTensor, filters: int, name: str) -> KerasTensor:
    """What the cell before the last gave, with `filters` channels."""
    if channels(before) == filters:
        return before
    x = _convolution(Activation("relu")(before), filters, f"adjust_conv_projection_{name}")
    return _normalized(x, f"adjust_bn_{name}")


def _branch(branch: Branch, tensors: dict[str, KerasTensor], cell: Cell, kind: str) -> KerasTensor:
    name = f"{kind}_{branch.name}_{cell.name}"
    stride = 2 if cell.sums is REDUCTION and branch.source in ("here", "before") else 1
    x = tensors[branch.source]
    if branch.kind == "same":
        return x
    if branch.kind == "separable":
        return _separable(x, cell.filters, branch.kernel, stride, name)
    pooling = MaxPooling2D if branch.kind == "max" else AveragePooling2D
    if stride == 1:
        return pooling(branch.kernel, strides=1, padding="same", name=name)(x)
    return pooling(branch.kernel, strides=2, name=name)(tensors["padded"])


def _cell(here: KerasTensor, before: KerasTensor, cell: Cell) -> KerasTensor:
    kind = "reduction" if cell.sums is REDUCTION else "normal"
    x = _convolution(Activation("relu")(here), cell.filters, f"{kind}_conv_1_{cell.name}")
    tensors = {"here": _normalized(x, f"{kind}_bn_1_{cell.name}"), "before": before}
    if cell.sums is REDUCTION:
        padding = padding_for_stride_2(tensors["here"], 3)
        tensors["padded"] = ZeroPadding2D(padding, name=f"reduction_pad_1_{cell.name}")(tensors["here"])
    for one in cell.sums:
        both = [_branch(branch, tensors, cell, kind) for branch in (one.left, one.right)]
        tensors[one.name] = Add(name=None if one.unnamed else f"{kind}_{one.name}_{cell.name}")(both)
    joined = [tensors[source] for source in JOINED[cell.sums]]
    return Concatenate(axis=channel_axis(-1), name=f"{kind}_concat_{cell.name}")(joined)


def _open_size(architecture: Architecture, request: Request) -> ShapeError:
    size = architecture.default_size
    return ShapeError(
        f"{architecture.name} needs images of a stated size and got an open one.",
        layer=architecture.name,
        path=architecture.name,
        received=f"input_shape={request.input_shape}",
        expected="a number for height and for width",
        because="where it halves its feature maps, a row and a column of zeros are added if their size is odd, so that "
        "what the branches of a cell give fits together",
        mend=f"input_shape={(3, size, size) if channel_axis() == 1 else (size, size, 3)}, or the size of your images",
    )


def _body(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    """NASNet-A, Mobile or Large: (batch, height, width, channels) → (batch, classes).

    Without the top it gives 1056 (Mobile) or 4032 (Large) feature maps of 1/32 the size. Images come from
    `nasnet.preprocess_input`, −1 to 1.

    Parameters: as those of `ResNet50`; an image of 224×224 (Mobile) or 331×331 (Large) unless `input_shape` says
    another. Errors: as those of `ResNet50`, and a ShapeError for an open height or width.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     lamina.applications.NASNetMobile(weights=None).count_params()
    5326716
    """
    if None in x.shape[1:]:
        raise _open_size(architecture, request)
    stem, *cells = architecture.stages
    x = Conv2D(stem, 3, strides=2, use_bias=False, kernel_initializer="he_normal", name="stem_conv1")(x)
    here = before = _normalized(x, "stem_bn1")
    halve = False
    for cell in cells:
        if halve:  # `here` has been halved since `before`
            fitted = _halved(before, cell.filters, cell.name)
        else:
            fitted = before if before is here else _fitted(before, cell.filters, cell.name)
        before, here = before if cell.skipped else here, _cell(here, fitted, cell)
        halve = cell.sums is REDUCTION
    return Activation("relu")(here)


def _published(architecture: Architecture, request: Request) -> Published:
    size = architecture.name.removeprefix("nasnet_")
    top = "" if request.include_top else "no-top"
    file = "_".join(filter(None, (architecture.name, top.replace("-", "_"))))
    address = "-".join(filter(None, ("NASNet", size, top)))
    return Published(f"{file}.h5", f"{SERVER}/nasnet/{address}.h5")


def _architecture(name: str, size: int, stages: tuple[int | Cell, ...]) -> Architecture:
    return Architecture(
        name,
        stages,
        "nasnet",
        default_size=size,
        open_size=False,
        top=Top(average=None),
        pooling_names=(None, None),
        arguments="input_shape include_top weights input_tensor pooling classes classifier_activation",
        published=_published,
    )


ARCHITECTURES = {
    "NASNetMobile": _architecture("nasnet_mobile", 224, _stages(stem=32, filters=44, repeats=4, skipped=False)),
    "NASNetLarge": _architecture("nasnet_large", 331, _stages(stem=96, filters=168, repeats=6, skipped=True)),
}
NASNetMobile, NASNetLarge = model_functions(ARCHITECTURES, _body)
preprocess_input = tf_mode
__all__ = ["NASNetLarge", "NASNetMobile", "decode_predictions", "preprocess_input"]
