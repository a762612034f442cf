"""First values of weights: `"glorot_uniform"`, `HeNormal(seed=1)`, and the function `get` behind every such argument.

>>> from lamina import initializers
>>> initializers.get("he_normal")((3, 3, 8, 16)).shape
torch.Size([3, 3, 8, 16])
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lamina.base.serialization import deserialize_keras_object, get_object, serialize_keras_object
from lamina.initializers.base import Initializer
from lamina.initializers.constant import Constant, Identity, Ones, Zeros
from lamina.initializers.random import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
    compute_fans,
)

IdentityInitializer = identity = Identity
OrthogonalInitializer = orthogonal = Orthogonal
constant, ones, zeros = Constant, Ones, Zeros
glorot_normal, glorot_uniform = GlorotNormal, GlorotUniform
he_normal, he_uniform = HeNormal, HeUniform
lecun_normal, lecun_uniform = LecunNormal, LecunUniform
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
variance_scaling = VarianceScaling

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "IdentityInitializer",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "OrthogonalInitializer",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "compute_fans",
    "deserialize",
    "get",
    "serialize",
]


def get(identifier: Any) -> Any:
    """The initializer behind a name, config, class, instance, function, array or tensor; None stays None.

    Errors: an unknown name is a ValueError that shows the nearest.
    """
    if isinstance(identifier, np.ndarray | torch.Tensor):
        return Constant(identifier)
    return get_object("initializers", identifier, "initializer")


def serialize(initializer: Any) -> Any:
    """The config of an initializer."""
    return serialize_keras_object(initializer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The initializer of a config."""
    return deserialize_keras_object(config, custom_objects)
