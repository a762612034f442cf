"""Models in `.safetensors`: tensors by the names of `state_dict()`, and what lamina puts into the file's metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from lamina.base.serialization import serialize_keras_object
from lamina.saving.dialect import from_keras, to_keras
from lamina.saving.differences import Differences, Place
from lamina.saving.files import only_weights, written_whole
from lamina.saving.guard import parsed_config
from lamina.saving.loading import loading
from lamina.saving.pairs import Pair, assign, read_all
from lamina.saving.safetensors_files import StoredTensor, opened_tensors, write_safetensors

CONFIG = "model_config"  # the key of the metadata under which the architecture stands


def save_tensors(model: Any, path: str, overwrite: bool = True, architecture: bool = False) -> None:
    """Writes a model's tensors under their names in `state_dict()`; with `architecture` also its config.

    A tensor that has several names, because a layer is used in several places, is written once; the metadata say, as
    those of `safetensors.torch.save_model` do, which name stands for which.
    """
    kept: dict[int, str] = {}
    tensors: dict[str, torch.Tensor] = {}
    metadata = {"format": "pt"}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if kept.setdefault(id(tensor), name) == name:
            tensors[name] = tensor.detach()
        else:
            metadata[name] = kept[id(tensor)]
    if architecture:
        described = serialize_keras_object(model)
        described.pop("compile_config", None)  # a file without an optimizer's state is not one to train on from
        metadata[CONFIG] = json.dumps(to_keras(described))
    with written_whole(path, overwrite) as file:
        write_safetensors(file, tensors, metadata)


def load_tensors_model(
    path: Path, custom_objects: dict[str, Any] | None = None, safe_mode: bool = True, memory_limit: int | None = None
) -> Any:
    """The model that `model.save` wrote, not compiled. Errors: a LaminaError for a file of tensors alone."""
    with loading(path, custom_objects, safe_mode, memory_limit) as load:
        with opened_tensors(path) as (_, metadata):
            described = metadata.get(CONFIG)
        if described is None:
            raise only_weights(path)
        model = load.build(from_keras(parsed_config(described, f"The {CONFIG} in {path}")))
        load_tensors(model, path)
        load.finish()
    return model


def load_tensors(model: Any, path: Path, skip_mismatch: bool = False, adapt_channels: str | None = None) -> None:
    """Reads a file's tensors into the model's weights of the same names; all are compared before one is changed.

    Errors: a LaminaError that lists the names which only one of them has; a ShapeError for shapes that differ.
    """
    with opened_tensors(path) as (stored, metadata):
        pairs, differences = _compared(model, stored, metadata)
        assign(read_all(pairs, model, skip_mismatch, adapt_channels, differences))


def _compared(model: Any, stored: dict[str, StoredTensor], metadata: dict[str, str]) -> tuple[list[Pair], Differences]:
    """The model's tensors beside the file's of the same names, and the names that only one of them has."""
    state = model.state_dict(keep_vars=True)  # the variables themselves know what their axes mean
    place = {name: metadata.get(name, name) if name not in stored else name for name in state}
    found = {id(tensor) for name, tensor in state.items() if place[name] in stored}
    missing = [name for name in state if id(state[name]) not in found]
    unexpected = sorted(stored.keys() - {*state, *place.values()})
    differences = Differences(
        [Place(name, "", [tuple(state[name].shape)]) for name in missing],
        [Place(name, "", [tuple(stored[name].shape)]) for name in unexpected],
        unit="weight",
    )
    pairs = [Pair(name, tensor, stored[place[name]]) for name, tensor in state.items() if place[name] in stored]
    return pairs, differences
