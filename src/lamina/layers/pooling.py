"""Pooling: one class over all ranks for each of maximum and average, local and global."""

from __future__ import annotations

from typing import Any

import torch

from lamina.base.registry import public
from lamina.engine import kernels
from lamina.engine.forms import Form, Mean, Pool
from lamina.engine.layout import as_given
from lamina.layers.parts import expect_rank, per_axis
from lamina.layers.windowed import SpatialLayer, padding_name
from lamina.shapes import Axes, Window


class Pooling(SpatialLayer):
    """A window that slides over the spatial axes and keeps one number of each channel."""

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        what = type(self).__name__
        self.pool_size = per_axis(pool_size, self.rank, f"{what}: pool_size")
        self.strides = self.pool_size if strides is None else per_axis(strides, self.rank, f"{what}: strides")
        self.padding = padding_name(padding, ("valid", "same"), what)
        self.set_data_format(data_format)

    @property
    def windows(self) -> list[Window]:
        """The window of each spatial axis."""
        return [Window(k, s, padding=self.padding) for k, s in zip(self.pool_size, self.strides, strict=True)]

    def shape_rule(self, inputs: Axes) -> Axes:
        return self.slide(inputs, self.windows)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return as_given(self.pool(self.channels_second(inputs), self.windows), self.data_format)

    def pool(self, x: torch.Tensor, windows: list[Window]) -> torch.Tensor:
        raise NotImplementedError

    def _forms(self, kind: str) -> list[Form] | None:
        if self.rank != 2:
            return None
        windows = tuple(self.windows)
        return [Pool(kind, windows, self.data_format, lambda x: self.pool(x, list(windows)))]


class MaxPooling(Pooling):
    """The largest number of each window; padding never wins."""

    def pool(self, x: torch.Tensor, windows: list[Window]) -> torch.Tensor:
        return kernels.max_pool(x, windows)

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        return self._forms("max")


class AveragePooling(Pooling):
    """The mean of each window; padding is not counted."""

    def pool(self, x: torch.Tensor, windows: list[Window]) -> torch.Tensor:
        return kernels.average_pool(x, windows)

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        return self._forms("average")


@public("layers", "MaxPool1D")
class MaxPooling1D(MaxPooling):
    """The largest of every `pool_size` steps.

    Shapes: (batch, steps, channels) → (batch, ⌊(steps − pool)/stride⌋ + 1, channels). No parameters.

    >>> import lamina
    >>> lamina.layers.MaxPooling1D(2)(lamina.Input((10, 4))).shape
    (None, 5, 4)
    """

    rank = 1


@public("layers", "MaxPool2D")
class MaxPooling2D(MaxPooling):
    """The largest of every window over height and width.

    Shapes: (batch, height, width, channels) → (batch, ⌊(height − pool)/stride⌋ + 1, ..., channels). No parameters.

    >>> import lamina
    >>> lamina.layers.MaxPooling2D(3)(lamina.Input((24, 24, 32))).shape
    (None, 8, 8, 32)
    """

    rank = 2


@public("layers", "MaxPool3D")
class MaxPooling3D(MaxPooling):
    """The largest of every window over depth, height and width; see `MaxPooling2D`.

    >>> import lamina
    >>> lamina.layers.MaxPooling3D()(lamina.Input((8, 8, 8, 2))).shape
    (None, 4, 4, 4, 2)
    """

    rank = 3


@public("layers", "AvgPool1D")
class AveragePooling1D(AveragePooling):
    """The mean of every `pool_size` steps; see `MaxPooling1D` for the shapes.

    >>> import lamina
    >>> lamina.layers.AveragePooling1D(2)(lamina.Input((10, 4))).shape
    (None, 5, 4)
    """

    rank = 1


@public("layers", "AvgPool2D")
class AveragePooling2D(AveragePooling):
    """The mean of every window over height and width; see `MaxPooling2D` for the shapes.

    >>> import lamina
    >>> lamina.layers.AveragePooling2D(2, padding="same")(lamina.Input((7, 7, 4))).shape
    (None, 4, 4, 4)
    """

    rank = 2


@public("layers", "AvgPool3D")
class AveragePooling3D(AveragePooling):
    """The mean of every window over depth, height and width; see `MaxPooling2D`.

    >>> import lamina
    >>> lamina.layers.AveragePooling3D()(lamina.Input((8, 8, 8, 2))).shape
    (None, 4, 4, 4, 2)
    """

    rank = 3


class GlobalPooling(SpatialLayer):
    """One number of each channel, over all positions."""

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.set_data_format(data_format)
        self.keepdims = keepdims

    @property
    def spatial_axes(self) -> tuple[int, ...]:
        first = 2 if self.data_format == "channels_first" else 1
        return tuple(range(first, first + self.rank))

    def shape_rule(self, inputs: Axes) -> Axes:
        expect_rank(self, inputs, self.rank + 2)
        if self.keepdims:
            return inputs.replace(**dict.fromkeys(self.spatial_names, 1))
        return inputs.drop(*self.spatial_names)


class GlobalMaxPooling(GlobalPooling):
    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        self.expect_axes(inputs)
        return inputs.amax(self.spatial_axes, keepdim=self.keepdims)


class GlobalAveragePooling(GlobalPooling):
    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        self.expect_axes(inputs)
        if not inputs.dtype.is_floating_point:
            inputs = inputs.to(self._compute_type)
        return inputs.mean(self.spatial_axes, keepdim=self.keepdims)

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        return [Mean(self.data_format, self.keepdims)] if self.rank == 2 else None


@public("layers", "GlobalMaxPool1D")
class GlobalMaxPooling1D(GlobalMaxPooling):
    """The largest number of each channel over all steps: (batch, steps, channels) → (batch, channels).

    >>> import lamina
    >>> lamina.layers.GlobalMaxPooling1D()(lamina.Input((None, 4))).shape
    (None, 4)
    """

    rank = 1


@public("layers", "GlobalMaxPool2D")
class GlobalMaxPooling2D(GlobalMaxPooling):
    """The largest number of each channel: (batch, height, width, channels) → (batch, channels), whatever the size.

    >>> import lamina
    >>> lamina.layers.GlobalMaxPooling2D()(lamina.Input((None, None, 16))).shape
    (None, 16)
    """

    rank = 2


@public("layers", "GlobalMaxPool3D")
class GlobalMaxPooling3D(GlobalMaxPooling):
    """The largest number of each channel over depth, height and width.

    >>> import lamina
    >>> lamina.layers.GlobalMaxPooling3D(keepdims=True)(lamina.Input((4, 4, 4, 2))).shape
    (None, 1, 1, 1, 2)
    """

    rank = 3


@public("layers", "GlobalAvgPool1D")
class GlobalAveragePooling1D(GlobalAveragePooling):
    """The mean of each channel over all steps, or over those that a mask keeps.

    Shapes: (batch, steps, channels) → (batch, channels).

    >>> import lamina
    >>> lamina.layers.GlobalAveragePooling1D()(lamina.Input((None, 4))).shape
    (None, 4)
    """

    rank = 1
    supports_masking = True

    def call(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        if mask is None:
            return super().call(inputs)
        axis = self.spatial_axes[0]
        kept = mask.to(inputs.dtype).unsqueeze(2 if axis == 1 else 1)
        return (inputs * kept).sum(axis, keepdim=self.keepdims) / kept.sum(axis, keepdim=self.keepdims)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        return None


@public("layers", "GlobalAvgPool2D")
class GlobalAveragePooling2D(GlobalAveragePooling):
    """The mean of each channel: (batch, height, width, channels) → (batch, channels), whatever the size.

    >>> import lamina
    >>> lamina.layers.GlobalAveragePooling2D()(lamina.Input((None, None, 1024))).shape
    (None, 1024)
    """

    rank = 2


@public("layers", "GlobalAvgPool3D")
class GlobalAveragePooling3D(GlobalAveragePooling):
    """The mean of each channel over depth, height and width.

    >>> import lamina
    >>> lamina.layers.GlobalAveragePooling3D()(lamina.Input((4, 4, 4, 2))).shape
    (None, 2)
    """

    rank = 3
