"""Learning rates that change with the step. A schedule takes a step (int or tensor) and gives a Python float.

>>> from lamina.optimizers import schedules
>>> schedules.ExponentialDecay(0.1, decay_steps=10, decay_rate=0.5)(20)
0.025
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from lamina.base.registry import public
from lamina.base.serialization import Configurable, deserialize_keras_object, serialize_keras_object


@public("optimizers.schedules")
class LearningRateSchedule(Configurable):
    """A function from the step to the learning rate. Subclasses write `__call__(step)`.

    >>> class Rsqrt(LearningRateSchedule):
    ...     def __call__(self, step): return (1.0 + float(step)) ** -0.5
    >>> Rsqrt()(3)
    0.5
    """

    def __call__(self, step: Any) -> float:
        raise NotImplementedError(f"{type(self).__name__} has no __call__(step); write one.")


@public("optimizers.schedules")
class ExponentialDecay(LearningRateSchedule):
    """`initial_learning_rate * decay_rate ** (step / decay_steps)`; with `staircase` the exponent is rounded down.

    >>> ExponentialDecay(1.0, 10, 0.5, staircase=True)(19)
    0.5
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ):
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _positive("decay_steps", decay_steps)
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def _periods(self, step: Any) -> float:
        periods = float(step) / self.decay_steps
        return math.floor(periods) if self.staircase else periods

    def __call__(self, step: Any) -> float:
        return self.initial_learning_rate * self.decay_rate ** self._periods(step)


@public("optimizers.schedules")
class InverseTimeDecay(ExponentialDecay):
    """`initial_learning_rate / (1 + decay_rate * step / decay_steps)`; with `staircase` the quotient is rounded down.

    >>> InverseTimeDecay(1.0, 10, 0.5)(20)
    0.5
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ):
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def __call__(self, step: Any) -> float:
        return self.initial_learning_rate / (1 + self.decay_rate * self._periods(step))


@public("optimizers.schedules")
class PiecewiseConstantDecay(LearningRateSchedule):
    """`values[i]` up to and with the step `boundaries[i]`, and the last value after the last boundary.

    Errors: as many values as boundaries and one more, else a ValueError.

    >>> schedule = PiecewiseConstantDecay([10, 20], [1.0, 0.5, 0.1])
    >>> schedule(10), schedule(11), schedule(21)
    (1.0, 0.5, 0.1)
    """

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant"):
        if len(boundaries) != len(values) - 1:
            raise ValueError(f"{len(boundaries)} boundaries part {len(boundaries) + 1} values; got {len(values)}.")
        self.boundaries = boundaries
        self.values = values
        self.name = name

    def __call__(self, step: Any) -> float:
        return float(self.values[bisect_left(self.boundaries, float(step))])


@public("optimizers.schedules")
class PolynomialDecay(LearningRateSchedule):
    """`(initial - end) * (1 - step / decay_steps) ** power + end`, with the step held at `decay_steps`. With `cycle`,
    `decay_steps` is instead stretched to its next multiple that is not below the step.

    >>> round(PolynomialDecay(0.1, 10, 0.0)(5), 6)
    0.05
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ):
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _positive("decay_steps", decay_steps)
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.cycle = cycle
        self.name = name

    def __call__(self, step: Any) -> float:
        progress = float(step) / self.decay_steps
        progress = progress / max(1, math.ceil(progress)) if self.cycle else min(progress, 1.0)
        span = self.initial_learning_rate - self.end_learning_rate
        return span * (1 - progress) ** self.power + self.end_learning_rate


@public("optimizers.schedules")
class CosineDecay(LearningRateSchedule):
    """Half a cosine from the initial rate down to `alpha` times it over `decay_steps`.

    With `warmup_target` the rate first rises in a line from the initial rate to the target over `warmup_steps`, and the
    cosine starts from there. Loshchilov and Hutter 2017, *SGDR*.

    >>> round(CosineDecay(0.1, 100)(50), 6)
    0.05
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ):
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _positive("decay_steps", decay_steps)
        self.alpha = alpha
        self.name = name
        self.warmup_target = warmup_target
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> float:
        start, step = self.initial_learning_rate, float(step)
        if self.warmup_target is not None:
            if step <= self.warmup_steps and self.warmup_steps:
                return start + (self.warmup_target - start) * step / self.warmup_steps
            start, step = self.warmup_target, step - self.warmup_steps
        cosine = 0.5 * (1 + math.cos(math.pi * min(step / self.decay_steps, 1.0)))
        return start * ((1 - self.alpha) * cosine + self.alpha)


@public("optimizers.schedules")
class CosineDecayRestarts(LearningRateSchedule):
    """`CosineDecay` that starts again: each period is `t_mul` times as long and starts at `m_mul` times the rate of the
    one before. Loshchilov and Hutter 2017, *SGDR*.

    >>> schedule = CosineDecayRestarts(0.1, 10, m_mul=0.5)
    >>> schedule(0), schedule(10)
    (0.1, 0.05)
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ):
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = _positive("first_decay_steps", first_decay_steps)
        self.t_mul = t_mul
        self.m_mul = m_mul
        self.alpha = alpha
        self.name = name

    def __call__(self, step: Any) -> float:
        progress = float(step) / self.first_decay_steps
        if self.t_mul == 1:
            restarts = math.floor(progress)
            progress -= restarts
        else:  # restart n comes after 1 + t + ... + t ** (n - 1) = (t ** n - 1) / (t - 1) first periods
            exact = math.log(1 + progress * (self.t_mul - 1)) / math.log(self.t_mul)
            restarts = math.floor(exact + 1e-9)  # log(9) / log(3) must not be a hair below 2
            length = self.t_mul**restarts
            progress = (progress - (length - 1) / (self.t_mul - 1)) / length
        cosine = 0.5 * self.m_mul**restarts * (1 + math.cos(math.pi * progress))
        return self.initial_learning_rate * ((1 - self.alpha) * cosine + self.alpha)


def serialize(learning_rate_schedule: Any) -> Any:
    """The config of a schedule."""
    return serialize_keras_object(learning_rate_schedule)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The schedule of a config."""
    return deserialize_keras_object(config, custom_objects)


def _positive(name: str, value: float) -> float:
    if value <= 0:
        raise ValueError(f"{name} is positive; got {value!r}.")
    return value
