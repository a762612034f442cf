"""The HDF5 files of Keras 1 and 2: a group per layer, named by the attributes `layer_names` and `weight_names`."""

from __future__ import annotations

import warnings
from typing import Any

import h5py

from lamina.base.errors import LaminaError, outside_frame
from lamina.base.registry import nearest
from lamina.saving.pairs import Pair


def _texts(group: h5py.Group, attribute: str) -> list[str]:
    """An attribute that holds names, as text; long lists are stored in numbered chunks."""
    if attribute in group.attrs:
        values = list(group.attrs[attribute])
    else:
        values, chunk = [], 0
        while f"{attribute}{chunk}" in group.attrs:
            values.extend(group.attrs[f"{attribute}{chunk}"])
            chunk += 1
    return [value.decode("utf8") if isinstance(value, bytes) else str(value) for value in values]


def is_legacy(file: h5py.File) -> bool:
    return "layer_names" in file.attrs or "layer_names0" in file.attrs or "model_weights" in file


def legacy_pairs(model: Any, file: h5py.File, by_name: bool, skip_mismatch: bool) -> list[Pair]:
    """The model's variables beside the file's arrays: layers matched in order, or by name.

    Errors: a LaminaError when the numbers of layers or of a layer's weights differ.
    """
    root = file.get("model_weights", file)
    stored = {
        name: [root[name][weight] for weight in _texts(root[name], "weight_names")]
        for name in _texts(root, "layer_names")
    }
    layers = [layer for layer in model.layers if layer.weights]
    filled = {name: arrays for name, arrays in stored.items() if arrays}
    if by_name:
        matched = [(layer, filled[layer.name]) for layer in layers if layer.name in filled]
        if not matched:
            example = nearest(layers[0].name, list(filled)) if layers else ""
            raise LaminaError(
                f"No layer of {model.title} has the name of one in the file "
                f"({', '.join(list(filled)[:5])}, ...).{example}"
            )
        left = [layer.name for layer in layers if layer.name not in filled]
        if left:
            names = ", ".join(left[:10]) + (", ..." if len(left) > 10 else "")
            warnings.warn(f"The file has no weights for {len(left)} layers: {names}.", stacklevel=outside_frame())
    else:
        if len(layers) != len(filled):
            raise LaminaError(
                f"{model.title} has {len(layers)} layers with weights and the file {len(filled)}. "
                f"by_name=True loads the layers whose names agree."
            )
        matched = list(zip(layers, filled.values(), strict=True))
    pairs: list[Pair] = []
    for layer, arrays in matched:
        weights = layer.weights
        if len(weights) != len(arrays):
            if skip_mismatch:
                warnings.warn(
                    f"Skipped {layer.title}: it has {len(weights)} weights, the file {len(arrays)}.",
                    stacklevel=outside_frame(),
                )
                continue
            raise LaminaError(
                f"{layer.title} has {len(weights)} weights and the file holds {len(arrays)} for it; none was changed."
            )
        pairs.extend(Pair(layer, weight, array) for weight, array in zip(weights, arrays, strict=True))
    return pairs
