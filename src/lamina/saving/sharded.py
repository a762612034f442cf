"""`.weights.json`: weights in several HDF5 files of bounded size, and an index that says which file holds what."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from lamina.base.errors import LaminaError, UnsafeFileError
from lamina.saving.files import existing, opened_h5, written_whole
from lamina.saving.guard import CONFIG_LIMIT, parsed_config
from lamina.saving.h5_arrays import names_of_arrays
from lamina.saving.sections import Section, new_h5

_ENDING = ".weights.json"
_GIGABYTE = 1024**3
_USUAL_SIZE = 5.0  # gigabytes


def index_path(path: str) -> Path:
    """The index that a name given to `save_weights` with `max_shard_size` stands for: `m.weights.json`."""
    return Path(path.removesuffix(".weights.h5") + _ENDING if path.endswith(".weights.h5") else path)


def is_index(path: Path) -> bool:
    return path.name.endswith(_ENDING)


# ------------------------------------------------------------------------------------------------------------- writing


class ShardWriter:
    """What `write_h5` writes into, in place of one HDF5 file: a new shard begins where a weight would not fit.

    Parameters: `index`, the index's path, from which the shards' names follow; `limit`, bytes of weights a shard;
    `stack`, which replaces the old files when it is closed without an error.
    """

    def __init__(self, index: Path, limit: float, overwrite: bool, stack: ExitStack):
        self._index, self._limit, self._overwrite, self._stack = index, limit, overwrite, stack
        self._held: list[tuple[str, BinaryIO]] = []
        self._current: ExitStack | None = None
        self._file: Any = None
        self._used = 0
        self.total = 0
        self.places: dict[str, list[str]] = {}
        self._begin()

    def require_group(self, path: str) -> _Store:
        return _Store(self, path)

    def _begin(self) -> None:
        self._end()
        path = self._index.with_name(shard_name(self._index, len(self._held)))
        file = self._stack.enter_context(written_whole(path, self._overwrite))
        self._held.append((path.name, file))
        self._current = ExitStack()
        self._file = self._current.enter_context(new_h5(file))
        self._used = 0

    def _end(self) -> None:
        if self._current is not None:
            self._current.close()
            self._current = None

    def group_for(self, path: str, size: int, name: str) -> Any:
        """The group in the shard that has room for a weight of so many bytes."""
        if size > self._limit:
            needed = size / _GIGABYTE
            raise ValueError(
                f"The weight {name} of {path.removesuffix('/vars') or 'the model'} has {size:,} bytes, more than a "
                f"shard may hold; max_shard_size={needed:.2g} (gigabytes) or more makes room for it."
            )
        if self._used and self._used + size > self._limit:
            self._begin()
        group = self._file.require_group(path)
        self._used += size
        self.total += size
        shards = self.places.setdefault("/" + path.strip("/"), [])
        if self._held[-1][0] not in shards:
            shards.append(self._held[-1][0])
        return group

    def close(self, index: BinaryIO) -> None:
        """Ends the last shard and writes the index."""
        self._end()
        sums = {name: Section(file, 0, file.seek(0, 2)).checksum() for name, file in self._held}
        described = {"metadata": {"total_size": float(self.total), "crc32": sums}, "weight_map": self.places}
        index.write(json.dumps(described, indent=4).encode("utf-8"))

    def discard(self) -> None:
        self._end()


class _Store:
    """The weights of one layer, on the way into a shard, or into several."""

    def __init__(self, writer: ShardWriter, path: str):
        self._writer, self._path = writer, path
        self._entries: dict[str, Any] = {}
        self.attrs: dict[str, Any] = {}

    def __setitem__(self, key: str, value: Any) -> None:
        value = np.asarray(value)
        group = self._writer.group_for(self._path, value.nbytes, key)
        group.attrs.update(self.attrs)
        group[key] = value
        self._entries[key] = group[key]

    def __getitem__(self, key: str) -> Any:
        return self._entries[key]

    def keys(self) -> Any:
        return self._entries.keys()


def shard_name(index: Path, number: int) -> str:
    """
    >>> shard_name(Path("m.weights.json"), 3)
    'm_00003.weights.h5'
    """
    return f"{index.name.removesuffix(_ENDING)}_{number:05d}.weights.h5"


@contextmanager
def new_shards(path: str, max_shard_size: float | None, overwrite: bool) -> Iterator[ShardWriter]:
    """New shards and their index, which take the place of old ones when the block ends well, the index last.

    `max_shard_size` is in gigabytes, 5 if it is None. Errors: a weight that is larger is a ValueError.
    """
    limit = _USUAL_SIZE if max_shard_size is None else max_shard_size
    if not limit > 0:
        raise ValueError(f"max_shard_size is a number of gigabytes above 0; got {max_shard_size!r}.")
    index = index_path(path)
    before = _shards_before(index)
    with ExitStack() as stack:
        index_file = stack.enter_context(written_whole(index, overwrite))
        writer = ShardWriter(index, limit * _GIGABYTE, overwrite, stack)
        try:
            yield writer
            writer.close(index_file)
        finally:
            writer.discard()
        used = {name for name, _ in writer._held}
    for name in before - used:
        index.with_name(name).unlink(missing_ok=True)


def _shards_before(index: Path) -> set[str]:
    """The shards of an index that stands where the new one will; those of a damaged one stay."""
    if not index.is_file():
        return set()
    try:
        names = shard_names(index, described_index(index))
    except LaminaError:
        return set()
    own = re.compile(re.escape(index.name.removesuffix(_ENDING)) + r"_\d{5}\.weights\.h5")
    return {name for name in names if own.fullmatch(name)}


# ------------------------------------------------------------------------------------------------------------- reading


class Shards:
    """The open shards as one file: `get` and `visititems` as those of an `h5py.File`."""

    def __init__(self, path: Path, files: list[h5py.File]):
        self._path, self._files = path, files
        self.attrs: dict[str, Any] = {}

    def get(self, path: str, default: Any = None) -> Any:
        """The weights of a group by name, from all shards. Errors: a LaminaError when two shards hold the same."""
        found: dict[str, Any] = {}
        present = False
        for file in self._files:
            group = file.get(path)
            if not isinstance(group, h5py.Group):
                continue
            present = True
            twice = sorted(found.keys() & group.keys())
            if twice:
                raise LaminaError(f"{self._path} is damaged: two of its shards hold {path}/{twice[0]}.")
            found.update(group.items())
        return found if present else default

    def __contains__(self, path: str) -> bool:
        return any(path in file for file in self._files)

    def names_of_arrays(self) -> list[str]:
        """The paths of all arrays. Errors: a LaminaError when two shards hold the same one."""
        names = [name for file in self._files for name in names_of_arrays(file)]
        twice = next((name for name, count in Counter(names).items() if count > 1), None)
        if twice is not None:
            raise LaminaError(f"{self._path} is damaged: two of its shards hold {twice}.")
        return names

    def visititems(self, visit: Callable[[str, Any], Any]) -> None:
        """As in `h5py`, through all shards. Errors: those of `names_of_arrays`."""
        self.names_of_arrays()
        for file in self._files:
            file.visititems(visit)


@contextmanager
def opened_shards(path: Path) -> Iterator[Shards]:
    """The shards of an index, open for reading.

    Errors: a LaminaError for an index that is none, a missing shard, or one of another saving (lamina's indices hold
    their checksums); an UnsafeFileError for one that names files outside its folder.
    """
    described = described_index(path)
    names = sorted(shard_names(path, described))
    sums = described.get("metadata", {}).get("crc32", {})
    with ExitStack() as stack:
        files = []
        for name in names:
            shard = existing(path.with_name(name), "shard")
            _compare(shard, sums.get(name), path)
            files.append(stack.enter_context(opened_h5(shard)))
        yield Shards(path, files)


def _compare(shard: Path, expected: Any, index: Path) -> None:
    if expected is None:  # Keras writes none
        return
    with open(shard, "rb") as file:
        found = Section(file, 0, shard.stat().st_size).checksum()
    if found != expected:
        raise LaminaError(
            f"{shard} is damaged, or not of the same saving as {index.name}: its checksum is another. Save the weights "
            f"again."
        )


def described_index(path: Path) -> dict[str, Any]:
    """The index, held against the limits of any description. Errors: those of `guard.parsed_config`; a LaminaError for
    JSON that is no index."""
    if path.stat().st_size > CONFIG_LIMIT:
        raise UnsafeFileError(f"{path} has {path.stat().st_size:,} bytes; an index of shards is smaller.")
    described = parsed_config(path.read_bytes(), str(path))
    if not isinstance(described, dict) or not isinstance(described.get("weight_map"), dict):
        raise LaminaError(f"{path} is no index of shards: it has no weight_map.")
    metadata = described.get("metadata", {})
    if not isinstance(metadata, dict) or not isinstance(metadata.get("crc32", {}), dict):
        raise LaminaError(f"{path} is no index of shards: its metadata is none.")
    return described


def shard_names(path: Path, described: dict[str, Any]) -> set[str]:
    """The files that an index names. Errors: an UnsafeFileError for names that are no file's beside the index."""
    names = set()
    for value in described["weight_map"].values():
        for name in [value] if isinstance(value, str) else value if isinstance(value, list) else [None]:
            if not isinstance(name, str):
                raise LaminaError(f"{path} is no index of shards: it names {name!r:.50} where a file's name belongs.")
            if re.fullmatch(r"[^/\\:\0]+\.weights\.h5", name) is None or name.startswith(".."):
                raise UnsafeFileError(f"{path} names {name!r:.100} as a shard; shards lie beside their index.")
            names.add(name)
    return names
