"""The calls that a model makes: of its graph, or, for a subclassed model, seen while its code runs on symbols."""

from __future__ import annotations

from typing import Any

from torch.nn.modules import module as torch_module

from lamina.base import tree
from lamina.base.errors import LaminaError, without_shape_warnings
from lamina.explain.calls import Call
from lamina.graph.function import Graph
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.probe import join_trials, probe
from lamina.layers.layer import Layer
from lamina.layers.symbolic import trial_call

Calls = dict[int, list[Call]]  # by the id of what is called, in the order of the calls


def calls_in_graph(graph: Graph) -> Calls:
    """The calls of a graph's operations."""
    inside = {id(node) for node in graph.topology.nodes}
    return {
        id(operation): [Call.of(node) for node in operation._inbound_nodes if id(node) in inside]
        for operation in graph.operations
    }


def calls_inside(call: Call) -> Calls:
    """The calls that a layer without a graph makes in one of its own, of all layers at any depth.

    The code runs twice on tensors without values, as in every probe: nothing is computed, no state moves. Empty where
    the two runs do not call the same layers. Errors: a ShapeError where the code cannot run so.
    """
    layer = call.operation
    runs: list[list[tuple[Any, ...]]] = []

    def run(*args: Any, **kwargs: Any) -> Any:
        runs.append([])
        return trial_call(layer, args, kwargs)

    def note(module: Any, args: Any, kwargs: Any, result: Any) -> None:
        if module is not layer:
            runs[-1].append((module, args, kwargs, result))

    kwargs = {"training": False, **call.kwargs} if layer._signature.takes_training else call.kwargs
    hook = torch_module.register_module_forward_hook(note, with_kwargs=True)
    try:
        with without_shape_warnings():
            probe(run, call.args, kwargs, what=f"{layer.title}: its call()")
    finally:
        hook.remove()
        torch_module._global_forward_hooks_with_kwargs.pop(hook.id, None)  # torch leaves it, and calls stay slow
    first, second = runs
    if [id(seen[0]) for seen in first] != [id(seen[0]) for seen in second]:
        return {}
    found: Calls = {}
    for one, other in zip(first, second, strict=True):
        args, kwargs, result = join_trials(one[1:], other[1:])
        found.setdefault(id(one[0]), []).append(Call(one[0], args, kwargs, result))
    return found


def call_of_model(model: Any, input_shape: Any = None) -> Call | None:
    """A call of a subclassed model: on the given shape, or as it was called or built; None before that."""
    if input_shape is not None:
        return _call_on(model, input_shape)
    if model._inbound_nodes:
        return Call.of(model._inbound_nodes[0])
    first = model.__dict__.get("_first_call")
    if first is not None:
        args, kwargs = first
        return Call(model, args, kwargs, None)
    built_on = (model._build_shapes or {}).get("input_shape")
    return None if built_on is None else _call_on(model, built_on)


def _call_on(model: Any, input_shape: Any) -> Call:
    symbols = tree.map_shapes(lambda shape: KerasTensor(shape, model.compute_dtype), input_shape)
    return Call(model, (symbols,), {}, None)


def calls_of_model(model: Any, input_shape: Any = None) -> Calls:
    """The calls inside a model; empty for one of which no input is known, or whose noted call cannot be run again."""
    graph = getattr(model, "graph", None)
    if graph is not None:
        return calls_in_graph(graph)
    if not isinstance(model, Layer) or (call := call_of_model(model, input_shape)) is None:
        return {}
    try:
        return calls_inside(call)
    except LaminaError:
        if input_shape is not None:
            raise
        return {}  # code that needs values: what was noted at the real call stays known
