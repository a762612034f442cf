"""Pickles of graphs: the model as a `.keras` file, with the user's classes by reference.

A pickle is a program: reading one runs what it says. So pickles go between processes that trust each other (workers of
a pool, `copy`); for files that somebody else may have written there are `model.save` and `load_model`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lamina import saving
from lamina.models.cloning import classes_in


def pickled(model: Any) -> tuple[Callable[[bytes, dict[str, Any]], Any], tuple[bytes, dict[str, Any]]]:
    """What `pickle` keeps of a model. Errors: those of `save_model`, for what a file cannot describe."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        saving.save_model(model, path)
        return restored, (path.read_bytes(), classes_in(model))


def restored(content: bytes, classes: dict[str, Any]) -> Any:
    """The model that `pickled` kept, with its weights and its optimizer's state."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(content)
        return saving.load_model(path, custom_objects=classes)
