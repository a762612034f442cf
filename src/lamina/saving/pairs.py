"""Variables beside the stored arrays meant for them: compared first, then assigned all at once."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lamina.base.errors import ShapeError, outside_frame
from lamina.layers.weights import weight_name
from lamina.saving.channels import adapt_kernel


@dataclass(frozen=True)
class Pair:
    """A variable of a layer and the stored array (anything with `.shape` that NumPy reads)."""

    layer: Any
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
        return same_rest and mine[-2] != other[-2] and "kernel" in weight_name(self.variable)

    def describe(self) -> str:
        mine = tuple(self.variable.shape)
        return f"{self.layer.name}/{weight_name(self.variable)}: {tuple(self.stored.shape)} in the file, {mine} in the model"


def assign_all(pairs: list[Pair], model: Any, skip_mismatch: bool, adapt_channels: str | None) -> None:
    """Assigns every array to its variable. Errors: a ShapeError that lists what does not fit, before any change."""
    adapted: dict[int, Any] = {}
    if adapt_channels not in (None, "error"):
        first = next((pair for pair in pairs if pair.differs_in_channels), None)
        if first is not None:
            adapted[id(first.variable)] = adapt_kernel(first.stored[()], first.variable.shape[-2], str(adapt_channels))
    wrong = [pair for pair in pairs if not pair.fits and id(pair.variable) not in adapted]
    if wrong and not skip_mismatch:
        raise _mismatch(wrong, model)
    if wrong:
        listed = "; ".join(pair.describe() for pair in wrong)
        warnings.warn(f"Skipped {len(wrong)} weights whose shapes differ: {listed}.", stacklevel=outside_frame())
    skipped = {id(pair.variable) for pair in wrong}
    with torch.no_grad():
        for pair in pairs:
            if id(pair.variable) not in skipped:
                value = adapted.get(id(pair.variable))
                pair.variable.copy_(torch.from_numpy(np.asarray(pair.stored[()] if value is None else value)))


def _mismatch(wrong: list[Pair], model: Any) -> ShapeError:
    mend = "build the model as the one that was saved, or skip_mismatch=True to load only what fits"
    if wrong[0].differs_in_channels:
        pair = wrong[0]
        mend = (
            f'adapt_channels="repeat", "mean" or "zero" makes the file\'s {pair.stored.shape[-2]} input channels '
            f"{pair.variable.shape[-2]}; " + mend
        )
    return ShapeError(
        f"The stored weights do not fit {model.title}; none was changed.",
        layer=wrong[0].layer.name,
        because="\n".join(pair.describe() for pair in wrong[:10])
        + (f"\nand {len(wrong) - 10} more" if len(wrong) > 10 else ""),
        mend=mend,
    )
