"""What a layer computes when nothing is learned, in a few forms that a folded program can join.

A layer with `inference_forms` states its call as a chain of these; `graph/folding.py` joins them (a convolution, the
normalisation behind it, an addition and an activation become one call), and `engine/fused.py` says how each is run.
Weights stand in a form as they are at that time: a folded program is made anew when they change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from lamina.shapes import Window

Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Convolution:
    """A convolution over two spatial axes. `weight` is (out, in/groups, height, width); `pads` go before its own."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    windows: tuple[Window, ...]
    groups: int
    data_format: str
    pads: Pads = ((0, 0), (0, 0))


@dataclass(frozen=True)
class Linear:
    """`x @ kernel + bias` along the last axis; `kernel` is (in, out)."""

    kernel: torch.Tensor
    bias: torch.Tensor | None


@dataclass(frozen=True)
class Affine:
    """`x * scale + shift`, one pair of numbers for each index of `axis`."""

    scale: torch.Tensor
    shift: torch.Tensor
    axis: int


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
class Sum:
    """The sum of two tensors."""


@dataclass(frozen=True)
class Product:
    """The product of two tensors."""


@dataclass(frozen=True)
class Joined:
    """Tensors end to end along the last axis."""


Form = Convolution | Linear | Affine | Pointwise | Apply | Padding | Sum | Product | Joined
Forms = Sequence[Form]


def fits(form: Convolution | Linear, affine: Affine, rank: int) -> bool:
    """Whether an affine map of a result is one of its features, and can go into the weights."""
    last = rank - 1 if isinstance(form, Linear) or form.data_format == "channels_last" else 1
    return affine.axis % rank == last


def scaled(form: Convolution | Linear, affine: Affine) -> Convolution | Linear:
    """The form with an affine map of its result in its weights."""
    bias = affine.shift if form.bias is None else torch.addcmul(affine.shift, form.bias, affine.scale)
    if isinstance(form, Linear):
        return Linear(form.kernel * affine.scale, bias)
    weight = form.weight * affine.scale.reshape(-1, 1, 1, 1)
    return Convolution(weight, bias, form.windows, form.groups, form.data_format, form.pads)


def composed(first: Affine, second: Affine) -> Affine:
    """Both, one behind the other, as one."""
    return Affine(first.scale * second.scale, torch.addcmul(second.shift, first.shift, second.scale), axis=first.axis)
