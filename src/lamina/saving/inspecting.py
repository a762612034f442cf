"""What is in a model file, read from its tables of contents: nothing is made, nothing is run."""

from __future__ import annotations

import textwrap
import zipfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import h5py

from lamina.base.errors import LaminaError, UnsafeFileError
from lamina.saving import kinds
from lamina.saving.described import DescribedLayer, described_model
from lamina.saving.files import WEIGHTS
from lamina.saving.guard import CONFIG_LIMIT, check_h5, check_zip, contents, parsed_config
from lamina.saving.legacy_h5 import text_of
from lamina.saving.safetensors_files import opened_tensors
from lamina.saving.sections import h5_member
from lamina.saving.sharded import described_index, shard_names
from lamina.saving.tensors import CONFIG

_OBJECTS = 100_000  # groups and arrays of an HDF5 file that are listed
_ROWS = 20  # weights that the text shows; the data have all
_WIDTH = 80
_FACTS = ("keras_version", "backend", "date_saved", "writer")


@dataclass(frozen=True)
class StoredArray:
    """A weight as the file declares it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int


@dataclass
class Inspection:
    """What is in a file. `str()` shows it, `to_dict()` gives all of it as plain data.

    `weights` and `optimizer` are the arrays of the layers and of the optimizer; `remarks` is what one should know
    before loading the file.
    """

    path: str
    kind: str
    bytes: int
    facts: dict[str, str] = field(default_factory=dict)
    members: list[dict[str, Any]] = field(default_factory=list)
    model: str | None = None
    layers: list[DescribedLayer] = field(default_factory=list)
    compiled: dict[str, Any] | None = None
    weights: list[StoredArray] = field(default_factory=list)
    optimizer: list[StoredArray] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def remark(self, text: Any) -> None:
        if str(text) not in self.remarks:
            self.remarks.append(str(text))

    def __str__(self) -> str:
        numbers = sum(_count(one.shape) for one in self.weights)
        of_optimizer = sum(one.bytes for one in self.optimizer)
        rows = [
            ("file", f"{self.path}, {_size(self.bytes)}"),
            ("holds", f"a {self.kind}" if self.kind in kinds.MODELS else self.kind),
            *((name.replace("_", " "), text) for name, text in self.facts.items()),
            ("members", ", ".join(f"{one['name']} {_size(one['bytes'])}" for one in self.members)),
            ("model", self.model or ""),
            ("layers", self._counted_layers()),
            ("unknown", ", ".join(sorted({one.class_name for one in self.layers if not one.known}))),
            ("compiled", ", ".join(f"{key} {value}" for key, value in (self.compiled or {}).items())),
            ("optimizer", f"{len(self.optimizer)} arrays, {_size(of_optimizer)}" if self.optimizer else ""),
            (
                "weights",
                f"{len(self.weights):,} arrays, {numbers:,} numbers, {_size(sum(one.bytes for one in self.weights))}",
            ),
        ]
        lines = [line for label, text in rows if text for line in _labelled(label, text)]
        lines += self._table()
        for number, remark in enumerate(self.remarks):
            lines += _labelled("remarks" if number == 0 else "", remark)
        return "\n".join(lines)

    def _counted_layers(self) -> str:
        counts = Counter(one.class_name for one in self.layers).most_common()
        total = f"{len(self.layers)}: " if self.layers else ""
        return total + ", ".join(name if number == 1 else f"{name} {number}" for name, number in counts)

    def _table(self) -> list[str]:
        shown = self.weights[:_ROWS]
        cells = [(one.name, str(one.shape), one.dtype) for one in shown]
        width = max((len(shape) for _, shape, _ in cells), default=0)
        room = _WIDTH - 2 - 2 - width - 2 - max((len(dtype) for _, _, dtype in cells), default=0)
        names = min(max((len(name) for name, _, _ in cells), default=0), room)
        lines = [f"  {_short(name, names):<{names}}  {shape:<{width}}  {dtype}" for name, shape, dtype in cells]
        if len(self.weights) > _ROWS:
            lines.append(f"  … and {len(self.weights) - _ROWS:,} more; as JSON all are listed")
        return lines


def inspect_file(path: str | Path) -> Inspection:
    """What is in a model file, without running, importing or making anything that it names.

    Errors: a missing file is a FileNotFoundError; what is no model file, or is too damaged to tell, a LaminaError.

    >>> import lamina, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "m.keras")
    >>> lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(2, name="head")], name="small").save(path)
    >>> found = inspect_file(path)
    >>> found.kind, found.model, [(one.name, one.shape) for one in found.weights]
    ('model of Keras 3', "Sequential 'small'", [('layers/dense/vars/0', (4, 2)), ('layers/dense/vars/1', (2,))])
    """
    path = Path(path)
    found = Inspection(str(path), kinds.format_of(path), path.stat().st_size)
    read = {kinds.ZIP: _read_zip, kinds.HDF5: _read_h5, kinds.SAFETENSORS: _read_tensors, kinds.INDEX: _read_index}
    read[found.kind](path, found)
    return found


def _read_zip(path: Path, found: Inspection) -> None:
    found.kind = kinds.KERAS
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise LaminaError(f"{path} is no .keras file, or it is damaged or cut short ({error}).") from error
    with archive:
        for member in archive.infolist():
            found.members.append({"name": member.filename, "bytes": member.file_size})
        try:
            check_zip(archive, path)
            names = archive.namelist()
            if "config.json" not in names:
                found.remark("There is no config.json: this is no model of Keras.")
            else:
                _describe(found, _member_json(archive, path, "config.json"))
            if "metadata.json" in names:
                _take_facts(found, _member_json(archive, path, "metadata.json"))
            if WEIGHTS in names:
                with h5_member(archive, WEIGHTS) as inside:
                    _list_arrays(inside, path, found)
        except (LaminaError, OSError, zipfile.BadZipFile, EOFError, RuntimeError) as error:
            found.remark(f"Not read on: {error}")


def _member_json(archive: zipfile.ZipFile, path: Path, name: str) -> Any:
    return parsed_config(contents(archive, name), f"The {name} in {path}")


def _read_h5(path: Path, found: Inspection) -> None:
    try:
        with h5py.File(path, "r") as file:
            attributes = {name: _attribute(file, name, found) for name in ("model_config", "training_config", *_FACTS)}
            root = file.get("model_weights", getlink=True) is not None
            listed = any(name in file.attrs for name in ("layer_names", "layer_names0"))
            found.kind = kinds.OLD_MODEL if attributes["model_config"] else kinds.WEIGHTS
            if found.kind == kinds.WEIGHTS and (root or listed):
                found.kind = kinds.OLD_WEIGHTS
            _take_facts(found, attributes)
            for name in ("model_config", "training_config"):
                if attributes[name]:
                    _describe(found, parsed_config(attributes[name], f"The {name} in {path}"), name)
            _list_arrays(file, path, found)
    except (OSError, RuntimeError, KeyError) as error:
        raise LaminaError(f"{path} cannot be read: it is damaged or cut short, or no HDF5 file ({error}).") from error
    except LaminaError as error:
        found.remark(f"Not read on: {error}")


def _attribute(file: h5py.File, name: str, found: Inspection) -> str:
    if name not in file.attrs:
        return ""
    size = h5py.h5a.open(file.id, name.encode()).get_storage_size()
    if size > CONFIG_LIMIT:
        found.remark(f"Its {name} has {size:,} bytes, more than any model's; it was not read.")
        return ""
    return text_of(file.attrs[name])


def _read_tensors(path: Path, found: Inspection) -> None:
    with opened_tensors(path) as (tensors, metadata):
        found.kind = kinds.TENSORS_MODEL if CONFIG in metadata else kinds.TENSORS
        for name, tensor in tensors.items():
            size = _count(tensor.shape) * tensor.dtype.itemsize
            found.weights.append(StoredArray(name, tensor.shape, str(tensor.dtype).removeprefix("torch."), size))
        described = metadata.get(CONFIG)
    found.facts.update({key: value for key, value in metadata.items() if key in _FACTS and len(value) < _WIDTH})
    if described is not None:
        _describe(found, parsed_config(described, f"The {CONFIG} in {path}"))


def _read_index(path: Path, found: Inspection) -> None:
    found.kind = kinds.SHARDED
    try:
        names = sorted(shard_names(path, described_index(path)))
    except UnsafeFileError as error:
        found.remark(f"Not read on: {error}")
        return
    for name in names:
        shard = path.with_name(name)
        if not shard.is_file():
            found.remark(f"{name} is not there: weights are missing.")
            continue
        part = Inspection(str(shard), kinds.HDF5, shard.stat().st_size)
        try:
            _read_h5(shard, part)
        except LaminaError as error:
            found.remark(error)
        found.members.append({"name": name, "bytes": part.bytes})
        found.weights += part.weights
        found.optimizer += part.optimizer
        found.remarks += part.remarks


# ------------------------------------------------------------------------------------------------------------- configs


def _take_facts(found: Inspection, values: Any) -> None:
    if isinstance(values, dict):
        found.facts |= {key: str(values[key])[:_WIDTH] for key in _FACTS if values.get(key)}


def _describe(found: Inspection, config: Any, name: str = "model_config") -> None:
    described = described_model(config)
    if name == "model_config":
        found.model, found.layers = described.title, described.layers
    found.compiled = described.compiled or found.compiled
    for remark in described.remarks:
        found.remark(remark)


# ---------------------------------------------------------------------------------------------------------------- HDF5


def _list_arrays(file: h5py.File, path: Path, found: Inspection) -> None:
    """Lists what HDF5's own tables declare. Links are named and never followed."""
    try:
        check_h5(file, path)
    except LaminaError as error:
        found.remark(error)
    waiting: list[tuple[str, Any]] = [("", file.id)]
    seen: set[Any] = set()
    while waiting and len(seen) < _OBJECTS:
        place, group = waiting.pop()
        inside = []
        for raw in group:
            name = f"{place}{raw.decode('utf8', 'replace')}"
            if group.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
                continue  # the remark names it
            opened = h5py.h5o.open(group, raw)
            key = h5py.h5o.get_info(opened).addr
            if key in seen:
                continue
            seen.add(key)
            if isinstance(opened, h5py.h5g.GroupID):
                inside.append((f"{name}/", opened))
            elif isinstance(opened, h5py.h5d.DatasetID):
                _note_array(name, opened, found)
        waiting += reversed(inside)


def _note_array(name: str, dataset: Any, found: Inspection) -> None:
    array = h5py.Dataset(dataset)
    kind = str(array.attrs["dtype"])[:20] if "dtype" in array.attrs else str(array.dtype)
    stored = StoredArray(name, tuple(array.shape or ()), kind, _count(array.shape or ()) * array.dtype.itemsize)
    of_optimizer = name.startswith(("optimizer/", "optimizer_weights/"))
    (found.optimizer if of_optimizer else found.weights).append(stored)


# ---------------------------------------------------------------------------------------------------------------- text


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _size(number: int) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1024 or unit == "GB":
            return f"{number} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024  # type: ignore[assignment]
    raise AssertionError


def _labelled(label: str, text: str) -> list[str]:
    start = f"{label:<14}"
    indent = " " * len(start)
    return textwrap.wrap(text, _WIDTH, initial_indent=start, subsequent_indent=indent, break_on_hyphens=False)


def _short(name: str, width: int) -> str:
    """The end of a long name, which tells more than its start."""
    return name if len(name) <= width else f"…{name[1 - width :]}"
