"""Depthwise convolutions of images whose gradients go around the slow kernels of oneDNN.

oneDNN has vector code for the gradient of a depthwise kernel of up to three columns, and for the gradient of a bfloat16
image at a stride of 1. What is beyond runs in its reference code, 10 to 100 times as long. Both can be said by what is
fast: a wide kernel's gradient is that of its strips, and the gradient of an image at a greater stride is a convolution
of the outputs' gradient with zeros in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch.nn import functional

_COLUMNS = 3  # of a kernel whose gradient oneDNN has vector code for

Pair = tuple[int, int]


def has_slow_gradients(
    x: torch.Tensor, weight: torch.Tensor, strides: Sequence[int], dilations: Sequence[int], groups: int
) -> bool:
    """Whether a convolution is one that `depthwise` computes, and faster than torch does."""
    if x.dim() != 4 or x.device.type != "cpu" or not torch.is_grad_enabled() or set(dilations) != {1}:
        return False
    if weight.shape[0] != groups or x.shape[1] != groups:
        return False
    is_wide, is_strided = weight.shape[3] > _COLUMNS, max(strides) > 1
    return (weight.requires_grad and is_wide and x.dtype in (torch.float32, torch.bfloat16)) or (
        x.requires_grad and is_strided and x.dtype is torch.bfloat16
    )


def depthwise(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, strides: Sequence[int], pads: Sequence[int]
) -> torch.Tensor:
    """(batch, channels, height, width) convolved with (channels, 1, height, width), zeros on both sides.

    >>> x, weight = torch.ones(1, 2, 6, 6), torch.ones(2, 1, 5, 5, requires_grad=True)
    >>> depthwise(x, weight, None, (1, 1), (2, 2)).sum().backward()
    >>> weight.grad[0, 0, :, 0]
    tensor([16., 20., 24., 20., 16.])
    """
    result: torch.Tensor = _Depthwise.apply(x, weight, bias, tuple(strides), tuple(pads))  # type: ignore[no-untyped-call]
    return result


class _Depthwise(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, strides: Pair, pads: Pair
    ) -> torch.Tensor:
        return torch.conv2d(x, weight, bias, strides, pads, 1, weight.shape[0])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        x, weight, _, ctx.strides, ctx.pads = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> torch.Tensor:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias, *_ = tangents
        convolve = (ctx.strides, ctx.pads, 1, weight.shape[0])
        parts = [torch.conv2d(of_x, weight, None, *convolve)] if of_x is not None else []
        parts += [torch.conv2d(x, of_weight, None, *convolve)] if of_weight is not None else []
        parts += [of_bias[:, None, None]] if of_bias is not None else []
        whole: torch.Tensor = sum(parts[1:], parts[0])
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        return (
            _of_image(gradient, x, weight, ctx.strides, ctx.pads) if needs_x else None,
            _of_kernel(gradient, x, weight, ctx.strides, ctx.pads) if needs_weight else None,
            gradient.sum((0, 2, 3)) if needs_bias else None,
            None,
            None,
        )


def _torch(
    gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, strides: Pair, pads: Pair, of_image: bool
) -> torch.Tensor:
    places = list(strides), list(pads), [1, 1], False, [0, 0], weight.shape[0]
    both = torch.ops.aten.convolution_backward(gradient, x, weight, None, *places, [of_image, not of_image, False])
    result: torch.Tensor = both[0 if of_image else 1]
    return result


def _of_image(gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, strides: Pair, pads: Pair) -> torch.Tensor:
    kernel = weight.shape[2:]
    if max(strides) == 1 or x.dtype is not torch.bfloat16 or any(p >= k for p, k in zip(pads, kernel, strict=True)):
        return _torch(gradient, x, weight, strides, pads, of_image=True)
    batch, channels, *sizes = x.shape
    height, width = (size + length - 1 for size, length in zip(sizes, kernel, strict=True))
    spread = gradient.new_zeros(batch, height, width, channels).permute(0, 3, 1, 2)
    rows, columns = (
        slice(length - 1 - pad, length - 1 - pad + stride * (count - 1) + 1, stride)
        for length, pad, stride, count in zip(kernel, pads, strides, gradient.shape[2:], strict=True)
    )
    spread[:, :, rows, columns] = gradient
    return torch.conv2d(spread, weight.flip(2, 3), None, 1, 0, 1, channels)


def _of_kernel(
    gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, strides: Pair, pads: Pair
) -> torch.Tensor:
    columns = weight.shape[3]
    if columns <= _COLUMNS:
        return _torch(gradient, x, weight, strides, pads, of_image=False)
    padded = functional.pad(x, (pads[1], pads[1], pads[0], pads[0])) if any(pads) else x
    reach = strides[1] * (gradient.shape[3] - 1)
    strips = [
        _torch(gradient, padded[..., start : reach + end], weight[..., start:end], strides, (0, 0), of_image=False)
        for start, end in _strips(columns)
    ]
    return torch.cat(strips, 3)


def _strips(columns: int) -> Iterator[Pair]:
    """As few strips as can be, of about one width: a single column is slow again."""
    count = -(-columns // _COLUMNS)
    ends = [columns * place // count for place in range(count + 1)]
    yield from pairwise(ends)
