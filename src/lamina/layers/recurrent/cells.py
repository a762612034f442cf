"""Cells: one step of a recurrent layer. `RecurrentCell` is what lamina's own share; `StackedRNNCells` chains some."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from lamina.base import tree
from lamina.base.registry import public
from lamina.base.serialization import deserialize_keras_object
from lamina.engine.device import current_device
from lamina.engine.random import as_seed_generator
from lamina.layers import symbolic
from lamina.layers.layer import Layer
from lamina.layers.parts import expect_rank, expect_size, known_size, positive_integer, take_parts
from lamina.shapes import HERE, Axes, Readings, Size, multiply

Tensors = list[torch.Tensor]
FusedKernel = Callable[[torch.Tensor, Tensors], tuple[torch.Tensor, Tensors]]


class RecurrentCell(Layer):
    """One step: (inputs (batch, features), states, each (batch, units)) → (output (batch, units), new states).

    The product of inputs and kernel does not depend on the states, so `project` may run for all steps at once and
    `step` does the rest. A subclass says how many `gates` lie side by side in its kernels and how many states it has.
    """

    gates: int
    states_number: int = 1
    units: int
    dropout: float
    recurrent_dropout: float

    def _take(
        self, units: int, use_bias: bool, dropout: float, recurrent_dropout: float, seed: Any, **parts: Any
    ) -> None:
        own = self.__dict__
        own["units"] = positive_integer(units, f"{type(self).__name__}: units")
        own["use_bias"], own["seed"], own["seed_generator"] = use_bias, seed, as_seed_generator(seed)
        for name, rate in (("dropout", dropout), ("recurrent_dropout", recurrent_dropout)):
            if not isinstance(rate, int | float) or not 0 <= rate <= 1:
                raise ValueError(f"{type(self).__name__}: {name} is a number from 0 to 1; got {rate!r}.")
            own[name] = rate
        own["_dropout_masks"] = {}
        take_parts(self, **parts)
        self.kernel: Any = None
        self.recurrent_kernel: Any = None
        self.bias: Any = None

    @property
    def state_size(self) -> Any:
        return self.units if self.states_number == 1 else [self.units] * self.states_number

    @property
    def output_size(self) -> int:
        return self.units

    def build(self, input_shape: Any) -> None:
        inputs = Axes(self.axis_names(len(input_shape)), tuple(input_shape))
        expect_rank(self, inputs, 2)
        features, width, across = known_size(self, inputs, -1), self.gates * self.units, f"{self.gates}·units"
        across = "units" if self.gates == 1 else across
        # torch's kernels read (gates·units, features): so the memory lies, and the turned view costs nothing.
        for name, rows, axis in (("kernel", features, "features"), ("recurrent_kernel", self.units, "units")):
            part = name.removesuffix("_kernel")
            weight = self.add_weight(
                (rows, width),
                getattr(self, f"{part}_initializer"),
                regularizer=getattr(self, f"{part}_regularizer"),
                constraint=getattr(self, f"{part}_constraint"),
                name=name,
                axes=(axis, across),
                memory_order=(1, 0),
            )
            setattr(self, name, weight)
        if self.use_bias:
            rows = self.bias_rows()
            self.bias = self.add_weight(
                (width,) if rows == 1 else (rows, width),
                self.first_bias(),
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
                axes=(across,) if rows == 1 else (str(rows), across),
            )

    def bias_rows(self) -> int:
        return 1

    def first_bias(self) -> Any:
        """The initializer of the bias."""
        return self.bias_initializer

    def shape_rule(self, inputs: Axes, *states: Axes) -> list[Axes]:
        self.expect_features(self, inputs)
        output = inputs.replace_at(-1, self.units)
        return [output] * (1 + self.states_number)

    def expect_features(self, layer: Layer, inputs: Axes) -> None:
        """Errors: a ShapeError of `layer`, this cell or the one around it, where the kernel does not fit the input."""
        if layer is self:
            expect_rank(self, inputs, 2)
        if self.kernel is not None:
            why = f"its kernel is {tuple(self.kernel.shape)}: the input's last axis meets the kernel's first"
            expect_size(layer, inputs, -1, self.kernel.shape[0], "kernel", why)

    def compute_output_spec(self, inputs: Any, states: Any, training: Any = False) -> Any:
        output, *new = symbolic.output_spec(self, (inputs,), {})
        return output, new if tree.is_nested(states) else new[0]

    def readings(self, *inputs: Axes) -> Readings | None:
        return [{"batch": HERE} for _ in inputs]

    def multiply_accumulates(self, inputs: list[Axes], outputs: list[Axes]) -> Size:
        return multiply([self.gates, self.units, inputs[0]["features"] + self.units])

    def get_initial_state(self, batch_size: int | None = None) -> Tensors:
        """Zeros for each state."""
        shape, options = (batch_size or 0, self.units), {"dtype": self._compute_type, "device": current_device()}
        return [torch.zeros(shape, **options) for _ in range(self.states_number)]

    # The computation.

    def project(self, inputs: torch.Tensor) -> torch.Tensor:
        """The inputs' share in all gates, for one step or for all."""
        return torch.nn.functional.linear(inputs, self.kernel.t(), self.bias)

    def step(self, projected: torch.Tensor, states: Tensors, training: bool | None) -> tuple[torch.Tensor, Tensors]:
        """The output and the new states from the inputs' share and the old states."""
        raise NotImplementedError

    def fused_kernel(self) -> FusedKernel | None:
        """What computes all steps in one call; None where the activations are others than it has."""
        return None

    def call(self, inputs: torch.Tensor, states: Any, training: bool | None = False) -> tuple[torch.Tensor, Any]:
        listed = list(states) if tree.is_nested(states) else [states]
        output, new = self.step(self.project(self.dropped(inputs, "dropout", training)), listed, training)
        return output, new if tree.is_nested(states) else new[0]

    def dropped(self, inputs: torch.Tensor, kind: str, training: bool | None) -> torch.Tensor:
        """In training, a share of the numbers (batch, ..., features) set to 0: the same ones in every step."""
        rate = self.__dict__[kind]
        if not training or rate == 0:
            return inputs
        batch, features, masks = inputs.shape[0], inputs.shape[-1], self.__dict__["_dropout_masks"]
        if kind not in masks or masks[kind].shape != (batch, features):
            generator = self.seed_generator.generator(inputs.device)
            mask = inputs.new_empty(batch, features).bernoulli_(1 - rate, generator=generator)
            masks[kind] = mask.div_(1 - rate) if rate < 1 else mask
        return inputs * masks[kind].reshape(batch, *[1] * (inputs.dim() - 2), features)

    def reset_dropout_mask(self) -> None:
        """The next step draws which inputs are dropped. A layer around the cell calls it for each sequence."""
        self.__dict__["_dropout_masks"].pop("dropout", None)

    def reset_recurrent_dropout_mask(self) -> None:
        self.__dict__["_dropout_masks"].pop("recurrent_dropout", None)


@public("layers")
class StackedRNNCells(Layer):
    """Cells as one: each step's output of a cell is the input of the next.

    Shapes: (batch, features) → (batch, units of the last cell). Parameters: those of the cells.

    >>> import lamina
    >>> cells = lamina.layers.StackedRNNCells([lamina.layers.LSTMCell(8), lamina.layers.GRUCell(4)])
    >>> lamina.layers.RNN(cells)(lamina.Input((20, 3))).shape
    (None, 4)
    """

    def __init__(self, cells: Any, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(cells, list | tuple) or not cells:
            raise ValueError(f"StackedRNNCells takes a list of cells; got {cells!r}.")
        for cell in cells:
            check_cell(cell, "StackedRNNCells")
        self.cells = list(cells)

    @property
    def state_size(self) -> list[Any]:
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> int:
        return output_size(self.cells[-1])

    def build(self, input_shape: Any) -> None:
        shape = tuple(input_shape)
        for cell in self.cells:
            if isinstance(cell, Layer) and not cell.built:
                cell.build(shape)
            shape = (shape[0], output_size(cell))

    def shape_rule(self, inputs: Axes, *states: Axes) -> list[Axes]:
        first = self.cells[0]
        if isinstance(first, RecurrentCell):
            first.expect_features(self, inputs)
        sizes = [self.output_size, *tree.flatten(state_sizes(self))]
        return [Axes(("batch", "features"), (inputs.sizes[0], size)) for size in sizes]

    def compute_output_spec(self, inputs: Any, states: Any, training: Any = False) -> Any:
        output, *new = symbolic.output_spec(self, (inputs,), {})
        return output, nested_like(state_sizes(self), iter(new))

    def readings(self, *inputs: Axes) -> Readings | None:
        return [{"batch": HERE} for _ in inputs]

    def multiply_accumulates(self, inputs: list[Axes], outputs: list[Axes]) -> Size:
        total: Size = 0
        for cell in self.cells:
            own = cell.multiply_accumulates(inputs, outputs) if isinstance(cell, Layer) else None
            if own is None or total is None:
                return None
            total = own + total
            inputs = [Axes(("batch", "features"), (None, output_size(cell)))]
        return total

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """Zeros for each state, in a list for each cell."""
        return [first_state(cell, batch_size) for cell in self.cells]

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> tuple[Any, list[Any]]:
        new_states = []
        for cell, own in zip(self.cells, states, strict=True):
            inputs, new = call_cell(cell, inputs, list(own) if tree.is_nested(own) else [own], training)
            new_states.append(new)
        return inputs, new_states

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**{**config, "cells": [deserialize_keras_object(cell) for cell in config["cells"]]})


# What a layer knows of a cell, which may be any object with `state_size` and a call.


def check_cell(cell: Any, what: str) -> None:
    """Errors: a ValueError for what is no cell."""
    if not callable(getattr(cell, "call", cell)) or not hasattr(cell, "state_size"):
        raise ValueError(
            f"{what} takes cells: objects that are called on (inputs, states), with a state_size (a whole number or a "
            f"list of them, one for each state); got {cell!r}."
        )


def call_cell(cell: Any, inputs: Any, states: list[Any], training: bool | None) -> tuple[Any, list[Any]]:
    """One step of any cell, with the states in a list."""
    output, new = cell(inputs, states, training=training) if isinstance(cell, Layer) else cell(inputs, states)
    return output, list(new) if tree.is_nested(new) else [new]


def state_sizes(cell: Any) -> list[Any]:
    """The sizes of a cell's states, nested as the states are."""
    if isinstance(cell, StackedRNNCells):
        return [state_sizes(one) for one in cell.cells]
    return list(cell.state_size) if isinstance(cell.state_size, list | tuple) else [cell.state_size]


def output_size(cell: Any) -> int:
    found = getattr(cell, "output_size", None)
    return int(tree.flatten(state_sizes(cell))[0] if found is None else found)


def first_state(cell: Any, batch_size: int | None) -> list[Any]:
    """The states before the first step: the cell's own, else zeros."""
    if hasattr(cell, "get_initial_state"):
        made = cell.get_initial_state(batch_size=batch_size)
        return list(made) if tree.is_nested(made) else [made]
    return [torch.zeros(batch_size or 0, size, device=current_device()) for size in state_sizes(cell)]


def nested_like(structure: Any, leaves: Iterator[Any]) -> Any:
    return tree.map_structure(lambda _: next(leaves), structure)
