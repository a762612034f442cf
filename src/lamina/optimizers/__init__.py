"""Optimizers, by name (`"adam"`), as classes, and learning rate `schedules`.

>>> from lamina import optimizers
>>> optimizers.get("sgd").get_config()["learning_rate"]
0.01
"""

from __future__ import annotations

from typing import Any

from lamina.base.registry import lookup
from lamina.base.serialization import deserialize_keras_object, get_object, serialize_keras_object
from lamina.optimizers import schedules
from lamina.optimizers.adam import Adam, Adamax, AdamW, Lion, Nadam
from lamina.optimizers.adaptive import Adadelta, Adagrad, Ftrl, RMSprop
from lamina.optimizers.base import Optimizer
from lamina.optimizers.loss_scale import LossScaleOptimizer
from lamina.optimizers.sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lion",
    "LossScaleOptimizer",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]


def get(identifier: Any) -> Any:
    """The optimizer behind a name in any case, a config, a class or an optimizer; None stays None.

    Errors: an unknown name is a ValueError that shows the nearest; anything else is a TypeError.

    >>> get("RMSprop").rho
    0.9
    """
    if isinstance(identifier, str) and lookup("optimizers", identifier.lower()) is not None:
        identifier = identifier.lower()
    found = get_object("optimizers", identifier, "optimizer")
    if found is not None and not isinstance(found, Optimizer):
        raise TypeError(f"An optimizer is a name, a config or a lamina.optimizers.Optimizer; got {identifier!r}.")
    return found


def serialize(optimizer: Any) -> Any:
    """The config of an optimizer."""
    return serialize_keras_object(optimizer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The optimizer of a config."""
    return deserialize_keras_object(config, custom_objects)
