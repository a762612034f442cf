"""Arrays into HDF5 with few calls: h5py's own way takes four times as long for the many small weights of a model."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import torch

from lamina.engine.layout import array_of

_TYPES: dict[np.dtype[Any], Any] = {
    np.dtype(name): h5py.h5t.py_create(np.dtype(name), logical=True)
    for name in ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8")
}


class _QuickGroup(h5py.Group):  # type: ignore[misc]  # h5py has no types
    """A group of h5py: all of it, and the same file; only `group[name] = array` has a shorter way."""

    def __setitem__(self, name: Any, value: Any) -> None:
        kind = _TYPES.get(value.dtype) if type(value) is np.ndarray and value.flags.c_contiguous else None
        if kind is None or "/" in str(name) or value.size == 0:
            super().__setitem__(name, value)
            return
        space = h5py.h5s.create_simple(value.shape) if value.shape else h5py.h5s.create(h5py.h5s.SCALAR)
        h5py.h5d.create(self.id, name.encode(), kind, space, _PLAN).write(h5py.h5s.ALL, h5py.h5s.ALL, value)


class ArrayInTurn:
    """Tensors as arrays in the order of their axes, one at a time: an array holds until the next one is asked for.

    Convolutions' kernels, which lie otherwise, are turned into one piece of memory. New memory for each takes as long
    as the turning, and what is freed in between comes apart, so that half the model's size is taken from the system.

    >>> arrays = ArrayInTurn()
    >>> arrays.of(torch.arange(6.0).view(3, 2).t())
    array([[0., 2., 4.],
           [1., 3., 5.]], dtype=float32)
    """

    def __init__(self) -> None:
        self._memory = torch.empty(0, dtype=torch.uint8)

    def of(self, tensor: torch.Tensor) -> np.ndarray[Any, Any]:
        return array_of(tensor, self._empty)

    def _empty(self, shape: torch.Size, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        size = shape.numel() * dtype.itemsize
        if size > len(self._memory):
            self._memory = torch.empty(size, dtype=torch.uint8, device=device)
        return self._memory[:size].view(dtype).view(shape)


def _plan() -> Any:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_obj_track_times(False)  # the same weights give the same bytes
    return plan


def _with_parents() -> Any:
    plan = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    plan.set_create_intermediate_group(True)
    plan.set_char_encoding(h5py.h5t.CSET_UTF8)
    return plan


_PLAN = _plan()
_WITH_PARENTS = _with_parents()
_TEXT = h5py.h5t.py_create(h5py.string_dtype(), logical=True)
_TEXT_IN_MEMORY = h5py.h5t.py_create(h5py.string_dtype())


def names_of_arrays(file: Any) -> list[str]:
    """The paths of all arrays in an HDF5 file. h5py's own way opens each of them.

    >>> from io import BytesIO
    >>> with h5py.File(BytesIO(), "w") as file:
    ...     file["dense/vars/0"] = np.ones(2)
    ...     names_of_arrays(file)
    ['dense/vars/0']
    """
    names: list[str] = []

    def visit(name: bytes, information: Any) -> None:
        if information.type == h5py.h5o.TYPE_DATASET:
            names.append(name.decode("utf8", "surrogateescape"))

    h5py.h5o.visit(file.id, visit, info=True)
    return names


def new_group(file: Any, path: str, name: str) -> Any:
    """A new group with the attribute "name", in which arrays are stored quickly; the file's own if it is not h5py's.

    >>> from io import BytesIO
    >>> with h5py.File(BytesIO(), "w") as file:
    ...     new_group(file, "dense/vars", "dense")["0"] = np.ones(2)
    ...     file["dense/vars"].attrs["name"], file["dense/vars/0"].shape
    ('dense', (2,))
    """
    if type(file) is not h5py.File:
        group = file.require_group(path)
        group.attrs["name"] = name
        return group
    made = h5py.h5g.create(file.id, path.strip("/").encode(), _WITH_PARENTS)
    attribute = h5py.h5a.create(made, b"name", _TEXT, h5py.h5s.create(h5py.h5s.SCALAR))
    attribute.write(np.array(name, dtype=h5py.string_dtype()), mtype=_TEXT_IN_MEMORY)
    return _QuickGroup(made)
