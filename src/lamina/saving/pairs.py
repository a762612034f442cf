"""Variables beside the stored arrays meant for them: all compared, then all read, then all assigned."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from lamina.base.errors import LaminaError, ShapeError, outside_frame
from lamina.engine.layout import copy_into
from lamina.layers.weights import weight_name
from lamina.saving.channels import WAYS, adapt_kernel, adapt_statistics
from lamina.saving.differences import Differences
from lamina.saving.safetensors_files import StoredTensor

Value = tuple[Any, Callable[[], torch.Tensor]]  # a variable, and what reads its new value

_LISTED = 10  # how many problems a message lists


@dataclass(frozen=True)
class Pair:
    """A tensor of the model, what messages call it, and the array stored for it (an HDF5 dataset or a tensor)."""

    name: str
    variable: Any
    stored: Any

    @property
    def fits(self) -> bool:
        return tuple(self.stored.shape) == tuple(self.variable.shape)

    @property
    def fits_type(self) -> bool:
        """Whether both are whole numbers, both floats, or both complex: the number of bits may differ."""
        return kind_of_stored(self.stored) == _kind_of(self.variable.dtype)

    @property
    def differs_in_channels(self) -> bool:
        """Whether only the number of input channels of a convolution's kernel differs."""
        mine, other = tuple(self.variable.shape), tuple(self.stored.shape)
        same_rest = len(mine) == len(other) >= 3 and mine[:-2] == other[:-2] and mine[-1] == other[-1]
        return same_rest and mine[-2] != other[-2] and "kernel" in weight_name(self.variable) + self.name

    def describe(self) -> str:
        return f"{self.name}: {tuple(self.stored.shape)} in the file, {tuple(self.variable.shape)} in the model"

    def difference(self) -> str:
        """The first axis on which the shapes differ, with its meaning."""
        mine, other = tuple(self.variable.shape), tuple(self.stored.shape)
        if len(mine) != len(other):
            return f"{self.name} has {len(other)} axes in the file and {len(mine)} in the model"
        axis = next(axis for axis, (one, two) in enumerate(zip(mine, other, strict=True)) if one != two)
        meaning = getattr(self.variable, "axes", None)
        which = f"axis {axis}" + (f" ({meaning[axis]})" if meaning else "")
        return f"{which} of {self.name} is {other[axis]} in the file and {mine[axis]} in the model"


def _kind_of(dtype: torch.dtype) -> str:
    return "complex numbers" if dtype.is_complex else "floats" if dtype.is_floating_point else "whole numbers"


def kind_of_stored(stored: Any) -> str:
    """What a stored array holds, in words."""
    dtype = getattr(stored, "dtype", None)  # a group in the place of an array has none
    if isinstance(dtype, torch.dtype):
        return _kind_of(dtype)
    if dtype is None or is_bfloat16(stored):
        return "no numbers" if dtype is None else "floats"
    kinds = {"f": "floats", "i": "whole numbers", "u": "whole numbers", "b": "whole numbers", "c": "complex numbers"}
    return kinds.get(dtype.kind, "no numbers")


def is_bfloat16(stored: Any) -> bool:
    """Whether an array of HDF5, which lacks bfloat16, holds the two bytes of each number."""
    if stored.dtype.itemsize != 2:
        return False
    return bool(stored.dtype.kind == "V" or getattr(stored, "attrs", {}).get("dtype") == "bfloat16")


def pair_of(layer: Any, variable: Any, stored: Any) -> Pair:
    return Pair(f"{layer.name}/{weight_name(variable)}", variable, stored)


def read_array(stored: Any) -> torch.Tensor:
    """A stored array as a tensor. bfloat16, which HDF5 lacks, is two bytes a number with a note beside them."""
    if isinstance(stored, torch.Tensor):
        return stored
    if isinstance(stored, StoredTensor):
        return stored.read()
    array = np.asarray(stored[()])
    if is_bfloat16(stored):
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def read_all(
    pairs: list[Pair],
    model: Any,
    skip_mismatch: bool,
    adapt_channels: str | None,
    differences: Differences | None = None,
) -> list[Value]:
    """Each variable with what reads its new value.

    Errors: a LaminaError that lists the `differences` (what only one of them has), or a ShapeError where only shapes
    differ. With `skip_mismatch` one warning lists everything that is skipped.
    """
    if adapt_channels not in (None, "error", *WAYS):
        raise ValueError(f"adapt_channels is one of {', '.join(map(repr, WAYS))}, or None; got {adapt_channels!r}.")
    other = [pair for pair in pairs if not pair.fits_type]
    if other:
        listed = "\n  ".join(f"{pair.name}: {kind_of_stored(pair.stored)} in the file" for pair in other[:_LISTED])
        raise LaminaError(
            f"The stored weights are of other types than those of {model.title}; none was changed.\n  {listed}"
        )
    adapted = [id(pair) for pair in _adapted(pairs)] if adapt_channels in WAYS else []
    wrong = [pair for pair in pairs if not pair.fits and id(pair) not in adapted]
    differences = differences or Differences()
    if skip_mismatch:
        _warn_of_skipped(differences, wrong)
    elif differences:
        raise LaminaError(
            f"The file does not fit {model.title}; no weight was changed.\n{differences.text(wrong)}\n"
            f"  Build the model as it was saved, or load what fits with skip_mismatch=True."
        )
    elif wrong:
        raise _mismatch(wrong, model)
    values: list[Value] = []
    for pair in pairs:
        if id(pair) in adapted:
            values.append((pair.variable, partial(_read_adapted, pair, str(adapt_channels))))
        elif pair.fits:
            values.append((pair.variable, partial(read_array, pair.stored)))
    return values


def _read_adapted(pair: Pair, how: str) -> torch.Tensor:
    stored = read_array(pair.stored).float().numpy()
    if pair.differs_in_channels:
        return torch.from_numpy(adapt_kernel(stored, pair.variable.shape[-2], how))
    return torch.from_numpy(adapt_statistics(stored, pair.variable.shape[-1], how))


def _warn_of_skipped(differences: Differences, wrong: list[Pair]) -> None:
    number = differences.number + len(wrong)
    if number:
        what = "weights or layers that do not fit" if differences else "weights whose shapes differ"
        warnings.warn(f"Skipped {number} {what}.\n{differences.text(wrong)}", stacklevel=outside_frame())


def _adapted(pairs: list[Pair]) -> list[Pair]:
    """The first kernel that differs in its input channels, with the mean and variance of each channel before it."""
    position = next((position for position, pair in enumerate(pairs) if pair.differs_in_channels), None)
    if position is None:
        return []
    kernel = pairs[position]
    statistics = [
        pair
        for pair in pairs[:position]
        if weight_name(pair.variable) in ("mean", "variance")
        and tuple(pair.stored.shape) == (kernel.stored.shape[-2],)
        and tuple(pair.variable.shape) == (kernel.variable.shape[-2],)
    ]
    return [*statistics, kernel]


def assign(values: Iterable[Value]) -> None:
    """Copies each value into its variable, in the variable's dtype and on its device.

    Everything is read before the first variable changes, so that a file that cannot be read to its end changes none:
    one copy of the values. Variables without memory (of a model that is being loaded) have nothing to lose: each gets
    its memory and its value in turn, so that one array is held twice at a time.
    """
    values = list(values)
    staged = [(variable, read()) for variable, read in values if variable.device.type != "meta"]
    with torch.no_grad():
        for variable, read in values:
            if variable.device.type == "meta":
                variable.allocate()
                copy_into(variable, read())
        for variable, value in staged:
            copy_into(variable, value)


def _mismatch(wrong: list[Pair], model: Any) -> ShapeError:
    mend = "build the model as the one that was saved, or skip_mismatch=True to load only what fits"
    for pair in wrong:
        if pair.differs_in_channels:
            mend = (
                f'adapt_channels="repeat", "mean" or "zero" makes the file\'s {pair.stored.shape[-2]} input channels '
                f"{pair.variable.shape[-2]}; {mend}"
            )
            break
    place = wrong[0].name.replace(".", "/")
    lines = [pair.describe() for pair in wrong[:_LISTED]]
    if len(wrong) > _LISTED:
        lines.append(f"and {len(wrong) - _LISTED} more")
    return ShapeError(
        f"The stored weights do not fit {model.title}; none was changed.",
        layer=place.rpartition("/")[0],
        path=f"{model.name}/{place}",
        received="\n".join(lines),
        expected="for every weight the shape that it has in the model",
        because=wrong[0].difference(),
        mend=mend,
    )
