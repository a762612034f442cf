"""The HDF5 files of Keras 1 and 2: a group per layer, named by the attributes `layer_names` and `weight_names`."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import torch

from lamina.base.errors import LaminaError, UnsafeFileError, outside_frame
from lamina.base.registry import nearest
from lamina.base.trust import is_plain_name
from lamina.layers.convolution import Conv, ConvTranspose
from lamina.layers.layer import Layer
from lamina.layers.weights import _to_numpy, weight_name
from lamina.saving.pairs import Pair, pair_of

Stored = dict[str, Any]  # the arrays of a layer by their names in the file
KERAS_VERSION = "3.15.1"  # whose layout the files have
_TOP = "top_level_model_weights"  # the group of what belongs to the model itself and to no layer
_ATTRIBUTE_LIMIT = 60_000  # bytes; HDF5 holds the attributes of an object in 64 KiB


def text_of(value: Any) -> str:
    """An attribute of text, which some versions wrote as bytes."""
    return value.decode("utf8") if isinstance(value, bytes) else str(value)


def texts(group: h5py.Group, attribute: str) -> list[str]:
    """An attribute that holds names, as text; long lists are stored in numbered chunks."""
    if attribute in group.attrs:
        values = list(group.attrs[attribute])
    else:
        values, chunk = [], 0
        while f"{attribute}{chunk}" in group.attrs:
            values.extend(group.attrs[f"{attribute}{chunk}"])
            chunk += 1
    names = [text_of(value) for value in values]
    for name in names:
        if not is_plain_name(name):
            raise UnsafeFileError(f"The file names {name!r} among its {attribute}, which is a path and no name.")
    return names


def is_legacy(file: h5py.File) -> bool:
    return "layer_names" in file.attrs or "layer_names0" in file.attrs or "model_weights" in file


def legacy_pairs(model: Any, file: h5py.File, by_name: bool, skip_mismatch: bool) -> list[Pair]:
    """The model's variables beside the file's arrays: layers matched in order, or by name.

    Errors: a LaminaError when the numbers of layers or of a layer's weights differ.
    """
    stored = _stored_layers(file)
    layers = [layer for layer in model.layers if layer.weights]
    matched = _by_name(model, layers, stored) if by_name else _in_order(model, layers, stored)
    own = _stored(file.get("model_weights", file), _TOP) if _TOP in file.get("model_weights", file) else {}
    if own:
        matched.append((model, own))
    convert = _conversion(file)
    pairs: list[Pair] = []
    for layer, arrays in matched:
        weights = model._own_variables() if layer is model else _in_file_order(layer, list(arrays))
        if len(weights) == len(arrays):
            owners = {id(one): part for part in layer._flatten_layers() for one in part._parameters.values()}
            for weight, array in zip(weights, arrays.values(), strict=True):
                pairs.append(pair_of(layer, weight, convert(owners.get(id(weight), layer), weight, array)))
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
    for name in texts(root, "layer_names"):
        arrays = _stored(root, name)
        if arrays:
            found[name] = arrays
    return found


def _stored(root: h5py.Group, name: str) -> Stored:
    """The arrays of a layer. Errors: a LaminaError for a file that names arrays which it does not hold."""
    weights = texts(root[name], "weight_names") if name in root else []
    missing = [weight for weight in weights if not isinstance(root[name].get(weight), h5py.Dataset)]
    if missing:
        raise LaminaError(f"The file is damaged: it names the weights {missing} of {name!r} and does not hold them.")
    return {weight: root[name][weight] for weight in weights}


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


# ---------------------------------------------------------------------------------------------- kernels of other times


def _conversion(file: h5py.File) -> Callable[[Any, Any, Any], Any]:
    """What turns an array of the file into a weight of today: `(layer, weight, array)` to an array or a tensor.

    Keras 1 stored the kernels of channels_first layers as (filters, channels, *window), those of Conv1D with an axis of
    1, and of Conv2DTranspose with filters and channels exchanged; on Theano every kernel is stored mirrored.
    """
    root = file.get("model_weights", file)
    version = text_of(root.attrs.get("keras_version", file.attrs.get("keras_version", "1")))
    mirrored = text_of(root.attrs.get("backend", file.attrs.get("backend", ""))) == "theano"
    if not version.startswith("1") and not mirrored:
        return lambda layer, weight, array: array

    def convert(layer: Any, weight: Any, array: Any) -> Any:
        transposed = isinstance(layer, ConvTranspose)
        if not isinstance(layer, Conv | ConvTranspose) or weight_name(weight) != "kernel":
            return array
        kernel = np.asarray(array[()])
        if version.startswith("1"):
            kernel = _kernel_of_keras_1(kernel, layer, transposed)
        if mirrored:
            kernel = np.flip(kernel, tuple(range(kernel.ndim - 2)))
        return torch.from_numpy(np.ascontiguousarray(kernel))

    return convert


def _kernel_of_keras_1(kernel: Any, layer: Any, transposed: bool) -> Any:
    channels_first = layer.data_format == "channels_first"
    if layer.rank == 1 and kernel.ndim == 4:
        as_today = kernel.shape[1] == 1 and kernel.shape[3] == layer.filters
        return kernel[:, 0] if as_today else kernel.transpose(2, 3, 1, 0)[:, 0]
    if transposed:  # (window, filters, channels) is today's order
        return kernel.transpose(2, 3, 0, 1) if channels_first else kernel.transpose(0, 1, 3, 2)
    return np.moveaxis(kernel, (0, 1), (-1, -2)) if channels_first else kernel


# ------------------------------------------------------------------------------------------------------------- writing


def write_legacy_weights(model: Any, group: h5py.Group) -> None:
    """Writes a group for each layer, and one for the weights of the model itself, as Keras has them.

    Errors: a plain torch module with buffers is a LaminaError: these files list the weights of layers only.
    """
    for buffer, _ in model.named_buffers():
        raise LaminaError(f"{buffer} of {model.title} is a buffer of torch; an .h5 file has no place for it.")
    layers = [layer for layer in model.layers if isinstance(layer, Layer)]
    group.attrs["keras_version"] = KERAS_VERSION
    group.attrs["backend"] = "torch"
    _write_texts(group, "layer_names", [layer.name for layer in layers])
    for layer in layers:
        weights = [*layer.trainable_weights, *layer.non_trainable_weights]
        write_arrays(group.require_group(layer.name), [(_path(weight), weight) for weight in weights])
    write_arrays(group.create_group(_TOP), [(_path(weight), weight) for weight in model._own_variables()])


def _path(weight: Any) -> str:
    return getattr(weight, "path", None) or weight_name(weight)


def write_arrays(group: h5py.Group, arrays: list[tuple[str, Any]]) -> None:
    """Writes variables under their names, and the names, in order, as the attribute `weight_names`."""
    names: list[str] = []
    for wanted, variable in arrays:
        name, number = wanted, 0
        while name in group:  # two weights of one name, or one below another's name
            number += 1
            name = f"{wanted}_{number}"
        group.create_dataset(name, data=_to_numpy(variable))
        names.append(name)
    _write_texts(group, "weight_names", names)


def _write_texts(group: h5py.Group, attribute: str, names: list[str]) -> None:
    """Names as an attribute; more than HDF5 takes in one go into numbered ones, as Keras does it."""
    values = np.array([name.encode("utf8") for name in names], dtype=bytes)
    chunks = -(-values.nbytes // _ATTRIBUTE_LIMIT)
    if chunks <= 1:
        group.attrs[attribute] = values if names else np.zeros(0)
        return
    for number, chunk in enumerate(np.array_split(values, chunks)):
        group.attrs[f"{attribute}{number}"] = chunk
