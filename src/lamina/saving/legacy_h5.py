"""The HDF5 files of Keras 1 and 2: a group per layer, named by the attributes `layer_names` and `weight_names`."""

from __future__ import annotations

import re
import warnings
from typing import Any

import h5py

from lamina.base.errors import LaminaError, outside_frame
from lamina.base.registry import nearest
from lamina.layers.weights import weight_name
from lamina.saving.pairs import Pair, pair_of

Stored = dict[str, Any]  # the arrays of a layer by their names in the file


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
    stored = _stored_layers(file)
    layers = [layer for layer in model.layers if layer.weights]
    matched = _by_name(model, layers, stored) if by_name else _in_order(model, layers, stored)
    pairs: list[Pair] = []
    for layer, arrays in matched:
        weights = _in_file_order(layer, list(arrays))
        if len(weights) == len(arrays):
            pairs.extend(pair_of(layer, w, array) for w, array in zip(weights, arrays.values(), strict=True))
            continue
        counts = f"{layer.title} has {len(weights)} weights and the file holds {len(arrays)} for it"
        if not skip_mismatch:
            raise LaminaError(f"{counts}; none was changed.")
        warnings.warn(f"Skipped: {counts}.", stacklevel=outside_frame())
    return pairs


def _stored_layers(file: h5py.File) -> dict[str, Stored]:
    """The layers of the file that have weights, in its order."""
    root = file.get("model_weights", file)
    found: dict[str, Stored] = {}
    for name in _texts(root, "layer_names"):
        weights = _texts(root[name], "weight_names") if name in root else []
        missing = [weight for weight in weights if weight not in root[name]]
        if missing:
            raise LaminaError(
                f"The file is damaged: it names the weights {missing} of {name!r} and does not hold them."
            )
        if weights:
            found[name] = {weight: root[name][weight] for weight in weights}
    return found


def _by_name(model: Any, layers: list[Any], stored: dict[str, Stored]) -> list[tuple[Any, Stored]]:
    matched = [(layer, stored[layer.name]) for layer in layers if layer.name in stored]
    if not matched:
        example = nearest(layers[0].name, list(stored)) if layers else ""
        some = ", ".join(list(stored)[:5])
        raise LaminaError(f"No layer of {model.title} has the name of one in the file ({some}, ...).{example}")
    left = [layer.name for layer in layers if layer.name not in stored]
    if left:
        names = ", ".join(left[:10]) + (", ..." if len(left) > 10 else "")
        warnings.warn(f"The file has no weights for {len(left)} layers: {names}.", stacklevel=outside_frame())
    return matched


def _in_order(model: Any, layers: list[Any], stored: dict[str, Stored]) -> list[tuple[Any, Stored]]:
    if len(layers) != len(stored):
        raise LaminaError(
            f"{model.title} has {len(layers)} layers with weights and the file {len(stored)}; none was changed. "
            f"by_name=True loads the layers whose names agree."
        )
    return list(zip(layers, stored.values(), strict=True))


def _in_file_order(layer: Any, names: list[str]) -> list[Any]:
    """The layer's weights in the file's order: a nested model stands there with its trainable weights first, or, if it
    was frozen when it was saved, layer by layer. The names tell which."""
    layer_by_layer = layer.weights
    trained = [getattr(weight, "declared_trainable", weight.requires_grad) for weight in layer_by_layer]
    first = [weight for weight, is_trained in zip(layer_by_layer, trained, strict=True) if is_trained]
    split = first + [weight for weight, is_trained in zip(layer_by_layer, trained, strict=True) if not is_trained]
    wanted = [re.sub(r"(_\d+)?(:\d+)?$", "", name.rsplit("/", 1)[-1]) for name in names]
    return layer_by_layer if [weight_name(weight) for weight in layer_by_layer] == wanted else split
