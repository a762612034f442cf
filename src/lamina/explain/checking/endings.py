"""What a model ends in: the outputs, their last activation, their loss and their targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from lamina.base.registry import public_name
from lamina.explain.checking.subject import Subject, as_given
from lamina.graph.function import Graph
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node, Operation, node_of
from lamina.layers.activation_layers import Activation, Softmax
from lamina.layers.convolution import ConvBase
from lamina.layers.core import Identity
from lamina.layers.dense import Dense
from lamina.layers.einsum import EinsumDense
from lamina.layers.reshaping import Flatten, Permute, Reshape
from lamina.training.compiled import CompiledLoss
from lamina.training.outputs import named_outputs, spread


@dataclass(frozen=True)
class Ending:
    """An output: the layer that makes it, its shape, its last activation ("" where it is not known), the size of the
    last axis there, and what it was compiled with: the loss, the name of the loss's function ("" without one), and the
    sample's targets."""

    output: str
    layer: str
    shape: tuple[int | None, ...]
    activation: str
    classes: int | None
    loss: Any
    loss_name: str
    targets: torch.Tensor | None

    @property
    def units(self) -> int | None:
        return self.shape[-1] if self.shape else None

    @property
    def from_logits(self) -> bool:
        return bool(getattr(self.loss, "from_logits", False))


def endings(subject: Subject) -> list[Ending]:
    """The outputs of the model's own graph. Errors: those of `fit`, where losses or targets are not one an output."""
    if subject.top is None:
        return []
    model, graph = subject.model, subject.top.graph
    outputs = named_outputs(model.output, model.output_names)
    compiled = model._compiled_loss
    chosen: dict[str, Any] = dict.fromkeys(outputs)
    targets: dict[str, Any] = dict.fromkeys(outputs)
    if subject.y is not None:
        given = spread(subject.y, list(outputs), "y", same_for_all=len(outputs) == 1)
        targets = {name: None if one is None else as_given(one) for name, one in given.items()}
    if compiled is not None:
        like = model.output if subject.y is None else targets
        chosen = CompiledLoss(compiled.given_loss, None, compiled.output_names).build(like, model.output)
    found = []
    for name, tensor in outputs.items():
        loss = chosen[name]
        package, function = public_name(getattr(loss, "fn", None)) or ("", "")
        loss_name = function if package == "losses" else ""
        layer, last = node_of(tensor).operation.name, last_activation(graph, tensor)
        found.append(Ending(name, layer, tensor.shape, *last, loss, loss_name, targets[name]))
    return found


def last_activation(graph: Graph, tensor: KerasTensor) -> tuple[str, int | None]:
    """The name of the activation behind which nothing changes the numbers any more, and the size of the last axis
    there; "" where it is not known, or a softmax runs along another axis."""
    given = {id(one) for one in graph.inputs}
    while id(tensor) not in given:
        node = node_of(tensor)
        operation = node.operation
        inner = getattr(operation, "graph", None)
        if inner is not None:
            assert tensor._keras_history is not None
            return last_activation(inner, inner.outputs[tensor._keras_history.tensor_index])
        name = _activation(node)
        if name is not None and (name != "linear" or not isinstance(operation, Activation)):
            return name, tensor.shape[-1] if tensor.shape else None
        tensor = node.input_tensors[0]
    return "", None


def _activation(node: Node) -> str | None:
    """The activation that a call ends with, "" for one that is not known, None where it only moves numbers."""
    operation = node.operation
    if isinstance(operation, Flatten | Reshape | Permute | Identity):
        return None
    if isinstance(operation, Softmax):
        return "softmax" if operation.axis in (-1, node.output_tensors[0].ndim - 1) else ""
    if isinstance(operation, Operation):
        function = operation.function
        known = function.__module__.startswith("lamina.") and function.__name__ in ("softmax", "sigmoid")
        return str(function.__name__) if known and len(node.args) == 1 and not node.kwargs else ""
    if not isinstance(operation, Dense | EinsumDense | ConvBase | Activation):
        return ""
    package, name = public_name(operation.activation) or ("", "")  # type: ignore[union-attr]
    return name if package == "activations" else ""
