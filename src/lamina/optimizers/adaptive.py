"""Optimizers that divide by a root of past squared gradients: RMSprop, Adagrad, Adadelta, Ftrl."""

from __future__ import annotations

from typing import Unpack

import torch

from lamina.base.registry import public
from lamina.engine.variable import Variable
from lamina.initializers import Constant
from lamina.optimizers.base import Common, LearningRate, Optimizer, Tensors, pick


@public("optimizers", "rmsprop")
class RMSprop(Optimizer):
    """`v = rho * v + (1 - rho) * g²` and `w -= learning_rate * g / sqrt(v + epsilon)`.

    Parameters: `learning_rate`, `rho`, `epsilon`; with `centered`, the square of the mean gradient is taken off v; with
    `momentum`, `m = momentum * m + step` and `w -= m`; and those of `Optimizer`. Source: Tieleman and Hinton 2012.

    >>> from lamina import Variable
    >>> w = Variable([1.0])
    >>> RMSprop(learning_rate=0.1, rho=0.75).apply([torch.tensor([5.0])], [w])
    >>> w.numpy()
    array([0.8], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **common: Unpack[Common],
    ):
        super().__init__(learning_rate, **common)
        self.rho = rho
        self.momentum = momentum
        self.epsilon = epsilon
        self.centered = centered

    def _make_slots(self, variables: list[Variable]) -> None:
        self._velocities = self.add_optimizer_variables(variables, "velocity")
        self._momentums = self.add_optimizer_variables(variables, "momentum") if self.momentum > 0 else []
        self._means = self.add_optimizer_variables(variables, "average_gradient") if self.centered else []

    def _step(self, indices: list[int], variables: Tensors, gradients: Tensors, rate: float) -> None:
        velocities = pick(self._velocities, indices)
        torch._foreach_mul_(velocities, self.rho)
        torch._foreach_addcmul_(velocities, gradients, gradients, 1 - self.rho)
        roots = torch._foreach_add(velocities, self.epsilon)
        if self.centered:
            means = pick(self._means, indices)
            torch._foreach_lerp_(means, gradients, 1 - self.rho)
            torch._foreach_addcmul_(roots, means, means, -1.0)
        torch._foreach_sqrt_(roots)
        if self.momentum > 0:
            momentums = pick(self._momentums, indices)
            torch._foreach_mul_(momentums, self.momentum)
            torch._foreach_addcdiv_(momentums, gradients, roots, rate)
            torch._foreach_sub_(variables, momentums)
        else:
            torch._foreach_addcdiv_(variables, gradients, roots, -rate)


@public("optimizers", "adagrad")
class Adagrad(Optimizer):
    """`s = s + g²` and `w -= learning_rate * g / sqrt(s + epsilon)`.

    Parameters: `learning_rate`, `initial_accumulator_value` (the first s), `epsilon`, and those of `Optimizer`.
    Source: Duchi et al. 2011.

    >>> from lamina import Variable
    >>> w = Variable([1.0])
    >>> Adagrad(learning_rate=0.1, initial_accumulator_value=0.0).apply([torch.tensor([5.0])], [w])
    >>> w.numpy()
    array([0.9], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **common: Unpack[Common],
    ):
        super().__init__(learning_rate, **common)
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = epsilon

    def _make_slots(self, variables: list[Variable]) -> None:
        start = Constant(self.initial_accumulator_value)
        self._sums = self.add_optimizer_variables(variables, "accumulator", start)

    def _step(self, indices: list[int], variables: Tensors, gradients: Tensors, rate: float) -> None:
        sums = pick(self._sums, indices)
        torch._foreach_addcmul_(sums, gradients, gradients)
        roots = torch._foreach_add(sums, self.epsilon)
        torch._foreach_sqrt_(roots)
        torch._foreach_addcdiv_(variables, gradients, roots, -rate)


@public("optimizers", "adadelta")
class Adadelta(Optimizer):
    """`s = rho * s + (1 - rho) * g²`, `d = sqrt(t + epsilon) / sqrt(s + epsilon) * g`, `t = rho * t + (1 - rho) * d²`
    and `w -= learning_rate * d`.

    Parameters: `learning_rate` (1.0 is the paper's), `rho`, `epsilon`, and those of `Optimizer`. Source: Zeiler 2012.

    >>> from lamina import Variable
    >>> w = Variable([1.0])
    >>> Adadelta(learning_rate=1.0, rho=0.75, epsilon=0.25).apply([torch.tensor([1.0])], [w])
    >>> w.numpy().round(3)
    array([0.293], dtype=float32)
    """

    def __init__(
        self, learning_rate: LearningRate = 0.001, rho: float = 0.95, epsilon: float = 1e-7, **common: Unpack[Common]
    ):
        super().__init__(learning_rate, **common)
        self.rho = rho
        self.epsilon = epsilon

    def _make_slots(self, variables: list[Variable]) -> None:
        slots = ("accumulated_grad", "accumulated_delta_var")
        self._gradients, self._deltas = self.add_optimizer_variables(variables, slots)

    def _step(self, indices: list[int], variables: Tensors, gradients: Tensors, rate: float) -> None:
        squares, deltas = pick(self._gradients, indices), pick(self._deltas, indices)
        torch._foreach_mul_(squares, self.rho)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - self.rho)
        steps = torch._foreach_add(deltas, self.epsilon)
        torch._foreach_div_(steps, torch._foreach_add(squares, self.epsilon))
        torch._foreach_sqrt_(steps)
        torch._foreach_mul_(steps, gradients)
        torch._foreach_mul_(deltas, self.rho)
        torch._foreach_addcmul_(deltas, steps, steps, 1 - self.rho)
        torch._foreach_add_(variables, steps, alpha=-rate)


@public("optimizers", "ftrl")
class Ftrl(Optimizer):
    """Follow the regularised leader: with `n' = n + g²`, `p = -learning_rate_power` and `h = g + 2 * shrinkage * w`,
    `z += h - (n'**p - n**p) / learning_rate * w` and
    `w = (clip(z, -l1, l1) - z) / ((n'**p + beta) / learning_rate + 2 * l2)`.

    Parameters: `learning_rate`, `learning_rate_power` ≤ 0, `initial_accumulator_value` (the first n), the strengths l1,
    l2 and `l2_shrinkage_regularization_strength`, `beta`, and those of `Optimizer`. Source: McMahan et al. 2013.

    >>> from lamina import Variable
    >>> w = Variable([1.0])
    >>> Ftrl(learning_rate=0.1).apply([torch.tensor([5.0])], [w])
    >>> w.numpy().round(3)
    array([0.837], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **common: Unpack[Common],
    ):
        super().__init__(learning_rate, **common)
        strengths = (l1_regularization_strength, l2_regularization_strength, l2_shrinkage_regularization_strength)
        if initial_accumulator_value < 0 or learning_rate_power > 0 or min(strengths) < 0:
            raise ValueError("Ftrl takes initial_accumulator_value ≥ 0, learning_rate_power ≤ 0 and strengths ≥ 0.")
        self.learning_rate_power = learning_rate_power
        self.initial_accumulator_value = initial_accumulator_value
        self.l1_regularization_strength = l1_regularization_strength
        self.l2_regularization_strength = l2_regularization_strength
        self.l2_shrinkage_regularization_strength = l2_shrinkage_regularization_strength
        self.beta = beta

    def _make_slots(self, variables: list[Variable]) -> None:
        self._sums: list[Variable] = []
        self._linear: list[Variable] = []
        for variable in variables:
            start = Constant(self.initial_accumulator_value)
            self._sums.append(self.add_variable_from_reference(variable, "accumulator", start))
            self._linear.append(self.add_variable_from_reference(variable, "linear"))

    def _step(self, indices: list[int], variables: Tensors, gradients: Tensors, rate: float) -> None:
        power, l1 = -self.learning_rate_power, self.l1_regularization_strength
        sums, linear = pick(self._sums, indices), pick(self._linear, indices)
        before = torch._foreach_pow(sums, power)
        torch._foreach_addcmul_(sums, gradients, gradients)
        after = torch._foreach_pow(sums, power)
        torch._foreach_add_(linear, gradients)
        if self.l2_shrinkage_regularization_strength:
            torch._foreach_add_(linear, variables, alpha=2 * self.l2_shrinkage_regularization_strength)
        torch._foreach_addcmul_(linear, torch._foreach_sub(after, before), variables, -1 / rate)
        torch._foreach_add_(after, self.beta)
        torch._foreach_mul_(after, 1 / rate)
        torch._foreach_add_(after, 2 * self.l2_regularization_strength)
        clipped = torch._foreach_clamp_max(torch._foreach_clamp_min(linear, -l1), l1)
        results = torch._foreach_sub(clipped, linear)
        torch._foreach_copy_(variables, torch._foreach_div(results, after))
