"""What all optimizers share: the learning rate, clipping, decay, averages, accumulation, variables and their files.

A subclass states its slots (`_make_slots`) and its step over a list of variables of one device and dtype (`_step`). A
user's subclass may, as in Keras, write `build` and `update_step(gradient, variable, learning_rate)` instead.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypedDict, overload

import numpy as np
import torch
from torch import Tensor

from lamina.base import names
from lamina.base.errors import outside_frame
from lamina.base.registry import nearest, public
from lamina.base.serialization import Configurable, constructor_names, deserialize_keras_object, own_class
from lamina.base.spellings import accept_old_spellings
from lamina.engine.budget import current_budget
from lamina.engine.device import device
from lamina.engine.variable import Variable
from lamina.initializers import get as get_initializer
from lamina.optimizers.schedules import LearningRateSchedule

LearningRate = float | Tensor | LearningRateSchedule | Callable[[], Any]
Tensors = list[Tensor]


class Common(TypedDict, total=False):
    """The arguments that every optimizer takes: see `Optimizer`."""

    weight_decay: float | None
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    loss_scale_factor: float | None
    gradient_accumulation_steps: int | None
    name: str | None


@public("optimizers")
class Optimizer(Configurable):
    """Changes variables by their gradients.

    Parameters: `learning_rate`, a number, a `LearningRateSchedule` or a function of nothing; `weight_decay` d:
    `variable -= learning_rate * d * variable` before each step; one of `clipnorm` (each gradient's norm at most),
    `clipvalue` (each element) and `global_clipnorm` (the norm of all together); `use_ema` keeps an average
    `m * average + (1 - m) * variable` with m = `ema_momentum`, which replaces the variables every
    `ema_overwrite_frequency` steps and at the end of `fit`; `loss_scale_factor` multiplies the loss and divides the
    gradients; with `gradient_accumulation_steps` n every n-th call steps, with the mean of n gradients.
    Errors: two kinds of clipping, numbers out of range and unknown arguments are ValueErrors.

    >>> from lamina import optimizers, Variable
    >>> v = Variable([1.0, 2.0])
    >>> optimizers.SGD(learning_rate=0.1).apply([torch.tensor([1.0, 1.0])], [v])
    >>> v.numpy()
    array([0.9, 1.9], dtype=float32)
    """

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith("lamina.") and "__init__" in vars(cls):
            cls.__init__ = accept_old_spellings(vars(cls)["__init__"])  # type: ignore[method-assign]

    _takes_rate_on_device = False  # whether `_step` takes its rate as a tensor of the weights' device, too

    def __init__(
        self,
        learning_rate: LearningRate,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **unknown: Any,
    ):
        if unknown:
            wrong = next(iter(unknown))
            known = constructor_names(own_class(type(self)))
            raise ValueError(f"{type(self).__name__} has no argument {wrong!r}.{nearest(wrong, list(known))}")
        clips = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        given = {key: value for key, value in clips.items() if value is not None}
        if len(given) > 1:
            raise ValueError(f"One kind of clipping at a time; got {given}.")
        if use_ema and not 0 <= ema_momentum <= 1:
            raise ValueError(f"ema_momentum lies in [0, 1]; got {ema_momentum}.")
        if use_ema and ema_overwrite_frequency is not None and ema_overwrite_frequency < 1:
            raise ValueError(f"ema_overwrite_frequency is a positive integer or None; got {ema_overwrite_frequency}.")
        if gradient_accumulation_steps is not None and gradient_accumulation_steps < 2:
            raise ValueError(f"gradient_accumulation_steps is at least 2 or None; got {gradient_accumulation_steps}.")
        self.name = name or names.auto_name(type(self).__name__)
        self.weight_decay = weight_decay
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.use_ema = use_ema
        self.ema_momentum = ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.built = False
        self._variables: list[Variable] = []
        self._trainable_variables: list[Variable] = []
        self._undecayed: list[str | Variable] = []
        self._iterations = self._make_scalar(0, "int32", "iteration")
        self._rate_source: LearningRateSchedule | Callable[[], Any] | None = None
        if isinstance(learning_rate, dict):
            learning_rate = deserialize_keras_object(learning_rate)
        if callable(learning_rate) and not isinstance(learning_rate, Tensor):
            self._rate_source = learning_rate
        else:
            self._rate = float(learning_rate)
            self._learning_rate = self._make_scalar(self._rate, "float32", "learning_rate")
            self._rate_version = self._learning_rate._version

    def _config_value(self, name: str) -> Any:
        if name == "learning_rate":
            return self._rate_number() if self._rate_source is None else self._rate_source
        return super()._config_value(name)

    # --- the learning rate and the number of steps

    @property
    def learning_rate(self) -> Any:
        """The learning rate: a scalar `Variable`, or the present value of a schedule or function."""
        return self._learning_rate if self._rate_source is None else torch.tensor(self._current_rate())

    @learning_rate.setter
    def learning_rate(self, value: LearningRate) -> None:
        if callable(value) and not isinstance(value, Tensor):
            if self._rate_source is None:
                self._variables = [variable for variable in self._variables if variable is not self._learning_rate]
            self._rate_source = value
        elif self._rate_source is not None:
            raise TypeError(
                f"The learning rate of {self.name!r} comes from {self._rate_source!r}. To set numbers, make the "
                "optimizer with a number as its learning_rate."
            )
        else:
            self._learning_rate.assign(float(value))
            self._rate, self._rate_version = float(value), self._learning_rate._version

    def _rate_number(self) -> float:
        """The learning rate as a float. The variable is only read when it was written, which torch's count tells."""
        if self._learning_rate._version != self._rate_version:
            self._rate_version = self._learning_rate._version
            stored = float(self._learning_rate)
            if stored != float(np.float32(self._rate)):  # else the float is the same number, more exactly
                self._rate = stored
        return self._rate

    def _current_rate(self) -> float:
        source = self._rate_source
        if source is None:
            return self._rate_number()
        return float(source(self._iterations) if isinstance(source, LearningRateSchedule) else source())

    @property
    def iterations(self) -> Any:
        """How many steps were made; with gradient accumulation, how often the variables changed."""
        if self.gradient_accumulation_steps:
            return self._iterations.detach() // self.gradient_accumulation_steps
        return self._iterations

    def _steps_made(self) -> int:
        return int(self._iterations) // (self.gradient_accumulation_steps or 1)

    # --- variables

    @property
    def variables(self) -> list[Variable]:
        """The number of steps, the learning rate and the slots, in the order of files."""
        return list(self._variables)

    def _make_scalar(self, value: float, dtype: str, name: str) -> Variable:
        """A scalar on the CPU, whatever the device of the weights: reading it never waits for an accelerator."""
        with device("cpu"):
            scalar = Variable(value, dtype=dtype, trainable=False, name=name, path=f"{self.name}/{name}")
        self._variables.append(scalar)
        return scalar

    def add_variable(
        self, shape: Sequence[int], initializer: Any = "zeros", dtype: Any = None, name: str | None = None
    ) -> Variable:
        """A new variable of the optimizer itself, kept in its files."""
        name = name or "variable"
        make = get_initializer(initializer)
        variable = Variable(make, shape, dtype, trainable=False, name=name, path=f"{self.name}/{name}")
        self._variables.append(variable)
        return variable

    def add_variable_from_reference(
        self, reference_variable: Variable, name: str | None = None, initializer: Any = "zeros"
    ) -> Variable:
        """A slot of a variable: of the same shape, dtype, device and memory layout."""
        path = getattr(reference_variable, "path", "") or "variable"
        name = f"{path.replace('/', '_')}_{name or 'slot'}"
        budget = current_budget()
        if budget is not None:
            budget.charge(reference_variable.shape, reference_variable.dtype, f"{self.name}/{name}")
        with device(reference_variable.device):
            data = torch.zeros_like(reference_variable.detach(), memory_format=torch.preserve_format)
            if initializer != "zeros" and data.device.type != "meta":
                data.copy_(get_initializer(initializer)(tuple(data.shape), dtype=data.dtype))
            slot = Variable(data, trainable=False, name=name, path=f"{self.name}/{name}")
        self._variables.append(slot)
        return slot

    @overload
    def add_optimizer_variables(
        self, trainable_variables: Sequence[Variable], name: str, initializer: Any = "zeros"
    ) -> list[Variable]: ...

    @overload
    def add_optimizer_variables(
        self, trainable_variables: Sequence[Variable], name: tuple[str, ...], initializer: Any = "zeros"
    ) -> tuple[list[Variable], ...]: ...

    def add_optimizer_variables(
        self, trainable_variables: Sequence[Variable], name: str | tuple[str, ...], initializer: Any = "zeros"
    ) -> list[Variable] | tuple[list[Variable], ...]:
        """A slot for each variable, or for each variable one of each name, which then lie side by side in files."""
        if isinstance(name, str):
            return [self.add_variable_from_reference(variable, name, initializer) for variable in trainable_variables]
        rows = [
            [self.add_variable_from_reference(variable, each, initializer) for each in name]
            for variable in trainable_variables
        ]
        return tuple([row[column] for row in rows] for column in range(len(name)))

    def build(self, variables: Sequence[Variable]) -> None:
        """Makes the slots of these variables. `apply` does it when it was not done."""
        self._trainable_variables = variables = list(variables)
        self._number_variables()
        if self.use_ema:
            self._averages = self.add_optimizer_variables(variables, "average")
        if self.gradient_accumulation_steps:
            self._accumulators = self.add_optimizer_variables(variables, "gradient_accumulator")
        self._make_slots(variables)
        self.built = True

    def _number_variables(self) -> None:
        self._indices = {id(variable): index for index, variable in enumerate(self._trainable_variables)}
        self._group_keys = [
            (variable.device, variable.dtype, self._use_weight_decay(variable))
            for variable in self._trainable_variables
        ]
        self._is_one_group = len(set(self._group_keys)) == 1

    def _make_slots(self, variables: list[Variable]) -> None:
        """Makes the subclass's own slots."""

    def _get_variable_index(self, variable: Variable) -> int:
        return self._indices[id(variable)]

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Variables that shall not decay: themselves, or patterns that are searched for in their paths.

        Errors: once the optimizer is built it is too late, a ValueError.
        """
        if self.built:
            raise ValueError("exclude_from_weight_decay() comes before the optimizer is built.")
        self._undecayed = [*(var_list or ()), *(var_names or ())]

    def _use_weight_decay(self, variable: Variable) -> bool:
        return not any(
            re.search(excluded, variable.path) if isinstance(excluded, str) else excluded is variable
            for excluded in self._undecayed
        )

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_indices", "_group_keys")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.built:  # by identity, which a copy does not keep
            self._number_variables()

    # --- files

    def save_own_variables(self, store: Any) -> None:
        """Writes `variables` as arrays under the keys "0", "1", ..."""
        for index, variable in enumerate(self.variables):
            store[str(index)] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Reads what `save_own_variables` wrote; another number of variables is a warning, and nothing is read."""
        if len(store) != len(self.variables):
            warnings.warn(
                f"The optimizer {self.name!r} starts anew: it has {len(self.variables)} variables and the saved one "
                f"has {len(store)}.",
                stacklevel=outside_frame(),
            )
            return
        self.set_weights([store[str(index)] for index in range(len(store))])

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets `variables`. Errors: another number of them, or another shape, is a ValueError."""
        if len(weights) != len(self.variables):
            raise ValueError(f"{self.name!r} has {len(self.variables)} variables; got {len(weights)} values.")
        for variable, value in zip(self.variables, weights, strict=True):
            variable.assign(value if isinstance(value, Tensor) else np.asarray(value))

    # --- steps

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Tensor | None, Variable]]) -> Any:
        """One step from pairs of gradient and variable. Returns `iterations`."""
        gradients, variables = zip(*grads_and_vars, strict=True)
        self.apply(gradients, variables)
        return self.iterations

    @torch.no_grad()
    def apply(self, grads: Sequence[Tensor | None], trainable_variables: Sequence[Variable] | None = None) -> None:
        """One step: each variable changes by its gradient, of the same shape.

        A variable whose gradient is None stays, with a warning. Errors: no gradient at all, another number of gradients
        than variables, or a variable that the optimizer was not built with, is a ValueError.
        """
        if trainable_variables is None:
            if not self.built:
                raise ValueError("apply(grads) without variables needs a built optimizer: call build(variables) first.")
            trainable_variables = self._trainable_variables
        elif not self.built:
            self.build(trainable_variables)
        if len(grads) != len(trainable_variables):
            raise ValueError(f"{len(grads)} gradients do not fit {len(trainable_variables)} variables.")
        if not len(grads):
            return
        indices, gradients = self._match(grads, trainable_variables)
        self._apply(indices, gradients, trainable_variables)

    def _apply(self, indices: list[int], gradients: Tensors, trainable_variables: Sequence[Variable]) -> None:
        """One step with gradients of the variables' layouts."""
        accumulated = self._accumulate(indices, self._unscaled(gradients))
        if accumulated is not None:
            self._update(indices, self._clip(accumulated))
        if self.use_ema:
            self._average()
        for variable in trainable_variables:
            if variable.constraint is not None:
                variable.copy_(variable.constraint(variable))
        self._count_step(trainable_variables)

    def _count_step(self, changed: Sequence[Tensor]) -> None:
        torch.autograd.graph.increment_version(list(changed))  # torch's fused kernels leave that out
        self._iterations.fill_(int(self._iterations) + 1)  # a fifth of what adding costs

    def _unscaled(self, gradients: Tensors) -> Tensors:
        return gradients if self.loss_scale_factor is None else _scaled(gradients, 1 / self.loss_scale_factor)

    def prepared(self, grads: Sequence[Tensor | None], variables: Sequence[Variable]) -> Prepared | None:
        """`apply` for gradients like these of these variables, step after step; None where only `apply` will do.

        It holds as long as the variables and slots lie where they lie now.
        """
        cls = type(self)
        if any(getattr(cls, name) is not getattr(Optimizer, name) for name in ("apply", "_match", "_apply", "_update")):
            return None
        writes_own_step = not cls._step.__module__.startswith("lamina.") or cls._step is Optimizer._step
        if writes_own_step or not self.built or any(gradient is None for gradient in grads):
            return None
        indices, laid = self._match(grads, variables)
        if any(one is not gradient for one, gradient in zip(laid, grads, strict=True)):
            return None
        return Prepared(self, indices, variables)

    def _match(self, grads: Sequence[Tensor | None], variables: Sequence[Variable]) -> tuple[list[int], Tensors]:
        """The numbers of the variables that have gradients, and these in the variables' dtype and memory layout."""
        indices, gradients, without = [], [], []
        for gradient, variable in zip(grads, variables, strict=True):
            index = self._indices.get(id(variable))
            if index is None:
                raise ValueError(
                    f"The optimizer {self.name!r} was built with other variables than {variable!r}. Make a new "
                    "optimizer, or compile() again, for another set of variables."
                )
            if gradient is None:
                without.append(variable.path)
                continue
            indices.append(index)
            gradients.append(_laid_like(gradient, variable))
        if not gradients:
            raise ValueError(f"No variable has a gradient: the loss depends on none of {without}.")
        if without:
            warnings.warn(
                f"The loss depends not on {without}: these variables have no gradient and stay as they are.",
                stacklevel=outside_frame(),
            )
        return indices, gradients

    def _accumulate(self, indices: list[int], gradients: Tensors) -> Tensors | None:
        """The gradients to step with; with accumulation their mean at each n-th call, and None before."""
        count = self.gradient_accumulation_steps
        if not count:
            return gradients
        sums: Tensors = [self._accumulators[index] for index in indices]
        torch._foreach_add_(sums, gradients)
        if (int(self._iterations) + 1) % count:
            return None
        means = _scaled(sums, 1 / count)
        torch._foreach_zero_(list(self._accumulators))
        return means

    def _clip(self, gradients: Tensors) -> Tensors:
        if self.clipvalue is not None:
            return list(torch._foreach_clamp_max(torch._foreach_clamp_min(gradients, -self.clipvalue), self.clipvalue))
        limit = self.clipnorm if self.clipnorm is not None else self.global_clipnorm
        if limit is None:
            return gradients
        norms = list(torch._foreach_norm(gradients))
        if self.global_clipnorm is not None:
            home = norms[0]
            total = torch.linalg.vector_norm(torch.stack([norm.to(home) for norm in norms]))
            norms = [total.to(gradient) for gradient in gradients]
        return [gradient * (limit / norm.clamp_min(limit)) for gradient, norm in zip(gradients, norms, strict=True)]

    def _numbers(self) -> tuple[float, float]:
        """What changes from step to step: the rate that `_step` gets, and the part of a variable that decay leaves."""
        rate = self._current_rate()
        return self._rate_in_step(rate), 1 - float(self.weight_decay or 0.0) * rate

    def _rate_in_step(self, rate: float) -> float:
        """The rate that `_step` gets, where it is not the learning rate."""
        return rate

    def _update(self, indices: list[int], gradients: Tensors, numbers: Sequence[Any] | None = None) -> None:
        """One `_step` for each device, dtype and kind of decay. `numbers`: those of `_numbers`, or tensors of them."""
        rate, kept = self._numbers() if numbers is None else numbers
        groups: dict[Any, tuple[list[int], Tensors]] = {}
        if self._is_one_group:
            groups[self._group_keys[0]] = (indices, gradients)
        else:
            for index, gradient in zip(indices, gradients, strict=True):
                places, members = groups.setdefault(self._group_keys[index], ([], []))
                places.append(index)
                members.append(gradient)
        self._before_step()
        for (_, _, decays), (places, members) in groups.items():
            variables: Tensors = [self._trainable_variables[index] for index in places]
            if decays and self.weight_decay:
                torch._foreach_mul_(variables, kept)
            self._step(places, variables, members, rate)

    def _before_step(self) -> None:
        """What a subclass computes once a step, for all groups."""

    def _step(self, indices: list[int], variables: Tensors, gradients: Tensors, rate: Any) -> None:
        """Changes variables of one device and dtype in place. `indices` tells where their slots are."""
        for index, gradient in zip(indices, gradients, strict=True):
            self.update_step(gradient, self._trainable_variables[index], rate)

    def update_step(self, gradient: Tensor, variable: Variable, learning_rate: float) -> None:
        """Changes one variable in place: what a user's optimizer writes."""
        raise NotImplementedError(f"{type(self).__name__} has no update_step(gradient, variable, learning_rate).")

    def assign(self, variable: Variable, value: Any) -> None:
        """Sets a variable (for `update_step`)."""
        variable.assign(value)

    def assign_add(self, variable: Variable, value: Any) -> None:
        """Adds to a variable (for `update_step`)."""
        variable.assign_add(value)

    def assign_sub(self, variable: Variable, value: Any) -> None:
        """Subtracts from a variable (for `update_step`)."""
        variable.assign_sub(value)

    # --- averages, loss scale

    def _average(self) -> None:
        step = self._steps_made()
        averages: Tensors = [*self._averages]
        variables: Tensors = [*self._trainable_variables]
        keep = self.ema_momentum if step else 0.0  # the average starts from the variables
        torch._foreach_lerp_(averages, variables, 1 - keep)
        if self.ema_overwrite_frequency and (step + 1) % self.ema_overwrite_frequency == 0:
            torch._foreach_copy_(variables, averages)

    @torch.no_grad()
    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """What `fit` calls at its end: with `use_ema`, the variables take their averages."""
        if self.use_ema:
            for variable in var_list:
                variable.copy_(self._averages[self._get_variable_index(variable)])

    def scale_loss(self, loss: Tensor) -> Tensor:
        """The loss times `loss_scale_factor`."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


class Prepared:
    """An optimizer's step on the bare tensors behind its variables: torch takes half the time to be called on them.

    `belongs_to(optimizer)`: whether it still is that one's step.
    """

    def __init__(self, optimizer: Optimizer, indices: list[int], variables: Sequence[Variable]):
        self._optimizer, self._indices, self._variables = optimizer, indices, variables
        own = vars(optimizer)
        self._lists = {
            name: value
            for name, value in own.items()
            if isinstance(value, list) and name != "_variables" and any(isinstance(one, Variable) for one in value)
        }
        self._bare = {name: [one.detach() for one in value] for name, value in self._lists.items()}

    def belongs_to(self, optimizer: Any) -> bool:
        own = vars(self._optimizer)
        return optimizer is self._optimizer and all(own.get(name) is value for name, value in self._lists.items())

    def _on_bare_tensors(self, function: Callable[..., None], *arguments: Any) -> None:
        own = vars(self._optimizer)
        own.update(self._bare)
        try:
            function(*arguments)
        finally:
            own.update(self._lists)

    def __call__(self, gradients: Tensors) -> None:
        """One step; to be called without autograd."""
        self._on_bare_tensors(self._optimizer._apply, self._indices, gradients, self._variables)

    # The same step in two halves, for a device that repeats its half by itself.

    def why_not_halved(self) -> str | None:
        """What of this step is Python's in a way that cannot be taken out of it; None where nothing is."""
        optimizer = self._optimizer
        name = type(optimizer).__name__
        if not optimizer._takes_rate_on_device:
            return f"the step of {name} takes its numbers from Python"
        if optimizer.gradient_accumulation_steps or optimizer.use_ema:
            return f"{name} accumulates gradients or averages weights, and counts the steps for it"
        if any(variable.constraint is not None for variable in self._variables):
            return "weights have constraints"
        if any(variable.dtype is torch.float64 for variable in self._variables):
            return "weights are float64, and the learning rate on a device is float32"
        return None

    def numbers(self) -> tuple[float, float]:
        """What the next `change` shall be given, as tensors of the device."""
        return self._optimizer._numbers()

    def change(self, gradients: Tensors, numbers: Sequence[Tensor]) -> None:
        """The device's half: changes the variables and slots, and reads nothing back."""
        optimizer = self._optimizer
        clipped = optimizer._clip(optimizer._unscaled(gradients))
        self._on_bare_tensors(optimizer._update, self._indices, clipped, numbers)

    def count(self) -> None:
        """Python's half."""
        self._optimizer._count_step(self._variables)


def pick(slots: Sequence[Variable], indices: list[int]) -> Tensors:
    """The slots of these variables."""
    return [slots[index] for index in indices]


def in_memory_order(variables: Tensors, *others: Tensors) -> list[Tensors]:
    """The lists, each tensor seen as the row of numbers that lies in memory, where all of one variable lie alike.

    torch's fused kernels take a convolution's kernel, which does not lie in the order of its axes, four to seven times
    as long as its row. The kernels count number by number: the order does not matter.
    """
    lists: list[Tensors] = [[], *([] for _ in others)]
    for tensors in zip(variables, *others, strict=True):
        first = tensors[0]
        rows = not first.is_contiguous() and _is_dense(first) and all(t.stride() == first.stride() for t in tensors)
        for found, tensor in zip(lists, tensors, strict=True):
            found.append(tensor.as_strided((tensor.numel(),), (1,)) if rows else tensor)
    return lists


def _is_dense(tensor: Tensor) -> bool:
    """Whether the numbers fill their memory without a gap."""
    extent = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return extent + 1 == tensor.numel()


def _scaled(tensors: Tensors, factor: float) -> Tensors:
    return list(torch._foreach_mul(tensors, factor))


def _laid_like(gradient: Tensor, variable: Tensor) -> Tensor:
    """The gradient with the variable's memory order, which the fused kernels walk through without looking."""
    if gradient.is_sparse:
        gradient = gradient.to_dense()
    if gradient.shape != variable.shape:
        raise ValueError(f"A gradient of shape {tuple(gradient.shape)} does not fit {variable!r}.")
    if gradient.stride() == variable.stride() and gradient.dtype == variable.dtype:
        return gradient
    return torch.empty_like(variable.detach()).copy_(gradient)
