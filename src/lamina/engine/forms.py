"""What a layer computes when nothing is learned, in a few forms that a folded program can join.

A layer with `inference_forms` states its call as a chain of these; `graph/folding.py` joins them (a convolution, the
normalisation behind it, an addition and an activation become one call), and `engine/fused.py` says how each is run.
Weights stand in a form as they are at that time: a folded program is made anew when they change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from lamina.shapes import Window, value_of

Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Affine:
    """`x * scale + shift`, one pair of numbers for each index of `axis`."""

    scale: torch.Tensor
    shift: torch.Tensor
    axis: int


@dataclass(frozen=True)
class Convolution:
    """A convolution over two spatial axes. `weight` is (out, in/groups, height, width); `pads` go before its own.

    `then` is an affine map of its features that is to go into the weights (`weights_of`).
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    windows: tuple[Window, ...]
    groups: int
    data_format: str
    pads: Pads = ((0, 0), (0, 0))
    then: Affine | None = None


@dataclass(frozen=True)
class Linear:
    """`x @ kernel + bias` along the last axis; `kernel` is (in, out). `then` as in `Convolution`."""

    kernel: torch.Tensor
    bias: torch.Tensor | None
    then: Affine | None = None


@dataclass(frozen=True)
class Pointwise:
    """An activation that oneDNN can apply to a result while it is written.

    `attribute`, `scalars` and `algorithm` are oneDNN's names; `function` is the same in torch, and so is `in_place`,
    where torch has it.
    """

    attribute: str
    function: Callable[[torch.Tensor], torch.Tensor]
    in_place: Callable[[torch.Tensor], torch.Tensor] | None = None
    scalars: tuple[float | None, ...] = ()
    algorithm: str = ""

    def on_fresh(self, x: torch.Tensor) -> torch.Tensor:
        """Applied to a tensor that nobody else reads."""
        return self.function(x) if self.in_place is None else self.in_place(x)


RELU = Pointwise("relu", torch.relu, torch.relu_)


def relu_up_to(most: float) -> Pointwise:
    """`min(max(x, 0), most)`."""
    return Pointwise("hardtanh", lambda x: x.clamp(0, most), lambda x: x.clamp_(0, most), (0.0, most))


@dataclass(frozen=True)
class Apply:
    """Any function of one tensor, or of a list of them where it reads several values."""

    function: Callable[..., torch.Tensor]


@dataclass(frozen=True)
class Padding:
    """Zeros around two spatial axes."""

    pads: Pads
    data_format: str


@dataclass(frozen=True)
class Pool:
    """The "max" or the "average" of each window over two spatial axes; `function` is the same on (batch, channels,
    height, width). `pads` go before its own; they never win, and are not counted."""

    kind: str
    windows: tuple[Window, ...]
    data_format: str
    function: Callable[[torch.Tensor], torch.Tensor]
    pads: Pads = ((0, 0), (0, 0))


@dataclass(frozen=True)
class Mean:
    """The mean of each channel over two spatial axes."""

    data_format: str
    keepdims: bool


@dataclass(frozen=True)
class Reshaped:
    """The same numbers, in the same order, in another shape."""

    function: Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Sum:
    """The sum of two tensors."""


@dataclass(frozen=True)
class Product:
    """The product of two tensors."""


@dataclass(frozen=True)
class Joined:
    """Tensors end to end along the last axis."""


Form = Convolution | Linear | Affine | Pointwise | Apply | Padding | Pool | Mean | Reshaped | Sum | Product | Joined
Forms = Sequence[Form]


def fits(form: Convolution | Linear, affine: Affine, rank: int) -> bool:
    """Whether an affine map of a result is one of its features, and can go into the weights."""
    last = rank - 1 if isinstance(form, Linear) or form.data_format == "channels_last" else 1
    return affine.axis % rank == last


def scaled(form: Convolution | Linear, affine: Affine) -> Convolution | Linear:
    """The form with an affine map of its result to go into its weights."""
    return replace(form, then=affine if form.then is None else composed(form.then, affine))


def weights_of(form: Convolution | Linear) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The weight and the bias of a form with everything in them: new tensors where something goes into them, made when
    they are needed, for a network's weights are not held twice."""
    weight = form.kernel if isinstance(form, Linear) else form.weight
    if form.then is None:
        return weight, form.bias
    scale, shift = form.then.scale, form.then.shift
    bias = shift if form.bias is None else torch.addcmul(shift, form.bias, scale)
    return weight * (scale if isinstance(form, Linear) else scale.reshape(-1, 1, 1, 1)), bias


def composed(first: Affine, second: Affine) -> Affine:
    """Both, one behind the other, as one."""
    return Affine(first.scale * second.scale, torch.addcmul(second.shift, first.shift, second.scale), axis=first.axis)


def behind_factor(after: Pointwise, affine: Affine) -> Pointwise | None:
    """What gives `affine(after(x))` on `affine(x)`: a ReLU, where `affine` multiplies all by one number above 0."""
    factor = float(affine.scale[0])
    if not (factor > 0 and bool((affine.scale == factor).all()) and not affine.shift.any()):
        return None
    if after.attribute == "relu":
        return after
    least, most = after.scalars if after.attribute == "hardtanh" else (None, None)
    return relu_up_to(most * factor) if least == 0.0 and most is not None else None


def sizes_of(form: Convolution | Pool, sizes: Sequence[int]) -> list[int]:
    """Height and width of the result."""
    padded = [size + sum(pair) for size, pair in zip(sizes, form.pads, strict=True)]
    return [value_of(window.output(size)) or 0 for size, window in zip(padded, form.windows, strict=True)]


def pads_of(form: Convolution | Pool, sizes: Sequence[int]) -> Pads:
    """(before, after) along height and width: the padding that went before, and the form's own."""
    padded = [size + sum(pair) for size, pair in zip(sizes, form.pads, strict=True)]
    own = [window.pads(size) for window, size in zip(form.windows, padded, strict=True)]
    pairs = zip(form.pads, own, strict=True)
    return tuple((first[0] + second[0], first[1] + second[1]) for first, second in pairs)
