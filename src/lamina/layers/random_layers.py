"""Layers that add chance in training and hand their input on otherwise: the dropouts and noises."""

from __future__ import annotations

from typing import Any

import torch

from lamina import regularizers
from lamina.base.config import standardize_data_format
from lamina.base.errors import ShapeError
from lamina.base.registry import public
from lamina.engine.forms import Form
from lamina.engine.random import as_seed_generator
from lamina.layers.layer import Layer
from lamina.layers.parts import expect_rank
from lamina.layers.same_shape import SameShape
from lamina.shapes import Axes, value_of


class _Random(SameShape):
    """What they share: a share or strength, and a random stream of the layer's own if a seed is given."""

    def __init__(self, seed: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = as_seed_generator(seed)

    def _generator(self, inputs: torch.Tensor) -> torch.Generator | None:
        return self.seed_generator.generator(inputs.device)

    def _kept(self, inputs: torch.Tensor, shape: Any, rate: float) -> torch.Tensor:
        """Ones with the probability 1 - rate, else zeros."""
        return inputs.new_empty(shape).bernoulli_(1 - rate, generator=self._generator(inputs))

    def _dropped(self, inputs: torch.Tensor, shape: Any, rate: float) -> torch.Tensor:
        noise = self._kept(inputs, shape, rate)
        return inputs * (noise.div_(1 - rate) if rate < 1 else noise)


def _share(value: Any, what: str, below_one: bool = False) -> Any:
    good = isinstance(value, int | float) and 0 <= value <= 1 and not (below_one and value == 1)
    if not good:
        raise ValueError(f"{what} is a number from 0 to {'below ' if below_one else ''}1; got {value!r}.")
    return value


class _WithNoiseShape(_Random):
    """The layers whose zeros may be shared along axes: a 1 in `noise_shape` shares, None is the input's size."""

    def _take_noise_shape(self, noise_shape: Any) -> None:
        noise_shape = None if noise_shape is None else tuple(noise_shape)
        if noise_shape is not None and any(size is not None and size < 1 for size in noise_shape):
            raise ValueError(f"{type(self).__name__}: noise_shape holds sizes and None; got {noise_shape}.")
        self.noise_shape = noise_shape

    def shape_rule(self, inputs: Axes) -> Axes:
        shape = self.noise_shape
        sizes = [value_of(size) for size in inputs.sizes]
        fits = shape is None or (
            len(shape) == inputs.rank
            and all(noise in (None, 1, size) or size is None for noise, size in zip(shape, sizes, strict=True))
        )
        if not fits:
            raise ShapeError(
                f"{self.title} cannot lay its noise_shape {shape} over its input.",
                layer=self.name,
                expected=f"an input that noise_shape {shape} broadcasts to",
                because="each size of noise_shape is the input's on that axis, None for the same, or 1 to share a zero "
                "along the axis",
                mend=f"noise_shape={(None,) * inputs.rank}, with 1 where zeros are shared",
            )
        return inputs

    def _noise_sizes(self, inputs: torch.Tensor) -> Any:
        if self.noise_shape is None:
            return inputs.shape
        return [own if size is None else size for size, own in zip(self.noise_shape, inputs.shape, strict=True)]


@public("layers")
class Dropout(_WithNoiseShape):
    """In training, sets a share `rate` of the numbers to 0 and scales the rest by 1/(1 - rate). Srivastava et al. 2014.

    Shapes: the input's. No weights. `noise_shape` shares zeros: with (None, 1, None) a feature drops in all steps.
    With a `seed` the layer has a random stream of its own, so two layers of one seed drop the same.
    Errors: a rate outside [0, 1] is a ValueError.

    >>> import lamina
    >>> lamina.layers.Dropout(0.5)(torch.ones(2, 2))  # no training: unchanged
    tensor([[1., 1.],
            [1., 1.]])
    """

    def __init__(self, rate: float, noise_shape: Any = None, seed: Any = None, **kwargs: Any):
        super().__init__(seed=seed, **kwargs)
        self.rate = _share(rate, "Dropout: rate")
        self._take_noise_shape(noise_shape)

    def call(self, inputs: torch.Tensor, training: bool | None = None) -> torch.Tensor:
        if not training or self.rate == 0:
            return inputs
        if self.noise_shape is None and self.seed_generator.seed is None:
            return torch.dropout(inputs, self.rate, True)
        return self._dropped(inputs, self._noise_sizes(inputs), self.rate)

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        return []


class _SpatialDropout(_Random):
    """Dropout of whole feature maps, of any number of spatial axes."""

    spatial_rank: int
    data_format: str = "channels_last"

    def __init__(self, rate: float, seed: Any = None, name: str | None = None, dtype: Any = None, **kwargs: Any):
        super().__init__(seed=seed, name=name, dtype=dtype, **kwargs)
        self.rate = _share(rate, f"{type(self).__name__}: rate")

    def shape_rule(self, inputs: Axes) -> Axes:
        expect_rank(self, inputs, self.spatial_rank + 2)
        return inputs

    def call(self, inputs: torch.Tensor, training: bool | None = None) -> torch.Tensor:
        if inputs.dim() != self.spatial_rank + 2:  # another rank would broadcast in silence
            self.shape_rule(Axes(self.axis_names(inputs.dim()), tuple(inputs.shape)))
        if not training or self.rate == 0:
            return inputs
        ones = (1,) * self.spatial_rank
        batch, *rest = inputs.shape
        shape = (batch, *ones, rest[-1]) if self.data_format == "channels_last" else (batch, rest[0], *ones)
        return self._dropped(inputs, shape, self.rate)

    def get_config(self) -> dict[str, Any]:
        config = {"rate": self.rate, "seed": super().get_config()["seed"], "name": self.name}
        return {**config, "dtype": self.dtype_policy.name}


@public("layers")
class SpatialDropout1D(_SpatialDropout):
    """In training, drops whole features: the same in all steps. Tompson et al. 2014.

    Shapes: (batch, steps, features) → the same. No weights. Errors: an input of another rank is a ShapeError.

    >>> import lamina
    >>> lamina.layers.SpatialDropout1D(0.5)(lamina.Input((10, 4))).shape
    (None, 10, 4)
    """

    spatial_rank = 1


class _SpatialDropoutOfImages(_SpatialDropout):
    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: Any = None,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ):
        super().__init__(rate, seed=seed, name=name, dtype=dtype, **kwargs)
        self.data_format = standardize_data_format(data_format)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}


@public("layers")
class SpatialDropout2D(_SpatialDropoutOfImages):
    """In training, drops whole channels: the same in all heights and widths. Tompson et al. 2014.

    Shapes: (batch, height, width, channels), or with `data_format="channels_first"` channels second → the same. No
    weights. Errors: an input of another rank is a ShapeError.

    >>> import lamina
    >>> lamina.layers.SpatialDropout2D(0.5)(lamina.Input((8, 8, 4))).shape
    (None, 8, 8, 4)
    """

    spatial_rank = 2


@public("layers")
class SpatialDropout3D(_SpatialDropoutOfImages):
    """In training, drops whole channels of a volume. Tompson et al. 2014.

    Shapes: (batch, depth, height, width, channels), or with `data_format="channels_first"` channels second → the same.
    No weights. Errors: an input of another rank is a ShapeError.

    >>> import lamina
    >>> lamina.layers.SpatialDropout3D(0.5)(lamina.Input((8, 8, 8, 4))).shape
    (None, 8, 8, 8, 4)
    """

    spatial_rank = 3


@public("layers")
class GaussianNoise(_Random):
    """In training, adds numbers of the normal distribution with mean 0 and deviation `stddev`.

    Shapes: the input's. No weights. Errors: a stddev outside [0, 1] is a ValueError.

    >>> import lamina
    >>> lamina.layers.GaussianNoise(0.1)(torch.ones(2))  # no training: unchanged
    tensor([1., 1.])
    """

    def __init__(self, stddev: float, seed: Any = None, **kwargs: Any):
        super().__init__(seed=seed, **kwargs)
        self.stddev = _share(stddev, "GaussianNoise: stddev")

    def call(self, inputs: torch.Tensor, training: bool | None = None) -> torch.Tensor:
        if not training or self.stddev == 0:
            return inputs
        return inputs + torch.empty_like(inputs).normal_(0, self.stddev, generator=self._generator(inputs))


@public("layers")
class GaussianDropout(_Random):
    """In training, multiplies by numbers of mean 1 and deviation sqrt(rate/(1 - rate)). Srivastava et al. 2014.

    Shapes: the input's. No weights. Errors: a rate outside [0, 1) is a ValueError.

    >>> import lamina
    >>> lamina.layers.GaussianDropout(0.5)(torch.ones(2))  # no training: unchanged
    tensor([1., 1.])
    """

    def __init__(self, rate: float, seed: Any = None, **kwargs: Any):
        super().__init__(seed=seed, **kwargs)
        self.rate = _share(rate, "GaussianDropout: rate", below_one=True)

    def call(self, inputs: torch.Tensor, training: bool | None = None) -> torch.Tensor:
        if not training or self.rate == 0:
            return inputs
        deviation = (self.rate / (1 - self.rate)) ** 0.5
        return inputs * torch.empty_like(inputs).normal_(1, deviation, generator=self._generator(inputs))


_SELU_FLOOR = -1.7580993408473766  # what selu tends to far below 0: -scale * alpha


@public("layers")
class AlphaDropout(_WithNoiseShape):
    """In training, sets a share `rate` to selu's lowest value and shifts and scales the result so that mean 0 and
    variance 1 stay. Klambauer et al. 2017.

    Shapes: the input's. No weights. Errors: a rate outside [0, 1) is a ValueError.

    >>> import lamina
    >>> lamina.layers.AlphaDropout(0.5)(torch.ones(2))  # no training: unchanged
    tensor([1., 1.])
    """

    def __init__(self, rate: float, noise_shape: Any = None, seed: Any = None, **kwargs: Any):
        super().__init__(seed=seed, **kwargs)
        self.rate = _share(rate, "AlphaDropout: rate", below_one=True)
        self._take_noise_shape(noise_shape)

    def call(self, inputs: torch.Tensor, training: bool | None = None) -> torch.Tensor:
        if not training or self.rate == 0:
            return inputs
        if self.noise_shape is None and self.seed_generator.seed is None:
            return torch.alpha_dropout(inputs, self.rate, True)
        kept = self._kept(inputs, self._noise_sizes(inputs), self.rate)
        scale = ((1 - self.rate) * (1 + self.rate * _SELU_FLOOR**2)) ** -0.5
        shift = -scale * _SELU_FLOOR * self.rate
        return scale * (inputs * kept + _SELU_FLOOR * (1 - kept)) + shift


@public("layers")
class ActivityRegularization(SameShape):
    """Its input, unchanged; adds `l1 * sum(|x|) + l2 * sum(x²)` of it to the loss.

    Shapes: the input's. No weights.

    >>> import lamina
    >>> lamina.layers.ActivityRegularization(l1=0.1)(lamina.Input((3,))).shape
    (None, 3)
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any):
        super().__init__(activity_regularizer=regularizers.L1L2(l1=l1, l2=l2), **kwargs)
        self.l1, self.l2 = l1, l2

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs

    def get_config(self) -> dict[str, Any]:
        config = Layer.get_config(self)
        config.pop("activity_regularizer", None)
        return config
