"""Files held against what a model file may be, by their tables of contents: before anything is unpacked or read."""

from __future__ import annotations

import json
import math
import mmap
import stat
import traceback
import zipfile
from pathlib import Path
from typing import Any

import h5py

from lamina.base.errors import LaminaError, UnsafeFileError
from lamina.base.trust import CONTAINER_LIMIT, check_config, is_plain_name
from lamina.engine.budget import in_words, memory_limit

CONFIG_LIMIT = 32 * 2**20  # bytes of a description in JSON
ENTRY_LIMIT = 65_536  # tensors of a safetensors file, members of a zip
OBJECT_LIMIT = 1_000_000  # groups and datasets of an HDF5 file
ATTRIBUTE_LIMIT = CONFIG_LIMIT  # bytes of one attribute of an HDF5 file
RATIO_LIMIT = 100  # how many times its own size a member of a zip may unpack to; weights hardly shrink
_SMALL = 2**20  # bytes that may be repeated ever so often
_DEFLATE = 1_100  # times is the most that deflate can shrink

_FILTERS = (1, 2, 3, 4, 5, 6, 32_000)  # those that HDF5 and h5py bring: any other would be loaded as a plug-in
# Truth values are an enumeration, complex numbers were pairs before HDF5 had them, and bfloat16 is two bytes.
_NUMBERS = {h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM, h5py.h5t.COMPOUND, h5py.h5t.OPAQUE}
_NUMBERS |= {getattr(h5py.h5t, "COMPLEX", h5py.h5t.COMPOUND)}
_HEAP = b"GCOL\x01\0\0\0"  # the first bytes of a global heap of HDF5
_PICKLES = (".npz", ".npy", ".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib")


def check_suffix(path: Path) -> None:
    """Errors: an UnsafeFileError for formats that may hold pickles."""
    if path.suffix.lower() in _PICKLES:
        raise UnsafeFileError(
            f"{path} is of a format that may hold pickles, which run code when they are read; lamina does not open it. "
            f"Read it with the program that wrote it, and save the weights as .safetensors."
        )


def parsed_config(content: bytes | str, source: str) -> Any:
    """The description in a file, within the limits of `trust.check_config`. `source` is what messages call it.

    Errors: a LaminaError where it is no JSON; an UnsafeFileError where it is longer or deeper than any model's.
    """
    text = content.encode() if isinstance(content, str) else content
    if len(text) > CONFIG_LIMIT or text.count(b"[") + text.count(b"{") > CONTAINER_LIMIT:
        raise UnsafeFileError(f"{source} has {len(text):,} bytes and more parts than any description of a model.")
    try:
        config = json.loads(text)
    except RecursionError as error:
        raise UnsafeFileError(f"{source} is nested more deeply than any model.") from error
    except ValueError as error:
        raise LaminaError(f"{source} is damaged: it is no JSON ({error}).") from error
    check_config(config)
    return config


# ---------------------------------------------------------------------------------------------------------------- zip


def check_zip(archive: zipfile.ZipFile, path: Path) -> None:
    """Holds the table of contents of a zip against what a `.keras` file may have. Errors: an UnsafeFileError."""
    members = archive.infolist()
    if len(members) > ENTRY_LIMIT:
        raise UnsafeFileError(f"{path} has {len(members):,} members; at most {ENTRY_LIMIT:,} are read.")
    size, limit = sum(member.file_size for member in members), memory_limit()
    if size > limit + _SMALL:
        raise UnsafeFileError(
            f"{path} was not opened: it unpacks to {in_words(size)}, and the limit is {in_words(limit)}. For a file "
            f"that you trust, give load_model(memory_limit=) in bytes."
        )
    seen: set[str] = set()
    end = 0
    for member in sorted(members, key=lambda one: one.header_offset):
        problem = _problem_of(member) or ("which is there twice" if member.filename in seen else None)
        if problem is None and member.header_offset < end:
            problem = "which lies on top of another one"
        if problem is not None:
            raise UnsafeFileError(f"{path} was not opened: it has the member {member.filename!r}, {problem}.")
        seen.add(member.filename)
        end = member.header_offset + 30 + member.compress_size
    if not any(name.endswith("model.weights.h5") for name in seen):
        for name in seen:
            check_suffix(path / name)


def contents(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member of a checked zip, unpacked to no more than it declares: `archive.read` unpacks first and counts then."""
    info = archive.getinfo(name)
    with archive.open(info) as member:
        return member.read(info.file_size)


def _problem_of(member: zipfile.ZipInfo) -> str | None:
    kind = member.external_attr >> 16
    if not is_plain_name(member.filename) or member.filename != member.orig_filename:
        return "whose name leads out of the file's folder"
    if stat.S_IFMT(kind) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "which is a link or a device"
    if member.flag_bits & 0x1:
        return "which is encrypted"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "compressed in a way that Keras does not use"
    if member.compress_type == zipfile.ZIP_STORED and member.file_size != member.compress_size:
        return "whose two lengths differ"
    if member.file_size > _SMALL + RATIO_LIMIT * member.compress_size:
        return f"which would unpack {member.compress_size:,} bytes to {member.file_size:,}"
    if member.filename.endswith(".json") and member.file_size > CONFIG_LIMIT:
        return f"a description of {member.file_size:,} bytes, longer than any model's"
    return None


# --------------------------------------------------------------------------------------------------------------- HDF5


def check_heaps(content: bytes | mmap.mmap, path: Path) -> None:
    """Walks the global heaps, where HDF5 keeps texts of open length: in one that is damaged HDF5 itself never comes to
    an end. Errors: a LaminaError. See "Disk Format: Level 1E" of the HDF5 File Format Specification."""
    place = content.find(_HEAP)
    while place >= 0:
        size = int.from_bytes(content[place + 8 : place + 16], "little")
        position, end = place + 16, place + size
        if size < 16 or end > len(content):
            raise LaminaError(f"{path} is damaged: a heap of texts in it ends beyond the file.")
        while position + 16 <= end:
            number = int.from_bytes(content[position : position + 2], "little")
            length = int.from_bytes(content[position + 8 : position + 16], "little")
            position += length if number == 0 else 16 + -(-length // 8) * 8  # 0 is what is free, up to the end
            if position > end or (number == 0 and position != end):
                raise LaminaError(f"{path} is damaged: the texts in it do not fit into their heap.")
        place = content.find(_HEAP, place + 16)


def check_heaps_of(path: Path) -> None:
    """`check_heaps` for the content of a file."""
    with path.open("rb") as raw, mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as content:
        check_heaps(content, path)


def raised_by_h5py(error: BaseException) -> bool:
    """Whether an error began in h5py, which has none of its own for damage: RuntimeError, KeyError, ValueError, …"""
    frames = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    return not isinstance(error, LaminaError) and bool(frames) and "h5py" in Path(frames[-1]).parts


def check_h5(file: h5py.File, path: Path, heaps: bool = True) -> None:
    """Errors: those of `check_heaps` and `_check_objects`; a LaminaError where HDF5 cannot make out what is there."""
    try:
        if heaps:
            check_heaps_of(path)
        _check_objects(file, path)
    except (LaminaError, OSError):
        raise
    except Exception as error:  # h5py has no error of its own for damage
        raise LaminaError(f"{path} is damaged: HDF5 cannot read what is in it ({error}).") from error


def _check_objects(file: h5py.File, path: Path) -> None:
    """Holds every link, dataset and attribute of an HDF5 file against what weights need, without following any link.

    Errors: an UnsafeFileError for links, storage outside the file, filters that would be loaded, and sizes that the
    file does not hold.
    """
    seen: set[Any] = set()
    limit = memory_limit()
    waiting: list[tuple[str, h5py.Group]] = [("", file)]
    while waiting:
        place, group = waiting.pop()
        _check_attributes(group, place, path)
        for raw in group.id:
            name = f"{place}/{raw.decode('utf8')}"
            if group.id.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
                raise _refused(path, name, "is a link to another place")
            found = h5py.h5o.open(group.id, raw)
            if isinstance(found, h5py.h5t.TypeID):
                raise _refused(path, name, "is a named type, which no weights have")
            key = h5py.h5o.get_info(found).addr
            if key in seen or found == file.id:
                raise _refused(path, name, "is in the file under two names")
            seen.add(key)
            if len(seen) > OBJECT_LIMIT:
                raise UnsafeFileError(f"{path} was not read: it has more than {OBJECT_LIMIT:,} groups and arrays.")
            if isinstance(found, h5py.h5g.GroupID):
                waiting.append((name, h5py.Group(found)))
            else:
                dataset = h5py.Dataset(found)
                problem = _dataset_problem(found, limit)
                if problem is not None:
                    raise _refused(path, name, problem)
                _check_attributes(dataset, name, path)


def _refused(path: Path, name: str, problem: str) -> UnsafeFileError:
    return UnsafeFileError(f"{path} was not read: {name!r} in it {problem}.")


def _dataset_problem(dataset: Any, limit: int) -> str | None:
    plan = dataset.get_create_plist()
    if plan.get_external_count():
        return "keeps its numbers in another file"
    layout = plan.get_layout()
    if layout == h5py.h5d.VIRTUAL:
        return "is put together from other files"
    kind = dataset.get_type()
    if kind.get_class() not in _NUMBERS:
        return "holds no numbers"
    size = math.prod(dataset.shape) * kind.get_size()
    held = dataset.get_storage_size()
    number = plan.get_nfilters()
    filters = [plan.get_filter(index)[0] for index in range(number)]
    if not set(filters) <= set(_FILTERS):
        return f"is packed by the filters {filters}, of which some are none of HDF5's own"
    if size > held * (_DEFLATE if filters else 1):
        return f"declares {in_words(size)}, and the file holds {in_words(held)} of them"
    if size > limit:
        return f"takes {in_words(size)}, and the limit is {in_words(limit)}"
    if layout == h5py.h5d.CHUNKED and math.prod(plan.get_chunk()) * kind.get_size() > max(_SMALL, size):
        return "is stored in pieces larger than itself"
    return None


def _check_attributes(thing: Any, place: str, path: Path) -> None:
    number = h5py.h5a.get_num_attrs(thing.id)
    if number > ENTRY_LIMIT:
        raise _refused(path, place or "/", f"has {number:,} attributes")
    for index in range(number):
        attribute = h5py.h5a.open(thing.id, index=index)
        if math.prod(attribute.shape) == 0:  # an empty list of names, whose length HDF5 cannot say
            continue
        if attribute.get_storage_size() > ATTRIBUTE_LIMIT or math.prod(attribute.shape) > CONTAINER_LIMIT:
            raise _refused(path, place or "/", f"has an attribute of {attribute.get_storage_size():,} bytes")
        if attribute.get_type().get_class() in (h5py.h5t.REFERENCE, h5py.h5t.VLEN):
            raise _refused(path, place or "/", "has an attribute that refers to other places")
