"""Weights alone: `.weights.h5` of Keras 3, `.h5` of Keras 1 and 2, `.safetensors`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import torch

from lamina.base.errors import LaminaError
from lamina.layers.layer import Layer
from lamina.saving.files import archive_members, existing, opened_h5, written_whole
from lamina.saving.h5_layout import walk
from lamina.saving.legacy_h5 import is_legacy, legacy_pairs
from lamina.saving.pairs import Pair, assign, pair_of, read_all


def save_weights(model: Any, filepath: Any, overwrite: bool = True) -> None:
    """Writes a model's weights into `.weights.h5` (as Keras 3 does) or `.safetensors` (names as in `state_dict()`)."""
    path = str(filepath)
    _needs_built(model, "save")
    if path.endswith(".safetensors"):
        from safetensors.torch import save_file

        with written_whole(path, overwrite) as part:
            save_file(_separate(model.state_dict()), str(part), metadata={"format": "pt"})
        return
    if not path.endswith(".weights.h5"):
        raise ValueError(f"Weights go into a file that ends in .weights.h5 or .safetensors; got {path!r}.")
    with written_whole(path, overwrite) as part:
        with h5py.File(part, "w") as file:
            write_h5(model, file)


def _separate(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors on the CPU in their logical order, one that has two names (a shared layer) twice: the format shares
    no memory."""
    seen: set[int] = set()
    result = {}
    for name, tensor in state.items():
        plain = tensor.detach().cpu().contiguous()
        result[name] = plain.clone() if plain.data_ptr() in seen else plain
        seen.add(plain.data_ptr())
    return result


def _needs_built(model: Any, what: str) -> None:
    if not model.built:
        raise ValueError(f"{model.title} has no weights to {what} yet: build(input_shape) it or call it on data first.")


def write_h5(model: Any, file: h5py.Group, optimizer: bool = True) -> None:
    """The layers' weights, and the optimizer's state, in Keras 3's layout."""
    for path, layer in walk(model):
        store = file.require_group(f"{path}/vars")
        if isinstance(layer, Layer):
            store.attrs["name"] = layer.name
            layer.save_own_variables(store)
        else:  # a plain torch module, which Keras's layout has no place for
            for key, tensor in layer.state_dict().items():
                store[key] = (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).detach().cpu().numpy()
    used = getattr(model, "optimizer", None)
    if optimizer and used is not None:
        store = file.require_group("optimizer/vars")
        store.attrs["name"] = used.name
        used.save_own_variables(store)


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
    _needs_built(model, "load into")
    if path.suffix == ".safetensors":
        pairs = _safetensors_pairs(model, path, skip_mismatch)
        assign(read_all(pairs, model, skip_mismatch, adapt_channels))
        return
    content = archive_members(path, "model.weights.h5")[0] if path.suffix == ".keras" else None
    with opened_h5(path, content) as file:
        if is_legacy(file):
            pairs = legacy_pairs(model, file, by_name, skip_mismatch)
            assign(read_all(pairs, model, skip_mismatch, adapt_channels))
        elif by_name:
            raise ValueError(f"by_name=True reads files of Keras 1 and 2; {path.name} is of Keras 3.")
        else:
            read_h5(model, file, skip_mismatch, adapt_channels)


def read_h5(
    model: Any,
    file: h5py.Group,
    skip_mismatch: bool = False,
    adapt_channels: str | None = None,
    optimizer_too: bool = True,
) -> None:
    """Reads what `write_h5` (or Keras 3) wrote. Everything is compared and read before anything is assigned."""
    pairs: list[Pair] = []
    own_loaders: list[tuple[Any, Any]] = []
    problems: list[str] = []
    known: set[str] = set()
    for path, layer in walk(model):
        known.add(f"{path}/vars".strip("/"))
        store = file.get(f"{path}/vars", {})
        if not isinstance(layer, Layer):
            found = {key: (tensor, key) for key, tensor in layer.state_dict().items()}
        elif type(layer).load_own_variables is not Layer.load_own_variables:
            own_loaders.append((layer, store))
            continue
        else:
            found = {str(index): (variable, "") for index, variable in enumerate(layer._own_variables())}
        if set(store.keys()) != set(found):
            title = getattr(layer, "title", type(layer).__name__)
            problems.append(f"{title} has {len(found)} weights and the file {len(store.keys())} for it ({path or '/'})")
            continue
        for key, (variable, name) in found.items():
            pairs.append(Pair(f"{path}/{name}", variable, store[key]) if name else pair_of(layer, variable, store[key]))
    problems += [f"the file has weights for {path}, where the model has no layer" for path in _left_over(file, known)]
    if problems and not skip_mismatch:
        raise LaminaError(
            f"The file does not fit {model.title}; no weight was changed.\n  " + "\n  ".join(problems[:10])
        )
    values = read_all(pairs, model, skip_mismatch, adapt_channels)
    if optimizer_too:
        values += _optimizer_values(getattr(model, "optimizer", None), file.get("optimizer/vars", {}))
    with _unchanged_on_failure([weight for layer, _ in own_loaders for weight in layer.weights]):
        for layer, store in own_loaders:
            layer.load_own_variables(store)
    assign(values)


def _left_over(file: h5py.Group, known: set[str]) -> list[str]:
    """The groups with weights that no layer of the model has. Keras also stores the state of random generators."""
    found: dict[str, None] = {}

    def visit(name: str, entry: Any) -> None:
        group = name.rpartition("/")[0]
        inside = any(group == one or group.startswith(f"{one}/") for one in known)
        other = name.startswith("optimizer/") or "seed_generator" in name
        if isinstance(entry, h5py.Dataset) and not inside and not other:
            found[group.removesuffix("/vars")] = None

    file.visititems(visit)
    return list(found)


def _optimizer_values(optimizer: Any, store: Any) -> list[tuple[Any, torch.Tensor]]:
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
        assign(before)
        raise


def _safetensors_pairs(model: Any, path: Path, skip_mismatch: bool) -> list[Pair]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored = load_file(path)
    except SafetensorError as error:
        raise LaminaError(f"{path} cannot be read: it is damaged or cut short ({error}).") from error
    state = model.state_dict(keep_vars=True)  # the variables themselves know what their axes mean
    problems = [f"missing in the file: {name}" for name in sorted(state.keys() - stored.keys())]
    problems += [f"not in the model: {name}" for name in sorted(stored.keys() - state.keys())]
    if problems and not skip_mismatch:
        raise LaminaError(
            f"The file {path.name} does not fit {model.title}; no weight was changed.\n  "
            + "\n  ".join(problems[:10])
            + "\n  The names are those of the layers: give them name=. skip_mismatch=True loads what fits."
        )
    return [Pair(name, tensor, stored[name]) for name, tensor in state.items() if name in stored]
