"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from typing import Any, Unpack

import torch

from lamina.base.registry import public
from lamina.engine.variable import Variable
from lamina.optimizers.base import Common, LearningRate, Optimizer, Tensors, in_memory_order, pick


@public("optimizers", "sgd")
class SGD(Optimizer):
    """`w -= learning_rate * g`; with momentum `m = momentum * m - learning_rate * g` and `w += m`, or, with `nesterov`,
    `w += momentum * m - learning_rate * g`.

    Parameters: `learning_rate`, `momentum` in [0, 1], `nesterov`, and those of `Optimizer`.
    Sources: Polyak 1964; Nesterov 1983; Sutskever et al. 2013.

    >>> from lamina import Variable
    >>> w, sgd = Variable([1.0]), SGD(learning_rate=0.1, momentum=0.5)
    >>> for _ in range(2): sgd.apply([torch.tensor([1.0])], [w])
    >>> w.numpy()
    array([0.75], dtype=float32)
    """

    _takes_rate_on_device = True

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **common: Unpack[Common],
    ):
        super().__init__(learning_rate, **common)
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum lies in [0, 1]; got {momentum}.")
        self.momentum = momentum
        self.nesterov = nesterov

    def _make_slots(self, variables: list[Variable]) -> None:
        self.momentums = self.add_optimizer_variables(variables, "momentum") if self.momentum else []

    def _step(self, indices: list[int], variables: Tensors, gradients: Tensors, rate: Any) -> None:
        # With momentum the kernel computes b = momentum * b + (1 - dampening) * g and w -= lr * b. In the formula above
        # the learning rate belongs into m: so g is negated (maximize) and scaled by the dampening, and w -= -1 * b.
        # Nesterov's form uses g once more, and a dampening is a number of Python's: there g is scaled before.
        dampening = 0.0
        if self.momentum and (self.nesterov or isinstance(rate, torch.Tensor)):
            gradients = list(torch._foreach_mul(gradients, rate))
        elif self.momentum:
            dampening = 1.0 - rate
        slots = [pick(self.momentums, indices)] if self.momentum else []
        variables, gradients, *slots = in_memory_order(variables, gradients, *slots)
        torch._fused_sgd_(
            variables,
            gradients,
            slots[0] if slots else [],
            weight_decay=0.0,
            momentum=self.momentum,
            lr=-1.0 if self.momentum else rate,
            dampening=dampening,
            nesterov=self.nesterov and self.momentum > 0,
            maximize=self.momentum > 0,
            is_first_step=False,
        )
