"""Weights alone: `.weights.h5` of Keras 3, `.h5` of Keras 1 and 2, `.safetensors`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import PurePosixPath
from typing import Any

import torch

from lamina.layers.layer import Layer
from lamina.optimizers.base import Optimizer
from lamina.saving.differences import Differences, Place
from lamina.saving.files import WEIGHTS, existing, opened_archive, opened_h5, written_whole
from lamina.saving.guard import check_suffix
from lamina.saving.h5_arrays import ArrayInTurn, names_of_arrays, new_group
from lamina.saving.h5_layout import walk
from lamina.saving.legacy_h5 import is_legacy, read_legacy, write_legacy_weights
from lamina.saving.pairs import Pair, Value, assign, pair_of, read_all
from lamina.saving.sections import new_h5
from lamina.saving.sharded import Shards, is_index, new_shards, opened_shards
from lamina.saving.tensors import load_tensors, save_tensors

_OLD_LAYERS = "_layer_checkpoint_dependencies"


def save_weights(model: Any, filepath: Any, overwrite: bool = True, max_shard_size: float | None = None) -> None:
    """Writes a model's weights: `.weights.h5` as Keras 3 does, `.safetensors` with the names of `state_dict()`, any
    other `.h5` or `.hdf5` as Keras 1 and 2 did.

    With `max_shard_size` (gigabytes), or a name that ends in `.weights.json`, several files of at most that size (5
    where only the name says it) and an index of them, as Keras 3 does: `m.weights.json`, `m_00000.weights.h5`, ...
    """
    path = str(filepath)
    _needs_built(model, "save")
    keras_3 = path.endswith((".weights.h5", ".weights.json"))
    if max_shard_size is not None and not keras_3:
        raise ValueError(f"max_shard_size is for a name that ends in .weights.json; got {path!r}.")
    if path.endswith(".safetensors"):
        save_tensors(model, path, overwrite)
        return
    if path.endswith((".h5", ".hdf5")) and not keras_3:
        with written_whole(path, overwrite) as file, new_h5(file) as weights:
            write_legacy_weights(model, weights)
        return
    if not keras_3:
        raise ValueError(
            f"Weights go into a file that ends in .weights.h5, .h5 or .safetensors, or into several with an index that "
            f"ends in .weights.json; got {path!r}."
        )
    if max_shard_size is not None or path.endswith(".weights.json"):
        with new_shards(path, max_shard_size, overwrite) as shards:
            write_h5(model, shards)
        return
    with written_whole(path, overwrite) as file, new_h5(file) as weights:
        write_h5(model, weights)


def _needs_built(model: Any, what: str) -> None:
    if not model.built:
        raise ValueError(f"{model.title} has no weights to {what} yet: build(input_shape) it or call it on data first.")


def write_h5(model: Any, file: Any, optimizer: bool = True) -> None:
    """The layers' weights, and the optimizer's state, in Keras 3's layout."""
    arrays = ArrayInTurn()
    for path, layer in walk(model):
        if isinstance(layer, Layer):
            group = new_group(file, f"{path}/vars", layer.name)
            _write_own(layer, Layer.save_own_variables, layer._own_variables(), group, arrays)
        else:  # a plain torch module, which Keras's layout has no place for
            store = file.require_group(f"{path}/vars")
            for key, tensor in layer.state_dict().items():
                store[key] = (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).detach().cpu().numpy()
    used = getattr(model, "optimizer", None) if optimizer else None
    place = "optimizer"
    while used is not None:  # Keras writes the optimizer inside a LossScaleOptimizer once more
        group = new_group(file, f"{place}/vars", used.name)
        _write_own(used, Optimizer.save_own_variables, used.variables, group, arrays)
        used, place = getattr(used, "inner_optimizer", None), f"{place}/inner_optimizer"


def _write_own(owner: Any, usual: Any, variables: list[Any], group: Any, arrays: ArrayInTurn) -> None:
    """`owner.save_own_variables(group)`; where that is the usual one, without new memory for each array."""
    if getattr(owner.save_own_variables, "__func__", None) is not usual:
        owner.save_own_variables(group)
        return
    for index, variable in enumerate(variables):
        group[str(index)] = arrays.of(variable)


def load_weights(
    model: Any,
    filepath: Any,
    skip_mismatch: bool = False,
    by_name: bool = False,
    adapt_channels: str | None = None,
    **options: Any,
) -> None:
    """Reads weights into a built model; from files of lamina and Keras 3 also the state of an optimizer that has made
    steps, where it fits. Errors: a LaminaError or ShapeError that lists what does not fit; then nothing was changed."""
    if options:
        raise TypeError(f"load_weights has no argument {', '.join(map(repr, options))}.")
    path = existing(filepath, "weights")
    check_suffix(path)
    _needs_built(model, "load into")
    if path.suffix == ".safetensors":
        load_tensors(model, path, skip_mismatch, adapt_channels)
        return
    if is_index(path):
        with opened_shards(path) as shards:
            read_h5(model, shards, skip_mismatch, adapt_channels)
        return
    packed = opened_archive(path, WEIGHTS) if path.suffix == ".keras" else nullcontext()
    with packed as archive, opened_h5(path, archive) as file:
        if is_legacy(file):
            assign(read_legacy(model, file, by_name, skip_mismatch, adapt_channels))
        elif by_name:
            raise ValueError(f"by_name=True reads files of Keras 1 and 2; {path.name} is of Keras 3.")
        else:
            read_h5(model, file, skip_mismatch, adapt_channels)


def read_h5(
    model: Any,
    file: Any,
    skip_mismatch: bool = False,
    adapt_channels: str | None = None,
    optimizer_too: bool = True,
) -> None:
    """Reads what `write_h5` (or Keras 3) wrote. Everything is compared and read before anything is assigned."""
    pairs, own_loaders, differences = _compared(model, file)
    values = read_all(pairs, model, skip_mismatch, adapt_channels, differences)
    if optimizer_too:
        values += _optimizer_values(getattr(model, "optimizer", None), file.get("optimizer/vars", {}))
    own_weights = [weight for layer, _ in own_loaders for weight in layer.weights]
    for weight in own_weights:
        if hasattr(weight, "allocate"):  # a plain torch parameter has its memory
            weight.allocate(fill=True)
    with _unchanged_on_failure(own_weights):
        for layer, store in own_loaders:
            layer.load_own_variables(store)
        assign(values)


def _compared(model: Any, file: Any) -> tuple[list[Pair], list[tuple[Any, Any]], Differences]:
    """The model's variables beside the file's arrays, the layers that load by code of their own, and the rest."""
    pairs: list[Pair] = []
    own_loaders: list[tuple[Any, Any]] = []
    differences = Differences()
    known: set[str] = set()
    for path, layer in walk(model):
        known.add(f"{path}/vars".strip("/"))
        store = file.get(f"{path}/vars")
        if store is None and "layers" in path.split("/"):  # tf.keras 2 had another word for a model's list of layers
            old_path = path.replace("layers", _OLD_LAYERS)
            known.add(f"{old_path}/vars".strip("/"))
            store = file.get(f"{old_path}/vars")
        store = {} if store is None else store
        if not isinstance(layer, Layer):
            found = {key: (tensor, key) for key, tensor in layer.state_dict().items()}
        elif type(layer).load_own_variables is not Layer.load_own_variables:
            own_loaders.append((layer, store))
            continue
        else:
            found = {str(index): (variable, "") for index, variable in enumerate(layer._own_variables())}
        if set(store.keys()) != set(found):
            _note(differences, path, layer, [variable for variable, _ in found.values()], store)
            continue
        for key, (variable, name) in found.items():
            pairs.append(Pair(f"{path}/{name}", variable, store[key]) if name else pair_of(layer, variable, store[key]))
    differences.unexpected += _left_over(file, known)
    return pairs, own_loaders, differences


def _note(differences: Differences, path: str, layer: Any, variables: list[Any], store: Any) -> None:
    """A layer that has weights which its group in the file lacks, or the other way round."""
    place, name = path.strip("/") or "/", getattr(layer, "name", "")
    if not store.keys():
        differences.missing.append(Place(place, name, [tuple(variable.shape) for variable in variables]))
    elif not variables:
        differences.unexpected.append(Place(place, _stored_name(store), [store[key].shape for key in store]))
    else:
        title = getattr(layer, "title", type(layer).__name__)
        differences.counts.append(f"{title} ({place}) has {len(variables)}, and {len(store.keys())} in the file")


def _stored_name(store: Any) -> str:
    """The name of the layer whose weights a group holds, where the file says it."""
    return str(getattr(store, "attrs", {}).get("name", ""))


def _left_over(file: Any, known: set[str]) -> list[Place]:
    """The groups with weights that no layer of the model has. Keras also stores the state of random generators."""
    found: dict[str, list[str]] = {}
    for name in file.names_of_arrays() if isinstance(file, Shards) else names_of_arrays(file):
        group, _, key = name.rpartition("/")
        inside = group in known or any(str(above) in known for above in PurePosixPath(group).parents)
        if not inside and not name.startswith("optimizer/") and "seed_generator" not in name:
            found.setdefault(group, []).append(key)
    stores = {group: file.get(group or "/") for group in found}
    return [
        Place(group.removesuffix("/vars"), _stored_name(stores[group]), [stores[group][key].shape for key in keys])
        for group, keys in found.items()
    ]


def _optimizer_values(optimizer: Any, store: Any) -> list[Value]:
    """The state for an optimizer that has slots, if the file holds one of the same form: weights are what was asked."""
    if optimizer is None or not optimizer.built or len(store.keys()) != len(optimizer.variables):
        return []
    pairs = [Pair(f"optimizer/{key}", variable, store[str(key)]) for key, variable in enumerate(optimizer.variables)]
    return read_all(pairs, optimizer, False, None) if all(pair.fits for pair in pairs) else []


@contextmanager
def _unchanged_on_failure(tensors: list[Any]) -> Iterator[None]:
    """Puts tensors back as they were when the block raises (a user's `load_own_variables` may do so half-way)."""
    before = [(tensor, tensor.detach().clone()) for tensor in tensors]
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for tensor, value in before:
                tensor.copy_(value)
        raise
