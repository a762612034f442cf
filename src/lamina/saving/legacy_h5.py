"""The HDF5 files of Keras 1 and 2: a group per layer, named by the attributes `layer_names` and `weight_names`."""

from __future__ import annotations

import difflib
import re
import warnings
from typing import Any

import h5py
import numpy as np

from lamina.base.errors import LaminaError, UnsafeFileError, outside_frame
from lamina.base.trust import is_plain_name
from lamina.layers.layer import Layer
from lamina.layers.weights import _to_numpy, weight_name
from lamina.saving.differences import Differences, Place
from lamina.saving.legacy_kernels import joined_gates, weight_conversion
from lamina.saving.pairs import Pair, Value, pair_of, read_all

Stored = dict[str, Any]  # the arrays of a layer by their names in the file
Match = tuple[Any, Stored]  # a layer, and the arrays meant for it
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


# ------------------------------------------------------------------------------------------------------------- reading


def read_legacy(
    model: Any, file: h5py.File, by_name: bool = False, skip_mismatch: bool = False, adapt_channels: str | None = None
) -> list[Value]:
    """The model's variables with what reads their new values: layers matched in order, or by name.

    Errors: those of `read_all`; a LaminaError for another number of layers, also with `skip_mismatch`, since then
    nothing says which are meant; one for `by_name` where no name agrees. With `by_name` a warning lists the layers of
    the model that the file does not have.
    """
    layers = [layer for layer in model.layers if isinstance(layer, Layer) and layer.weights]
    stored = _stored_layers(file)
    absent = Differences()
    if by_name:
        matched, absent = _by_name(model, layers, stored)
    else:
        matched = _in_order(model, layers, stored)
    matches = [(layer, _in_file_order(layer, list(arrays)), arrays) for layer, arrays in matched]
    own, top = model._own_variables(), _stored(_root(file), _TOP) if _TOP in _root(file) else {}
    if own or top:
        matches.append((model, own, top))
    pairs, differences = _compared(file, matches)
    values = read_all(pairs, model, skip_mismatch, adapt_channels, differences)
    if absent.missing:
        message = "Loaded the layers whose names agree; the others are as they were."
        warnings.warn(f"{message}\n{absent.text([])}", stacklevel=outside_frame())
    return values


def _root(file: h5py.File) -> h5py.Group:
    """The group of the layers: files of whole models have one, those of weights alone are it."""
    root = file.get("model_weights")
    return root if isinstance(root, h5py.Group) else file


def _stored_layers(file: h5py.File) -> dict[str, Stored]:
    """The layers of the file that have weights, in its order."""
    found = {name: _stored(_root(file), name) for name in texts(_root(file), "layer_names")}
    return {name: arrays for name, arrays in found.items() if arrays}


def _stored(root: h5py.Group, name: str) -> Stored:
    """The arrays of a layer. Errors: a LaminaError for a file that names what it does not hold."""
    group = root.get(name)
    if not isinstance(group, h5py.Group):
        raise LaminaError(f"The file is damaged: it names the layer {name!r} and does not hold it.")
    weights = texts(group, "weight_names")
    missing = [weight for weight in weights if not isinstance(group.get(weight), h5py.Dataset)]
    if missing:
        raise LaminaError(f"The file is damaged: it names the weights {missing} of {name!r} and does not hold them.")
    return joined_gates({weight: group[weight] for weight in weights})


def _by_name(model: Any, layers: list[Any], stored: dict[str, Stored]) -> tuple[list[Match], Differences]:
    matched = [(layer, stored[layer.name]) for layer in layers if layer.name in stored]
    differences = _differences_by_name(layers, stored)
    if not matched:
        raise LaminaError(
            f"No layer of {model.title} has the name of one in the file; no weight was changed.\n"
            f"{differences.text([])}\n  Without by_name=True the layers are taken in their order."
        )
    return matched, differences


def _in_order(model: Any, layers: list[Any], stored: dict[str, Stored]) -> list[Match]:
    if len(layers) == len(stored):
        return list(zip(layers, stored.values(), strict=True))
    names = {layer.name for layer in layers}
    agree = names <= stored.keys() or stored.keys() <= names
    differences = (_differences_by_name if agree else _differences_by_shape)(layers, stored)
    raise LaminaError(
        f"{model.title} has {len(layers)} layers with weights, the file {len(stored)}; no weight was changed.\n"
        f"{differences.text([])}\n"
        f"  Build the model as it was saved, or load the layers whose names agree with by_name=True."
    )


def _differences_by_name(layers: list[Any], stored: dict[str, Stored]) -> Differences:
    names = {layer.name for layer in layers}
    return Differences(
        [_place_of(layer) for layer in layers if layer.name not in stored],
        [_stored_place(name, arrays) for name, arrays in stored.items() if name not in names],
    )


def _differences_by_shape(layers: list[Any], stored: dict[str, Stored]) -> Differences:
    """What is left when layers of equal shapes are matched in their order."""
    mine = [_place_of(layer) for layer in layers]
    theirs = [_stored_place(name, arrays) for name, arrays in stored.items()]
    one, other = ([tuple(place.shapes) for place in places] for places in (mine, theirs))
    differences = Differences()
    for step, start, stop, other_start, other_stop in difflib.SequenceMatcher(None, one, other, False).get_opcodes():
        if step != "equal":
            differences.missing += mine[start:stop]
            differences.unexpected += theirs[other_start:other_stop]
    return differences


def _place_of(layer: Any) -> Place:
    return Place(layer.name, "", [tuple(weight.shape) for weight in _order_of_files(layer)])


def _stored_place(name: str, arrays: Stored) -> Place:
    return Place(name, "", [array.shape for array in arrays.values()])


def _compared(file: h5py.File, matches: list[tuple[Any, list[Any], Stored]]) -> tuple[list[Pair], Differences]:
    """The weights of each layer beside the arrays meant for it; layers with another number of them are differences."""
    root = _root(file)
    version, backend = (
        text_of(root.attrs.get(key, file.attrs.get(key, usual)))
        for key, usual in (("keras_version", "1"), ("backend", ""))
    )
    convert = weight_conversion(version, backend)
    pairs, differences = list[Pair](), Differences()
    for layer, weights, arrays in matches:
        if len(weights) != len(arrays):
            differences.counts.append(f"{layer.title} has {len(weights)}, and {len(arrays)} in the file")
            continue
        owners = {id(one): part for part in layer._flatten_layers() for one in part._parameters.values()}
        meant = zip(weights, arrays.values(), strict=True)
        converted = convert([(owners.get(id(weight), layer), weight, array) for weight, array in meant])
        pairs += [pair_of(layer, weight, array) for weight, array in zip(weights, converted, strict=True)]
    return pairs, differences


def _order_of_files(layer: Any) -> list[Any]:
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _in_file_order(layer: Any, names: list[str]) -> list[Any]:
    """The layer's weights in the file's order.

    What was trained when it was saved stands first, then what was frozen, which may be another part of a nested model
    than is frozen now. The names tell: those of layers and weights, or, where layers are called otherwise, of weights.
    """
    by_name = {_ending(_path(weight), 2): weight for weight in layer.weights}
    wanted = [_ending(name, 2) for name in names]
    if len(by_name) == len(layer.weights) and sorted(by_name) == sorted(wanted):
        return [by_name[name] for name in wanted]
    now = _order_of_files(layer)
    unfrozen = sorted(layer.weights, key=lambda weight: not getattr(weight, "declared_trainable", weight.requires_grad))
    wanted = [_ending(name, 1) for name in names]
    for order in (now, unfrozen, layer.weights):
        if [_ending(_path(weight), 1) for weight in order] == wanted:
            return order
    return now if layer.trainable else unfrozen  # Keras 1 kept the order of a frozen model


def _ending(path: str, parts: int) -> str:
    """The last parts of a weight's path without the numbers that TensorFlow, and this module, put behind it.

    >>> _ending("inner/dense_1/kernel_2:0", 2)
    'dense_1/kernel'
    """
    return "/".join(re.sub(r"(_\d+)?(:\d+)?$", "", path).split("/")[-parts:])


# ------------------------------------------------------------------------------------------------------------- writing


def write_legacy_weights(model: Any, group: h5py.Group) -> None:
    """Writes a group for each layer, and one for the weights of the model itself, as Keras has them.

    Errors: a plain torch module with buffers is a LaminaError: these files list the weights of layers only.
    """
    for buffer, _ in model.named_buffers():
        raise LaminaError(
            f"{buffer} of {model.title} is a buffer of torch, and an .h5 file has no place for it. Save to .weights.h5 "
            f"or .safetensors, which have."
        )
    for layer in model.layers:
        if not isinstance(layer, Layer) and list(layer.parameters()):
            raise LaminaError(
                f"{model.title} holds a {type(layer).__name__} of torch, and an .h5 file lists layers only. Save to "
                f".weights.h5 or .safetensors, which have a place for it."
            )
    layers = [layer for layer in model.layers if isinstance(layer, Layer)]
    group.attrs["keras_version"] = KERAS_VERSION
    group.attrs["backend"] = "torch"
    _write_texts(group, "layer_names", [layer.name for layer in layers])
    for layer in layers:
        write_arrays(group.require_group(layer.name), [(_path(weight), weight) for weight in _order_of_files(layer)])
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
