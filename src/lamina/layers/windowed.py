"""What all layers share that slide a window over spatial axes: names, data formats, windows, padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lamina.base import config
from lamina.base.errors import ShapeError
from lamina.engine.layout import channels_second
from lamina.layers.layer import Layer
from lamina.layers.parts import expect_rank
from lamina.shapes import Axes, Reading, Readings, Size, TransposedWindow, Window, value_of
from lamina.shapes.axes import SPATIAL


class SpatialLayer(Layer):
    """A layer over `rank` spatial axes: steps, or height and width, or depth, height and width."""

    rank: int = 2
    data_format: str

    def set_data_format(self, data_format: str | None) -> None:
        self.data_format = config.standardize_data_format(data_format)

    @property
    def spatial_names(self) -> tuple[str, ...]:
        return SPATIAL[self.rank]

    def axis_names(self, rank: int) -> tuple[str, ...]:
        if rank != self.rank + 2:
            return super().axis_names(rank)
        if self.data_format == "channels_first":
            return ("batch", "channels", *self.spatial_names)
        return ("batch", *self.spatial_names, "channels")

    def expect_axes(self, inputs: torch.Tensor) -> None:
        """Errors: a ShapeError for a tensor of another rank, which torch often takes and computes something else."""
        if inputs.dim() != self.rank + 2:
            expect_rank(self, Axes(self.axis_names(inputs.dim()), tuple(inputs.shape)), self.rank + 2)

    def channels_second(self, inputs: torch.Tensor) -> torch.Tensor:
        """The inputs as torch's kernels read them, (batch, channels, *spatial): a view."""
        self.expect_axes(inputs)
        return channels_second(inputs, self.data_format)

    def slide(self, inputs: Axes, windows: Sequence[Window | TransposedWindow]) -> Axes:
        """The inputs' axes with each spatial one through its window. Errors: a ShapeError that names the axis."""
        expect_rank(self, inputs, self.rank + 2)
        for name, window in zip(self.spatial_names, windows, strict=True):
            try:
                inputs = inputs.replace(**{name: window.output(inputs[name])})
            except ShapeError as error:
                error.headline = f"{self.title}: along {name}, {error.headline}."
                error.expected = f"{name} {error.expected}"
                raise
        return inputs

    def multiply_accumulates(self, inputs: list[Axes], outputs: list[Axes]) -> Size:
        return 0

    def readings(self, *inputs: Axes) -> Readings | None:
        return [dict(zip(self.spatial_names, self.spatial_readings(inputs[0]), strict=False))]

    def spatial_readings(self, inputs: Axes) -> list[Reading]:
        """One for each spatial axis, through the windows; a layer without windows takes all positions together."""
        windows = zip(self.spatial_names, getattr(self, "windows", ()), strict=False)
        return [window.reading(value_of(inputs[name])) for name, window in windows]


def padding_name(value: Any, allowed: tuple[str, ...], what: str) -> str:
    """A padding as the user gives it. Errors: an unknown one is a ValueError."""
    name = value.lower() if isinstance(value, str) else value
    if name not in allowed:
        raise ValueError(f"{what}: padding is {' or '.join(map(repr, allowed))}; got {value!r}.")
    return str(name)
