"""A model's calls made once more on another input, on copies without memory: how far they go, and what they give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from lamina.base import names, tree
from lamina.base.errors import LaminaError, ShapeError, without_shape_warnings
from lamina.base.registry import custom_object_scope
from lamina.engine.device import device
from lamina.explain.calls import Call
from lamina.graph.function import Graph
from lamina.graph.node import Node, Operation
from lamina.layers.input_layer import Input
from lamina.models.cloning import classes_in
from lamina.models.rebuilding import replay

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Step:
    """One call of the model as it is and on the other input; of a nested model also what is inside."""

    own: Call
    other: Call
    inner: Trace | None = None


@dataclass
class Trace:
    """The calls in an order in which they can run, up to the first that fails."""

    inputs: list[Shape]
    steps: list[Step] = field(default_factory=list)
    outputs: Any = None
    failed: Call | None = None
    error: Exception | None = None

    @property
    def reason(self) -> str:
        """Why it ends, in one line; "" when it does not."""
        if self.error is None:
            return ""
        if isinstance(self.error, ShapeError):
            return f"{self.error.headline}" + (f" {_sentence(self.error.because)}" if self.error.because else "")
        return str(self.error).split("\n")[0]


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def trace(model: Any, input_shape: Any) -> Trace:
    """The model's calls on another input shape, each layer made anew from its config, without weight memory.

    `input_shape` as `input_shapes` takes it. Layers that have no config keep their own weights.
    """
    shapes = input_shapes(model, input_shape)
    with apart(model):
        return _trace(graph_of(model), shapes)


def graph_of(model: Any) -> Graph:
    """The graph of a model. Errors: a LaminaError when it has none (yet)."""
    graph: Graph | None = getattr(model, "graph", None)
    if graph is None:
        raise LaminaError(
            f"{model.title} is no graph with known sizes. Give a Sequential an Input or call build(input_shape); a "
            f"subclassed model has no graph that could be followed: explain its layers with lamina.explain(layer, "
            f"input_shape)."
        )
    return graph


def input_shapes(model: Any, input_shape: Any) -> list[Shape]:
    """A shape for each input of a model, with the batch axis.

    `input_shape` is one shape for a model of one input, else a list of shapes or a dict by the inputs' names (inputs
    that it does not name keep their shape); the batch axis may be left out. Errors: a ShapeError for another number of
    axes, a ValueError for unknown names.
    """
    graph = graph_of(model)
    own = {
        tensor._keras_history.operation.name if tensor._keras_history else tensor.name: tensor
        for tensor in graph.inputs
    }
    if isinstance(input_shape, dict):
        unknown = sorted(set(input_shape) - set(own))
        if unknown:
            raise ValueError(f"The model {model.name!r} has no input {unknown}; its inputs are {list(own)}.")
        given = [input_shape.get(name, tensor.shape) for name, tensor in own.items()]
    else:
        given = [input_shape] if tree.is_shape(input_shape) else list(input_shape)
    if len(given) != len(own):
        raise ValueError(
            f"The model {model.name!r} has {len(own)} inputs ({', '.join(own)}); {len(given)} shapes are given."
        )
    return [
        _with_batch(tuple(shape), name, tensor.shape) for shape, (name, tensor) in zip(given, own.items(), strict=True)
    ]


def _with_batch(shape: Shape, name: str, own: Shape) -> Shape:
    if len(shape) == len(own):
        return shape
    if len(shape) == len(own) - 1:
        return (own[0], *shape)
    raise ShapeError(
        f"The input {name!r} has {len(own)} axes and the given shape {len(shape)}.",
        layer=name,
        received=str(shape),
        expected=f"{own}, or the same without the batch axis",
        because="another input differs in its sizes, not in the number of its axes",
        mend=f"give a shape of {len(own) - 1} sizes",
    )


@contextmanager
def apart(model: Any) -> Iterator[None]:
    """Copies are made without memory, without warnings, and without using up names."""
    with ExitStack() as stack:
        for context in (
            device("meta"),
            without_shape_warnings(),
            names.uncounted(),
            custom_object_scope(classes_in(model)),
        ):
            stack.enter_context(context)
        yield


def _trace(graph: Graph, shapes: list[Shape]) -> Trace:
    starts = [Input(batch_shape=shape, dtype=own.dtype) for shape, own in zip(shapes, graph.inputs, strict=True)]
    found, copies = Trace(shapes), dict[int, Any]()

    def call(node: Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        own = found.failed = Call.of(node)  # until it is done
        if own.graph is not None:
            inner, other = _inside(own, args, kwargs)
        else:
            if id(node.operation) not in copies:
                copies[id(node.operation)] = copied(node.operation)
            copy = copies[id(node.operation)]
            inner, other = None, Call(copy, args, kwargs, _called(copy, node.operation, args, kwargs))
        found.steps.append(Step(own, other, inner))
        return other.result

    try:
        found.outputs = replay(graph, starts, call)
        found.failed = None
    except (ValueError, TypeError, LaminaError) as error:
        found.error = error
    return found


def _inside(own: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Trace, Call]:
    """The calls of a nested model. Errors: that of the layer that fails in it."""
    received = Call(own.operation, args, kwargs, None).received
    inner = _trace(own.graph, [tensor.shape for tensor in received])
    if inner.error is not None:
        raise inner.error
    return inner, Call(own.operation, args, kwargs, inner.outputs)


def copied(operation: Any) -> Any:
    """A fresh layer from the config, or the same operation where it has none (a function, a layer around a lambda)."""
    if isinstance(operation, Operation):
        return operation
    try:
        return type(operation).from_config(operation.get_config())
    except (LaminaError, NotImplementedError, TypeError):
        return operation


def _called(copy: Any, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The outputs; the model's own operations are asked without a trace of the question in their graph."""
    return copy.compute_output_spec(*args, **kwargs) if copy is operation else copy(*args, **kwargs)
