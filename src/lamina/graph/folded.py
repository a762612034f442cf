"""The folded program: a graph as few calls as possible, for predictions on a processor.

It is planned for each shape of inputs by running once, and holds the weights as they were then, laid out for oneDNN.
`is_current` says whether they still are: a weight that was changed in place, replaced, moved or cast, an attribute of a
layer that was set, or a hook that was put on one, makes it stale, and the graph folds again. What changes numbers
behind torch's back (`weight.data`, an array that shares its memory) is not seen: `Model.compile`, `fit` and
`Graph.forget_program` fold anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from math import isfinite
from typing import Any

import torch

from lamina.engine import changes, onednn
from lamina.engine.variable import Variable
from lamina.graph.bound_plan import BoundPlan
from lamina.graph.folding import Unfolded, joined_units
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.plan import Plan, Unplanned
from lamina.graph.topology import Topology

_PLANS = 8  # shapes of inputs for which a plan is kept


class FoldedProgram:
    """The joined units of a graph, and a plan for each shape of inputs."""

    def __init__(self, inputs: list[KerasTensor], outputs: list[KerasTensor], topology: Topology):
        unfolded = Unfolded(inputs, outputs, topology.nodes)
        self.units = joined_units(unfolded)
        self.inputs, self.outputs = unfolded.inputs, unfolded.outputs
        self.count = unfolded.count
        self._layers = list(unfolded.layers.values())
        self._weights = [weight for layer in self._layers for weight in layer.own_weights()]
        self._versions, self._places = self._versions_now(), self._places_now()
        # A hook that is taken away leaves no mark, nor do a plain parameter's numbers: then all is looked at each time.
        leaves_marks = all(isinstance(weight, Variable) for weight in self._weights)
        leaves_marks = leaves_marks and not any(layer.has_hooks for layer in self._layers)
        self._mark = changes.mark() if leaves_marks else None
        self._is_finite = all_finite(self._weights)
        self._plans: OrderedDict[Any, Plan] = OrderedDict()

    def _versions_now(self) -> list[int]:
        with torch._C.DisableTorchFunctionSubclass():  # a Variable's attributes take three times as long else
            return [weight._version for weight in self._weights]

    def _places_now(self) -> list[int]:
        """Where the weights' numbers lie, and how often layers changed: what leaves a mark when it changes."""
        pointers = [weight.data_ptr() for weight in self._weights]
        return pointers + [layer.changes for layer in self._layers]

    def is_current(self) -> bool:
        if self._versions != self._versions_now():
            return False
        now = changes.mark()
        if now is self._mark:
            return True
        if self._places != self._places_now():
            return False
        self._mark = self._mark and now
        return True

    def takes(self, values: list[torch.Tensor]) -> bool:
        """Whether it gives what the graph gives: oneDNN's ReLU and maximum make numbers of NaN."""
        return self._is_finite and all_finite(values)

    def run(self, values: list[Any]) -> list[Any]:
        """The outputs' tensors for the inputs' tensors, as `Program.run` gives them with `training=False`."""
        key = torch.get_num_threads(), *((value.shape, value.dtype) for value in values)
        plan = self._plans.get(key)
        if plan is not None:
            try:
                return plan.run(values)
            except Unplanned:
                del self._plans[key]
        plan = (BoundPlan if onednn.available() else Plan)(self)
        outputs = plan.make(values)
        self._plans[key] = plan
        if len(self._plans) > _PLANS:
            self._plans.popitem(last=False)
        return outputs


def all_finite(tensors: Iterable[torch.Tensor]) -> bool:
    """Whether no number is NaN or infinite; tensors whose sum overflows count as if one was."""
    return all(isfinite(tensor.sum().item()) for tensor in tensors if tensor.is_floating_point())
