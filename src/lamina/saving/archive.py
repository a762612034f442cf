"""`.keras`: a zip of the architecture (config.json), the weights (model.weights.h5) and metadata.json."""

from __future__ import annotations

import json
import os
import zipfile
from io import BytesIO
from typing import Any

import h5py

from lamina.base.errors import LaminaError
from lamina.base.registry import custom_object_scope
from lamina.base.serialization import deserialize_keras_object, serialize_keras_object
from lamina.saving.dialect import from_keras, to_keras
from lamina.saving.files import archive_members, existing, opened_h5, written_whole
from lamina.saving.weight_files import read_h5, save_weights, write_h5

_KERAS_VERSION = "3.15.1"  # whose layout the files have
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # so that the same model gives the same bytes


def save_model(model: Any, filepath: Any, overwrite: bool = True, **options: Any) -> None:
    """Writes a model into a `.keras` file: architecture, weights, compile settings, optimizer state.

    Errors: a name that ends otherwise; a class in the model that cannot describe itself. An existing file stays whole
    when writing fails.
    """
    include_optimizer = options.pop("include_optimizer", True)
    options.pop("zipped", None)
    if options:
        raise TypeError(f"save_model has no argument {', '.join(map(repr, options))}.")
    path = os.fspath(filepath)
    if path.endswith(".safetensors"):
        save_weights(model, path, overwrite)
        return
    if not path.endswith(".keras"):
        hint = " Weights alone go into .weights.h5 with save_weights()." if path.endswith((".h5", ".hdf5")) else ""
        raise ValueError(f"A model is saved into a file that ends in .keras; got {path!r}.{hint}")
    config = json.dumps(to_keras(serialize_keras_object(model)))
    metadata = json.dumps({"keras_version": _KERAS_VERSION, "date_saved": "1980-01-01@00:00:00", "writer": "lamina"})
    weights = BytesIO()
    with h5py.File(weights, "w") as file:
        write_h5(model, file, optimizer=include_optimizer)
    with written_whole(path, overwrite) as part, zipfile.ZipFile(part, "w") as archive:
        for name, content in (
            ("metadata.json", metadata),
            ("config.json", config),
            ("model.weights.h5", weights.getbuffer()),
        ):
            archive.writestr(zipfile.ZipInfo(name, date_time=_FIXED_TIME), content)


def load_model(
    filepath: Any, custom_objects: dict[str, Any] | None = None, compile: bool = True, safe_mode: bool = True
) -> Any:
    """The model in a `.keras` file, compiled as it was, with its weights and its optimizer's state.

    Classes come from lamina and from what the user registered or gives in `custom_objects`; nothing that a file names
    is imported. Errors: an unknown class, a file that is no model, weights that do not fit.
    """
    if safe_mode is not True:
        raise ValueError(
            "safe_mode=False would run code from the file; lamina has no such mode. Register your classes."
        )
    path = existing(filepath, "model")
    described, weights = archive_members(path, "config.json", "model.weights.h5")
    try:
        config = from_keras(json.loads(described))
    except ValueError as error:
        raise LaminaError(f"{path} is damaged: its config.json is no JSON ({error}).") from error
    if not compile:
        config.pop("compile_config", None)
    with custom_object_scope(custom_objects or {}):
        model = deserialize_keras_object(config)
    with opened_h5(path, weights) as file:
        optimizer, stored = model.optimizer, file.get("optimizer/vars")
        if compile and optimizer is not None and stored is not None and len(stored.keys()):
            _restore(optimizer, stored, model)
        read_h5(model, file, optimizer_too=False)
    return model


def _restore(optimizer: Any, stored: Any, model: Any) -> None:
    """Gives an optimizer its stored state. One that was saved before its first step has no slots in the file."""
    if len(stored) > len(optimizer.variables) and not optimizer.built:
        optimizer.build(model.trainable_weights)
    if len(stored) == len(optimizer.variables) or int(stored["0"][()]) > 0:
        optimizer.load_own_variables(stored)
