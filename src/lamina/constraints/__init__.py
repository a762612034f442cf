"""What a weight must obey after each optimizer step: `"non_neg"`, `MaxNorm(2)`, `get`.

A constraint takes a weight and returns the nearest value that obeys. `axis` names the axes over which a norm is taken:
0 for the kernel of a `Dense`, `[0, 1, 2]` for that of a `Conv2D`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lamina.base import config
from lamina.base.late import late
from lamina.base.registry import public
from lamina.base.serialization import (
    Configurable,
    deserialize_keras_object,
    get_object,
    serialize_keras_object,
)


@public("constraints")
class Constraint(Configurable):
    """A function from a weight to a weight of the same shape. Subclasses write `__call__(w)`.

    >>> class Rounded(Constraint):
    ...     def __call__(self, w): return w.round()
    >>> Rounded()(torch.tensor([1.2]))
    tensor([1.])
    """

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no __call__(w); write one.")


@public("constraints")
class MaxNorm(Constraint):
    """Scales down vectors longer than `max_value`. Srivastava et al. 2014, *Dropout*.

    >>> MaxNorm(1.0)(torch.tensor([[3.0], [4.0]]))
    tensor([[0.6000],
            [0.8000]])
    """

    def __init__(self, max_value: float = 2, axis: int | Sequence[int] = 0):
        self.max_value = max_value
        self.axis = axis

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        norms = _norms(w, self.axis)
        return w * (norms.clamp(0, self.max_value) / (config.epsilon() + norms))


@public("constraints")
class NonNeg(Constraint):
    """Negative elements become 0.

    >>> NonNeg()(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        return w.clamp_min(0)


@public("constraints")
class UnitNorm(Constraint):
    """Scales every vector to length 1.

    >>> UnitNorm()(torch.tensor([[3.0], [4.0]]))
    tensor([[0.6000],
            [0.8000]])
    """

    def __init__(self, axis: int | Sequence[int] = 0):
        self.axis = axis

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        return w / (config.epsilon() + _norms(w, self.axis))


@public("constraints")
class MinMaxNorm(Constraint):
    """Moves the length of every vector into [`min_value`, `max_value`], by the part `rate` of the way (1: all of it).

    >>> MinMaxNorm(0.5, 1.0)(torch.tensor([[3.0], [4.0]]))
    tensor([[0.6000],
            [0.8000]])
    """

    def __init__(
        self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: int | Sequence[int] = 0
    ):
        self.min_value = min_value
        self.max_value = max_value
        self.rate = rate
        self.axis = axis

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        norms = _norms(w, self.axis)
        wanted = self.rate * norms.clamp(self.min_value, self.max_value) + (1 - self.rate) * norms
        return w * (wanted / (config.epsilon() + norms))


max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm


def get(identifier: Any) -> Any:
    """The constraint behind a name, config, class, instance or function; None stays None.

    Errors: an unknown name is a ValueError that shows the nearest.
    """
    return get_object("constraints", identifier, "constraint")


def serialize(constraint: Any) -> Any:
    """The config of a constraint."""
    return serialize_keras_object(constraint)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The constraint of a config."""
    return deserialize_keras_object(config, custom_objects)


def _norms(w: torch.Tensor, axis: int | Sequence[int]) -> torch.Tensor:
    axes = axis if isinstance(axis, int) else tuple(axis)
    return w.square().sum(dim=axes, keepdim=True).sqrt()


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return late("compat").old_name("constraints", name)
