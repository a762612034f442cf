"""Downloads with a hash, kept in a cache that Keras shares."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import tarfile
import urllib.parse
import zipfile
from pathlib import Path
from typing import Any

from lamina.base.errors import LaminaError

# Seconds to wait for a connection and for each read: without a network the error comes at once, not after minutes.
TIMEOUT = (5, 30)


class DownloadError(LaminaError, OSError):
    """A file could not be fetched, or what came is not what its hash promises."""


DownloadError.__module__ = "lamina"


def cache_directory() -> Path:
    """`LAMINA_HOME`, else `KERAS_HOME`, else `~/.keras`, so that files which Keras fetched are found."""
    chosen = os.environ.get("LAMINA_HOME") or os.environ.get("KERAS_HOME")
    return Path(chosen).expanduser() if chosen else Path.home() / ".keras"


def get_file(
    fname: str | None = None,
    origin: str | None = None,
    untar: bool = False,
    md5_hash: str | None = None,
    file_hash: str | None = None,
    cache_subdir: str = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: str | None = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
) -> str:
    """The path of a file that is fetched once and then found in the cache, `cache_dir/cache_subdir/fname`.

    Parameters: `fname`, the name in the cache, by default the last part of `origin`; `origin`, the address;
    `file_hash` (with `hash_algorithm` `"sha256"`, `"md5"` or `"auto"`, by its length) or `md5_hash`; `extract` (or
    `untar`), to unpack a tar or zip archive into `<name>_extracted` beside it, whose path is then returned;
    `archive_format`, `"auto"`, `"tar"`, `"zip"`, a list of those, or None; `cache_dir`, by default `cache_directory()`;
    `force_download`, to fetch a file that is there.

    A file appears under its name only when it is complete and its hash is right. A file in the cache with another hash is
    fetched anew.

    Errors: `DownloadError` (an OSError) without network, for a refused address, and for a wrong hash: it says the
    address and where to put the file by hand. ValueError for arguments that make no sense.
    """
    if not origin:
        raise ValueError("get_file needs origin, the address to fetch from.")
    name = os.fspath(fname) if fname else os.path.basename(urllib.parse.urlparse(origin).path)
    if not name:
        raise ValueError(f"The address {origin!r} ends in no file name; pass fname.")
    if file_hash is None and md5_hash is not None:
        file_hash, hash_algorithm = md5_hash, "md5"
    folder = _usable_folder(Path(cache_dir).expanduser() if cache_dir else cache_directory()) / cache_subdir
    target = folder / name
    if not folder.resolve() in target.resolve().parents:
        raise ValueError(f"fname={name!r} leads out of the cache folder.")
    algorithm = None if file_hash is None else _algorithm(hash_algorithm, file_hash)
    present = target.is_file() and not force_download
    if not (present and (file_hash is None or hash_of(target, algorithm) == file_hash.lower())):  # type: ignore[arg-type]
        _fetch(origin, target, None if file_hash is None else f"{algorithm}:{file_hash.lower()}")
    if not (extract or untar):
        return str(target)
    return str(_extracted(target, ("tar",) if untar and not extract else _formats(archive_format), force_download))
