"""`KerasFileEditor`: looks into a weights file, compares it with a model, changes what is in it, and writes it anew."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from lamina.base.errors import LaminaError, UnsafeFileError
from lamina.base.registry import nearest
from lamina.base.trust import is_plain_name
from lamina.engine.budget import in_words, memory_limit
from lamina.layers.layer import Layer
from lamina.saving.differences import Differences, Place
from lamina.saving.files import WEIGHTS, existing, opened_archive, opened_h5, written_whole
from lamina.saving.guard import contents, parsed_config
from lamina.saving.h5_layout import walk
from lamina.saving.legacy_h5 import is_legacy
from lamina.saving.pairs import Pair, pair_of, read_array
from lamina.saving.sections import new_h5, new_h5_member, new_text
from lamina.saving.sharded import is_index, opened_shards

Weights = dict[str, np.ndarray[Any, Any]]


class KerasFileEditor:
    """The weights in a `.keras`, `.weights.h5` or `.weights.json` file, by the paths of the layers that own them.

    An object is a layer's group, `layers/dense_1`; its own name, `dense_1`, is enough where it is the only one. The
    file itself stays as it is; `save` writes another. Nothing in the file is run, its classes need not be known.

    Parameters: `filepath`. Attributes: `weights_dict`, the arrays in nested dicts; `config` and `metadata` of a
    `.keras` file, else None. Errors: a LaminaError for another format or a damaged file.

    >>> import lamina, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "m.weights.h5")
    >>> model = lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(2, name="head")])
    >>> model.save_weights(path)
    >>> editor = KerasFileEditor(path)
    >>> editor.add_object("layers/dense_1", {"0": np.zeros((2, 5)), "1": np.zeros(5)})
    >>> editor.delete_weight("dense_1", "1")
    >>> editor.summary()
    m.weights.h5: 3 weights of 20 numbers in 2 objects
    layers/dense 'head'
      0   (4, 2)                  float32
      1   (2,)                    float32
    layers/dense_1
      0   (2, 5)                  float64
    """

    def __init__(self, filepath: Any):
        self.filepath = str(filepath)
        self.config: Any = None
        self.metadata: Any = None
        self._objects: dict[str, Weights] = {}
        self._names: dict[str, str] = {}  # the layers' names where the file says them
        path = existing(filepath, "weights")
        if path.suffix == ".keras":
            with opened_archive(path, WEIGHTS) as archive:
                for name in ("config", "metadata"):
                    if f"{name}.json" in archive.namelist():
                        content = parsed_config(contents(archive, f"{name}.json"), f"The {name}.json in {path}")
                        setattr(self, name, content)
                with opened_h5(path, archive) as file:
                    self._read(file, path)
        elif is_index(path):
            with opened_shards(path) as shards:
                self._read(shards, path)
        elif path.name.endswith(".weights.h5"):
            with opened_h5(path) as file:
                self._read(file, path)
        else:
            raise ValueError(
                f"The editor reads files that end in .keras, .weights.h5 or .weights.json; got {path.name!r}. `lamina "
                f"convert` makes one of them from other formats."
            )

    def _read(self, file: Any, path: Path) -> None:
        if is_legacy(file):
            raise LaminaError(f"{path} is of Keras 1 or 2, which the editor does not read; `lamina convert` it first.")

        left = limit = memory_limit()

        def visit(name: str, entry: Any) -> None:
            nonlocal left
            if not isinstance(entry, h5py.Dataset):
                if name.endswith("vars") and "name" in entry.attrs:
                    self._names.setdefault(_object_of(name), str(entry.attrs["name"]))
                return
            group, _, key = name.rpartition("/")
            left -= entry.nbytes
            if left < 0:
                raise UnsafeFileError(f"{path} was not read: its arrays take more than {in_words(limit)} of memory.")
            value = read_array(entry)
            value = value.float() if value.dtype is torch.bfloat16 else value
            self._objects.setdefault(_object_of(group), {})[key] = value.numpy()

        file.visititems(visit)

    # Looking.

    @property
    def weights_dict(self) -> dict[str, Any]:
        """The arrays in nested dicts: `weights_dict["layers"]["dense"]["0"]`."""
        root: dict[str, Any] = {}
        for path, weights in self._objects.items():
            place = root
            for part in path.split("/") if path else []:
                place = place.setdefault(part, {})
            place.update(weights)
        return root

    def summary(self) -> None:
        """Prints what the file holds: each object with its weights' shapes and dtypes."""
        print("\n".join(self._summary_lines()))

    def _summary_lines(self) -> Iterator[str]:
        number = sum(array.size for weights in self._objects.values() for array in weights.values())
        count = sum(map(len, self._objects.values()))
        yield f"{Path(self.filepath).name}: {count} weights of {number:,} numbers in {len(self._objects)} objects"
        if isinstance(self.metadata, dict):
            yield f"  written by Keras {_plain(self.metadata.get('keras_version', '?'))}"
        if isinstance(self.config, dict):
            yield f"  of a {_plain(self.config.get('class_name', '?'))}"
        for path in sorted(self._objects):
            name = self._names.get(path, "")
            yield _plain(Place(path or "/", name, []).title)
            for key in sorted(self._objects[path], key=_in_order):
                array = self._objects[path][key]
                yield f"  {_plain(key):<4}{tuple(array.shape)!s:<24}{array.dtype}"

    def compare(self, reference_model: Any) -> dict[str, Any]:
        """Prints how the file differs from a built model: what would keep `load_weights` from reading it.

        The optimizer's state is compared if the model's optimizer has made steps. Returns `{"status": "success" or
        "error", "error_count": objects and weights that differ, "match_count": weights that fit}`.
        """
        differences, wrong, matched = self._differences(reference_model)
        errors = len(differences.missing) + len(differences.unexpected) + len(differences.counts) + len(wrong)
        if errors:
            print(f"{Path(self.filepath).name} does not fit {reference_model.title}:\n{differences.text(wrong)}")
        else:
            print(f"{Path(self.filepath).name} fits {reference_model.title}: {matched} weights.")
        return {"status": "error" if errors else "success", "error_count": errors, "match_count": matched}

    def _differences(self, model: Any) -> tuple[Differences, list[Pair], int]:
        differences, wrong, matched = Differences(), list[Pair](), 0
        left = {
            path: weights for path, weights in self._objects.items() if weights and not _is_below(path, "optimizer")
        }
        for path, layer, variables in _objects_of(model):
            stored = left.pop(path, None) or (self._objects.get(path, {}) if path == "optimizer" else {})
            name = getattr(layer, "name", "")
            if not stored:
                differences.missing.append(Place(path or "/", name, [tuple(one.shape) for one in variables]))
            elif set(stored) != set(map(str, range(len(variables)))):
                differences.counts.append(f"{path} {name!r} has {len(variables)}, and {len(stored)} in the file")
            else:
                pairs = [pair_of(layer, variable, stored[str(key)]) for key, variable in enumerate(variables)]
                wrong += [pair for pair in pairs if not pair.fits]
                matched += sum(pair.fits for pair in pairs)
        for path, weights in left.items():
            if "seed_generator" not in path:  # Keras's random generators, which lamina keeps in no file
                shapes = [weights[key].shape for key in sorted(weights, key=_in_order)]
                differences.unexpected.append(Place(path or "/", self._names.get(path, ""), shapes))
        return differences, wrong, matched

    # Changing.

    def rename_object(self, object_name: str, new_name: str) -> None:
        """Gives an object, with what lies below it, another name: the last part of its path. Errors: a ValueError for
        an unknown or ambiguous name, or a new one that is taken."""
        old = self._find(object_name)
        if "/" in new_name or not new_name or not is_plain_name(new_name):
            raise ValueError(f"A new name is the last part of a path, without a slash; got {new_name!r}.")
        parent = old.rpartition("/")[0]
        new = f"{parent}/{new_name}" if parent else new_name
        self._must_be_free(new)
        for table in (self._objects, self._names):
            moved = {new + path[len(old) :] if _is_below(path, old) else path: v for path, v in table.items()}
            table.clear()
            table.update(moved)  # type: ignore[arg-type]

    def delete_object(self, object_name: str) -> None:
        """Takes an object out, with what lies below it."""
        old = self._find(object_name)
        for table in (self._objects, self._names):
            for path in [path for path in table if _is_below(path, old)]:
                del table[path]

    def add_object(self, object_path: str, weights: dict[str, Any]) -> None:
        """A new object at a whole path, with its arrays by name: `{"0": kernel, "1": bias}`."""
        if not object_path.strip("/") or not is_plain_name(object_path):
            raise ValueError(f"An object's path is like 'layers/dense_1'; got {object_path!r}.")
        path = object_path.strip("/")
        self._must_be_free(path)
        self._objects[path] = _arrays(weights)

    def delete_weight(self, object_name: str, weight_name: str) -> None:
        """Takes one weight out of an object."""
        path = self._find(object_name)
        self._weight(path, weight_name)
        del self._objects[path][weight_name]

    def add_weights(self, object_name: str, weights: dict[str, Any]) -> None:
        """Adds arrays by name to an object, in the place of those of the same names."""
        path = self._find(object_name)
        self._objects.setdefault(path, {}).update(_arrays(weights))

    def _weight(self, path: str, name: str) -> Any:
        found = self._objects.get(path, {})
        if name not in found:
            known = ", ".join(sorted(found, key=_in_order)) or "none of its own"
            raise ValueError(f"The object {path!r} has no weight {name!r}; it has {known}.")
        return found[name]

    def _find(self, name: str) -> str:
        """The path that a whole path or the last part of one means."""
        wanted = name.strip("/")
        paths = {path[:end] for path in self._objects for end in _ends(path)}
        if wanted in paths:
            return wanted
        ending = sorted(path for path in paths if path.endswith(f"/{wanted}"))
        if len(ending) == 1:
            return ending[0]
        if ending:
            raise ValueError(f"{name!r} is the name of several objects, {', '.join(ending)}: give the whole path.")
        raise ValueError(
            f"There is no object {name!r} in the file.{nearest(wanted, sorted(paths))} summary() lists all."
        )

    def _must_be_free(self, path: str) -> None:
        if any(_is_below(one, path) for one in self._objects):
            raise ValueError(f"There is an object {path!r} already. add_weights() changes its weights.")

    # Writing.

    def save(self, filepath: Any) -> None:
        """Writes the weights as they are now into a `.weights.h5` file; if a `.keras` file was opened, also into a
        `.keras` file with the same architecture."""
        path = str(filepath)
        if path.endswith(".keras") and self.config is not None:
            with written_whole(path) as file, zipfile.ZipFile(file, "w") as archive:
                new_text(archive, "metadata.json", json.dumps(self.metadata or {}))
                new_text(archive, "config.json", json.dumps(self.config))
                with new_h5_member(archive, WEIGHTS) as weights:
                    self._write(weights)
        elif path.endswith(".weights.h5"):
            with written_whole(path) as file, new_h5(file) as weights:
                self._write(weights)
        else:
            own = " or .keras" if self.config is not None else ""
            raise ValueError(f"Edited weights go into a file that ends in .weights.h5{own}; got {path!r}.")

    def resave_weights(self, filepath: Any) -> None:
        """The same as `save`."""
        self.save(filepath)

    def _write(self, file: Any) -> None:
        for path in sorted(self._objects):
            group = file.require_group(f"{path}/vars")
            if path in self._names:
                group.attrs["name"] = self._names[path]
            for key, array in self._objects[path].items():
                group[key] = array


def _object_of(group: str) -> str:
    """The path of an object, without the `vars` in which its weights lie."""
    return "" if group == "vars" else group.removesuffix("/vars")


def _objects_of(model: Any) -> Iterator[tuple[str, Any, list[Any]]]:
    """The paths, owners and weights that a file of the model has."""
    if not model.built:
        raise ValueError(f"{model.title} has no weights yet: build(input_shape) it or call it on data first.")
    for path, layer in walk(model):
        if isinstance(layer, Layer) and (variables := layer._own_variables()):
            yield path.strip("/"), layer, variables
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and optimizer.built and int(optimizer.iterations):
        yield "optimizer", optimizer, list(optimizer.variables)


def _arrays(weights: Any) -> Weights:
    if not isinstance(weights, dict) or not all(isinstance(key, str) and key and "/" not in key for key in weights):
        raise ValueError(f'Weights are a dict of arrays by name, {{"0": kernel, "1": bias}}; got {weights!r:.100}.')
    found = {key: np.asarray(value) for key, value in weights.items()}
    for key, array in found.items():
        if array.dtype.kind not in "fiub":
            raise ValueError(f"The weight {key!r} is no array of numbers but of {array.dtype}.")
    return found


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top}/")


def _ends(path: str) -> Iterator[int]:
    """Where the path and each of its parents end."""
    for place, letter in enumerate(path):
        if letter == "/":
            yield place
    yield len(path)


def _in_order(key: str) -> tuple[int, str]:
    return (int(key), "") if key.isdecimal() else (10**9, key)


def _plain(text: Any) -> str:
    """A text from a file that cannot steer the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))
