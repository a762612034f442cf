"""Where a graph narrows to one tensor, and the blocks of branches that lie between two such places."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lamina.graph.function import Graph
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node


@dataclass(frozen=True)
class Block:
    """Branches between two tensors that carry everything: they part behind `entry`, and `merge` joins them.

    `nodes` are its calls in an order in which they can run; `exit` is the tensor that leaves the last of them. A block
    that the layers' names give a name (`conv2_block1`) also holds the calls of that name right before the branches
    part and right behind the merge, such as ResNet's last activation.
    """

    name: str
    entry: KerasTensor
    nodes: tuple[Node, ...]
    exit: KerasTensor
    merge: Node


def carriers(graph: Graph) -> list[tuple[Node, KerasTensor]]:
    """The tensors through which everything between inputs and outputs flows, in order, each with the call that made it.

    With one input, the first is this input; with one output, the last is this output. In a graph with several outputs
    there is none behind the first tensor that is an output while others are still to come; one that has several inputs
    has none before they have met. Linear in the number of calls: a graph is walked in an order in which it can run, and
    a tensor carries everything when no other that was made before it is still needed behind it.

    >>> import lamina
    >>> x = lamina.Input((4,), name="in")
    >>> a = lamina.layers.Dense(4, name="a")(x)
    >>> both = lamina.layers.Add(name="add")([x, a])
    >>> model = lamina.Model(x, lamina.layers.ReLU(name="out")(both))
    >>> [node.operation.name for node, tensor in carriers(model.graph)]
    ['in', 'add', 'out']
    """
    return [(node, tensor) for node, tensor in _live(graph) if tensor is not None]


def blocks(graph: Graph) -> list[Block]:
    """The blocks of branches in a graph, in order, each between two tensors of `carriers`. Linear in the calls.

    The name of a block is what all its layers' names begin with, up to an underscore or slash, if there is such a
    beginning and no other block has it; otherwise "block 3", counted from 1. Branches that are not yet joined at the
    end of the graph, or that come from several inputs, are no block: they have no one tensor on one side.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     model = lamina.applications.ResNet50(weights=None)
    >>> first = blocks(model.graph)[0]
    >>> first.name, first.merge.operation.name, first.nodes[-1].operation.name, first.exit.shape
    ('conv2_block1', 'conv2_block1_add', 'conv2_block1_out', (None, 56, 56, 256))
    """
    walked = _live(graph)
    narrow = [index for index, (_, tensor) in enumerate(walked) if tensor is not None]
    regions = [(start, end) for start, end in pairwise(narrow) if end - start > 1]
    names = _names([[node for node, _ in walked[start + 1 : end + 1]] for start, end in regions])
    found = []
    free = 1  # the first call that no block holds yet; the very first makes an entry
    for (start, end), name in zip(regions, names, strict=True):
        first, last = start + 1, end
        while first > free and walked[first - 2][1] is not None and _bears(walked[first - 1][0], name):
            first -= 1
        while last + 1 < len(walked) and walked[last + 1][1] is not None and _bears(walked[last + 1][0], name):
            last += 1
        entry, leaving = walked[first - 1][1], walked[last][1]
        assert entry is not None
        assert leaving is not None
        nodes = tuple(node for node, _ in walked[first : last + 1])
        free = last + 1
        found.append(Block(name, entry, nodes, leaving, merge=walked[end][0]))
    return found


def _live(graph: Graph) -> list[tuple[Node, KerasTensor | None]]:
    """The calls that the outputs need, each with the tensor it made if this is all that the calls behind it need."""
    given = {id(tensor) for tensor in graph.inputs}
    readers = Counter(id(tensor) for tensor in graph.outputs)  # an output is needed for ever: never counted down
    for node in graph.topology.nodes:
        readers.update(_reads(node, given))
    waiting = {one for one in given if readers[one]}
    walked: list[tuple[Node, KerasTensor | None]] = []
    for node in graph.topology.nodes:
        made = [tensor for tensor in node.output_tensors if readers[id(tensor)]]
        if not made:  # an input that no output needs
            continue
        for one in _reads(node, given):
            readers[one] -= 1
            if not readers[one]:
                waiting.discard(one)
        waiting.update(map(id, made))
        walked.append((node, made[0] if len(waiting) == len(made) == 1 else None))
    return walked


def _reads(node: Node, given: set[int]) -> set[int]:
    """The tensors that a call reads inside the graph, by identity: none where it makes an input of the graph."""
    if all(id(tensor) in given for tensor in node.output_tensors):
        return set()
    return {id(tensor) for tensor in node.input_tensors}


def _names(regions: Sequence[Sequence[Node]]) -> list[str]:
    """A name for each region: the common beginning of its layers' names, or its number."""
    beginnings = [common_beginning([node.operation.name for node in nodes]) for nodes in regions]
    often = Counter(beginnings)
    return [
        beginning if beginning and often[beginning] == 1 else f"block {number}"
        for number, beginning in enumerate(beginnings, start=1)
    ]


def common_beginning(names: Sequence[str]) -> str:
    """What all names begin with, up to an underscore or slash.

    >>> common_beginning(["conv2_block1_1_conv", "conv2_block1_1_bn", "conv2_block1_add"])
    'conv2_block1'
    >>> common_beginning(["conv2d_1", "add_1"])
    ''
    """
    split = [re.split("([_/])", name) for name in names]
    common = []
    for pieces in zip(*split, strict=False):
        if any(piece != pieces[0] for piece in pieces):
            break
        common.append(pieces[0])
    return "".join(common[: len(common) - len(common) % 2]).rstrip("_/")


def _bears(node: Node, name: str) -> bool:
    return str(node.operation.name).startswith((f"{name}_", f"{name}/"))
