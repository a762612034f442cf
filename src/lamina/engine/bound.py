"""How the forms of a folded program run as kernels of oneDNN that are made once and bound to places in memory.

Each function gets the first real inputs, as tensors (batch, channels, height, width) whose channels lie innermost or as
they are along other axes, and gives a kernel for inputs of that shape, or `Unsupported`. A result is told by its shape
only: where it lies is the plan's to say (`graph/bound_plan.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch

from lamina.engine import onednn
from lamina.engine.forms import Affine, Convolution, Linear, Pointwise, Pool, pads_of, sizes_of, weights_of
from lamina.engine.onednn import After, Description, Layout, Unsupported

Shape = tuple[int, ...]

# torch's names of activations and oneDNN's, with the two numbers that oneDNN's take.
_ACTIVATIONS: dict[str, tuple[Any, ...]] = {
    "relu": ("relu", 0.0, 0.0),
    "swish": ("swish", 1.0, 0.0),
    "hardswish": ("hardswish", 1 / 6, 0.5),
    "hardsigmoid": ("hardsigmoid", 1 / 6, 0.5),
    "sigmoid": ("logistic", 0.0, 0.0),
    "tanh": ("tanh", 0.0, 0.0),
    "gelu": ("gelu_erf", 0.0, 0.0),
}

_LANES = 16  # numbers that a processor takes at a time


def strides_of(shape: Shape, is_image: bool) -> Shape:
    """The strides of a tensor without gaps; those of an image have its channels innermost."""
    if is_image:
        _, channels, height, width = shape
        return (height * width * channels, 1, width * channels, channels)
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _image(shape: Shape, dtype: torch.dtype) -> Layout:
    return Layout.of(shape, strides_of(shape, is_image=True), dtype)


def _plain(shape: Shape, dtype: torch.dtype) -> Layout:
    return Layout.of(shape, strides_of(shape, is_image=False), dtype)


def _activation(after: Pointwise | None) -> list[tuple[Any, ...]]:
    if after is None:
        return []
    if after.attribute == "hardtanh":
        return [("clip", *after.scalars)]
    return [_ACTIVATIONS[after.attribute]]


def _fast(description: Description) -> Description:
    if not description.is_fast:
        raise Unsupported
    return description


class Made:
    """A described kernel, the roles of what it reads and makes with their layouts, and its own weights with theirs."""

    def __init__(self, description: Description, layouts: dict[int, Layout]):
        self.description = description
        self.layouts = layouts
        self.constants: dict[int, tuple[Layout, torch.Tensor]] = {}


class Packed:
    """The weights of a form as kernels want them: most often one order for all shapes of inputs."""

    def __init__(self, form: Convolution | Linear, dtype: torch.dtype):
        self._form, self._dtype = form, dtype
        self._orders: list[tuple[Layout, torch.Tensor]] = []
        self._bias: torch.Tensor | None = None

    def into(self, made: Made, groups: int = 1) -> None:
        wanted = made.description.weights
        found = next((one for one in self._orders if one[0].is_same(wanted)), None)
        if found is None:
            weight, bias = weights_of(self._form)
            weight = weight.t() if isinstance(self._form, Linear) else weight
            weight = weight.to(self._dtype)
            if groups > 1:
                weight = weight.reshape(groups, -1, *weight.shape[1:])
            found = wanted, onednn.reordered(weight, wanted)
            self._orders.append(found)
            self._bias = None if bias is None else bias.float().contiguous()
        made.constants[onednn.WEIGHTS] = found
        if self._bias is not None:
            made.constants[onednn.BIAS] = _plain(tuple(self._bias.shape), torch.float32), self._bias


def convolution(
    form: Convolution, after: Pointwise | None, x: Shape, dtype: torch.dtype, added: str = ""
) -> tuple[Made, Shape]:
    """The kernel and its result's shape. `added`: "" for nothing, "accumulate" for what lies where the result goes,
    "add" for another tensor of the result's shape."""
    result: Shape = (x[0], form.weight.shape[0], *sizes_of(form, x[2:]))
    if 0 in result:
        raise Unsupported
    layouts = {onednn.SOURCE: _image(x, dtype), onednn.RESULT: _image(result, dtype)}
    chain: list[tuple[Any, ...]] = [(added, layouts[onednn.RESULT])] if added else []
    shape = tuple(form.weight.shape)
    if form.groups > 1:
        shape = (form.groups, shape[0] // form.groups, *shape[1:])
    has_bias = form.bias is not None or form.then is not None
    description = onednn.convolution(
        layouts[onednn.SOURCE],
        Layout.any(shape, dtype),
        _plain((result[1],), torch.float32) if has_bias else None,
        layouts[onednn.RESULT],
        [window.stride for window in form.windows],
        [window.dilation for window in form.windows],
        pads_of(form, x[2:]),
        After(*chain, *_activation(after)),
    )
    if added == "add":
        layouts[onednn.after_role(0)] = layouts[onednn.RESULT]
    return Made(_fast(description), layouts), result


def linear(form: Linear, after: Pointwise | None, x: Shape, dtype: torch.dtype) -> tuple[Made, Shape]:
    inside, outside = form.kernel.shape
    rows = prod(x[:-1])
    if rows * inside * outside == 0:
        raise Unsupported
    layouts = {onednn.SOURCE: _plain((rows, inside), dtype), onednn.RESULT: _plain((rows, outside), dtype)}
    has_bias = form.bias is not None or form.then is not None
    bias = _plain((outside,), torch.float32) if has_bias else None
    ends = layouts[onednn.SOURCE], Layout.any((outside, inside), dtype), bias, layouts[onednn.RESULT]
    return Made(_fast(onednn.inner_product(*ends, After(*_activation(after)))), layouts), (*x[:-1], outside)


def affine(form: Affine, after: Pointwise | None, x: Shape, dtype: torch.dtype) -> Made:
    """One pass over memory, features last."""
    rows, features = prod(x[:-1]), x[-1]
    together = _LANES if features % _LANES and rows % _LANES == 0 else 1  # few features: several rows taken as one
    rows, features = rows // together, features * together
    whole = _image((1, features, rows, 1), dtype)
    one = _image((1, features, 1, 1), torch.float32)
    description = onednn.binary("multiply", whole, one, whole, After(("add", one), *_activation(after)))
    made = Made(_fast(description), {onednn.SOURCE: whole, onednn.RESULT: whole})
    for role, tensor in ((onednn.OTHER, form.scale), (onednn.after_role(0), form.shift)):
        made.constants[role] = one, tensor.float().repeat(together)
    return made


def combined(name: str, after: Pointwise | None, count: int, dtype: torch.dtype) -> Made:
    """ "add" or "multiply" for two tensors of one shape, `count` numbers each."""
    flat = _plain((1, 1, 1, count), dtype)
    description = onednn.binary(name, flat, flat, flat, After(*_activation(after)))
    return Made(_fast(description), {onednn.SOURCE: flat, onednn.OTHER: flat, onednn.RESULT: flat})


def joined(shapes: Sequence[Shape], dtype: torch.dtype) -> tuple[Made, Shape]:
    """Tensors end to end along the last axis."""
    rows, together = prod(shapes[0][:-1]), sum(shape[-1] for shape in shapes)
    parts = [_image((1, shape[-1], rows, 1), dtype) for shape in shapes]
    whole = _image((1, together, rows, 1), dtype)
    layouts = {onednn.joined_role(place): part for place, part in enumerate(parts)}
    description = onednn.concatenation(parts, 1, whole)
    return Made(_fast(description), {**layouts, onednn.RESULT: whole}), (*shapes[0][:-1], together)


def pool(form: Pool, x: Shape, dtype: torch.dtype) -> tuple[Made, Shape]:
    result: Shape = (*x[:2], *sizes_of(form, x[2:]))
    strides, kernel = [window.stride for window in form.windows], [window.kernel for window in form.windows]
    pads = pads_of(form, x[2:])
    if any(max(pair) >= length for pair, length in zip(pads, kernel, strict=True)):
        raise Unsupported  # a window may lie in nothing but padding
    return _pooled(form.kind, x, result, strides, kernel, pads, dtype), result


def mean(x: Shape, dtype: torch.dtype) -> tuple[Made, Shape]:
    result: Shape = (*x[:2], 1, 1)
    return _pooled("average", x, result, (1, 1), x[2:], ((0, 0), (0, 0)), dtype), result


def _pooled(
    kind: str,
    x: Shape,
    result: Shape,
    strides: Sequence[int],
    kernel: Sequence[int],
    pads: Sequence[tuple[int, int]],
    dtype: torch.dtype,
) -> Made:
    if 0 in result:
        raise Unsupported
    layouts = {onednn.SOURCE: _image(x, dtype), onednn.RESULT: _image(result, dtype)}
    ends = layouts[onednn.SOURCE], layouts[onednn.RESULT]
    return Made(_fast(onednn.pooling(kind, *ends, strides, kernel, pads)), layouts)
