"""Initializers that draw nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lamina.base.registry import public
from lamina.base.serialization import deserialize_keras_object
from lamina.engine.device import current_device
from lamina.engine.dtypes import torch_dtype
from lamina.initializers.base import Initializer


@public("initializers", "constant")
class Constant(Initializer):
    """Every element is `value`: a number, or an array that broadcasts to the shape.

    >>> Constant(3.0)((2, 2))
    tensor([[3., 3.],
            [3., 3.]])
    """

    def __init__(self, value: Any = 0.0):
        self.value = deserialize_keras_object(value) if isinstance(value, dict) else value

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> torch.Tensor:
        value = self.value if isinstance(self.value, torch.Tensor) else np.asarray(self.value)
        laid = torch.as_tensor(value).detach().to(device=current_device(), dtype=torch_dtype(dtype))
        if laid.dim() > len(shape):
            raise ValueError(f"A constant of shape {tuple(laid.shape)} does not broadcast to {tuple(shape)}.")
        return laid.broadcast_to(tuple(shape)).clone(memory_format=torch.contiguous_format)


@public("initializers", "zero")
class Zeros(Initializer):
    """Every element is 0.

    >>> Zeros()((2,))
    tensor([0., 0.])
    """

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> torch.Tensor:
        return torch.zeros(tuple(shape), dtype=torch_dtype(dtype), device=current_device())


@public("initializers", "one")
class Ones(Initializer):
    """Every element is 1.

    >>> Ones()((2,))
    tensor([1., 1.])
    """

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> torch.Tensor:
        return torch.ones(tuple(shape), dtype=torch_dtype(dtype), device=current_device())


@public("initializers", "IdentityInitializer")
class Identity(Initializer):
    """`gain` on the main diagonal of a matrix, 0 elsewhere. Errors: a shape of another rank than 2 is a ValueError.

    >>> Identity(2.0)((2, 3))
    tensor([[2., 0., 0.],
            [0., 2., 0.]])
    """

    def __init__(self, gain: float = 1.0):
        self.gain = gain

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> torch.Tensor:
        if len(shape) != 2:
            raise ValueError(f"Identity makes matrices: a shape of rank 2; got {tuple(shape)}.")
        return self.gain * torch.eye(*shape, dtype=torch_dtype(dtype), device=current_device())

    def get_config(self) -> dict[str, Any]:
        """Keras writes no gain and so loses it; here it is written where it is not 1."""
        config = super().get_config()
        return config if self.gain != 1.0 else {key: value for key, value in config.items() if key != "gain"}
