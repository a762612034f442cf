"""Weights of a convolution trained on some number of channels, for an image with another number."""

from __future__ import annotations

from typing import Any

import numpy as np

WAYS = ("repeat", "mean", "zero")


def adapt_kernel(kernel: Any, channels: int, how: str) -> Any:
    """A kernel (..., channels in, filters) for another number of input channels.

    `"repeat"`: the channels in turn, each copy divided by the number of copies of its channel; fewer channels get the
    sums of those that fall on them. `"mean"`: every channel the mean of all. Both are scaled so that an image with the
    same grey in all channels gives the same activations. `"zero"`: new channels start at 0; fewer is a ValueError.

    >>> import numpy as np
    >>> rgb = np.ones((7, 7, 3, 64), "float32")
    >>> adapt_kernel(rgb, 7, "repeat").shape, float(adapt_kernel(rgb, 7, "repeat").sum() - rgb.sum()) == 0
    ((7, 7, 7, 64), True)
    """
    kernel = np.asarray(kernel)
    given = kernel.shape[-2]
    if how not in WAYS:
        raise ValueError(f"adapt_channels is one of {', '.join(map(repr, WAYS))}; got {how!r}.")
    if how == "mean":
        return np.repeat(kernel.mean(axis=-2, keepdims=True), channels, axis=-2) * (given / channels)
    if how == "zero":
        if channels < given:
            raise ValueError(
                f'adapt_channels="zero" adds channels; {given} cannot become {channels}. Use "repeat" or "mean".'
            )
        widths = [(0, 0)] * kernel.ndim
        widths[-2] = (0, channels - given)
        return np.pad(kernel, widths)
    if channels < given:
        parts = [kernel[..., start::channels, :].sum(axis=-2, keepdims=True) for start in range(channels)]
        return np.concatenate(parts, axis=-2)
    sources = np.arange(channels) % given
    copies = np.bincount(sources, minlength=given)
    scale = (1 / copies[sources]).astype(kernel.dtype)
    return kernel[..., sources, :] * scale[:, None]


def adapt_statistics(values: Any, channels: int, how: str) -> Any:
    """One value per channel (a mean, a variance) for another number of channels, in step with `adapt_kernel`.

    `"repeat"`: the values in turn; fewer channels get the mean of those that fall on them. `"mean"`: the mean of all.
    `"zero"`: new channels get the mean of all; the kernel does not read them.

    >>> adapt_statistics(np.array([1.0, 2.0, 6.0]), 5, "zero").tolist()
    [1.0, 2.0, 6.0, 3.0, 3.0]
    """
    values = np.asarray(values)
    given = len(values)
    if how not in WAYS:
        raise ValueError(f"adapt_channels is one of {', '.join(map(repr, WAYS))}; got {how!r}.")
    if channels == given:
        return values
    if how == "repeat" and channels < given:
        return np.array([values[start::channels].mean() for start in range(channels)], values.dtype)
    if how == "repeat":
        return np.resize(values, channels)
    kept = values[:channels] if how == "zero" else values[:0]
    return np.concatenate([kept, np.full(channels - len(kept), values.mean(), values.dtype)])
