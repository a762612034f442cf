"""Adam and its kin: steps from running means of the gradient and of its square."""

from __future__ import annotations

import math
from typing import Any, Unpack

import torch

from lamina.base.registry import public
from lamina.engine.variable import Variable
from lamina.optimizers.base import Common, LearningRate, Optimizer, Tensors, in_memory_order, pick


class TwoMoments(Optimizer):
    """`m` and `v`, decaying means with `beta_1` and `beta_2`: what the constructors of this family share."""

    _slots = ("momentum", "velocity")

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **common: Unpack[Common],
    ):
        super().__init__(learning_rate, **common)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def _make_slots(self, variables: list[Variable]) -> None:
        self._first, self._second = self.add_optimizer_variables(variables, self._slots)


@public("optimizers", "adam")
class Adam(TwoMoments):
    """`m = beta_1 * m + (1 - beta_1) * g`, `v = beta_2 * v + (1 - beta_2) * g²`, and in step t
    `w -= learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)`.

    Parameters: `learning_rate`, `beta_1`, `beta_2`, `epsilon`, `amsgrad` (the largest v so far stands for v), and those
    of `Optimizer`. Sources: Kingma and Ba 2015; Reddi et al. 2018.

    >>> from lamina import Variable
    >>> w = Variable([1.0])
    >>> Adam(learning_rate=0.1).apply([torch.tensor([5.0])], [w])
    >>> w.numpy().round(4)
    array([0.9], dtype=float32)
    """

    _takes_rate_on_device = True

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **common: Unpack[Common],
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **common)
        self.amsgrad = amsgrad

    def _make_slots(self, variables: list[Variable]) -> None:
        super()._make_slots(variables)
        self._largest = self.add_optimizer_variables(variables, "velocity_hat") if self.amsgrad else []

    def _rate_in_step(self, rate: float) -> float:
        step = self._steps_made() + 1
        return rate * math.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)

    def _step(self, indices: list[int], variables: Tensors, gradients: Tensors, rate: Any) -> None:
        # The kernel corrects for the number of steps by itself, with epsilon in another place; after endless steps it
        # does not, and the rate that is given here does it.
        endless = torch.full((), math.inf, dtype=torch.float32, device=variables[0].device)
        slots = [pick(one, indices) for one in (self._first, self._second, self._largest) if one]
        variables, gradients, first, second, *largest = in_memory_order(variables, gradients, *slots)
        torch._fused_adam_(
            variables,
            gradients,
            first,
            second,
            largest[0] if largest else [],
            [endless] * len(variables),
            lr=rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            weight_decay=0.0,
            eps=self.epsilon,
            amsgrad=self.amsgrad,
            maximize=False,
        )


@public("optimizers", "adamw")
class AdamW(Adam):
    """`Adam` with `weight_decay` d: `w -= learning_rate * d * w` before each step. Loshchilov and Hutter 2019.

    >>> from lamina import Variable
    >>> w = Variable([1.0])
    >>> AdamW(learning_rate=0.1, weight_decay=0.5).apply([torch.tensor([5.0])], [w])
    >>> w.numpy().round(4)
    array([0.85], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **common: Any,
    ):
        if weight_decay is None:
            raise ValueError("AdamW needs a weight_decay; without one it is Adam.")
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **common)


@public("optimizers", "adamax")
class Adamax(TwoMoments):
    """`m` as `Adam`, `u = max(beta_2 * u, |g|)`, `w -= learning_rate / (1 - beta_1**t) * m / (u + epsilon)`.

    Parameters: as `Adam`. Source: Kingma and Ba 2015, section 7.

    >>> from lamina import Variable
    >>> w = Variable([1.0])
    >>> Adamax(learning_rate=0.1).apply([torch.tensor([5.0])], [w])
    >>> w.numpy()
    array([0.9], dtype=float32)
    """

    _slots = ("momentum", "norm")

    def _step(self, indices: list[int], variables: Tensors, gradients: Tensors, rate: float) -> None:
        first, largest = pick(self._first, indices), pick(self._second, indices)
        torch._foreach_lerp_(first, gradients, 1 - self.beta_1)
        torch._foreach_mul_(largest, self.beta_2)
        torch._foreach_maximum_(largest, torch._foreach_abs(gradients))
        bias = 1 - self.beta_1 ** (self._steps_made() + 1)
        torch._foreach_addcdiv_(variables, first, torch._foreach_add(largest, self.epsilon), -rate / bias)


@public("optimizers", "nadam")
class Nadam(TwoMoments):
    """`Adam` with Nesterov momentum: with `u(t) = beta_1 * (1 - 0.96**t / 2)` and P the product of u(1) to u(t),
    `w -= learning_rate * (u(t+1) * m / (1 - P * u(t+1)) + (1 - u(t)) * g / (1 - P)) / (r + epsilon)` where
    `r = sqrt(v / (1 - beta_2**t))`.

    Parameters: as `Adam`. Source: Dozat 2015.

    >>> from lamina import Variable
    >>> w = Variable([1.0])
    >>> Nadam(learning_rate=0.1).apply([torch.tensor([5.0])], [w])
    >>> w.numpy().round(3)
    array([0.894], dtype=float32)
    """

    def _make_slots(self, variables: list[Variable]) -> None:
        super()._make_slots(variables)
        self._product = self._make_scalar(1.0, "float32", "u_product")

    def _before_step(self) -> None:
        self._product.mul_(self._u(self._steps_made() + 1))

    def _u(self, step: int) -> float:
        return self.beta_1 * (1 - 0.5 * 0.96**step)

    def _step(self, indices: list[int], variables: Tensors, gradients: Tensors, rate: float) -> None:
        step, product = self._steps_made() + 1, float(self._product)
        first, second = pick(self._first, indices), pick(self._second, indices)
        torch._foreach_lerp_(first, gradients, 1 - self.beta_1)
        torch._foreach_mul_(second, self.beta_2)
        torch._foreach_addcmul_(second, gradients, gradients, 1 - self.beta_2)
        roots = torch._foreach_sqrt(second)
        torch._foreach_div_(roots, math.sqrt(1 - self.beta_2**step))
        torch._foreach_add_(roots, self.epsilon)
        now, ahead = self._u(step), self._u(step + 1)
        torch._foreach_addcdiv_(variables, first, roots, -rate * ahead / (1 - product * ahead))
        torch._foreach_addcdiv_(variables, gradients, roots, -rate * (1 - now) / (1 - product))


@public("optimizers", "lion")
class Lion(Optimizer):
    """`w -= learning_rate * sign(beta_1 * m + (1 - beta_1) * g)`, then `m = beta_2 * m + (1 - beta_2) * g`.

    Parameters: `learning_rate` (a third to a tenth of Adam's), `beta_1` and `beta_2` in (0, 1], and those of
    `Optimizer`. Source: Chen et al. 2023, *Symbolic discovery of optimization algorithms*.

    >>> from lamina import Variable
    >>> w = Variable([1.0])
    >>> Lion(learning_rate=0.1).apply([torch.tensor([5.0])], [w])
    >>> w.numpy()
    array([0.9], dtype=float32)
    """

    def __init__(
        self, learning_rate: LearningRate = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, **common: Unpack[Common]
    ):
        super().__init__(learning_rate, **common)
        if not 0 < beta_1 <= 1:
            raise ValueError(f"beta_1 lies in (0, 1]; got {beta_1}. At 0 the step would be the gradient's sign.")
        self.beta_1 = beta_1
        self.beta_2 = beta_2

    def _make_slots(self, variables: list[Variable]) -> None:
        self._momentums = self.add_optimizer_variables(variables, "momentum")

    def _step(self, indices: list[int], variables: Tensors, gradients: Tensors, rate: float) -> None:
        momentums = pick(self._momentums, indices)
        directions = torch._foreach_lerp(momentums, gradients, 1 - self.beta_1)
        torch._foreach_sign_(directions)
        torch._foreach_add_(variables, directions, alpha=-rate)
        torch._foreach_lerp_(momentums, gradients, 1 - self.beta_2)
