"""`Function`: a graph between symbolic inputs and outputs, callable on tensors."""

from __future__ import annotations

from typing import Any

from lamina.base import names, tree
from lamina.base.errors import LaminaError
from lamina.graph.folded import FoldedProgram
from lamina.graph.keras_tensor import KerasTensor, any_symbolic
from lamina.graph.program import Program
from lamina.graph.topology import Topology, sort


def symbolic_leaves(structure: Any, what: str) -> list[KerasTensor]:
    """The symbolic tensors in a structure. Errors: anything else in it is a LaminaError."""
    leaves = tree.flatten(structure)
    for leaf in leaves:
        if not isinstance(leaf, KerasTensor):
            raise LaminaError(
                f"The {what} of a graph are symbolic tensors, which Input() and calls on its result give; "
                f"got {type(leaf).__name__} {leaf!r:.80}."
            )
    if not leaves:
        raise LaminaError(f"A graph needs {what}; got {structure!r}.")
    return leaves


class Graph:
    """What lies between symbolic inputs and outputs: the sorted operations and the flat program."""

    def __init__(self, inputs: Any, outputs: Any):
        self.inputs = symbolic_leaves(inputs, "inputs")
        self.outputs = symbolic_leaves(outputs, "outputs")
        self.input_structure, self.output_structure = inputs, outputs
        alone = isinstance(outputs, list | tuple) and len(outputs) == 1  # as in Keras, [y] gives what y gives
        self._output_spec = tree.flatten_spec(outputs[0] if alone else outputs)[1]
        self.topology: Topology = sort(self.inputs, self.outputs)
        for node in self.topology.nodes:
            node.in_graph = True
        self.operations: list[Any] = self.topology.operations
        self._program: Program | None = None
        self._folded: FoldedProgram | None = None

    @property
    def program(self) -> Program:
        if self._program is None:
            self._program = Program(self.inputs, self.outputs, self.topology)
        return self._program

    def forget_program(self) -> None:
        """The program is planned anew at the next run (a layer's dtype, masks or weights may have changed)."""
        self._program = None
        self.forget_folded()

    def forget_folded(self) -> None:
        """The weights may have changed in a way that nothing shows: the folded program is made anew at its next run."""
        self._folded = None

    def run(self, values: list[Any], training: bool | None = None) -> Any:
        return tree.unflatten(self._output_spec, self.program.run(values, training))

    def run_folded(self, values: list[Any]) -> Any:
        """`run` with `training=False`, as few calls as possible; numbers differ by rounding. On a processor, without
        gradients."""
        if self.program.makes_masks or any(getattr(value, "_keras_mask", None) is not None for value in values):
            return self.run(values, training=False)
        if self._folded is None or not self._folded.is_current():
            self._folded = FoldedProgram(self.inputs, self.outputs, self.topology)
        if not self._folded.takes(values):
            return self.run(values, training=False)
        return tree.unflatten(self._output_spec, self._folded.run(values))

    def run_symbolic(self, values: list[KerasTensor]) -> Any:
        same = all(
            a.trial_shapes == b.trial_shapes and a.shape == b.shape for a, b in zip(values, self.inputs, strict=True)
        )
        if same:
            leaves = [KerasTensor(t.shape, t.dtype, trial_shapes=t.trial_shapes) for t in self.outputs]
        else:
            leaves = self.program.run_symbolic(values)
            leaves = [KerasTensor(t.shape, t.dtype, trial_shapes=t.trial_shapes) for t in leaves]
        return tree.unflatten(self._output_spec, leaves)


class Function:
    """A callable graph without weights of its own: `Function(inputs, outputs)`.

    >>> import lamina
    >>> x = lamina.Input((3,))
    >>> double = Function(x, x * 2)
    >>> import torch
    >>> double(torch.ones(1, 3))
    tensor([[2., 2., 2.]])
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None):
        self.name = name or names.auto_name("function")
        self.graph = Graph(inputs, outputs)

    @property
    def inputs(self) -> list[KerasTensor]:
        return self.graph.inputs

    @property
    def outputs(self) -> list[KerasTensor]:
        return self.graph.outputs

    @property
    def operations(self) -> list[Any]:
        return self.graph.operations

    def __call__(self, inputs: Any) -> Any:
        values = tree.flatten(inputs)
        if any_symbolic(inputs):
            return self.graph.run_symbolic(values)
        return self.graph.run(values)
