"""Files that are whole or not there, and clear words for files that are damaged."""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py

from lamina.base.errors import LaminaError


@contextmanager
def written_whole(path: str | os.PathLike[str], overwrite: bool = True) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well, and vanishes otherwise.

    Errors: an existing file with `overwrite=False`, or a missing folder, before anything is written.
    """
    target = Path(path)
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists already and overwrite=False.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"The folder {target.parent} does not exist, so {target.name} cannot be written there.")
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        os.chmod(part, 0o666 & ~_umask())
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def existing(path: Any, what: str) -> Path:
    """The path of a file that is there. Errors: a FileNotFoundError that names it."""
    found = Path(os.fspath(path))
    if not found.is_file():
        raise FileNotFoundError(f"There is no {what} file {found}.")
    return found


@contextmanager
def opened_h5(path: Path, content: bytes | None = None) -> Iterator[h5py.File]:
    """An HDF5 file for reading: the one at `path`, or the bytes that lay inside it.

    Errors: a LaminaError that names the file when HDF5 cannot read it.
    """
    try:
        with h5py.File(path if content is None else BytesIO(content), "r") as file:
            yield file
    except OSError as error:
        raise LaminaError(f"{path} cannot be read: it is damaged or cut short, or no HDF5 file ({error}).") from error


def archive_members(path: Path, *names: str) -> list[bytes]:
    """The members of a zip file. Errors: a LaminaError that names the file: no zip, damaged, or without a member."""
    try:
        with zipfile.ZipFile(path) as archive:
            missing = [name for name in names if name not in archive.namelist()]
            if missing:
                raise LaminaError(f"{path} is no .keras file: it has no {' and no '.join(missing)}.")
            return [archive.read(name) for name in names]
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise LaminaError(
            f"{path} is no .keras file, or it is damaged or cut short ({error}). Weights alone (.weights.h5, .h5, "
            f".safetensors) are read by model.load_weights()."
        ) from error
