"""Initializers that draw their values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch

from lamina.base.registry import public
from lamina.engine import random
from lamina.engine.device import current_device
from lamina.engine.dtypes import torch_dtype
from lamina.engine.random import SeedGenerator
from lamina.initializers.base import RandomInitializer

Seed = int | SeedGenerator | None

# The standard deviation of a standard normal variable cut off at two: dividing by it restores the wanted deviation.
_DEVIATION_WHEN_CUT_AT_TWO = 0.87962566103423978


@public("initializers", "normal")
class RandomNormal(RandomInitializer):
    """Normally distributed with `mean` and `stddev`.

    >>> RandomNormal(stddev=0.1, seed=1)((4, 3)).shape
    torch.Size([4, 3])
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None):
        super().__init__(seed)
        self.mean = mean
        self.stddev = stddev

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> torch.Tensor:
        return random.normal(shape, self.mean, self.stddev, dtype=dtype, seed=self.seed)


@public("initializers")
class TruncatedNormal(RandomNormal):
    """As `RandomNormal`, with what lies further than two `stddev` from the mean drawn anew.

    >>> bool(TruncatedNormal(stddev=1.0, seed=1)((1000,)).abs().max() <= 2)
    True
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None):
        super().__init__(mean, stddev, seed)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> torch.Tensor:
        return random.truncated_normal(shape, self.mean, self.stddev, dtype=dtype, seed=self.seed)


@public("initializers", "uniform")
class RandomUniform(RandomInitializer):
    """Evenly distributed in [`minval`, `maxval`).

    >>> RandomUniform(0.0, 1.0, seed=1)((4, 3)).shape
    torch.Size([4, 3])
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Seed = None):
        super().__init__(seed)
        self.minval = minval
        self.maxval = maxval

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> torch.Tensor:
        return random.uniform(shape, self.minval, self.maxval, dtype=dtype, seed=self.seed)


@public("initializers")
class VarianceScaling(RandomInitializer):
    """Variance `scale / n`, so that signals keep their size through a layer.

    Parameters: `scale`; `mode`, what `n` is: `"fan_in"` (inputs of one output unit), `"fan_out"` (outputs of one input
    unit) or `"fan_avg"` (their mean); `distribution`: `"truncated_normal"`, `"untruncated_normal"` or `"uniform"`
    (within `±sqrt(3 * scale / n)`); `input_axes` and `output_axes`, given together, name the axes that count as inputs
    and as outputs where the shape is not (..., inputs, outputs).
    Errors: a scale that is not positive, an unknown mode or distribution is a ValueError.

    >>> VarianceScaling(2.0, "fan_out", seed=1)((3, 3, 8, 16)).shape
    torch.Size([3, 3, 8, 16])
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ):
        super().__init__(seed)
        if scale <= 0:
            raise ValueError(f"scale is positive; got {scale}.")
        _one_of("mode", mode, ("fan_in", "fan_out", "fan_avg"))
        _one_of("distribution", distribution, ("uniform", "truncated_normal", "untruncated_normal"))
        self.scale = scale
        self.mode = mode
        self.distribution = distribution
        self.input_axes = input_axes
        self.output_axes = output_axes

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> torch.Tensor:
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return random.uniform(shape, -limit, limit, dtype=dtype, seed=self.seed)
        if self.distribution == "untruncated_normal":
            return random.normal(shape, 0.0, math.sqrt(variance), dtype=dtype, seed=self.seed)
        stddev = math.sqrt(variance) / _DEVIATION_WHEN_CUT_AT_TWO
        return random.truncated_normal(shape, 0.0, stddev, dtype=dtype, seed=self.seed)


class _Scaled(VarianceScaling):
    """A `VarianceScaling` with a name of its own: only the seed and the axes are left to choose."""

    _scale: float
    _mode: Literal["fan_in", "fan_out", "fan_avg"]
    _distribution: Literal["uniform", "truncated_normal"]

    def __init__(
        self, seed: Seed = None, input_axes: Sequence[int] | None = None, output_axes: Sequence[int] | None = None
    ):
        super().__init__(self._scale, self._mode, self._distribution, seed, input_axes, output_axes)


@public("initializers")
class GlorotUniform(_Scaled):
    """Even within `±sqrt(6 / (fan_in + fan_out))`. Glorot and Bengio 2010, *Understanding the difficulty of training
    deep feedforward neural networks*.

    >>> bool(GlorotUniform(seed=1)((2, 4)).abs().max() <= 1)
    True
    """

    _scale, _mode, _distribution = 1.0, "fan_avg", "uniform"


@public("initializers")
class GlorotNormal(_Scaled):
    """Truncated normal, standard deviation `sqrt(2 / (fan_in + fan_out))`. Glorot and Bengio 2010.

    >>> GlorotNormal(seed=1)((2, 4)).shape
    torch.Size([2, 4])
    """

    _scale, _mode, _distribution = 1.0, "fan_avg", "truncated_normal"


@public("initializers")
class HeUniform(_Scaled):
    """Even within `±sqrt(6 / fan_in)`. He et al. 2015, *Delving deep into rectifiers*.

    >>> HeUniform(seed=1)((2, 4)).shape
    torch.Size([2, 4])
    """

    _scale, _mode, _distribution = 2.0, "fan_in", "uniform"


@public("initializers")
class HeNormal(_Scaled):
    """Truncated normal, standard deviation `sqrt(2 / fan_in)`. He et al. 2015.

    >>> HeNormal(seed=1)((2, 4)).shape
    torch.Size([2, 4])
    """

    _scale, _mode, _distribution = 2.0, "fan_in", "truncated_normal"


@public("initializers")
class LecunUniform(_Scaled):
    """Even within `±sqrt(3 / fan_in)`. LeCun et al. 1998, *Efficient BackProp*.

    >>> LecunUniform(seed=1)((2, 4)).shape
    torch.Size([2, 4])
    """

    _scale, _mode, _distribution = 1.0, "fan_in", "uniform"


@public("initializers")
class LecunNormal(_Scaled):
    """Truncated normal, standard deviation `sqrt(1 / fan_in)`. LeCun et al. 1998; for `selu` see Klambauer et al. 2017.

    >>> LecunNormal(seed=1)((2, 4)).shape
    torch.Size([2, 4])
    """

    _scale, _mode, _distribution = 1.0, "fan_in", "truncated_normal"


@public("initializers", "OrthogonalInitializer")
class Orthogonal(RandomInitializer):
    """A random matrix with orthogonal rows or columns, whichever are fewer, times `gain`. A shape of more axes is the
    matrix (all axes but the last, the last). Saxe et al. 2014, *Exact solutions to the nonlinear dynamics of learning*.

    Errors: a shape of fewer than two axes is a ValueError.

    >>> q = Orthogonal(seed=1)((3, 5))
    >>> torch.allclose(q @ q.T, torch.eye(3), atol=1e-5)
    True
    """

    def __init__(self, gain: float = 1.0, seed: Seed = None):
        super().__init__(seed)
        self.gain = gain

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> torch.Tensor:
        if len(shape) < 2:
            raise ValueError(f"Orthogonal needs a shape of at least two axes; got {tuple(shape)}.")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        if current_device().type == "meta":
            return torch.empty(tuple(shape), dtype=torch_dtype(dtype), device="meta")
        tall = random.normal((max(rows, columns), min(rows, columns)), dtype="float32", seed=self.seed)
        q, r = torch.linalg.qr(tall)
        q = q * r.diagonal().sign()  # with the signs of r's diagonal every orthogonal matrix is equally likely
        q = q if rows >= columns else q.T
        return (self.gain * q).reshape(tuple(shape)).to(torch_dtype(dtype))


def compute_fans(
    shape: Sequence[int], input_axes: Sequence[int] | None = None, output_axes: Sequence[int] | None = None
) -> tuple[int, int]:
    """The inputs of one output unit and the outputs of one input unit of a weight (..., inputs, outputs).

    >>> compute_fans((3, 3, 16, 32))
    (144, 288)
    """
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[axis] for axis in input_axes), math.prod(shape[axis] for axis in output_axes)
    if len(shape) < 2:
        size = math.prod(shape)
        return size, size
    receptive_field = math.prod(shape[:-2])
    return receptive_field * shape[-2], receptive_field * shape[-1]


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is one of {', '.join(map(repr, allowed))}; got {value!r}.")
