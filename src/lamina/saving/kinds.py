"""What a file is, told from its first bytes and its table of contents and not from its name."""

from __future__ import annotations

import json
from pathlib import Path

from lamina.base.errors import LaminaError
from lamina.saving.files import existing, opened_h5
from lamina.saving.guard import check_suffix
from lamina.saving.legacy_h5 import is_legacy
from lamina.saving.safetensors_files import opened_tensors
from lamina.saving.tensors import CONFIG

KERAS, OLD_MODEL = "model of Keras 3", "model in the .h5 format of Keras 1 and 2"
TENSORS_MODEL = "model in safetensors"
WEIGHTS, OLD_WEIGHTS = "weights of Keras 3", "weights in the .h5 format of Keras 1 and 2"
TENSORS = "tensors in safetensors"
SHARDED = "weights of Keras 3 in several files"
MODELS = (KERAS, OLD_MODEL, TENSORS_MODEL)  # the others hold weights alone
ZIP, HDF5, SAFETENSORS, INDEX = "zip", "HDF5", "safetensors", "index"

_PICKLE = b"\x80"
_HEADER_LIMIT = 100_000_000  # bytes, safetensors' own limit


def format_of(path: str | Path) -> str:
    """The format of a file by its first bytes: `ZIP`, `HDF5`, `SAFETENSORS` or `INDEX`.

    Errors: a missing file is a FileNotFoundError, and what is no model file a LaminaError that says what it may be.
    """
    if Path(path).is_dir():
        raise LaminaError(f"{path} is a folder, not a model file. A TensorFlow SavedModel is not read; save as .keras.")
    found = existing(path, "model")
    check_suffix(found)
    with found.open("rb") as file:
        start = file.read(9)
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return HDF5
    if start.startswith(b"PK"):
        return ZIP
    if found.name.endswith(".weights.json"):
        return INDEX
    length = int.from_bytes(start[:8], "little")
    if start[8:] == b"{" and 0 < length <= min(found.stat().st_size - 8, _HEADER_LIMIT):
        return SAFETENSORS
    raise LaminaError(f"{path} is no model file{_guess(found, start)}.")


def kind_of(path: str | Path) -> str:
    """What a file is: one of `MODELS`, or one of the kinds that hold weights alone. Errors: those of `format_of`."""
    found = format_of(path)
    if found == HDF5:
        return _kind_of_h5(Path(path))
    if found == SAFETENSORS:
        with opened_tensors(Path(path)) as (_, metadata):
            return TENSORS_MODEL if CONFIG in metadata else TENSORS
    return KERAS if found == ZIP else SHARDED


def _kind_of_h5(path: Path) -> str:
    with opened_h5(path) as file:
        if "model_config" in file.attrs:
            return OLD_MODEL
        return OLD_WEIGHTS if is_legacy(file) else WEIGHTS


def _guess(path: Path, start: bytes) -> str:
    if not start:
        return ": it is empty"
    if start.startswith(_PICKLE):
        return ": it is a pickle, which runs code when it is read; lamina does not open it"
    if path.suffix.lower() in (".h5", ".hdf5", ".keras", ".safetensors"):
        return ", or it is damaged or cut short: its first bytes are those of no format that lamina reads"
    if start.lstrip()[:1] in (b"{", b"["):
        try:
            json.loads(path.read_bytes()[: 1 << 24])
        except (ValueError, RecursionError):
            return ""
        return ": it is JSON; an architecture alone is read by lamina.models.model_from_json()"
    return ": lamina reads .keras, .h5, .hdf5, .safetensors and .weights.json"
