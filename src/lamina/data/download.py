"""Downloads with a hash, kept in a cache that Keras shares."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
import urllib.parse
import urllib.request
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
    archive_format: str | list[str] | None = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
) -> str:
    """The path of a file that is fetched once and then found in the cache, `cache_dir/cache_subdir/fname`.

    Parameters: `fname`, the name in the cache, by default the last part of `origin`; `origin`, the address;
    `file_hash` (with `hash_algorithm` `"sha256"`, `"md5"` or `"auto"`, by its length) or `md5_hash`; `extract` (or
    `untar`), to unpack a tar or zip archive and return the folder's path: `x_extracted` for x.tar.gz, else
    `fname`; `archive_format`, `"auto"`, `"tar"`, `"zip"` or a list of those; `cache_dir`, by default
    `cache_directory()`; `force_download`, to fetch a file that is there.

    A file appears under its name only when it is complete and its hash is right. A file in the cache with another hash
    is fetched anew.

    Errors: `DownloadError` (an OSError) without network, for a refused address, and for a wrong hash: it says the
    address and where to put the file by hand. ValueError for arguments that make no sense.

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "words.txt").write_text("shape")
    >>> path = get_file(origin=(folder / "words.txt").as_uri(), cache_dir=folder / "cache")
    >>> pathlib.Path(path).relative_to(folder).as_posix()
    'cache/datasets/words.txt'
    """
    if not origin:
        raise ValueError("get_file needs origin, the address to fetch from.")
    name = os.fspath(fname) if fname else os.path.basename(urllib.parse.urlparse(origin).path)
    if not name:
        raise ValueError(f"The address {origin!r} ends in no file name; pass fname.")
    folder = (Path(cache_dir).expanduser() if cache_dir else cache_directory()) / cache_subdir
    if folder.resolve() not in (folder / name).resolve().parents:
        raise ValueError(f"fname={name!r} leads out of the cache folder; name the folder with cache_dir.")
    if file_hash is None and md5_hash is not None:
        file_hash, hash_algorithm = md5_hash, "md5"
    algorithm = "" if file_hash is None else _algorithm(hash_algorithm, file_hash)
    unpack = extract or untar
    # As in Keras: x.tar.gz unpacks to x_extracted; any other name is that of the folder, beside x_archive.
    is_tar_name = name.endswith((".tar.gz", ".tar.bz2", ".tar.xz"))
    archive = folder / (name if is_tar_name or not unpack else f"{name}_archive")
    fetched = False
    if force_download or not archive.is_file() or (file_hash and hash_of(archive, algorithm) != file_hash.lower()):
        _fetch(origin, archive, f"{algorithm}:{file_hash.lower()}" if file_hash else None)
        fetched = True
    if not unpack:
        return str(archive)
    unpacked = folder / (f"{name.rsplit('.tar.', 1)[0]}_extracted" if is_tar_name else name)
    if fetched or not unpacked.is_dir():
        _extract(archive, unpacked, "tar" if untar and not extract else archive_format)
    return str(unpacked)


def _algorithm(chosen: str, file_hash: str) -> str:
    if chosen == "auto":
        chosen = "sha256" if len(file_hash) == 64 else "md5"
    length = {"sha256": 64, "md5": 32}.get(chosen)
    if length is None:
        raise ValueError(f"hash_algorithm is 'auto', 'sha256' or 'md5'; got {chosen!r}.")
    if len(file_hash) != length:
        raise ValueError(f"A {chosen} hash has {length} digits; got {len(file_hash)}: {file_hash!r}.")
    return chosen


def hash_of(path: str | os.PathLike[str], algorithm: str = "sha256") -> str:
    """The hexadecimal hash of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _fetch(origin: str, target: Path, known_hash: str | None) -> None:
    """Fetches to a name of its own beside the target and moves it there when it is whole and right."""
    import pooch  # here, because it brings `requests` and most sessions fetch nothing

    by_hand = f"Fetch it by other means and put it at {target}"
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    logger = pooch.get_logger()
    level = logger.level
    try:
        logger.setLevel("WARNING")
        print(f"Downloading {origin} to {target}", file=sys.stderr)
        target.parent.mkdir(parents=True, exist_ok=True)
        is_local = urllib.parse.urlparse(origin).scheme == "file"
        downloader = _copy_local if is_local else pooch.HTTPDownloader(timeout=TIMEOUT)
        pooch.retrieve(origin, known_hash, fname=part.name, path=part.parent, downloader=downloader)
        os.replace(part, target)
    except OSError as error:  # requests' errors are OSErrors, as are those of the disk
        raise DownloadError(f"{origin} could not be fetched to {target}: {error}. {by_hand}.") from error
    except ValueError as error:  # pooch's word for a wrong hash
        raise DownloadError(
            f"{origin} does not have the {known_hash} that is expected: what came is damaged or another file. "
            f"It was not kept. {by_hand}, or correct the hash."
        ) from error
    finally:
        logger.setLevel(level)
        part.unlink(missing_ok=True)


def _copy_local(url: str, output_file: str, _pooch: Any) -> None:
    shutil.copyfile(urllib.request.url2pathname(urllib.parse.urlparse(url).path), output_file)


def _refuse_outside(tar: tarfile.TarFile) -> None:
    """Errors: a TarError for a member that is no plain file or folder, or would land outside the folder. Python checks
    this itself from 3.11.4 on."""
    for member in tar.getmembers():
        path = Path(member.name)
        if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"The archive holds {member.name!r}, which must not be unpacked.")


def _extract(archive: Path, folder: Path, archive_format: str | list[str] | None) -> None:
    """Unpacks beside the folder's place and then moves it there, so that half an archive is never found."""
    formats = ["tar", "zip"] if archive_format == "auto" else archive_format
    formats = [formats] if isinstance(formats, str) else list(formats or [])
    if not formats or not set(formats) <= {"tar", "zip"}:
        raise ValueError(
            f"To extract, archive_format is 'auto', 'tar', 'zip' or a list of those; got {archive_format!r}."
        )
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix=f".{folder.name}.") as scratch:
        inside = Path(scratch) / "content"
        if "tar" in formats and tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                _refuse_outside(tar)
                options: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
                tar.extractall(inside, **options)
        elif "zip" in formats and zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                zipped.extractall(inside)
        else:
            raise DownloadError(f"{archive} is no archive of the kind {' or '.join(formats)}.")
        if folder.is_dir():
            shutil.rmtree(folder)
        os.replace(inside, folder)
