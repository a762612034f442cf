"""Files that are whole or not there, and clear words for files that are damaged."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import h5py

from lamina.base.errors import LaminaError
from lamina.saving.guard import check_h5, check_zip, raised_by_h5py
from lamina.saving.sections import h5_member

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

WEIGHTS = "model.weights.h5"  # the weights' name in a .keras file
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PREFIX_LENGTH = 50  # of a file's name in that of its temporary file, which has to stay short enough


@contextmanager
def written_whole(path: str | os.PathLike[str], overwrite: bool = True) -> Iterator[BinaryIO]:
    """A new file, open for writing and reading, that takes the place of `path` when the block ends well.

    It lies beside `path` as `.NAME.XXXXXXXX.part`. When the block ends in an error it vanishes; when the process is
    killed it stays, and the next writing of the same name removes it. What stands at `path` is the old file or the
    whole new one at any time, also after a power cut: the bytes reach the disk before the name does.

    Errors, before anything is written: an existing file with `overwrite=False`, one that may not be written, a folder
    of that name, a missing folder. A full disk is an OSError that says that the old file is whole.
    """
    target = Path(os.path.realpath(path))  # a link stays a link, to the new file
    _check_target(target, overwrite)
    _remove_leftovers(target)
    part, file = _new_part(target)
    try:
        yield file
        file.flush()
        if target.exists():
            os.chmod(part, stat.S_IMODE(target.stat().st_mode))
        os.fsync(file.fileno())
        if fcntl is None:  # Windows renames no open file
            file.close()
        os.replace(part, target)
        _sync_folder(target.parent)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise OSError(
            error.errno,
            f"{os.strerror(error.errno)}: {target} was not written, and what stood there before is as it was. Make "
            f"room, or save to another disk",
        ) from error
    finally:
        with suppress(OSError):  # it writes what is left, and has failed to do so before
            file.close()
        part.unlink(missing_ok=True)


def _check_target(target: Path, overwrite: bool) -> None:
    if target.exists():
        if not overwrite:
            raise FileExistsError(f"{target} exists already and overwrite=False.")
        if not target.is_file():
            raise OSError(f"{target} is no file, so nothing can be saved under this name.")
        if not os.access(target, os.W_OK):
            raise PermissionError(f"{target} may not be written: its permissions protect it.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"The folder {target.parent} does not exist, so {target.name} cannot be written there.")


def _prefix(target: Path) -> str:
    return f".{target.name[:_PREFIX_LENGTH]}."


def _new_part(target: Path) -> tuple[Path, BinaryIO]:
    """A new file beside the target, locked while it is open, so that others see that it is being written."""
    while True:
        part = target.with_name(f"{_prefix(target)}{secrets.token_hex(4)}.part")
        file = open(part, "x+b")  # noqa: SIM115  # written_whole closes it
        if fcntl is None:
            return part, file
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if part.exists():
                return part, file
        except BlockingIOError:  # another process took it for a leftover before it was locked
            pass
        except OSError:  # a file system without locks: there leftovers stay
            return part, file
        file.close()


def _remove_leftovers(target: Path) -> None:
    """Removes what killed processes left of writing this file. What another process is writing is locked and stays."""
    if fcntl is None:
        return
    wanted = re.compile(re.escape(_prefix(target)) + r"[0-9a-f]{8}\.part")
    for leftover in target.parent.iterdir():
        if wanted.fullmatch(leftover.name):
            with suppress(OSError), open(leftover, "rb+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()


def _sync_folder(folder: Path) -> None:
    """Makes a renaming last. Not every system lets a folder be opened; there it is up to the system."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def existing(path: Any, what: str) -> Path:
    """The path of a file that is there. Errors: a FileNotFoundError that names it."""
    found = Path(os.fspath(path))
    if not found.is_file():
        raise FileNotFoundError(f"There is no {what} file {found}.")
    return found


def only_weights(path: Path) -> LaminaError:
    """The error of a file that was to be a model and describes none."""
    return LaminaError(
        f"{path} holds no model, at most its weights: build the model and call model.load_weights({path.name!r}), or "
        f"save the whole model as .keras."
    )


@contextmanager
def opened_h5(path: Path, archive: zipfile.ZipFile | None = None) -> Iterator[h5py.File]:
    """An HDF5 file for reading: the one at `path`, or the weights that lie in the archive there.

    Errors: a LaminaError that names the file when HDF5 cannot read it.
    """
    try:
        with h5py.File(path, "r") if archive is None else h5_member(archive, WEIGHTS) as file:
            check_h5(file, path, heaps=archive is None)  # a member's were looked at
            yield file
    except Exception as error:
        if not (isinstance(error, OSError) or raised_by_h5py(error)):
            raise
        raise LaminaError(f"{path} cannot be read: it is damaged or cut short, or no HDF5 file ({error}).") from error


@contextmanager
def opened_archive(path: Path, *needed: str) -> Iterator[zipfile.ZipFile]:
    """A zip file for reading. Errors: a LaminaError that names the file: no zip, damaged, or without a member."""
    try:
        with zipfile.ZipFile(path) as archive:
            check_zip(archive, path)
            missing = [name for name in needed if name not in archive.namelist()]
            if missing:
                raise LaminaError(f"{path} is no .keras file: it has no {' and no '.join(missing)}.")
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise LaminaError(
            f"{path} is no .keras file, or it is damaged or cut short ({error}). Weights alone (.weights.h5, .h5, "
            f".safetensors) are read by model.load_weights()."
        ) from error
