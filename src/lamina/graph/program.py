"""The flat program that a graph runs as: a list of calls over slots, each slot freed after its last use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from lamina.base import tree
from lamina.base.errors import LaminaError, ShapeError, SizeTable
from lamina.graph.history import ancestors, kind_of, row_of
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node
from lamina.graph.topology import Topology

Slots = list[Any]


class _Slot:
    """A place in the arguments that a slot's value fills."""

    __slots__ = ("index",)

    def __init__(self, index: int):
        self.index = index


class Step:
    """One call of the program: what is called, where its arguments lie, where its results go, what is then free."""

    __slots__ = ("arguments", "frees", "node", "operation", "outputs", "run", "run_with_masks", "single")

    def __init__(self, node: Node, slot_of: dict[int, int]):
        self.node = node
        self.operation = node.operation
        self.outputs = tuple(slot_of[id(tensor)] for tensor in node.output_tensors)
        self.single = isinstance(node.outputs, KerasTensor)
        self.frees: tuple[int, ...] = ()
        self.arguments = _argument_reader(node, slot_of)
        direct, takes_training = _direct_call(node)
        self.run = _caller(direct, self.arguments, takes_training, _only_slot(node, slot_of))
        self.run_with_masks = _caller(node.operation, self.arguments, takes_training, None)


def _direct_call(node: Node) -> tuple[Callable[..., Any], bool]:
    """The cheapest correct way to call an operation, and whether it takes `training`."""
    operation = node.operation
    if not hasattr(operation, "direct_call"):
        return operation.function, False
    return operation.direct_call(node.input_tensors)


def _only_slot(node: Node, slot_of: dict[int, int]) -> int | None:
    """The slot of the argument, for the usual call with one tensor and nothing else."""
    if len(node.args) == 1 and not node.kwargs and isinstance(node.args[0], KerasTensor):
        return slot_of[id(node.args[0])]
    return None


def _argument_reader(node: Node, slot_of: dict[int, int]) -> Callable[[Slots], tuple[Any, dict[str, Any]]]:
    leaves, spec = tree.flatten_spec((node.args, node.kwargs))
    template = [_Slot(slot_of[id(leaf)]) if isinstance(leaf, KerasTensor) else leaf for leaf in leaves]

    def read(slots: Slots) -> tuple[Any, dict[str, Any]]:
        return tree.unflatten(spec, [slots[t.index] if type(t) is _Slot else t for t in template])

    return read


def _caller(target: Callable[..., Any], read: Any, takes_training: bool, only: int | None) -> Callable[..., Any]:
    if only is not None and takes_training:
        return lambda slots, training: target(slots[only], training=training)
    if only is not None:
        return lambda slots, training: target(slots[only])

    def call(slots: Slots, training: bool | None) -> Any:
        args, kwargs = read(slots)
        if takes_training and kwargs.get("training") is None:
            kwargs["training"] = training
        return target(*args, **kwargs)

    return call


def keep_outputs(step: Step, result: Any, slots: Slots) -> None:
    """Puts what a step gave into its slots."""
    if step.single:
        slots[step.outputs[0]] = result
        return
    leaves = [leaf for leaf in tree.flatten(result) if isinstance(leaf, torch.Tensor)]
    for index, leaf in zip(step.outputs, leaves, strict=True):
        slots[index] = leaf


class Program:
    """The calls between some inputs and outputs, in an order in which they can run."""

    def __init__(self, inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor], topology: Topology):
        slot_of: dict[int, int] = {}
        for tensor in inputs:
            slot_of.setdefault(id(tensor), len(slot_of))
        nodes = [node for node in topology.nodes if not all(id(t) in slot_of for t in node.output_tensors)]
        for node in nodes:
            for tensor in node.output_tensors:
                slot_of.setdefault(id(tensor), len(slot_of))
        self.inputs = list(inputs)
        self.input_slots = [slot_of[id(tensor)] for tensor in inputs]
        self.output_slots = [slot_of[id(tensor)] for tensor in outputs]
        self.size = len(slot_of)
        self.steps = [Step(node, slot_of) for node in nodes]
        self._plan_frees(slot_of)
        self.makes_masks = any(tensor._keras_mask is not None for node in nodes for tensor in node.output_tensors)

    def _plan_frees(self, slot_of: dict[int, int]) -> None:
        seen = set(self.output_slots)
        for step in reversed(self.steps):
            used = {slot_of[id(tensor)] for tensor in step.node.input_tensors} | set(step.outputs)
            step.frees = tuple(sorted(used - seen))
            seen |= used

    def run(self, values: Sequence[Any], training: bool | None) -> list[Any]:
        """The outputs' tensors for the inputs' tensors. A failing call is explained by its operation."""
        slots: Slots = [None] * self.size
        for index, value in zip(self.input_slots, values, strict=True):
            slots[index] = value
        masks = self.makes_masks or any(getattr(value, "_keras_mask", None) is not None for value in values)
        for step in self.steps:
            try:
                result = (step.run_with_masks if masks else step.run)(slots, training)
            except (RuntimeError, IndexError, TypeError, ValueError) as error:
                explain = getattr(step.operation, "explain_failure", None)
                reason = explain(error, *step.arguments(slots)) if explain is not None and not masks else None
                if isinstance(reason, ShapeError):
                    self._add_sizes_of_data(reason, values)
                if reason is None or reason is error:
                    raise
                raise reason from error
            keep_outputs(step, result, slots)
            for index in step.frees:
                slots[index] = None
        return [slots[index] for index in self.output_slots]

    def run_symbolic(self, values: Sequence[KerasTensor]) -> list[KerasTensor]:
        """The outputs' symbolic tensors for other symbolic inputs; records no node."""
        slots: Slots = [None] * self.size
        for index, value in zip(self.input_slots, values, strict=True):
            slots[index] = value
        for step in self.steps:
            args, kwargs = step.arguments(slots)
            try:
                result = step.operation.compute_output_spec(*args, **kwargs)
            except ShapeError as error:
                step.operation.explain_failure(error, args, kwargs)
                self._add_sizes(error, step, slots)
                raise
            leaves = [leaf for leaf in tree.flatten(result) if isinstance(leaf, KerasTensor)]
            for index, leaf in zip(step.outputs, leaves, strict=True):
                slots[index] = leaf
        return [slots[index] for index in self.output_slots]

    def _add_sizes(self, error: ShapeError, failed: Step, slots: Slots) -> None:
        """Puts the sizes that led to a failed step into its error. The slots still hold them all."""
        before = {id(step.node): step for step in self.steps[: self.steps.index(failed)]}
        steps = [before[id(node)] for node in ancestors(failed.node.input_tensors, among=set(before))]
        if steps:
            rows = [row_of(step.node, [slots[index] for index in step.outputs]) for step in steps]
            table = SizeTable(tuple(rows))
            error.table = table if error.table is None else error.table.after(table)

    def _add_sizes_of_data(self, error: ShapeError, values: Sequence[Any]) -> None:
        """The same for real tensors, where the graph was built on open sizes: fixed ones were checked at its inputs."""
        known = [None not in tensor.shape[1:] for tensor in self.inputs]
        if all(known) or not all(isinstance(value, torch.Tensor) for value in values):
            return
        pairs = zip(values, self.inputs, strict=True)
        symbols = [KerasTensor(tuple(value.shape), tensor.dtype) for value, tensor in pairs]
        try:
            self.run_symbolic(symbols)
        except ShapeError as found:
            if found.table is not None:
                makers = [tensor._keras_history.operation for tensor in self.inputs if tensor._keras_history]
                pairs = zip(makers, symbols, strict=True)
                given = [(maker.name, kind_of(maker), str(symbol.shape)) for maker, symbol in pairs]
                error.table = found.table.after(SizeTable(tuple(given)))
        except LaminaError:  # a step of the user's that cannot be tried: the error says what it knows
            return
