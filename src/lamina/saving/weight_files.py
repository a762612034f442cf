"""Weights alone: `.weights.h5` of Keras 3, `.h5` of Keras 1 and 2, `.safetensors`."""

from __future__ import annotations

import os
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from lamina.base.errors import LaminaError, ShapeError
from lamina.layers.layer import Layer
from lamina.saving.files import written_whole
from lamina.saving.h5_layout import walk
from lamina.saving.legacy_h5 import is_legacy, legacy_pairs
from lamina.saving.pairs import Pair, assign_all


def save_weights(model: Any, filepath: Any, overwrite: bool = True) -> None:
    """Writes a model's weights into `.weights.h5` (as Keras 3 does) or `.safetensors` (names as in `state_dict()`)."""
    path = str(filepath)
    _needs_built(model)
    if path.endswith(".safetensors"):
        from safetensors.torch import save_file

        state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        with written_whole(path, overwrite) as part:
            save_file(state, str(part), metadata={"format": "pt"})
        return
    if not path.endswith(".weights.h5"):
        raise ValueError(f"Weights go into a file that ends in .weights.h5 or .safetensors; got {path!r}.")
    with written_whole(path, overwrite) as part:
        with h5py.File(part, "w") as file:
            write_h5(model, file)


def _needs_built(model: Any) -> None:
    if not model.built:
        raise ValueError(f"{model.title} has no weights yet: build it or call it on data before saving.")


def write_h5(model: Any, file: h5py.Group) -> None:
    """The layers' weights, and the optimizer's state, in Keras 3's layout."""
    for path, layer in walk(model):
        store = file.require_group(f"{path}/vars")
        if isinstance(layer, Layer):
            store.attrs["name"] = layer.name
            layer.save_own_variables(store)
        else:  # a plain torch module, which Keras's layout has no place for
            for key, tensor in layer.state_dict().items():
                store[key] = tensor.detach().cpu().numpy()
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and optimizer.built:
        store = file.require_group("optimizer/vars")
        store.attrs["name"] = optimizer.name
        optimizer.save_own_variables(store)


def load_weights(
    model: Any,
    filepath: Any,
    skip_mismatch: bool = False,
    by_name: bool = False,
    adapt_channels: str | None = None,
    **options: Any,
) -> None:
    """Reads weights into a built model. Errors: a LaminaError or ShapeError that lists what does not fit; then no weight
    was changed."""
    if options:
        raise TypeError(f"load_weights has no argument {', '.join(map(repr, options))}.")
    path = Path(os.fspath(filepath))
    if not path.is_file():
        raise FileNotFoundError(f"There is no weights file {path}.")
    _needs_built(model)
    if path.suffix == ".safetensors":
        _load_safetensors(model, path, skip_mismatch)
        return
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive, h5py.File(BytesIO(archive.read("model.weights.h5")), "r") as file:
            read_h5(model, file, skip_mismatch, adapt_channels)
        return
    with h5py.File(path, "r") as file:
        if is_legacy(file):
            assign_all(legacy_pairs(model, file, by_name, skip_mismatch), model, skip_mismatch, adapt_channels)
        elif by_name:
            raise ValueError(f"by_name=True reads files of Keras 1 and 2; {path.name} is of Keras 3.")
        else:
            read_h5(model, file, skip_mismatch, adapt_channels)


def read_h5(model: Any, file: h5py.Group, skip_mismatch: bool = False, adapt_channels: str | None = None) -> None:
    """Reads what `write_h5` (or Keras 3) wrote. Everything is compared before anything is assigned."""
    pairs: list[Pair] = []
    own_loaders: list[tuple[Any, Any]] = []
    missing: list[str] = []
    for path, layer in walk(model):
        store = file.get(f"{path}/vars")
        if not isinstance(layer, Layer):
            if store is not None:
                layer.load_state_dict({key: torch.from_numpy(np.asarray(store[key])) for key in layer.state_dict()})
            continue
        if type(layer).load_own_variables is not Layer.load_own_variables:
            own_loaders.append((layer, store if store is not None else {}))
            continue
        own = layer._own_variables()
        stored = len(store.keys()) if store is not None else 0
        if stored != len(own):
            missing.append(f"{layer.title} has {len(own)} weights and the file {stored} for it ({path or '/'})")
            continue
        pairs.extend(Pair(layer, variable, store[str(index)]) for index, variable in enumerate(own))
    if missing and not skip_mismatch:
        raise LaminaError("The file does not fit the model; no weight was changed.\n  " + "\n  ".join(missing))
    assign_all(pairs, model, skip_mismatch, adapt_channels)
    for layer, store in own_loaders:
        layer.load_own_variables(store)


def _load_safetensors(model: Any, path: Path, skip_mismatch: bool) -> None:
    from safetensors.torch import load_file

    stored, state = load_file(path), model.state_dict()
    problems = [f"missing: {name}" for name in state if name not in stored]
    problems += [f"unexpected: {name}" for name in stored if name not in state]
    for name in state.keys() & stored.keys():
        if stored[name].shape != state[name].shape:
            problems.append(f"{name}: {tuple(stored[name].shape)} in the file, {tuple(state[name].shape)} in the model")
    if problems and not skip_mismatch:
        raise ShapeError(
            f"The file {path.name} does not fit {model.title}; no weight was changed.",
            because="\n".join(sorted(problems)),
            mend="load_weights(..., skip_mismatch=True) takes what fits",
        )
    with torch.no_grad():
        for name in state.keys() & stored.keys():
            if stored[name].shape == state[name].shape:
                state[name].copy_(stored[name])
