"""Penalties on weights or outputs that join the loss: `"l2"`, `L1L2(l1=1e-5, l2=1e-4)`, `get`.

>>> from lamina import regularizers
>>> regularizers.get("l2")(torch.ones(3, 2))
tensor(0.0600)
"""

from __future__ import annotations

import math
from typing import Any

import torch

from lamina.base.late import late
from lamina.base.registry import public
from lamina.base.serialization import (
    Configurable,
    deserialize_keras_object,
    get_object,
    serialize_keras_object,
)


@public("regularizers")
class Regularizer(Configurable):
    """A function of a tensor whose scalar result is added to the loss. Subclasses write `__call__(x)`.

    >>> class Peak(Regularizer):
    ...     def __call__(self, x): return x.abs().max()
    >>> Peak()(torch.tensor([1.0, -3.0]))
    tensor(3.)
    """

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros((), dtype=x.dtype, device=x.device)


@public("regularizers", "l1_l2", "l1l2")
class L1L2(Regularizer):
    """`l1 * sum(|x|) + l2 * sum(x²)`. Errors: a factor that is not a finite number ≥ 0 is a ValueError.

    >>> L1L2(l1=1.0, l2=1.0)(torch.tensor([1.0, -2.0]))
    tensor(8.)
    """

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0):
        self.l1 = _factor("l1", 0.0 if l1 is None else l1)
        self.l2 = _factor("l2", 0.0 if l2 is None else l2)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        result = super().__call__(x)
        if self.l1:
            result = result + self.l1 * x.abs().sum()
        if self.l2:
            result = result + self.l2 * x.square().sum()
        return result


@public("regularizers", "l1")
class L1(Regularizer):
    """`l1 * sum(|x|)`. Errors: as `L1L2`.

    >>> L1(0.5)(torch.tensor([1.0, -2.0]))
    tensor(1.5000)
    """

    def __init__(self, l1: float | None = 0.01):
        self.l1 = _factor("l1", 0.01 if l1 is None else l1)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.l1 * x.abs().sum()


@public("regularizers", "l2")
class L2(Regularizer):
    """`l2 * sum(x²)`. Errors: as `L1L2`.

    >>> L2(0.5)(torch.tensor([1.0, -2.0]))
    tensor(2.5000)
    """

    def __init__(self, l2: float | None = 0.01):
        self.l2 = _factor("l2", 0.01 if l2 is None else l2)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.l2 * x.square().sum()


@public("regularizers")
class OrthogonalRegularizer(Regularizer):
    """`factor` times the mean of |cosine| over all pairs of rows (or columns) of a matrix.

    Parameters: `factor`; `mode`, `"rows"` or `"columns"`. A matrix with one row has no pair and costs 0.
    Errors: an input of another rank than 2, or another mode, is a ValueError.

    >>> OrthogonalRegularizer(1.0)(torch.eye(3))
    tensor(0.)
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows"):
        if mode not in ("rows", "columns"):
            raise ValueError(f"mode is 'rows' or 'columns'; got {mode!r}.")
        self.factor = _factor("factor", factor)
        self.mode = mode

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if x.dim() != 2:
            raise ValueError(f"OrthogonalRegularizer takes a matrix; got shape {tuple(x.shape)}.")
        vectors = torch.nn.functional.normalize(x if self.mode == "rows" else x.T, dim=1)
        cosines = (vectors @ vectors.T).triu(diagonal=1)
        pairs = vectors.shape[0] * (vectors.shape[0] - 1) // 2
        return self.factor * cosines.abs().sum() / max(pairs, 1)


l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer


def get(identifier: Any) -> Any:
    """The regularizer behind a name, config, class, instance or function; None stays None.

    Errors: an unknown name is a ValueError that shows the nearest.
    """
    return get_object("regularizers", identifier, "regularizer")


def serialize(regularizer: Any) -> Any:
    """The config of a regularizer."""
    return serialize_keras_object(regularizer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The regularizer of a config."""
    return deserialize_keras_object(config, custom_objects)


def _factor(name: str, value: Any) -> float:
    if isinstance(value, str | bool) or not math.isfinite(float(value)) or float(value) < 0:
        raise ValueError(f"{name} is a finite number ≥ 0; got {value!r}.")
    return float(value)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return late("compat").old_name("regularizers", name)
