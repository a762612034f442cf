"""Which positions of the query may look at which positions of the keys, as one tensor of truth values."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch

from lamina.base.errors import ShapeError


def causal(queries: int, keys: int, device: torch.device) -> torch.Tensor:
    """(queries, keys): True where the key does not come after the query.

    >>> causal(2, 3, torch.device("cpu")).int().tolist()
    [[1, 0, 0], [1, 1, 0]]
    """
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril()


def band(queries: int, keys: int, width: int, device: torch.device) -> torch.Tensor:
    """(queries, keys): True where the key lies less than `width` positions before or after the query.

    >>> band(3, 3, 2, torch.device("cpu")).int().tolist()
    [[1, 1, 0], [1, 1, 1], [0, 1, 1]]
    """
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(width - 1).triu(1 - width)


def positions_mask(layer: Any, mask: Any, name: str, inputs: torch.Tensor) -> torch.Tensor | None:
    """A mask of the positions of a layer's input. Errors: a ShapeError if it has not its shape but for the features."""
    if mask is None:
        return None
    mask = torch.as_tensor(mask, device=inputs.device)
    wanted = tuple(inputs.shape[:-1])
    if mask.dim() != len(wanted) or any(a not in (1, b) for a, b in zip(mask.shape, wanted, strict=True)):
        raise ShapeError(
            f"{layer.title}: its {name} does not fit the {name.removesuffix('_mask')}.",
            layer=layer.name,
            received=f"a {name} of {tuple(mask.shape)} for {tuple(inputs.shape)}",
            expected=f"a {name} of {wanted}",
            because="the mask says of every position whether it counts, and a position has one entry a feature",
            mend="give it the shape of its tensor without the last axis",
        )
    return mask.bool()


def all_of(*masks: torch.Tensor | None) -> torch.Tensor | None:
    """True where every mask is; None if there is none."""
    given = [mask.bool() for mask in masks if mask is not None]
    return reduce(torch.logical_and, given) if given else None


def as_summand(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Zeros and the lowest number there is, to be added to scores. Finite, so that where a query sees nothing the
    weights are even, as they are in Keras, and not NaN."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, torch.finfo(dtype).min)
