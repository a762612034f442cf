"""safetensors: a length, a header in JSON, and the tensors one behind the other; written and read one at a time.

The format: https://huggingface.co/docs/safetensors. The library of that name holds all tensors in memory at once.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from lamina.base.errors import LaminaError, UnsafeFileError
from lamina.engine.layout import in_logical_order
from lamina.saving.guard import CONFIG_LIMIT, ENTRY_LIMIT, parsed_config

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3": torch.float8_e4m3fn,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def write_safetensors(
    file: BinaryIO, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes named tensors, largest dtypes first and then by name, as the library does. One with two names is written
    twice: the format shares no memory. Errors: a dtype that the format lacks is a LaminaError."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    end = 0
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    for name in order:
        tensor = tensors[name]
        if tensor.dtype not in _NAMES:
            raise LaminaError(f"{name!r} is {tensor.dtype}, which safetensors lacks. Save into .weights.h5 instead.")
        start, end = end, end + tensor.numel() * tensor.dtype.itemsize
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    described = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    described += b" " * (-len(described) % 8)  # so that the tensors are aligned
    file.write(struct.pack("<Q", len(described)) + described)
    for name in order:
        file.write(_bytes_of(in_logical_order(tensors[name].detach().cpu())))


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    """The memory of a contiguous tensor, without a copy."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a safetensors file, not read yet: its shape, dtype, and where its bytes lie."""

    file: BinaryIO
    shape: tuple[int, ...]
    dtype: torch.dtype
    start: int

    def read(self) -> torch.Tensor:
        """The tensor in new memory. Errors: OSError when the file has become shorter."""
        tensor = torch.empty(self.shape, dtype=self.dtype)
        memory = _bytes_of(tensor)
        self.file.seek(self.start)
        if self.file.readinto(memory) != len(memory):  # type: ignore[attr-defined]
            raise OSError(f"the file is cut short: {len(memory)} bytes at {self.start} are not there")
        return tensor


@contextmanager
def opened_tensors(path: Path) -> Iterator[tuple[dict[str, StoredTensor], dict[str, str]]]:
    """The tensors of a safetensors file by name, to be read inside the block, and the file's metadata.

    Errors: a LaminaError for a header that does not describe exactly the bytes that follow it, an UnsafeFileError for
    tensors that overlap or are more than any model has.
    """
    try:
        with open(path, "rb") as file:
            yield _described(file, path)
    except OSError as error:
        raise LaminaError(f"{path} cannot be read ({error}).") from error


def _described(file: BinaryIO, path: Path) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    size = file.seek(0, 2)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > CONFIG_LIMIT and length <= size:
        raise UnsafeFileError(f"{path} was not read: its header has {length:,} bytes, more than any model's.")
    if size < 8 or length > size - 8:
        raise _damaged(path, "its header is longer than the file")
    described = file.read(length)
    number = described.count(b'"data_offsets"')
    if number > ENTRY_LIMIT:
        raise UnsafeFileError(f"{path} was not read: it lists {number:,} tensors, more than any model has.")
    try:
        header = parsed_config(described, f"The header of {path}")
        metadata = {key: str(text) for key, text in header.pop("__metadata__", {}).items()}
        found = {name: _stored(file, 8 + length, entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"its header is not as it should be ({error})") from error
    end = 8 + length
    for tensor in sorted(found.values(), key=lambda tensor: (tensor.start, math.prod(tensor.shape))):
        if tensor.start != end:
            raise UnsafeFileError(f"{path} was not read: its tensors overlap or leave gaps.")
        end += math.prod(tensor.shape) * tensor.dtype.itemsize
    if end != size:
        raise _damaged(path, f"its header describes {end} bytes and it has {size}")
    return found, metadata


def _stored(file: BinaryIO, first: int, entry: Any) -> StoredTensor:
    dtype, shape, (start, end) = _DTYPES[entry["dtype"]], tuple(entry["shape"]), entry["data_offsets"]
    if not all(type(number) is int and 0 <= number < 1 << 63 for number in (*shape, start, end)):
        raise ValueError("a size is no whole number")
    if end - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{end - start} bytes are no {entry['dtype']} of shape {shape}")
    return StoredTensor(file, shape, dtype, first + start)


def _damaged(path: Path, why: str) -> LaminaError:
    return LaminaError(f"{path} cannot be read: it is damaged or cut short, or no safetensors file: {why}.")
