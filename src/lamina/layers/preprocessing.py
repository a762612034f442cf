"""Layers that prepare data inside a model: Rescaling, Normalization, Resizing and CenterCrop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from lamina.base import config
from lamina.base.config import standardize_data_format
from lamina.base.errors import UnfinishedError
from lamina.base.registry import public
from lamina.base.serialization import deserialize_keras_object
from lamina.engine.forms import Affine, Form
from lamina.layers.parts import expect_rank, expect_size, known_size, positive_integer
from lamina.layers.same_shape import KeepsType, SameShape, positions
from lamina.layers.symbolic import named_inputs
from lamina.shapes import Axes, Reading, Readings, value_of


class _ToFloat(SameShape):
    """Integers come out as floats of the compute type."""

    def output_dtype(self, *inputs: str) -> str:
        return self.compute_dtype

    def _as_tensor(self, value: Any, like: torch.Tensor) -> Any:
        return value if isinstance(value, int | float) else torch.as_tensor(value, dtype=like.dtype, device=like.device)


@public("layers")
class Rescaling(_ToFloat):
    """`x * scale + offset`, e.g. `Rescaling(1 / 255)` for images of bytes.

    Shapes: the input's. No weights. `scale` and `offset` are numbers, or one for each channel: the last axis, or the
    third from the end where `config.image_data_format()` is "channels_first".

    >>> import lamina
    >>> lamina.layers.Rescaling(1 / 127.5, offset=-1)(torch.tensor([0, 255], dtype=torch.uint8))
    tensor([-1.,  1.])
    """

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        for name, value in (("scale", scale), ("offset", offset)):
            self.__dict__[name] = deserialize_keras_object(value) if isinstance(value, dict) else value

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        x = inputs.to(self._compute_type)
        return x * self._laid(self.scale, x) + self._laid(self.offset, x)

    def _laid(self, value: Any, x: torch.Tensor) -> Any:
        laid = self._as_tensor(value, x)
        channels = isinstance(laid, torch.Tensor) and laid.dim() == 1 and x.dim() >= 3
        return laid[:, None, None] if channels and config.image_data_format() == "channels_first" else laid

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        channels = inputs[0].shape[-1]
        by_channel = [torch.as_tensor(value, dtype=torch.float32) for value in (self.scale, self.offset)]
        plain = all(value.dim() == 0 for value in by_channel)
        last = all(value.shape in ((), (channels,)) for value in by_channel)
        if channels is None or not (plain or (last and config.image_data_format() == "channels_last")):
            return None
        scale, offset = (value.expand(channels) for value in by_channel)
        return [Affine(scale, offset, axis=-1)]


@public("layers")
class Normalization(_ToFloat):
    """`(x - mean) / sqrt(variance)` for each index of `axis`, with statistics that are given or that `adapt` takes.

    Shapes: the input's. Weights, none trained: mean and variance, of `axis`'s sizes, and a count; none when `mean` and
    `variance` are given. `axis=None` takes one mean of everything; `invert` turns the formula round.
    Errors: only one of `mean` and `variance` is a ValueError; a size of `axis` that is open is a ShapeError.

    >>> import lamina
    >>> norm = lamina.layers.Normalization()
    >>> norm.adapt(np.array([[1.0, 10.0], [3.0, 30.0]]))
    >>> norm(np.array([[3.0, 20.0]]))
    tensor([[1., 0.]])
    """

    def __init__(self, axis: Any = -1, mean: Any = None, variance: Any = None, invert: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        if (mean is None) != (variance is None):
            raise ValueError(
                f"Normalization: mean and variance go together; got mean={mean!r} and variance={variance!r}."
            )
        if np.shape(mean) != np.shape(variance):
            raise ValueError(
                f"Normalization: mean and variance have one shape; got {np.shape(mean)} and {np.shape(variance)}."
            )
        self.axis = () if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        self.invert = invert
        given = None if mean is None else (np.asarray(mean).tolist(), np.asarray(variance).tolist())
        self.__dict__["_given"] = given
        self.adapt_mean: Any = None
        self.adapt_variance: Any = None
        self.count: Any = None

    def _kept(self, inputs: Axes) -> list[int]:
        """The axes with a mean for each index, from the front."""
        return sorted(positions(self, inputs, self.axis))

    def build(self, input_shape: Any) -> None:
        if self._given is not None:
            return
        inputs = Axes(self.axis_names(len(input_shape)), tuple(input_shape))
        kept = self._kept(inputs)
        shape, names = (
            tuple(known_size(self, inputs, axis) for axis in kept),
            tuple(inputs.names[axis] for axis in kept),
        )
        self.adapt_mean = self.add_weight(shape, "zeros", trainable=False, name="mean", axes=names)
        self.adapt_variance = self.add_weight(shape, "ones", trainable=False, name="variance", axes=names)
        self.count = self.add_weight((), "zeros", dtype="int32", trainable=False, name="count")

    def shape_rule(self, inputs: Axes) -> Axes:
        kept = self._kept(inputs)
        if self.adapt_mean is not None:
            for axis, size in zip(kept, self.adapt_mean.shape, strict=True):
                expect_size(self, inputs, axis, size, "mean", f"its mean is {tuple(self.adapt_mean.shape)}")
        return inputs

    @property
    def mean(self) -> Any:
        """The mean that was given or adapted to; None before either."""
        return self._statistic(0)

    @property
    def variance(self) -> Any:
        """The variance that was given or adapted to; None before either."""
        return self._statistic(1)

    def _statistic(self, which: int) -> Any:
        if self._given is not None:
            return torch.tensor(self._given[which], dtype=self._compute_type)
        return (self.adapt_mean, self.adapt_variance)[which]

    def adapt(self, data: Any) -> None:
        """Takes mean and variance from data: an array, a tensor, or batches (a DataLoader, a generator, a list of
        arrays). What was taken before is forgotten. Errors: a ValueError when mean and variance were given, or when
        there is no data."""
        if self._given is not None:
            raise ValueError(f"{self.title} was given its mean and variance, so it adapts to no data.")
        count, mean, squares = 0, np.zeros(()), np.zeros(())
        for batch in _batches(data):
            if not self.built:
                self.build(batch.shape)
            inputs = named_inputs(self, [batch.shape])[0]
            self.shape_rule(inputs)
            kept = self._kept(inputs)
            rest = tuple(axis for axis in range(batch.ndim) if axis not in kept)
            here = int(np.prod([batch.shape[axis] for axis in rest]))
            if here == 0:
                continue
            # Chan's merging of two samples' means and sums of squares.
            batch = np.transpose(batch.astype(np.float64), (*kept, *rest)).reshape(*(batch.shape[a] for a in kept), -1)
            its_mean = batch.mean(axis=-1)
            step = its_mean - mean
            squares = (
                squares + ((batch - its_mean[..., None]) ** 2).sum(axis=-1) + step**2 * (count * here / (count + here))
            )
            mean = mean + step * (here / (count + here))
            count += here
        if count == 0:
            raise ValueError(f"{self.title} cannot adapt: the data holds no example.")
        self.adapt_mean.assign(mean)
        self.adapt_variance.assign(squares / count)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        x = inputs.to(self._compute_type)
        mean, variance = self._laid(0, x), self._laid(1, x)
        deviation = variance.sqrt().clamp_min(config.epsilon())
        return x * deviation + mean if self.invert else (x - mean) / deviation

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        rank = len(inputs[0].shape)
        if self.invert or [axis % rank for axis in self.axis] != [rank - 1]:
            return None
        mean, variance = (self._statistic(which).float().flatten() for which in (0, 1))
        if mean.shape != (inputs[0].shape[-1],) or variance.shape != mean.shape:
            return None
        scale = 1 / variance.sqrt().clamp_min(config.epsilon())
        return [Affine(scale, -mean * scale, axis=-1)]

    def _laid(self, which: int, x: torch.Tensor) -> torch.Tensor:
        """A statistic with its axes where `axis` says, and 1 elsewhere."""
        statistic = self._statistic(which).to(x)
        kept = [axis % x.dim() for axis in self.axis]
        if statistic.dim() != len(kept):  # given values broadcast as they are
            return statistic
        return statistic.reshape([x.shape[axis] if axis in kept else 1 for axis in range(x.dim())])

    def _config_value(self, name: str) -> Any:
        """A config holds the mean and variance that were given; those that `adapt` took are weights."""
        if name in ("mean", "variance"):
            return None if self._given is None else self._given[name == "variance"]
        return super()._config_value(name)


def _batches(data: Any) -> Iterator[np.ndarray[Any, Any]]:
    """Arrays of the data's examples: of one array, or of each batch; of (x, y) batches the x."""
    whole = isinstance(data, np.ndarray | torch.Tensor) or hasattr(data, "__array__")
    if not whole and isinstance(data, list | tuple) and not any(hasattr(item, "shape") for item in data):
        whole = True  # nested lists of numbers
    if not whole and not isinstance(data, Iterable):
        raise TypeError(f"adapt takes an array, a tensor or batches of them; got {type(data).__name__}.")
    for batch in (data,) if whole else data:
        batch = batch[0] if isinstance(batch, list | tuple) and not whole else batch
        yield batch.detach().cpu().numpy() if isinstance(batch, torch.Tensor) else np.asarray(batch)


class _ImageLayer(KeepsType):
    """An image, or a batch of them, of a fixed height and width."""

    def __init__(self, height: int, width: int, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.height = positive_integer(height, f"{type(self).__name__}: height")
        self.width = positive_integer(width, f"{type(self).__name__}: width")
        self.data_format = standardize_data_format(data_format)

    def axis_names(self, rank: int) -> tuple[str, ...]:
        names = super().axis_names(4)
        return names if rank == 4 else names[1:] if rank == 3 else super().axis_names(rank)

    def shape_rule(self, inputs: Axes) -> Axes:
        expect_rank(self, inputs, 4, 3)
        return inputs.replace(height=self.height, width=self.width)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        images = inputs if inputs.dim() == 4 else inputs.unsqueeze(0)
        if self.data_format == "channels_last":
            images = self._sized(images.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        else:
            images = self._sized(images)
        return images if inputs.dim() == 4 else images.squeeze(0)

    def _sized(self, images: torch.Tensor) -> torch.Tensor:
        """Images (batch, channels, height, width) in the wanted size."""
        raise NotImplementedError

    def _cut_to_ratio(self, images: torch.Tensor) -> torch.Tensor:
        """The largest middle part that has the wanted ratio of height to width."""
        height, width = images.shape[-2:]
        high = min(height, int(width * self.height / self.width))
        wide = min(width, int(height * self.width / self.height))
        return _middle(images, max(high, 1), max(wide, 1))


def _middle(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    top, left = (images.shape[-2] - height) // 2, (images.shape[-1] - width) // 2
    return images[..., top : top + height, left : left + width]


_MODES = {"nearest": "nearest-exact", "bilinear": "bilinear", "bicubic": "bicubic"}


def _interpolate(images: torch.Tensor, size: tuple[int, int], interpolation: str, antialias: bool) -> torch.Tensor:
    options = {} if interpolation == "nearest" else {"antialias": antialias, "align_corners": False}
    if images.is_floating_point():
        return functional.interpolate(images, size, mode=_MODES[interpolation], **options)
    resized = functional.interpolate(images.float(), size, mode=_MODES[interpolation], **options).round()
    limits = torch.iinfo(images.dtype)  # bicubic curves swing beyond the range
    return resized.clamp(limits.min, limits.max).to(images.dtype)


@public("layers")
class Resizing(_ImageLayer):
    """Images in another size, by `interpolation` "bilinear", "nearest" or "bicubic".

    Shapes: (batch, height, width, channels) → the same with the layer's height and width; one image without batch too;
    channels second with `data_format="channels_first"`. No weights. `crop_to_aspect_ratio` first cuts the middle part
    of the wanted ratio; `pad_to_aspect_ratio` keeps the ratio and fills the borders with `fill_value`. Integers stay
    integers, rounded.

    >>> import lamina
    >>> lamina.layers.Resizing(32, 32)(lamina.Input((None, None, 3))).shape
    (None, 32, 32, 3)
    """

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(height, width, data_format, **kwargs)
        if interpolation in ("lanczos3", "lanczos5"):
            raise UnfinishedError(f"Resizing: torch has no interpolation {interpolation!r}; take {', '.join(_MODES)}.")
        if interpolation not in _MODES:
            raise ValueError(f"Resizing: interpolation is one of {', '.join(_MODES)}; got {interpolation!r}.")
        if crop_to_aspect_ratio and pad_to_aspect_ratio:
            raise ValueError("Resizing: crop_to_aspect_ratio and pad_to_aspect_ratio exclude each other.")
        if fill_mode != "constant":
            raise ValueError(f"Resizing: fill_mode is 'constant'; got {fill_mode!r}.")
        self.interpolation, self.antialias = interpolation, antialias
        self.crop_to_aspect_ratio, self.pad_to_aspect_ratio = crop_to_aspect_ratio, pad_to_aspect_ratio
        self.fill_mode, self.fill_value = fill_mode, fill_value

    def _sized(self, images: torch.Tensor) -> torch.Tensor:
        if self.pad_to_aspect_ratio:
            images = self._padded_to_ratio(images)
        elif self.crop_to_aspect_ratio:
            images = self._cut_to_ratio(images)
        return _interpolate(images, (self.height, self.width), self.interpolation, self.antialias)

    def _padded_to_ratio(self, images: torch.Tensor) -> torch.Tensor:
        """The images with equal borders, above and below or left and right, for the wanted ratio."""
        height, width = images.shape[-2:]
        above = max(int(width * self.height / self.width) - height, 0) // 2
        left = max(int(height * self.width / self.height) - width, 0) // 2
        return functional.pad(images, (left, left, above, above), value=self.fill_value)


@public("layers")
class CenterCrop(_ImageLayer):
    """The middle `height` × `width` of images. A smaller image is cut to the ratio and enlarged (bilinear).

    Shapes: (batch, height, width, channels) → the same with the layer's height and width; one image without batch too;
    channels second with `data_format="channels_first"`. No weights. Integers come out as floats.

    >>> import lamina
    >>> lamina.layers.CenterCrop(24, 24)(lamina.Input((28, 28, 1))).shape
    (None, 24, 24, 1)
    """

    def output_dtype(self, *inputs: str) -> str:
        return self.compute_dtype

    def readings(self, *inputs: Axes) -> Readings | None:
        sizes = (("height", self.height), ("width", self.width))
        left = {name: value_of(inputs[0][name]) for name, _ in sizes}
        if any(left[name] is None or left[name] < size for name, size in sizes):  # type: ignore[operator]
            return None  # resized, or not known
        before = {name: (left[name] - size) // 2 for name, size in sizes}  # type: ignore[operator]
        return [{name: Reading(1, ((shift, shift),)) for name, shift in before.items()}]

    def _sized(self, images: torch.Tensor) -> torch.Tensor:
        images = images.to(self._compute_type)
        if images.shape[-2] >= self.height and images.shape[-1] >= self.width:
            return _middle(images, self.height, self.width)
        return _interpolate(self._cut_to_ratio(images), (self.height, self.width), "bilinear", antialias=False)
