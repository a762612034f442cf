"""Loss scaling, which keeps small float16 gradients from vanishing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from lamina.base.registry import public
from lamina.base.serialization import deserialize_keras_object, serialize_value
from lamina.engine.variable import Variable
from lamina.optimizers.base import LearningRate, Optimizer


@public("optimizers")
class LossScaleOptimizer(Optimizer):
    """Multiplies the loss by a scale and divides the gradients by it before the inner optimizer's step.

    The scale doubles after `dynamic_growth_steps` steps in a row with finite gradients. A step with a gradient that is
    not finite changes nothing and halves the scale. Parameters: `inner_optimizer`, `initial_scale`,
    `dynamic_growth_steps`, `name`. Errors: an option that belongs to the inner optimizer is a ValueError.
    Source: Micikevicius et al. 2018, *Mixed precision training*.

    >>> from lamina import optimizers, Variable
    >>> scaled = LossScaleOptimizer(optimizers.SGD(0.1), initial_scale=8.0)
    >>> float(scaled.scale_loss(torch.tensor(2.0)))
    16.0
    """

    def __init__(
        self,
        inner_optimizer: Optimizer | dict[str, Any],
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **common: Any,
    ):
        given = [key for key, value in common.items() if value]
        if given:
            raise ValueError(f"LossScaleOptimizer takes no {given[0]}: give it to the inner optimizer.")
        super().__init__(0.0, name=name)  # its own step count and learning rate lie unused at the head of the file
        found = deserialize_keras_object(inner_optimizer) if isinstance(inner_optimizer, dict) else inner_optimizer
        if not isinstance(found, Optimizer):
            raise TypeError(f"inner_optimizer is an Optimizer; got {inner_optimizer!r}.")
        self.inner_optimizer = found
        self.initial_scale = initial_scale
        self.dynamic_growth_steps = dynamic_growth_steps

    def get_config(self) -> dict[str, Any]:
        names = ("name", "inner_optimizer", "initial_scale", "dynamic_growth_steps")
        return {name: serialize_value(getattr(self, name)) for name in names}

    @property
    def variables(self) -> list[Variable]:
        """Its own variables, then the inner optimizer's."""
        return [*self._variables, *self.inner_optimizer.variables]

    @property
    def learning_rate(self) -> Any:
        """The inner optimizer's."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: LearningRate) -> None:
        self.inner_optimizer.learning_rate = value

    @property
    def iterations(self) -> Any:
        """The inner optimizer's: steps with gradients that were not finite do not count."""
        return self.inner_optimizer.iterations

    def build(self, variables: Sequence[Variable]) -> None:
        self.step_counter = self._make_scalar(0, "int32", "step_counter")
        self.dynamic_scale = self._make_scalar(self.initial_scale, "float32", "dynamic_scale")
        self._trainable_variables = list(variables)
        self._number_variables()
        self.inner_optimizer.build(variables)
        self.built = True

    @torch.no_grad()
    def apply(self, grads: Sequence[Tensor | None], trainable_variables: Sequence[Variable] | None = None) -> None:
        """The inner optimizer's step with the gradients over the scale, or, where one is not finite, no step."""
        if not self.built:
            if trainable_variables is None:
                raise ValueError("apply(grads) without variables needs a built optimizer: call build(variables) first.")
            self.build(trainable_variables)
        present = [gradient for gradient in grads if gradient is not None]
        if present and not _all_finite(present):
            self.step_counter.zero_()
            self.dynamic_scale.mul_(0.5)
            return
        factor = 1 / float(self.dynamic_scale)
        scaled = iter(torch._foreach_mul(present, factor)) if present else iter(())
        self.inner_optimizer.apply([None if each is None else next(scaled) for each in grads], trainable_variables)
        self.step_counter.add_(1)
        if int(self.step_counter) >= self.dynamic_growth_steps:
            self.step_counter.zero_()
            self.dynamic_scale.mul_(2.0)

    def scale_loss(self, loss: Tensor) -> Tensor:
        """The loss times the scale."""
        scale = float(self.dynamic_scale) if self.built else self.initial_scale
        return self.inner_optimizer.scale_loss(loss) * scale

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        self.inner_optimizer.finalize_variable_values(var_list)

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)


def _all_finite(gradients: list[Tensor]) -> bool:
    """One wait for the device, however many gradients there are."""
    norms = torch._foreach_norm(gradients, float("inf"))
    home = norms[0]
    return bool(torch.stack([norm.to(home.device, torch.float32) for norm in norms]).isfinite().all())
