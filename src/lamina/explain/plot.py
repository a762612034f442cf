"""`plot_model`: a model as a drawing of boxes and arrows."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lamina.base.errors import LaminaError
from lamina.explain.drawing import Drawing, DrawnEdge, DrawnNode, save, to_svg
from lamina.explain.grouping import Group, class_name, group_paths
from lamina.explain.table import format_shape
from lamina.graph.function import Graph
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node
from lamina.layers.layer import Layer
from lamina.layers.signature import shape_of
from lamina.layers.symbolic import first_argument

Shapes = Literal["boxes", "changes", "edges"]

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


@dataclass(frozen=True)
class Picture:
    """A drawn model: a notebook shows it, `save` writes it, and `os.fspath` gives the file that it was written to.

    Attributes: `drawing`, the boxes and arrows; `path`, the file, or None.
    """

    drawing: Drawing
    path: Path | None = None

    def save(self, to_file: str | os.PathLike[str], dpi: int = 200) -> Picture:
        """Writes an SVG or PNG file, as the suffix says, and gives the picture with its path."""
        return Picture(self.drawing, save(self.drawing, os.fspath(to_file), dpi))

    def _repr_svg_(self) -> str:
        return to_svg(self.drawing)

    def __fspath__(self) -> str:
        if self.path is None:
            raise LaminaError("This picture was not written to a file: save('model.svg') writes it.")
        return str(self.path)

    def __str__(self) -> str:
        return repr(self) if self.path is None else str(self.path)

    def __repr__(self) -> str:
        drawing = self.drawing
        place = f" in {str(self.path)!r}" if self.path else ""
        return f"<Picture of {drawing.title!r}: {len(drawing.nodes)} boxes, {len(drawing.edges)} arrows{place}>"


def plot_model(
    model: Any,
    to_file: Any = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool | Collection[str] = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
    *,
    shapes: Shapes | None = None,
    group_blocks: bool = False,
    fold_blocks: bool | int | Collection[str] = False,
    columns: int | None = None,
) -> Picture:
    """Draws a model into an SVG or PNG file, without any system program, or only into a notebook (`to_file=None`).

    Keras's parameters: `show_shapes`, `show_dtype`, `show_layer_names`, `show_layer_activations`, `show_trainable`:
    what the boxes say; `rankdir`, the direction of the arrows ("TB", "LR", "BT", "RL"); `expand_nested`, nested models
    as frames with their layers, all of them or those of these names, and not as one box each; `dpi` of a PNG;
    `splines`, which has no effect: it chooses among the lines of Graphviz.

    lamina's own:

    - `shapes`: where shapes stand. "boxes", as `show_shapes=True` says; "edges", on every arrow; "changes", once behind
      each layer that changes the shape. The boxes of the outputs say theirs, for no arrow leaves them.
    - `group_blocks`: a light frame around each block of branches that meet again, such as a residual block, named by
      what its layers' names begin with, or numbered.
    - `fold_blocks`: such blocks as one box each: True for all, a number n for those in n - 1 or more other blocks, or
      the names of some.
    - `columns`: the number of columns into which a long chain is broken; None chooses, 1 keeps one chain.

    Returns a `Picture`. Errors: a LaminaError for a model without a graph, and for a name in `expand_nested` or
    `fold_blocks` that nothing has; a ValueError for another kind of file or another word.

    >>> import lamina
    >>> model = lamina.Sequential([lamina.Input((8,)), lamina.layers.Dense(4), lamina.layers.ReLU()], name="small")
    >>> plot_model(model, to_file=None)
    <Picture of 'small': 3 boxes, 2 arrows>
    >>> [edge.label for edge in plot_model(model, None, shapes="changes").drawing.edges]
    ['(None, 8)', '(None, 4)']
    """
    drawing = model_to_drawing(
        model,
        show_shapes,
        show_dtype,
        show_layer_names,
        rankdir,
        expand_nested,
        show_layer_activations,
        show_trainable,
        shapes=shapes,
        group_blocks=group_blocks,
        fold_blocks=fold_blocks,
        columns=columns,
    )
    return Picture(drawing) if to_file is None else Picture(drawing).save(to_file, dpi)


def draw_model(model: Any, to_file: Any = None, **options: Any) -> Picture:
    """`plot_model` with what reads best: layer names, shapes where they change, frames around blocks.

    The parameters are those of `plot_model`, which go before these defaults. Without a file, a notebook shows it.
    """
    defaults = {"show_layer_names": True, "group_blocks": True}
    if "show_shapes" not in options:
        defaults["shapes"] = "changes"  # type: ignore[assignment]
    return plot_model(model, to_file, **{**defaults, **options})


def model_to_drawing(
    model: Any,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool | Collection[str] = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    *,
    shapes: Shapes | None = None,
    group_blocks: bool = False,
    fold_blocks: bool | int | Collection[str] = False,
    columns: int | None = None,
) -> Drawing:
    """The boxes and arrows of a model; the parameters are those of `plot_model`."""
    if getattr(model, "graph", None) is None:
        raise LaminaError(
            f"{model.title} has no graph to draw: build it on an input first (a subclassed model has none)."
        )
    if shapes not in (None, "boxes", "edges", "changes"):
        raise ValueError(f"shapes={shapes!r}: give 'boxes', 'edges', 'changes' or None")
    sketch = _Sketch(
        names=show_layer_names,
        shapes=shapes or ("boxes" if show_shapes else None),
        dtype=show_dtype,
        activations=show_layer_activations,
        trainable=show_trainable,
        expand=_choice(expand_nested),
        frames=group_blocks,
        fold=_choice(fold_blocks),
    )
    sketch.add_graph(model.graph, (), "")
    sketch.check_names()
    return Drawing(tuple(sketch.nodes), tuple(sketch.edges), rankdir, model.name, columns)  # type: ignore[arg-type]


def _choice(chosen: bool | int | Collection[str]) -> int | frozenset[str]:
    """A number, or names; one name is a set of one."""
    if isinstance(chosen, int):
        return int(chosen)
    return frozenset([chosen] if isinstance(chosen, str) else chosen)


@dataclass
class _Sketch:
    """Collects the boxes and arrows of a graph and, inside frames, of the graphs nested in it."""

    names: bool
    shapes: Shapes | None
    dtype: bool
    activations: bool
    trainable: bool
    expand: int | frozenset[str]
    frames: bool
    fold: int | frozenset[str]
    nodes: list[DrawnNode] = field(default_factory=list)
    edges: list[DrawnEdge] = field(default_factory=list)
    met: dict[str, set[str]] = field(default_factory=lambda: {"expand_nested": set(), "fold_blocks": set()})
    labelled: set[tuple[str, str]] = field(default_factory=set)  # (box, label) that an arrow says already

    def add_graph(
        self, graph: Graph, cluster: tuple[str, ...], prefix: str, sources: list[_Source] | None = None
    ) -> list[_Source]:
        """Draws a graph; `sources` feed a nested one. Returns what makes its outputs."""
        made: dict[int, _Source] = {}
        if sources is not None:
            made = {id(tensor): source for tensor, source in zip(graph.inputs, sources, strict=True)}
        rank = {id(operation): index for index, operation in enumerate(graph.operations)}
        groups = group_paths(graph) if self.frames or self.fold else {}
        folded: set[int] = set()
        outputs = {id(tensor) for tensor in graph.outputs} if sources is None else set()
        for node in sorted(
            graph.topology.nodes, key=lambda n: (-graph.topology.depth_of_node[id(n)], rank[id(n.operation)])
        ):
            if id(node) in folded or all(id(tensor) in made for tensor in node.output_tensors):
                continue
            around = groups.get(id(node), ())
            depth = self._folded_depth(around)
            inner = (*cluster, *(group.name for group in around[:depth])) if self.frames else cluster
            if depth < len(around):
                folded |= {id(member) for member in around[depth].nodes}
                self._add_group(around[depth], inner, prefix, made, outputs)
            else:
                self._add_node(node, inner, prefix, made, outputs)
        return [made[id(tensor)] for tensor in graph.outputs]

    def check_names(self) -> None:
        """Every name that was to be expanded or folded is there."""
        for argument, chosen in (("expand_nested", self.expand), ("fold_blocks", self.fold)):
            missing = sorted(chosen - self.met[argument]) if isinstance(chosen, frozenset) else []
            if missing:
                what = "nested model" if argument == "expand_nested" else "block"
                known = ", ".join(sorted(self.met[argument])) or "none"
                raise LaminaError(f"{argument} names {missing[0]!r}, and no {what} has this name; there are: {known}.")

    def _folded_depth(self, around: tuple[Group, ...]) -> int:
        """How many of the groups around a call stay open; the next one, if any, is one box."""
        for depth, group in enumerate(around):
            self.met["fold_blocks"].add(group.name)
            if group.name in self.fold if isinstance(self.fold, frozenset) else 0 < self.fold <= depth + 1:
                return depth
        return len(around)

    def _add_node(
        self, node: Node, cluster: tuple[str, ...], prefix: str, made: dict[int, _Source], outputs: set[int]
    ) -> None:
        operation = node.operation
        call = operation._inbound_nodes.index(node)
        key = f"{prefix}{operation.name}#{call}"
        inner = getattr(operation, "graph", None)
        if inner is not None:
            self.met["expand_nested"].add(operation.name)
            if operation.name in self.expand if isinstance(self.expand, frozenset) else self.expand:
                frame = operation.name if call == 0 else f"{operation.name}, call {call + 1}"
                sources = [made[id(tensor)] for tensor in node.input_tensors]
                results = self.add_graph(inner, (*cluster, frame), f"{key}/", sources)
                made |= {id(tensor): result for tensor, result in zip(node.output_tensors, results, strict=True)}
                return
        ends = any(id(tensor) in outputs for tensor in node.output_tensors)
        self.nodes.append(self._box(node, key, cluster, ends))
        self._connect(key, [made[id(tensor)] for tensor in node.input_tensors])
        self._note_results(node, key, [tensor.shape for tensor in node.input_tensors], made)

    def _add_group(
        self, group: Group, cluster: tuple[str, ...], prefix: str, made: dict[int, _Source], outputs: set[int]
    ) -> None:
        """A block as one box, which does not say what is inside."""
        key, last = f"{prefix}{group.name}#block", group.nodes[-1]
        inside = {id(tensor) for node in group.nodes for tensor in node.output_tensors}
        entering = {id(t): t for node in group.nodes for t in node.input_tensors if id(t) not in inside}
        rows = self._rows(list(entering.values()), last, any(id(tensor) in outputs for tensor in last.output_tensors))
        self.nodes.append(DrawnNode(key, group.name, f"{len(group.nodes)} layers", rows, "block", cluster))
        self._connect(key, [made[tensor] for tensor in entering])
        self._note_results(last, key, [tensor.shape for tensor in entering.values()], made)

    def _connect(self, key: str, sources: list[_Source]) -> None:
        for source in sources:
            known = self.shapes == "changes" and (source.key, source.label) in self.labelled
            self.labelled.add((source.key, source.label))
            self.edges.append(DrawnEdge(source.key, key, "" if known else source.label))

    def _note_results(self, node: Node, key: str, shapes: list[Any], made: dict[int, _Source]) -> None:
        """Which box makes each result of a call, and what its arrows say."""
        for tensor in node.output_tensors:
            says = self.shapes == "edges" or (self.shapes == "changes" and tensor.shape not in shapes)
            made[id(tensor)] = _Source(key, str(tensor.shape) if says else "")

    def _box(self, node: Node, key: str, cluster: tuple[str, ...], ends: bool) -> DrawnNode:
        operation, name = node.operation, class_name(node)
        rows: list[tuple[str, str]] = []
        if self.activations and hasattr(operation, "activation"):
            rows.append(("activation", getattr(operation.activation, "__name__", str(operation.activation))))
        if self.trainable and isinstance(operation, Layer) and operation.weights:
            rows.append(("trainable", "yes" if operation.trainable else "no"))
        given = first_argument(node.args, node.kwargs) if node.input_tensors else None
        title, subtitle = (operation.name, name) if self.names else (name, "")
        return DrawnNode(key, title, subtitle, (*rows, *self._rows(given, node, ends)), _kind(name, node), cluster)

    def _rows(self, given: Any, node: Node, ends: bool) -> tuple[tuple[str, str], ...]:
        """What a box says of the tensors that enter it (`given`) and of those that a call makes."""
        rows = []
        if self.dtype:
            rows.append(("dtype", ", ".join(dict.fromkeys(tensor.dtype for tensor in node.output_tensors))))
        if self.shapes == "boxes" and given is not None:
            rows.append(("input", _shapes_text(given)))
        if self.shapes == "boxes" or (self.shapes and ends):  # no arrow leaves an output
            rows.append(("output", _shapes_text(node.outputs)))
        return tuple(rows)


@dataclass(frozen=True)
class _Source:
    """Where an arrow begins: the box, and what the arrow says."""

    key: str
    label: str


def _shapes_text(structure: Any) -> str:
    if isinstance(structure, list) and len(structure) == 1:
        (structure,) = structure
    if isinstance(structure, KerasTensor):
        return str(structure.shape)
    return format_shape(shape_of(structure))


def _kind(name: str, node: Node) -> str:
    if name in _MERGES or len(node.input_tensors) > 1:
        return "merge"
    for kind, prefixes in _KINDS:
        if name.startswith(prefixes):
            return kind
    return "layer"
