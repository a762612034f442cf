"""Variables beside the stored arrays meant for them: compared and read first, then assigned all at once."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lamina.base.errors import ShapeError, outside_frame
from lamina.layers.weights import weight_name
from lamina.saving.channels import WAYS, adapt_kernel

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


def pair_of(layer: Any, variable: Any, stored: Any) -> Pair:
    return Pair(f"{layer.name}/{weight_name(variable)}", variable, stored)


def read_array(stored: Any) -> torch.Tensor:
    """A stored array as a tensor. bfloat16, which HDF5 lacks, is two bytes a number with a note beside them."""
    if isinstance(stored, torch.Tensor):
        return stored
    array = np.asarray(stored[()])
    if stored.attrs.get("dtype") == "bfloat16" or array.dtype.kind == "V":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def read_all(
    pairs: list[Pair], model: Any, skip_mismatch: bool, adapt_channels: str | None
) -> list[tuple[Any, torch.Tensor]]:
    """Each variable with its new value. Errors: a ShapeError that lists what does not fit; nothing is changed here."""
    if adapt_channels not in (None, "error", *WAYS):
        raise ValueError(f"adapt_channels is one of {', '.join(map(repr, WAYS))}, or None; got {adapt_channels!r}.")
    adapted = None
    if adapt_channels in WAYS:
        adapted = next((pair for pair in pairs if pair.differs_in_channels), None)
    wrong = [pair for pair in pairs if not pair.fits and pair is not adapted]
    if wrong and not skip_mismatch:
        raise _mismatch(wrong, model)
    if wrong:
        listed = "; ".join(pair.describe() for pair in wrong)
        warnings.warn(f"Skipped {len(wrong)} weights whose shapes differ: {listed}.", stacklevel=outside_frame())
    values = []
    for pair in pairs:
        if pair is adapted:
            kernel = read_array(pair.stored).float().numpy()
            fitted = adapt_kernel(kernel, pair.variable.shape[-2], str(adapt_channels))
            values.append((pair.variable, torch.from_numpy(fitted)))
        elif pair.fits:
            values.append((pair.variable, read_array(pair.stored)))
    return values


def assign(values: Iterable[tuple[Any, torch.Tensor]]) -> None:
    """Copies each value into its variable, in the variable's dtype and on its device."""
    with torch.no_grad():
        for variable, value in values:
            variable.copy_(value)


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
