"""Arrays into HDF5 with few calls: h5py's own way takes four times as long for the many small weights of a model."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

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


def _plan() -> Any:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_obj_track_times(False)  # the same weights give the same bytes
    return plan


_PLAN = _plan()


def quick_group(group: Any) -> Any:
    """A group in which arrays are stored quickly; what is no group of h5py stays what it is.

    >>> from io import BytesIO
    >>> with h5py.File(BytesIO(), "w") as file:
    ...     quick_group(file.create_group("vars"))["0"] = np.ones((2, 3), "float32")
    ...     file["vars/0"].shape, str(file["vars/0"].dtype)
    ((2, 3), 'float32')
    """
    return _QuickGroup(group.id) if type(group) is h5py.Group else group
