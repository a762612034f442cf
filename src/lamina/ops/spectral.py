"""Fourier transforms. Complex numbers come and go as pairs (real, imaginary), as in Keras."""

from __future__ import annotations

from typing import Any

import torch

from lamina.base.registry import public
from lamina.graph.record import op
from lamina.ops.convert import Tensor, as_float, promote

Pair = tuple[Tensor, Tensor]


def _joined(x: Any) -> Tensor:
    if not isinstance(x, list | tuple) or len(x) != 2:
        raise ValueError("Fourier transforms take a pair (real, imaginary).")
    return torch.complex(*promote(*x, floating=True))


@public("ops")
@op
def fft(x: Any) -> Pair:
    """The Fourier transform along the last axis.

    >>> [part.tolist() for part in fft(([1.0, 2.0], [0.0, 0.0]))]
    [[3.0, -1.0], [0.0, 0.0]]
    """
    result = torch.fft.fft(_joined(x))
    return result.real, result.imag


@public("ops")
@op
def fft2(x: Any) -> Pair:
    """The Fourier transform along the last two axes.

    >>> [part.tolist() for part in fft2(([[1.0, 2.0]], [[0.0, 0.0]]))]
    [[[3.0, -1.0]], [[0.0, 0.0]]]
    """
    result = torch.fft.fft2(_joined(x))
    return result.real, result.imag


@public("ops")
@op
def ifft2(x: Any) -> Pair:
    """What `fft2` transforms into this.

    >>> [part.tolist() for part in ifft2(([[3.0, -1.0]], [[0.0, 0.0]]))]
    [[[1.0, 2.0]], [[0.0, 0.0]]]
    """
    result = torch.fft.ifft2(_joined(x))
    return result.real, result.imag


@public("ops")
@op
def rfft(x: Any, fft_length: int | None = None) -> Pair:
    """The Fourier transform of real numbers: (…, n) to a pair of (…, n // 2 + 1).

    >>> [part.tolist() for part in rfft([1.0, 2.0])]
    [[3.0, -1.0], [0.0, 0.0]]
    """
    result = torch.fft.rfft(as_float(x), fft_length)
    return result.real, result.imag


@public("ops")
@op
def irfft(x: Any, fft_length: int | None = None) -> Tensor:
    """What `rfft` transforms into this: a pair of (…, n) to (…, 2·(n - 1)), or `fft_length` numbers.

    >>> irfft(([3.0, -1.0], [0.0, 0.0])).tolist()
    [1.0, 2.0]
    """
    return torch.fft.irfft(_joined(x), fft_length)
