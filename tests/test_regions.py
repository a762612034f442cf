"""Tensors that carry everything and blocks of branches, held against a search over all ways through the graph."""

from __future__ import annotations

import random
import sys

import pytest

import lamina
from lamina import layers
from lamina.graph.function import Graph
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.regions import blocks, carriers


def names_of_carriers(graph: Graph) -> list[str]:
    return [node.operation.name for node, _ in carriers(graph)]


def reaches_without(graph: Graph, barrier: KerasTensor) -> bool:
    """Whether an output can be traced back to an input without passing a tensor."""
    given = {id(tensor) for tensor in graph.inputs}
    waiting, seen = [tensor for tensor in graph.outputs if tensor is not barrier], set()
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in given:
            return True
        if id(tensor) not in seen:
            seen.add(id(tensor))
            node = tensor._keras_history.operation._inbound_nodes[tensor._keras_history.node_index]
            waiting += [one for one in node.input_tensors if one is not barrier]
    return False


def random_graph(seed: int) -> Graph:
    """Some calls on one or two of the few tensors made last, so that the graph is narrow here and there."""
    choose = random.Random(seed)
    inputs = [layers.Input((4,)) for _ in range(choose.choice([1, 1, 1, 2]))]
    made = list(inputs)
    for _ in range(choose.randint(3, 14)):
        recent = made[-3:]
        if choose.random() < 0.4:
            made.append(layers.Add()([choose.choice(recent), choose.choice(recent)]))
        else:
            made.append(layers.ReLU()(choose.choice(recent)))
    outputs = [made[-1]] if choose.random() < 0.8 else [made[-1], choose.choice(made)]
    return Graph(inputs, outputs)


@pytest.mark.parametrize("seed", range(60))
def test_carriers_are_the_tensors_that_no_way_goes_around(seed):
    graph = random_graph(seed)
    tensors = [tensor for node in graph.topology.nodes for tensor in node.output_tensors]
    expected = [tensor for tensor in tensors if not reaches_without(graph, tensor)]
    assert [tensor for _, tensor in carriers(graph)] == expected


@pytest.mark.parametrize("seed", range(60))
def test_blocks_lie_between_carriers_and_share_no_call(seed):
    graph = random_graph(seed)
    narrow = {id(tensor) for _, tensor in carriers(graph)}
    held = []
    for block in blocks(graph):
        assert {id(block.entry), id(block.exit)} <= narrow
        inside = {id(tensor) for node in block.nodes for tensor in node.output_tensors}
        assert id(block.exit) in inside
        assert id(block.entry) not in inside
        assert all(id(t) in inside or t is block.entry for node in block.nodes for t in node.input_tensors)
        assert len({id(tensor) for tensor in block.merge.input_tensors}) > 1
        held += map(id, block.nodes)
    assert len(held) == len(set(held))


def test_resnet_has_a_block_for_each_name():
    with lamina.device("meta"):
        model = lamina.applications.ResNet50(weights=None)
    found = blocks(model.graph)
    expected = [
        f"conv{stage}_block{number}" for stage, count in zip(range(2, 6), (3, 4, 6, 3), strict=True)
        for number in range(1, count + 1)
    ]  # fmt: skip
    assert [block.name for block in found] == expected
    for block in found:
        named = {layer.name for layer in model.layers if layer.name.startswith(f"{block.name}_")}
        assert {node.operation.name for node in block.nodes} == named
        assert block.merge.operation.name == f"{block.name}_add"
        assert block.exit is model.get_layer(f"{block.name}_out").output


def test_blocks_without_names_are_counted():
    x = lamina.Input((8, 8, 4))
    y = x
    for _ in range(2):
        y = layers.Add()([y, layers.Conv2D(4, 3, padding="same")(y)])
        y = layers.ReLU()(y)
    found = blocks(Graph(x, y))
    assert [block.name for block in found] == ["block 1", "block 2"]
    assert [[type(node.operation).__name__ for node in block.nodes] for block in found] == [["Conv2D", "Add"]] * 2


def test_a_block_takes_the_calls_of_its_name_before_and_behind_it():
    x = lamina.Input((4,), name="in")
    y = layers.ReLU(name="one/preact")(x)
    y = layers.Add(name="one/add")([y, layers.Dense(4, name="one/dense")(y)])
    y = layers.ReLU(name="one/out")(y)
    y = layers.ReLU(name="head")(y)
    (block,) = blocks(Graph(x, y))
    assert block.name == "one"
    assert [node.operation.name for node in block.nodes] == ["one/preact", "one/dense", "one/add", "one/out"]


def test_two_inputs_carry_nothing_until_they_meet_and_two_outputs_nothing_behind_the_first():
    a, b = lamina.Input((4,), name="a"), lamina.Input((4,), name="b")
    y = layers.Concatenate(name="both")([layers.Dense(3, name="of_a")(a), b])
    y = layers.Dense(3, name="neck")(y)
    first = layers.Dense(1, name="first")(y)
    second = layers.Dense(1, name="second")(y)
    graph = Graph([a, b], [first, second])
    assert names_of_carriers(graph) == ["both", "neck"]
    assert blocks(graph) == []


def test_an_input_that_no_output_needs_does_not_count():
    a, b = lamina.Input((4,), name="a"), lamina.Input((4,), name="b")
    assert names_of_carriers(Graph([a, b], layers.ReLU(name="out")(a))) == ["a", "out"]


def test_a_call_with_several_results_carries_everything_only_if_one_is_read():
    x = lamina.Input((5, 3), name="x")
    part, other = lamina.ops.unstack(x, 5, axis=1)[:2]
    assert names_of_carriers(Graph(x, layers.ReLU(name="out")(part))) == [
        "x",
        part._keras_history.operation.name,
        "out",
    ]
    assert names_of_carriers(Graph(x, layers.Add(name="out")([part, other]))) == ["x", "out"]


def test_a_graph_from_an_inner_tensor_starts_there():
    x = lamina.Input((4,), name="x")
    middle = layers.ReLU(name="middle")(layers.Add()([x, layers.Dense(4)(x)]))
    assert names_of_carriers(Graph(middle, layers.ReLU(name="out")(middle))) == ["middle", "out"]


def test_a_layer_that_reads_one_tensor_twice_is_no_block():
    x = lamina.Input((4,), name="x")
    graph = Graph(x, layers.Add(name="twice")([x, x]))
    assert names_of_carriers(graph) == ["x", "twice"]
    assert blocks(graph) == []


def test_the_work_is_linear_in_the_number_of_calls():
    """Counted in lines of code that run, which do not depend on the machine."""

    def lines(length: int) -> int:
        x = y = lamina.Input((4,))
        for _ in range(length):
            y = layers.Add()([y, layers.ReLU()(y)])
        graph = Graph(x, y)
        count = 0

        def trace(frame, event, argument):
            nonlocal count
            count += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            found = blocks(graph)
        finally:
            sys.settrace(before)
        assert len(found) == length
        return count

    assert lines(400) < 8.5 * lines(50)
