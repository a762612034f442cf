"""The layers of a model that make of an image's values what its weights were trained on."""

from __future__ import annotations

from collections.abc import Sequence

from lamina.applications.ending import Request
from lamina.applications.parts import channels
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers import Normalization
from lamina.saving.channels import adapt_statistics


def per_channel(values: Sequence[float], x: KerasTensor, request: Request) -> list[float] | None:
    """Red's, green's and blue's value for the channels of `x`; None where nobody said what the channels are."""
    if channels(x) == len(values):
        return list(values)
    if request.adapt_channels == "error":
        return None
    return [float(value) for value in adapt_statistics(values, channels(x), request.adapt_channels)]


def normalized_colours(
    x: KerasTensor,
    means: Sequence[float],
    variances: Sequence[float],
    request: Request,
    axis: int = -1,
    name: str | None = None,
) -> KerasTensor:
    """`x` less the mean of each colour, over the root of its variance; `x` itself where the channels are no colours."""
    mean, variance = per_channel(means, x, request), per_channel(variances, x, request)
    if mean is None:
        return x
    return Normalization(axis=axis, mean=mean, variance=variance, name=name)(x)
