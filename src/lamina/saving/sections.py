"""HDF5 inside a stretch of a file: a weights file of its own, or a member of a zip, written and read where it lies."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import SEEK_CUR, SEEK_END, SEEK_SET, BytesIO
from pathlib import Path
from typing import IO, Any

import h5py

from lamina.saving.guard import check_heaps, check_heaps_of, contents

_CHUNK = 1 << 20  # bytes that are in memory at a time
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # so that the same model gives the same bytes


class Section:
    """The bytes of a file from `start` on as a file of their own, of `size` bytes so far: what HDF5 reads and writes.

    The first error in writing is raised and kept; what is written after it is dropped, so that HDF5, which writes once
    more when it closes, can let go of the file.

    >>> from io import BytesIO
    >>> file = BytesIO(b"beforeINSIDE")
    >>> part, letters = Section(file, 6, 6), bytearray(3)
    >>> part.seek(2), part.readinto(letters), letters
    (2, 3, bytearray(b'SID'))
    """

    def __init__(self, file: IO[bytes], start: int = 0, size: int = 0):
        self.file, self.start, self.size = file, start, size
        file.flush()  # from here on nothing goes through its buffer, which costs more than HDF5's many small writes
        self._raw: Any = getattr(file, "raw", file)
        self.error: OSError | None = None
        self._position = 0

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        self._position = offset + {SEEK_SET: 0, SEEK_CUR: self._position, SEEK_END: self.size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        data = bytearray(size)
        self.readinto(data)
        return bytes(data)

    def readinto(self, buffer: bytearray | memoryview) -> int:
        wanted = len(buffer)
        self._raw.seek(self.start + self._position)
        got = 0
        while self._position + wanted <= self.size and got < wanted:  # a system may give less than it was asked for
            more = self._raw.readinto(memoryview(buffer)[got:])
            if not more:
                break
            got += more
        if got != wanted:
            raise OSError(f"the file is cut short: {wanted} bytes at {self._position} are not there")
        self._position += wanted
        return wanted

    def write(self, data: bytes | memoryview) -> int:
        if self.error is None:
            try:
                self._raw.seek(self.start + self._position)
                done = self._raw.write(data)
                while done < len(data):  # a system may take less than it was given
                    done += self._raw.write(memoryview(data)[done:])
            except OSError as error:
                self.error = error
                raise
        self._position += len(data)
        self.size = max(self.size, self._position)
        return len(data)

    def truncate(self, size: int) -> int:
        if size < self.size and self.error is None:
            self.file.truncate(self.start + size)
        self.size = size
        return size

    def flush(self) -> None:
        """The whole file is flushed once, when it is complete."""

    def checksum(self) -> int:
        """CRC-32 of the section, read in chunks."""
        crc, buffer = 0, memoryview(bytearray(_CHUNK))
        self.seek(0)
        for left in range(self.size, 0, -_CHUNK):
            chunk = buffer[: min(left, _CHUNK)]
            self.readinto(chunk)
            crc = zlib.crc32(chunk, crc)
        return crc


@contextmanager
def new_h5(file: IO[bytes]) -> Iterator[h5py.File]:
    """A new HDF5 file over an open binary file, which is empty and can be read too. It is complete behind the block."""
    with _written(Section(file)) as inside:
        yield inside


@contextmanager
def _written(section: Section) -> Iterator[h5py.File]:
    try:
        with h5py.File(section, "w") as inside:
            yield inside
    finally:
        if section.error is not None:
            raise section.error
    # HDF5 sets its file's length at the end, and a length that grows is not written anywhere
    section.file.truncate(section.start + section.size)


def new_text(archive: zipfile.ZipFile, name: str, text: str) -> None:
    """Writes a text into a new zip, always with the same date."""
    archive.writestr(zipfile.ZipInfo(name, date_time=_FIXED_TIME), text)


@contextmanager
def new_h5_member(archive: zipfile.ZipFile, name: str) -> Iterator[h5py.File]:
    """A new HDF5 file as the last member of a new zip, uncompressed as Keras stores it.

    HDF5 writes here and there, and a zip states a member's length and checksum before its bytes: so the bytes are
    written where they will lie, and what is stated, with room kept for it, behind them.
    """
    file = archive.fp
    assert file is not None
    info = zipfile.ZipInfo(name, date_time=_FIXED_TIME)
    info.header_offset, info.CRC = archive.start_dir, 0
    section = Section(file, info.header_offset + len(info.FileHeader(zip64=True)))
    with _written(section) as inside:
        yield inside
    info.file_size = info.compress_size = section.size
    with ThreadPoolExecutor(1) as pool:  # the disk writes while the checksum is computed
        on_disk = pool.submit(os.fsync, file.fileno())
        info.CRC = section.checksum()
        on_disk.result()  # an error of the disk is told once
    file.seek(info.header_offset)
    file.write(info.FileHeader(zip64=True))
    archive.start_dir = section.start + section.size
    archive.filelist.append(info)
    archive.NameToInfo[name] = info


@contextmanager
def h5_member(archive: zipfile.ZipFile, name: str) -> Iterator[h5py.File]:
    """The HDF5 file that is a member of a zip, for reading: where it lies, or, if it is compressed, from memory.

    Errors: `zipfile.BadZipFile` when its bytes are not those that were written, before HDF5 sees any of them.
    """
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        content = contents(archive, name)
        check_heaps(content, Path(archive.filename or name))
        with h5py.File(BytesIO(content), "r") as inside:
            yield inside
        return
    with archive.open(info) as member, ThreadPoolExecutor(1) as pool:
        checked = pool.submit(_read_to_its_end, member)  # compares the checksum at the end
        check_heaps_of(Path(archive.filename or name))
        checked.result()
    file = archive.fp
    assert file is not None
    file.seek(info.header_offset)
    lengths = struct.unpack("<26x2H", file.read(30))  # of the name and of what follows it
    with h5py.File(Section(file, info.header_offset + 30 + sum(lengths), info.file_size), "r") as inside:
        yield inside


def _read_to_its_end(member: IO[bytes]) -> None:
    while member.read(_CHUNK):
        pass
