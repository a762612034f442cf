"""What small layers share: outputs of the input's shape and type, positions of axes, open sizes that meet known."""

from __future__ import annotations

from typing import Any

import torch

from lamina.base.errors import ShapeError
from lamina.engine.dtypes import DTYPE_NAMES, is_float_name, torch_dtype
from lamina.layers.layer import Layer
from lamina.shapes import HERE, Axes, Readings, Size


class KeepsType(Layer):
    """A layer that changes no number's type: floats come out in the compute type, integers as they were."""

    def output_dtype(self, *inputs: str) -> str:
        casts = (self.compute_dtype if self.autocast and is_float_name(name) else name for name in inputs)
        result = torch_dtype(next(casts))
        for name in casts:
            result = torch.promote_types(result, torch_dtype(name))
        return DTYPE_NAMES[result]

    def multiply_accumulates(self, inputs: list[Axes], outputs: list[Axes]) -> Size:
        return 0


class SameShape(KeepsType):
    """A layer whose output has its input's shape and mask, and each number computed from its own position."""

    supports_masking = True

    def shape_rule(self, inputs: Axes) -> Axes:
        return inputs

    def taken_together(self, inputs: Axes) -> list[int]:
        """The axes, by number, whose positions are computed together."""
        return []

    def readings(self, *inputs: Axes) -> Readings | None:
        return here_but(inputs[0], self.taken_together(inputs[0]))


def here_but(inputs: Axes, taken_together: list[int]) -> Readings:
    """The readings of a layer that computes along some axes, by number, and alike at all positions of the others."""
    return [{name: HERE for axis, name in enumerate(inputs.names) if axis not in taken_together}]


def position(layer: Any, inputs: Axes, axis: int) -> int:
    """An axis counted from the front. Errors: a ShapeError when the input has no such axis."""
    if not -inputs.rank <= axis < inputs.rank:
        raise ShapeError(
            f"{layer.title} works on axis {axis}, which its input does not have.",
            layer=layer.name,
            expected=f"an input of at least {axis + 1 if axis >= 0 else -axis} axes",
            because=f"axis={axis} is one of the layer's arguments, and the input has {inputs.rank} axes",
            mend=f"choose an axis between {-inputs.rank} and {inputs.rank - 1}",
        )
    return axis % inputs.rank


def positions(layer: Any, inputs: Axes, axes: Any) -> list[int]:
    """One axis or several, each counted from the front."""
    return [position(layer, inputs, axis) for axis in ((axes,) if isinstance(axes, int) else axes)]
