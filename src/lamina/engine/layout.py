"""Two views of one memory: a channels_last tensor that is contiguous is, permuted, torch's channels_last NCHW."""

from __future__ import annotations

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
