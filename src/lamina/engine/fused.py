"""How the forms of a folded program run on a processor: as oneDNN's fused kernels, on tensors (batch, channels, height,
width) whose channels lie innermost in memory.

Each function gets the first real inputs and gives a call for inputs of that shape. Weights are laid out once as oneDNN
wants them, for the first shape; for another it reads them as well, and sorts them again where it would want another
order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from lamina.engine.forms import Affine, Convolution, Linear, Mean, Pads, Pointwise, Pool, pads_of, weights_of
from lamina.engine.kernels import pad_spatial

Call = Callable[..., torch.Tensor]
Packed = dict[Any, Any]

_ONEDNN = torch.ops.mkldnn
_PLAIN = Pointwise("none", lambda x: x)


def onednn_takes(dtype: torch.dtype) -> bool:
    """Whether oneDNN has kernels for the type on this machine."""
    if dtype is torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype is torch.float32 and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def _extended(weight: torch.Tensor, pads: Pads) -> torch.Tensor:
    """A kernel with zeros before it where there is less padding before than after, and the other way round: with the
    larger padding on both sides it gives the same."""
    flat: list[int] = []
    for before, after in reversed(pads):
        flat += [max(after - before, 0), max(before - after, 0)]
    return functional.pad(weight, flat) if any(flat) else weight


class FusedConvolution:
    """A convolution with what is joined to it, for inputs of one shape.

    Uneven padding goes into the kernel of a convolution of each channel by itself, which is bound by memory; a dense
    one gets a padded copy of its input.
    """

    def __init__(self, form: Convolution, after: Pointwise | None, x: torch.Tensor, dtype: torch.dtype, packed: Packed):
        self.strides = [window.stride for window in form.windows]
        self.dilations = [window.dilation for window in form.windows]
        self.groups = form.groups
        self.after = after or _PLAIN
        pads = pads_of(form, x.shape[2:])
        extends = form.groups == x.shape[1] > 1 and self.dilations == [1, 1]
        uneven = any(before != beyond for before, beyond in pads)
        self.padded_before = list(pads) if uneven and not extends else None
        even: Pads = ((0, 0), (0, 0)) if self.padded_before else pads
        self.pads = [max(pair) for pair in even]
        if even not in packed:
            weight, bias = weights_of(form)
            weight = _extended(weight, even).to(dtype).contiguous(memory_format=torch.channels_last)
            places = self.pads, self.strides, self.dilations, self.groups
            packed[even] = _ONEDNN._reorder_convolution_weight(weight, *places, list(self._input(x).shape))
            packed["bias"] = None if bias is None else bias.to(dtype)
        self.weight, self.bias = packed[even], packed["bias"]

    def _input(self, x: torch.Tensor) -> torch.Tensor:
        return pad_spatial(x, self.padded_before) if self.padded_before else x

    def alone(self) -> Call:
        """x → after(convolution(x))."""
        rest = (self.weight, self.bias, self.pads, self.strides, self.dilations, self.groups)
        after = self.after.attribute, list(self.after.scalars), self.after.algorithm
        kernel = _ONEDNN._convolution_pointwise.default
        if self.padded_before:
            return lambda x: kernel(self._input(x), *rest, *after)
        return lambda x: kernel(x, *rest, *after)

    def plus(self, in_place: bool) -> Call:
        """(x, other) → after(convolution(x) + other); with `in_place` into the memory of `other`."""
        rest = (self.weight, self.bias, self.pads, self.strides, self.dilations, self.groups)
        joins = self.after.attribute in ("none", "relu")  # oneDNN's sums take no other activation
        how: tuple[Any, ...] = ("add", 1.0, "relu" if self.after.attribute == "relu" else None, [], "")
        if in_place:
            kernel = _ONEDNN._convolution_pointwise_.binary

            def call(x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
                return kernel(other, self._input(x), *rest, *how)

        else:
            kernel = _ONEDNN._convolution_pointwise.binary

            def call(x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
                return kernel(self._input(x), other, *rest, *how)

        return call if joins else lambda x, other: self.after.on_fresh(call(x, other))


def plain_convolution(form: Convolution, after: Pointwise | None, x: torch.Tensor, dtype: torch.dtype) -> Call:
    """The same by torch's own kernels, for a type that oneDNN does not have."""
    pads = list(pads_of(form, x.shape[2:]))
    even = all(before == beyond for before, beyond in pads)
    weight, bias = _in_dtype(form, dtype)
    strides = [window.stride for window in form.windows]
    dilations = [window.dilation for window in form.windows]
    inside = [before for before, _ in pads] if even else [0, 0]

    def call(x: torch.Tensor) -> torch.Tensor:
        x = x if even else pad_spatial(x, pads)
        result = torch.conv2d(x, weight, bias, strides, inside, dilations, form.groups)
        return result if after is None else after.on_fresh(result)

    return call


def _in_dtype(form: Convolution | Linear, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
    weight, bias = weights_of(form)
    return weight.to(dtype), None if bias is None else bias.to(dtype)


def linear(form: Linear, after: Pointwise | None, dtype: torch.dtype) -> Call:
    kernel, bias = _in_dtype(form, dtype)
    weight = kernel.t()
    if after is None:
        return lambda x: functional.linear(x, weight, bias)
    return lambda x: after.on_fresh(functional.linear(x, weight, bias))


def affine(form: Affine, after: Pointwise | None, x: torch.Tensor, dtype: torch.dtype) -> Call:
    """One pass over memory, and one in place for what comes after."""
    along = [-1 if axis == form.axis % x.dim() else 1 for axis in range(x.dim())]
    scale, shift = (tensor.to(dtype).reshape(along) for tensor in (form.scale, form.shift))
    if after is None:
        return lambda x: torch.addcmul(shift, x, scale)
    return lambda x: after.on_fresh(torch.addcmul(shift, x, scale))


def pool(form: Pool) -> Call:
    """A window's numbers on an image whose channels come second. What is padded before comes out of a ReLU."""
    pads = list(form.pads)
    return lambda x: form.function(pad_spatial(x, pads))


def mean(form: Mean) -> Call:
    """The means of an image whose channels come second, in the order of the graph."""
    if form.keepdims and form.data_format == "channels_last":
        return lambda x: x.mean((2, 3), keepdim=True).permute(0, 2, 3, 1)
    return lambda x: x.mean((2, 3), keepdim=form.keepdims)


def with_activation(function: Call, after: Pointwise | None) -> Call:
    """A function that makes a new tensor, with an activation in its place."""
    if after is None:
        return function
    return lambda *inputs: after.on_fresh(function(*inputs))


def joined(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat(tuple(tensors), -1)
