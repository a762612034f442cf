"""`plot_model`: a model as a drawing of boxes and arrows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lamina.base.errors import LaminaError
from lamina.explain.drawing import Drawing, DrawnEdge, DrawnNode, save
from lamina.explain.table import format_shape
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node, Operation
from lamina.layers.layer import Layer
from lamina.layers.signature import shape_of
from lamina.layers.symbolic import first_argument

_KINDS = (
    ("input", ("InputLayer",)),
    ("convolution", ("Conv", "SeparableConv", "DepthwiseConv")),
    ("pooling", ("Max", "Average", "Global", "UpSampling", "ZeroPadding", "Cropping")),
    ("normalization", ("BatchNormalization", "LayerNormalization", "GroupNormalization", "UnitNormalization")),
    ("activation", ("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax")),
    ("dense", ("Dense", "EinsumDense")),
    ("embedding", ("Embedding",)),
    ("reshape", ("Flatten", "Reshape", "Permute", "RepeatVector")),
    ("regularization", ("Dropout", "SpatialDropout", "Gaussian", "AlphaDropout", "ActivityRegularization")),
    ("model", ("Functional", "Sequential")),
    ("merge", ("Add", "Subtract", "Multiply", "Concatenate", "Dot", "Minimum", "Maximum")),
)
_MERGES = ("Average", "Maximum", "Minimum")


def plot_model(
    model: Any,
    to_file: Any = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    **kwargs: Any,
) -> Path:
    """Draws a model into an SVG or PNG file, without any system program, and returns the file's path.

    Parameters: `show_shapes`, `show_dtype`, `show_layer_names`, `show_layer_activations`, `show_trainable`: what the
    boxes say; `rankdir`, the direction of the arrows ("TB", "LR", "BT", "RL"); `expand_nested`, nested models as frames
    with their layers; `dpi` of a PNG. Errors: a model that is no graph; another kind of file.
    """
    kwargs.pop("splines", None)  # the shape of Graphviz's lines
    if kwargs:
        raise TypeError(f"plot_model has no argument {', '.join(map(repr, kwargs))}.")
    drawing = model_to_drawing(
        model, show_shapes, show_dtype, show_layer_names, rankdir, expand_nested, show_layer_activations, show_trainable
    )
    return save(drawing, to_file, dpi)


def model_to_drawing(
    model: Any,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
) -> Drawing:
    """The boxes and arrows of a model. Errors: a LaminaError when its graph is not known."""
    if getattr(model, "graph", None) is None:
        raise LaminaError(
            f"{model.title} has no graph to draw: build it on an input first (a subclassed model has none)."
        )
    options = {
        "names": show_layer_names,
        "shapes": show_shapes,
        "dtype": show_dtype,
        "activations": show_layer_activations,
        "trainable": show_trainable,
    }
    sketch = _Sketch(options, expand_nested)
    sketch.add_graph(model.graph, (), "")
    return Drawing(tuple(sketch.nodes), tuple(sketch.edges), direction=rankdir, title=model.name)  # type: ignore[arg-type]


class _Sketch:
    """Collects the boxes and arrows of a graph and, inside frames, of the graphs nested in it."""

    def __init__(self, options: dict[str, bool], expand_nested: bool):
        self.options, self.expand = options, expand_nested
        self.nodes: list[DrawnNode] = []
        self.edges: list[DrawnEdge] = []

    def add_graph(
        self, graph: Any, cluster: tuple[str, ...], prefix: str, sources: list[str] | None = None
    ) -> list[str]:
        """Draws a graph; `sources` are the boxes that feed a nested one. Returns the boxes that make its outputs."""
        made_by: dict[int, str] = {}
        if sources is not None:
            made_by = {id(tensor): source for tensor, source in zip(graph.inputs, sources, strict=True)}
        rank = {id(operation): index for index, operation in enumerate(graph.operations)}
        for node in sorted(
            graph.topology.nodes, key=lambda n: (-graph.topology.depth_of_node[id(n)], rank[id(n.operation)])
        ):
            if all(id(tensor) in made_by for tensor in node.output_tensors):
                continue
            made = self._add_node(node, cluster, prefix, [made_by[id(tensor)] for tensor in node.input_tensors])
            for position, tensor in enumerate(node.output_tensors):
                made_by[id(tensor)] = made[min(position, len(made) - 1)]
        return [made_by[id(tensor)] for tensor in graph.outputs]

    def _add_node(self, node: Node, cluster: tuple[str, ...], prefix: str, sources: list[str]) -> list[str]:
        operation = node.operation
        key = f"{prefix}{operation.name}#{operation._inbound_nodes.index(node)}"
        inner = getattr(operation, "graph", None)
        if self.expand and inner is not None:
            frame = (
                operation.name if key.endswith("#0") else f"{operation.name}, call {int(key.rpartition('#')[2]) + 1}"
            )
            return self.add_graph(inner, (*cluster, frame), f"{key}/", sources)
        self.nodes.append(self._box(node, key, cluster))
        self.edges.extend(DrawnEdge(source, key) for source in sources)
        return [key]

    def _box(self, node: Node, key: str, cluster: tuple[str, ...]) -> DrawnNode:
        operation = node.operation
        class_name = operation.function.__name__ if isinstance(operation, Operation) else type(operation).__name__
        rows: list[tuple[str, str]] = []
        if self.options["activations"] and hasattr(operation, "activation"):
            rows.append(("activation", getattr(operation.activation, "__name__", str(operation.activation))))
        if self.options["trainable"] and isinstance(operation, Layer) and operation.weights:
            rows.append(("trainable", "yes" if operation.trainable else "no"))
        if self.options["dtype"]:
            rows.append(("dtype", ", ".join(dict.fromkeys(tensor.dtype for tensor in node.output_tensors))))
        if self.options["shapes"]:
            if node.input_tensors:
                rows.append(("input", _shapes_text(first_argument(node.args, node.kwargs))))
            rows.append(("output", _shapes_text(node.outputs)))
        title, subtitle = (operation.name, class_name) if self.options["names"] else (class_name, "")
        return DrawnNode(key, title, subtitle, tuple(rows), _kind(class_name, node), cluster)


def _shapes_text(structure: Any) -> str:
    if isinstance(structure, KerasTensor):
        return str(structure.shape)
    return format_shape(shape_of(structure))


def _kind(class_name: str, node: Node) -> str:
    if class_name in _MERGES or len(node.input_tensors) > 1:
        return "merge"
    for kind, prefixes in _KINDS:
        if class_name.startswith(prefixes):
            return kind
    return "layer"
