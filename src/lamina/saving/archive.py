"""`.keras`: a zip of the architecture (config.json), the weights (model.weights.h5) and metadata.json."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

from lamina.base.errors import LaminaError
from lamina.base.serialization import serialize_keras_object
from lamina.base.trust import checked_safe_mode
from lamina.saving.dialect import from_keras, to_keras
from lamina.saving.files import WEIGHTS, existing, opened_archive, opened_h5, written_whole
from lamina.saving.guard import check_suffix, contents, parsed_config
from lamina.saving.legacy_model import load_legacy_model, save_legacy_model
from lamina.saving.loading import loading
from lamina.saving.sections import new_h5_member, new_text
from lamina.saving.tensors import load_tensors_model, save_tensors
from lamina.saving.weight_files import read_h5, write_h5

_KERAS_VERSION = "3.15.1"  # whose layout the files have


def save_model(model: Any, filepath: Any, overwrite: bool = True, **options: Any) -> None:
    """Writes a model into a `.keras` file: architecture, weights, compile settings, optimizer state.

    `.h5` and `.hdf5` get the same in the format of Keras 1 and 2; `.safetensors` the weights and the architecture.
    Errors: a name that ends otherwise; a class in the model that cannot describe itself. An existing file stays whole
    when writing fails.
    """
    include_optimizer = options.pop("include_optimizer", True)
    options.pop("zipped", None)
    if options:
        raise TypeError(f"save_model has no argument {', '.join(map(repr, options))}.")
    path = os.fspath(filepath)
    if path.endswith(".safetensors"):
        save_tensors(model, path, overwrite, architecture=True)
        return
    if path.endswith((".h5", ".hdf5")) and not path.endswith(".weights.h5"):
        save_legacy_model(model, path, overwrite, include_optimizer)
        return
    if not path.endswith(".keras"):
        hint = " Weights alone go into .weights.h5 with save_weights()." if path.endswith(".h5") else ""
        raise ValueError(f"A model is saved into a file that ends in .keras, .h5 or .safetensors; got {path!r}.{hint}")
    config = json.dumps(to_keras(serialize_keras_object(model)))
    metadata = json.dumps({"keras_version": _KERAS_VERSION, "date_saved": "1980-01-01@00:00:00", "writer": "lamina"})
    with written_whole(path, overwrite) as file, zipfile.ZipFile(file, "w") as archive:
        new_text(archive, "metadata.json", metadata)
        new_text(archive, "config.json", config)
        with new_h5_member(archive, WEIGHTS) as weights:
            write_h5(model, weights, optimizer=include_optimizer)


def load_model(
    filepath: Any,
    custom_objects: dict[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
    memory_limit: int | None = None,
) -> Any:
    """The model in a `.keras` file, compiled as it was, with its weights and its optimizer's state.

    `.h5` and `.hdf5` are whole models of Keras 1 and 2; `.safetensors` that a model was saved into give it uncompiled.

    A file is data: classes come from lamina and from what the user registered or gives in `custom_objects`; nothing
    that a file names is imported, opened or run. `safe_mode=False` does one thing: it runs the bytecode of Lambda
    layers. The model and its optimizer may take `memory_limit` bytes, by default three quarters of the free memory;
    they get memory when every stored shape and type was found to fit.

    Errors: `UnsafeFileError` for a file that asks for more than that; a LaminaError for a damaged file, an unknown
    class, or weights that do not fit.
    """
    checked_safe_mode(safe_mode)
    path = existing(filepath, "model")
    check_suffix(path)
    options = (custom_objects, safe_mode, memory_limit)
    if path.suffix in (".h5", ".hdf5"):
        return load_legacy_model(path, compile, *options)
    if path.suffix == ".safetensors":
        return load_tensors_model(path, *options)
    with loading(path, *options) as load, opened_archive(path, "config.json", WEIGHTS) as archive:
        described = parsed_config(contents(archive, "config.json"), f"The config.json in {path}")
        config = from_keras(described, by_keras=not _written_by_lamina(archive, path))
        if not compile:
            config.pop("compile_config", None)
        model = load.build(config)
        with opened_h5(path, archive) as file:
            read_h5(model, file, optimizer_too=False)
            load.finish()
            optimizer, stored = getattr(model, "optimizer", None), file.get("optimizer/vars")
            if compile and optimizer is not None and stored is not None and len(stored.keys()):
                _restore(optimizer, stored, model)
    return model


def _written_by_lamina(archive: zipfile.ZipFile, path: Path) -> bool:
    if "metadata.json" not in archive.namelist():
        return False
    metadata = parsed_config(contents(archive, "metadata.json"), f"The metadata.json in {path}")
    return isinstance(metadata, dict) and metadata.get("writer") == "lamina"


def _restore(optimizer: Any, stored: Any, model: Any) -> None:
    """Gives an optimizer its stored state. One that was saved before its first step has no slots in the file."""
    if len(stored) > len(optimizer.variables) and not optimizer.built:
        optimizer.build(model.trainable_weights)
    for index, variable in enumerate(optimizer.variables):
        shape = stored[str(index)].shape if str(index) in stored else variable.shape
        if tuple(shape) != tuple(variable.shape):
            raise LaminaError(
                f"The stored state of the optimizer {optimizer.name!r} does not fit: {variable.path} is {tuple(shape)} "
                f"in the file and {tuple(variable.shape)} in the model. compile=False loads the model without it."
            )
    if len(stored) == len(optimizer.variables) or int(stored["0"][()]) > 0:
        optimizer.load_own_variables(stored)
