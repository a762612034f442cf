"""Two views of one memory: a channels_last tensor that is contiguous is, permuted, torch's channels_last NCHW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def channels_second(x: torch.Tensor, data_format: str) -> torch.Tensor:
    """The tensor as torch's convolutions take it, (batch, channels, ...). A view: nothing is copied."""
    if data_format == "channels_first":
        return x
    last = x.dim() - 1
    return x.permute(0, last, *range(1, last))


def as_given(x: torch.Tensor, data_format: str) -> torch.Tensor:
    """The way back from `channels_second`. A view: nothing is copied."""
    if data_format == "channels_first":
        return x
    return x.permute(0, *range(2, x.dim()), 1)


def copy_into(target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """`target.copy_(source)` for tensors of one shape. Where the target is a convolution's kernel, whose last axes lie
    outermost in memory, torch copies number by number; as the transposition of a matrix it is up to eight times faster.

    >>> kernel = torch.empty(64, 3, 3, 64).permute(1, 2, 3, 0)
    >>> torch.equal(copy_into(kernel, torch.ones(3, 3, 64, 64)), torch.ones(3, 3, 64, 64))
    True
    """
    first = _leading(target) if source.dtype is target.dtype and source.device == target.device else None
    if first is None or not source.is_contiguous():
        return target.copy_(source)
    rows = source.shape[:first].numel()
    _turned(target, first).view(-1, rows).copy_(source.view(rows, -1).t())
    return target


def in_logical_order(tensor: torch.Tensor, empty: Callable[..., torch.Tensor] = torch.empty) -> torch.Tensor:
    """`tensor.contiguous()`, as fast as `copy_into`; a kernel goes into memory that `empty` gives."""
    first = _leading(tensor)
    if first is None:
        return tensor.contiguous()
    rows = tensor.shape[:first].numel()
    result = empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
    result.view(rows, -1).copy_(_turned(tensor, first).view(-1, rows).t())
    return result


def array_of(tensor: torch.Tensor, empty: Callable[..., torch.Tensor] = torch.empty) -> np.ndarray[Any, Any]:
    """A NumPy array in the order of the axes (bfloat16, which NumPy lacks, as float32), over the tensor's memory where
    that will do, else over what `empty` gives."""
    data = tensor.detach().cpu()
    if data.dtype is torch.bfloat16:
        data = data.float()
    array: np.ndarray[Any, Any] = in_logical_order(data, empty).numpy()
    return array


def _leading(tensor: torch.Tensor) -> int | None:
    """After how many axes come those that lie outermost in memory; None where the axes lie otherwise, or in order."""
    if tensor.is_contiguous() or tensor.numel() == 0:
        return None
    return next((first for first in range(1, tensor.dim()) if _turned(tensor, first).is_contiguous()), None)


def _turned(tensor: torch.Tensor, first: int) -> torch.Tensor:
    return tensor.permute(*range(first, tensor.dim()), *range(first))
