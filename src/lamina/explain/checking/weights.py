"""W: weights that do nothing, or that are too many."""

from __future__ import annotations

from collections.abc import Iterator

from lamina import activations
from lamina.explain.checking.registry import Problem, check
from lamina.explain.checking.subject import Subject, View
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node
from lamina.layers.convolution import ConvBase
from lamina.layers.dense import Dense
from lamina.layers.normalization import BatchNormalization
from lamina.layers.pooling import Pooling
from lamina.layers.reshaping import Flatten
from lamina.layers.same_shape import SameShape


@check("W401", "bias-before-normalization", "a bias right before BatchNormalization, which subtracts it again")
def bias_before_normalization(subject: Subject) -> Iterator[Problem]:
    seen: set[int] = set()
    for view, node, layer in subject.calls(ConvBase, Dense):
        if layer.bias is None or layer.activation is not activations.linear or id(layer) in seen:
            continue
        calls = [one for one in view.nodes if one.operation is layer]
        norms = [_normalizations(view, one) for one in calls]
        if not all(norms):
            continue
        seen.add(id(layer))
        own, norm = "units" if isinstance(layer, Dense) else "channels", norms[0][0].operation
        yield Problem(
            view.path(node),
            f"{layer.title} adds a bias to each of its {layer.bias.shape[0]} {own}, and only {norm.title} reads them.",
            "the normalization subtracts the mean of each, and the bias with it: in training the bias changes no "
            "output and gets no gradient; beta does its work",
            "use_bias=False, unless weights are to be loaded that were saved with it",
        )


def _normalizations(view: View, node: Node) -> list[Node]:
    """The normalizations of the call's channels that read its output, if nothing else does."""
    tensor, layer = node.output_tensors[0], node.operation
    readers = view.readers(tensor)
    channels = layer.axis_names(tensor.ndim).index("channels") if isinstance(layer, ConvBase) else tensor.ndim - 1
    for reader in readers:
        norm = reader.operation
        if not isinstance(norm, BatchNormalization) or norm.axis % tensor.ndim != channels:
            return []
        by_batch = norm.trainable and reader.kwargs.get("training") is not False
        if layer.trainable and not by_batch:  # a bias that is trained before fixed statistics does something
            return []
    return [] if id(tensor) in view.outputs else readers


@check("W402", "dense-after-flatten", "a Dense behind a flattened feature map holds most of the parameters")
def dense_after_flatten(subject: Subject) -> Iterator[Problem]:
    for view, node, layer in subject.calls(Dense):
        flatten = _flatten_before(view, node.input_tensors[0])
        total = view.model.count_params()
        own = layer.count_params()
        if flatten is None or 2 * own <= total:
            continue
        maps = flatten.input_tensors[0]
        features, channels = layer.kernel.shape[0], _channels(view, maps)
        if channels is None or channels == features:
            continue
        yield Problem(
            view.path(node),
            f"{layer.title} holds {own:,} of the {total:,} parameters ({100 * own / total:.1f} %): it reads "
            f"{maps.shape[1:]} feature maps that {flatten.operation.name!r} flattened.",
            f"its kernel has a row for each position and channel, {features:,} rows; the model learns each position "
            "anew, and takes images of one size only",
            f"GlobalAveragePooling{maps.ndim - 2}D() in place of Flatten: {channels:,} rows, and images of any size",
        )


def _flatten_before(view: View, tensor: KerasTensor) -> Node | None:
    """The Flatten whose numbers a Dense reads, with layers between that keep the shape."""
    node = view.parent(tensor)
    while node is not None and isinstance(node.operation, SameShape):
        node = view.parent(node.input_tensors[0])
    return node if node is not None and isinstance(node.operation, Flatten) else None


def _channels(view: View, maps: KerasTensor) -> int | None:
    """The channels of a feature map: of what a convolution or pooling made; None for anything else."""
    node = view.parent(view.padding(maps)[0])
    if node is None or not isinstance(node.operation, ConvBase | Pooling) or maps.ndim != node.operation.rank + 2:
        return None
    return maps.shape[node.operation.axis_names(maps.ndim).index("channels")]
