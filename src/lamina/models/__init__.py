"""Floor 10: Model, Functional, Sequential."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.layers.input_layer import Input
from lamina.models.cloning import clone_model, model_from_json
from lamina.models.functional import Functional
from lamina.models.model import Model
from lamina.models.sequential import Sequential

if TYPE_CHECKING:
    from lamina.saving import load_model, save_model

__all__ = ["Functional", "Input", "Model", "Sequential", "clone_model", "load_model", "model_from_json", "save_model"]


def __getattr__(name: str) -> Any:
    if name not in ("load_model", "save_model"):  # those bring h5py
        raise AttributeError(f"lamina.models has no {name!r}.")
    from lamina import saving

    value = getattr(saving, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
