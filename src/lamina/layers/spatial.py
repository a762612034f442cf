"""Zeros around, edges off, positions repeated: ZeroPadding, Cropping and UpSampling over all ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from lamina.base.errors import ShapeError
from lamina.base.registry import public
from lamina.engine.forms import Form, Padding
from lamina.engine.kernels import pad_spatial
from lamina.engine.layout import as_given
from lamina.layers.parts import expect_rank, per_axis
from lamina.layers.windowed import SpatialLayer
from lamina.shapes import Axes, Reading, value_of

Pairs = tuple[tuple[int, int], ...]


def pairs_of(value: Any, rank: int, what: str) -> Pairs:
    """(before, after) of each axis: from one number, one per axis, or a pair per axis. Errors: anything else."""
    if rank == 1:
        before_after = (value, value) if hasattr(value, "__index__") else tuple(value)
        return (per_axis(before_after, 2, what, minimum=0),)  # type: ignore[return-value]
    values = (value,) * rank if hasattr(value, "__index__") else tuple(value)
    if len(values) != rank:
        raise ValueError(f"{what} is one number, {rank} numbers or {rank} pairs; got {value!r}.")
    return tuple(per_axis(one, 2, what, minimum=0) for one in values)  # type: ignore[misc]


def config_of_pairs(pairs: Pairs) -> Any:
    return pairs[0] if len(pairs) == 1 else pairs


class ZeroPadding(SpatialLayer):
    """Zeros before and after the positions of each spatial axis."""

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.pairs = pairs_of(padding, self.rank, f"{type(self).__name__}: padding")
        self.padding = config_of_pairs(self.pairs)
        self.set_data_format(data_format)

    def shape_rule(self, inputs: Axes) -> Axes:
        expect_rank(self, inputs, self.rank + 2)
        for name, (before, after) in zip(self.spatial_names, self.pairs, strict=True):
            size = inputs[name]
            inputs = inputs.replace(**{name: None if size is None else size + before + after})
        return inputs

    def spatial_readings(self, inputs: Axes) -> list[Reading]:
        return [Reading(1, ((-before, -before),)) for before, _ in self.pairs]

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        self.expect_axes(inputs)
        pads = list(self.pairs) if self.data_format == "channels_first" else [*self.pairs, (0, 0)]
        return pad_spatial(inputs, pads)  # as given: the memory layout stays

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        return [Padding(tuple(self.pairs), self.data_format)] if self.rank == 2 else None


@public("layers")
class ZeroPadding1D(ZeroPadding):
    """Zeros around the steps: (batch, steps, channels) → (batch, steps + before + after, channels).

    >>> import lamina
    >>> lamina.layers.ZeroPadding1D((1, 2))(lamina.Input((10, 4))).shape
    (None, 13, 4)
    """

    rank = 1


@public("layers")
class ZeroPadding2D(ZeroPadding):
    """Zeros around an image: (batch, height, width, channels) → (batch, height + top + bottom, ..., channels).

    >>> import lamina
    >>> lamina.layers.ZeroPadding2D(3)(lamina.Input((224, 224, 3))).shape
    (None, 230, 230, 3)
    """

    rank = 2


@public("layers")
class ZeroPadding3D(ZeroPadding):
    """Zeros around a volume; see `ZeroPadding2D`.

    >>> import lamina
    >>> lamina.layers.ZeroPadding3D()(lamina.Input((4, 4, 4, 1))).shape
    (None, 6, 6, 6, 1)
    """

    rank = 3


class Cropping(SpatialLayer):
    """Positions taken off before and after, along each spatial axis."""

    def __init__(self, cropping: Any = 0, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.pairs = pairs_of(cropping, self.rank, f"{type(self).__name__}: cropping")
        self.cropping = config_of_pairs(self.pairs)
        self.set_data_format(data_format)

    def shape_rule(self, inputs: Axes) -> Axes:
        expect_rank(self, inputs, self.rank + 2)
        for name, (before, after) in zip(self.spatial_names, self.pairs, strict=True):
            size = inputs[name]
            left = None if size is None else size - (before + after)
            if (remaining := value_of(left)) is not None and remaining < 1:
                raise ShapeError(
                    f"{self.title} takes {before + after} positions off a {name} of {value_of(size)}.",
                    expected=f"{name} {before + after + 1} or more",
                    because="not one position would be left",
                    mend=f"crop less than {value_of(size)} along {name}",
                )
            inputs = inputs.replace(**{name: left})
        return inputs

    def spatial_readings(self, inputs: Axes) -> list[Reading]:
        return [Reading(1, ((before, before),)) for before, _ in self.pairs]

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        x = self.channels_second(inputs)
        for axis, (before, after) in enumerate(self.pairs, start=2):
            x = x.narrow(axis, before, x.shape[axis] - before - after)
        if 0 in x.shape[2:]:  # torch takes this in silence: the rule says what is wrong
            self.shape_rule(Axes(self.axis_names(inputs.dim()), tuple(inputs.shape)))
        return as_given(x, self.data_format)


@public("layers")
class Cropping1D(Cropping):
    """Steps taken off both ends: (batch, steps, channels) → (batch, steps − before − after, channels).

    >>> import lamina
    >>> lamina.layers.Cropping1D((1, 2))(lamina.Input((10, 4))).shape
    (None, 7, 4)
    """

    rank = 1

    def __init__(self, cropping: Any = 1, data_format: str | None = None, **kwargs: Any):
        super().__init__(cropping, data_format, **kwargs)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.data_format == "channels_last":
            config.pop("data_format")  # Keras's layer knows no other order
        return config


@public("layers")
class Cropping2D(Cropping):
    """Edges taken off an image: (batch, height, width, channels) → (batch, height − top − bottom, ..., channels).

    >>> import lamina
    >>> lamina.layers.Cropping2D(((1, 1), (2, 2)))(lamina.Input((10, 10, 3))).shape
    (None, 8, 6, 3)
    """

    rank = 2


@public("layers")
class Cropping3D(Cropping):
    """Edges taken off a volume; see `Cropping2D`.

    >>> import lamina
    >>> lamina.layers.Cropping3D(1)(lamina.Input((4, 4, 4, 1))).shape
    (None, 2, 2, 2, 1)
    """

    rank = 3

    def __init__(self, cropping: Any = 1, data_format: str | None = None, **kwargs: Any):
        super().__init__(cropping, data_format, **kwargs)


class UpSampling(SpatialLayer):
    """Each position repeated `size` times along each spatial axis."""

    def __init__(self, size: Any = 2, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.repeats = per_axis(size, self.rank, f"{type(self).__name__}: size")
        self.size = self.repeats if self.rank > 1 else self.repeats[0]
        self.set_data_format(data_format)

    def shape_rule(self, inputs: Axes) -> Axes:
        expect_rank(self, inputs, self.rank + 2)
        for name, times in zip(self.spatial_names, self.repeats, strict=True):
            size = inputs[name]
            inputs = inputs.replace(**{name: None if size is None else size * times})
        return inputs

    def spatial_readings(self, inputs: Axes) -> list[Reading]:
        return [Reading(1, ((0, 0),) * times) for times in self.repeats]

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        self.expect_axes(inputs)
        if self.rank > 1 and inputs.dtype.is_floating_point:
            return self._interpolate(inputs, "nearest-exact")  # torch's "nearest" is off by one for some sizes, as 41
        first = 2 if self.data_format == "channels_first" else 1  # repeated as given: the memory layout stays
        for axis, times in enumerate(self.repeats, start=first):
            inputs = inputs.repeat_interleave(times, axis) if times > 1 else inputs
        return inputs

    def _interpolate(self, inputs: torch.Tensor, mode: str, align_corners: bool | None = None) -> torch.Tensor:
        x = self.channels_second(inputs)
        size = [n * times for n, times in zip(x.shape[2:], self.repeats, strict=True)]
        return as_given(functional.interpolate(x, size=size, mode=mode, align_corners=align_corners), self.data_format)


@public("layers")
class UpSampling1D(UpSampling):
    """Each step repeated: (batch, steps, channels) → (batch, steps·size, channels).

    >>> import lamina
    >>> lamina.layers.UpSampling1D(3)(lamina.Input((10, 4))).shape
    (None, 30, 4)
    """

    rank = 1

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.data_format == "channels_last":
            config.pop("data_format")  # Keras's layer knows no other order
        return config


@public("layers")
class UpSampling2D(UpSampling):
    """An image enlarged: (batch, height, width, channels) → (batch, height·size, width·size, channels).

    Parameters: `interpolation`, "nearest", "bilinear" or "bicubic". Errors: another interpolation is a ValueError.

    >>> import lamina
    >>> lamina.layers.UpSampling2D(2)(lamina.Input((7, 7, 4))).shape
    (None, 14, 14, 4)
    """

    rank = 2

    def __init__(self, size: Any = 2, data_format: str | None = None, interpolation: str = "nearest", **kwargs: Any):
        super().__init__(size, data_format, **kwargs)
        if interpolation not in ("nearest", "bilinear", "bicubic"):
            raise ValueError(
                f"UpSampling2D: interpolation is 'nearest', 'bilinear' or 'bicubic'; got {interpolation!r} "
                f"('lanczos3' and 'lanczos5' are not there yet)."
            )
        self.interpolation = interpolation

    def spatial_readings(self, inputs: Axes) -> list[Reading]:
        if self.interpolation == "nearest":
            return super().spatial_readings(inputs)
        beside = 1 if self.interpolation == "bicubic" else 0
        return [
            Reading(1, tuple(_neighbours(place, times, beside) for place in range(times))) for times in self.repeats
        ]

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.interpolation == "nearest":
            return super().call(inputs)
        if inputs.dtype.is_floating_point:
            return self._interpolate(inputs, self.interpolation, align_corners=False)
        between = self._interpolate(inputs.to(self._compute_type), self.interpolation, align_corners=False)
        return between.round().to(inputs.dtype)  # whole numbers stay whole, as in Keras


def _neighbours(place: int, times: int, beside: int) -> tuple[int, int]:
    """The positions between which an enlarged one lies, at (place + ½)/times − ½, and `beside` more on either side."""
    doubled = 2 * place + 1 - times  # 2·times times as far from position 0
    if doubled % (2 * times) == 0:
        return doubled // (2 * times), doubled // (2 * times)
    return doubled // (2 * times) - beside, doubled // (2 * times) + 1 + beside


@public("layers")
class UpSampling3D(UpSampling):
    """A volume enlarged; see `UpSampling2D`.

    >>> import lamina
    >>> lamina.layers.UpSampling3D()(lamina.Input((4, 4, 4, 1))).shape
    (None, 8, 8, 8, 1)
    """

    rank = 3
