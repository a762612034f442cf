"""What a call costs: multiply-accumulates and the memory of its outputs, for one example."""

from __future__ import annotations

from typing import Any

from torch.utils.flop_counter import FlopCounterMode

from lamina.base import tree
from lamina.base.errors import ShapeError
from lamina.engine.dtypes import torch_dtype
from lamina.explain.calls import Call
from lamina.graph.function import Graph
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers.layer import Layer
from lamina.shapes import Size, multiply, total, value_of


def stated_products(call: Call) -> Size:
    """The multiply-accumulates as the layer states them, a `Dim` that writes its formula; None where it does not."""
    if not call.received:
        return 0
    if not isinstance(call.operation, Layer) or call.graph is not None:
        return None
    return call.operation.multiply_accumulates(
        [axes.named() for axes in call.inputs], [axes.named() for axes in call.outputs]
    )


def products_of(call: Call) -> int | None:
    """Convolutions' and matrix products' multiply-accumulates, as papers count them; None where a size is open."""
    if call.graph is not None:
        return total_products(call.graph)
    stated = stated_products(call)
    if stated is not None:
        return value_of(stated)
    return None if _states(call.operation) else _counted(call)


def _states(operation: Any) -> bool:
    """Whether a layer states its products, and only the sizes are open."""
    return isinstance(operation, Layer) and type(operation).multiply_accumulates is not Layer.multiply_accumulates


def _counted(call: Call) -> int | None:
    """By torch's counter, on tensors without values. None where the code cannot run on one example."""
    if any(size is None for tensor in call.received for size in tensor.shape[1:]):
        return None
    args, kwargs = tree.map_structure(_one_example, (call.args, call.kwargs))
    try:
        with FlopCounterMode(display=False) as counter:
            call.operation.compute_output_spec(*args, **kwargs)
    except ShapeError:
        return None
    return int(counter.get_total_flops()) // 4  # two operations each, in the two runs of a probe


def _one_example(value: Any) -> Any:
    return KerasTensor((1, *value.shape[1:]), value.dtype) if isinstance(value, KerasTensor) else value


def total_products(graph: Graph) -> int | None:
    """All calls of a graph together; None where one is not known."""
    counts = [products_of(Call.of(node)) for node in graph.topology.nodes]
    return None if None in counts else sum(counts)  # type: ignore[arg-type]


def output_bytes(call: Call) -> int | None:
    """The memory of a call's outputs for one example; None where a size is open."""
    counts = [multiply(tensor.shape[1:]) for tensor in call.produced]
    widths = [torch_dtype(tensor.dtype).itemsize for tensor in call.produced]
    return value_of(total(multiply(pair) for pair in zip(counts, widths, strict=True)))
