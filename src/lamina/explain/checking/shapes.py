"""S: shapes that can hardly be meant."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache

from lamina.explain.checking.registry import Problem, check
from lamina.explain.checking.subject import Subject, View
from lamina.explain.checking.windows import Sliding, reads_last, sliding_calls, slidings
from lamina.explain.fields import input_axes, spatial_axes
from lamina.explain.smallest import Sizes
from lamina.explain.trace import apart
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node, Operation, node_of
from lamina.layers.convolution import ConvBase, swapped_axes
from lamina.layers.dense import Dense
from lamina.layers.layer import Layer, ignored_declaration
from lamina.layers.merging import Add, Average, Maximum, Minimum, Multiply, Subtract
from lamina.layers.reshaping import Flatten
from lamina.layers.symbolic import source_text

_ROWS = {"height": "row", "width": "column", "depth": "slice", "steps": "step"}


def times(numbers: list[int]) -> str:
    """`3×3`, or `3` for one axis."""
    return "×".join(map(str, numbers))


def one_line(text: str) -> str:
    return " ".join(text.split())


@check("S101", "declared-shape-ignored", "a layer declares an input shape that is not what it gets")
def declared_shape_ignored(subject: Subject) -> Iterator[Problem]:
    seen: set[int] = set()
    for view, node, layer in subject.calls(Layer):
        declared = layer.__dict__.get("_ignored_shape")
        if declared is None or id(layer) in seen or not node.input_tensors:
            continue
        seen.add(id(layer))
        tensor = node.input_tensors[0]
        parts = ignored_declaration(layer, declared, tensor.shape, tensor)
        if parts is not None:
            what = f"{layer.title} declares input_shape={declared[1:]} and gets {tensor.shape[1:]}{_from(tensor)}."
            yield Problem(view.path(node), what, parts["because"], parts["mend"])


def _from(tensor: KerasTensor) -> str:
    return source_text(tensor).replace("  from", " from")


@check("S102", "axes-look-swapped", "an image's axes look swapped: the other data_format would fit much better")
def axes_look_swapped(subject: Subject) -> Iterator[Problem]:
    for view, node, layer in subject.calls(ConvBase):
        source, _ = view.padding(node.input_tensors[0])
        if view.prefix or id(source) not in view.inputs:  # a feature map may have any proportions
            continue
        parts = swapped_axes(layer, source.shape)
        if parts is not None:
            yield Problem(view.path(node), parts["headline"], one_line(parts["because"]), parts["mend"])


@check("S103", "batch-axis-in-shape", "the shape of an input seems to hold the batch axis, which it leaves out")
def batch_axis_in_shape(subject: Subject) -> Iterator[Problem]:
    for view, tensor, name in subject.inputs():
        shape = tensor.shape
        if len(shape) == 3 and _as_batch(shape[1]) and _second_batch(view, tensor):
            so = "every layer treats the second axis as the first: nothing on the way joins its positions, and the "
            so += f"output {view.graph.outputs[0].shape} still has it"
        elif (flat := _flattened_images(view, tensor)) is not None:
            so = f"{flat.title} joins {shape[1]} images of {times(list(shape[2:]))} to one example"  # type: ignore[arg-type]
        else:
            continue
        yield Problem(
            name,
            f"The input {name!r} has the shape {shape}: {so}.",
            "shape= is the shape of one example; the batch axis comes in front of it by itself",
            f"Input({shape[2:]}), or Input(batch_shape={shape[1:]}) to fix the size of a batch",
        )


def _as_batch(size: int | None) -> bool:
    """A size that batches or whole data sets have: open, a power of two from 8 on, or 1000 and more."""
    return size is None or size >= 1000 or (size >= 8 and size & (size - 1) == 0)


def _second_batch(view: View, tensor: KerasTensor) -> bool:
    """Whether every position of axis 1 goes through the model by itself, Dense layers among them."""
    if not any(isinstance(node.operation, Dense) for node in view.nodes):
        return False
    name, axis = node_of(tensor).operation.name, input_axes(view.graph, tensor)[1]
    for output in view.graph.outputs:
        place = next((one for one in view.fields[id(output)].axes if (one.name, one.input) == (axis, name)), None)
        if place is None or place.size != 1 or place.stride != 1:
            return False
    return True


def _flattened_images(view: View, tensor: KerasTensor) -> Flatten | None:
    """The Flatten that is the first to join anything of an input (batch, several, height, width, channels)."""
    shape = tensor.shape
    if len(shape) != 5 or shape[-1] not in (1, 3, 4) or min(size or 0 for size in shape[2:4]) < 8:
        return None
    flattened = [
        node.operation
        for node in view.nodes
        if isinstance(node.operation, Flatten) and view.padding(node.input_tensors[0])[0] is tensor
    ]
    return flattened[0] if flattened else None


@check("S104", "window-larger-than-input", "a kernel or pooling window is larger than what it slides over")
def window_larger_than_input(subject: Subject) -> Iterator[Problem]:
    for view, node, found in sliding_calls(subject):
        if all(one.window.reach <= one.size for one in found) or _steps_nowhere(found):
            continue
        layer = node.operation
        reach, size = times([one.window.reach for one in found]), times([one.size for one in found])
        what = f"{layer.title} slides a window of {reach} over {size} position{'s' * (size != '1')}"
        places = math.prod(one.window.kernel for one in found)
        idle = places - math.prod(one.used for one in found)
        if idle:
            what += f": {idle} of its {places} places never meet{'s' * (idle == 1)} anything but padding"
        yield Problem(
            view.path(node),
            f"{what}.",
            "no place of the window lies inside the input: each mixes padding in",
            "a smaller window, a larger input, or fewer down-samplings before it",
        )


def _steps_nowhere(found: list[Sliding]) -> bool:
    """Whether windows with a stride lie on a single position."""
    return all(one.size == 1 for one in found) and any(one.window.stride > 1 for one in found)


@check("S105", "nothing-left-to-down-sample", "height and width were 1 before the last down-sampling")
def nothing_left(subject: Subject) -> Iterator[Problem]:
    idle = [(view, node, found) for view, node, found in sliding_calls(subject) if _steps_nowhere(found)]
    mend = _larger_input(idle)
    for view, node, found in idle:
        one, strides = times([1] * len(found)), times([sliding.window.stride for sliding in found])
        yield Problem(
            view.path(node),
            f"{node.operation.title} has stride {strides}, and its input is {one}{_since(view, node)}: there is "
            "nothing to stride over.",
            "nothing is down-sampled here, and every larger kernel from there on sees one position and padding",
            f"{mend}, or fewer down-samplings",
        )


def _larger_input(idle: list[tuple[View, Node, list[Sliding]]]) -> str:
    """An input on which all of these calls have two positions, as far as that is known."""
    needed: dict[str, tuple[int, int]] = {}
    for view, node, found in idle:
        for sliding in found:
            growth = view.growth(view.padding(node.input_tensors[0])[0], sliding.axis)
            if growth is None:
                return "a larger input"
            needed[sliding.axis] = max(needed.get(sliding.axis, (0, 0)), (sum(growth), growth[0]))
    sizes = [times([pair[place] for pair in needed.values()]) for place in (0, 1)]
    return f"an input of {sizes[0]} or more in place of {sizes[1]}"


def _since(view: View, node: Node) -> str:
    """Since which layer the map that a call reads has a single position."""
    tensor = view.padding(node.input_tensors[0])[0]
    names = node.operation.axis_names(tensor.ndim)
    axes = [names.index(name) for name in node.operation.spatial_names]
    made = view.parent(tensor)
    while made is not None:
        before = made.input_tensors[0]
        if before.ndim != tensor.ndim or any(before.shape[axis] != 1 for axis in axes):
            return f" since {made.operation.name!r}"
        made = view.parent(before)
    return ""


@check("S106", "positions-dropped", "the last rows or columns are read by no window, because the windows do not fit")
def positions_dropped(subject: Subject) -> Iterator[Problem]:
    lossy = list(_lossy(subject))

    @cache
    def mending(view: View, axis: str) -> int | None:
        return _mending_size(view, axis, [one for one in lossy if one[0] is view])

    for view, node, found, dropping in lossy:
        lost = " and ".join(_last(one) for one in dropping)
        size = times([one.size for one in found])
        first = dropping[0]
        cover = f"windows of {first.window.reach} at stride {first.window.stride} end at {first.size - first.dropped}"
        yield Problem(
            view.path(node),
            f"{node.operation.title} never reads {lost} of its input of {size}: its {cover}.",
            "what only these positions hold is lost, always at the same edge",
            _mend_dropped(view, node, dropping, mending),
        )


Lossy = tuple[View, Node, list[Sliding], list[Sliding]]  # a call, its windows, and those that drop positions


def _lossy(subject: Subject) -> Iterator[Lossy]:
    """The calls that are the last to see some positions, and do not read them."""
    for view, node, found in sliding_calls(subject):
        source = view.padding(node.input_tensors[0])[0]
        dropping = [one for one in found if one.dropped and not reads_last(view, source, one.axis)]
        if dropping:
            yield view, node, found, dropping


def _last(one: Sliding) -> str:
    row = _ROWS.get(one.axis, one.axis)
    return f"the last {row}" if one.dropped == 1 else f"the last {one.dropped} {row}s"


def _mend_dropped(view: View, node: Node, dropping: list[Sliding], mending: Callable[[View, str], int | None]) -> str:
    """How the windows of a call would fit; where others of the model do not fit either, a size that mends all."""
    source = view.padding(node.input_tensors[0])[0]
    wanted: dict[tuple[str, str], list[str]] = {}
    for one in dropping:
        where, size = "a", f"{one.size + one.missing} here"
        growth = view.growth(source, one.axis)
        better = None if growth is None else mending(view, one.axis)
        if growth is not None and better is not None:
            where, size = "an input", f"{better} in place of {growth[0]}"
        wanted.setdefault((where, size), []).append("length" if one.axis == "steps" else one.axis)
    sizes = " and ".join(f"{where} {' and '.join(axes)} of {size}" for (where, size), axes in wanted.items())
    return f'padding="same" reads all; so does {sizes}'


def _mending_size(view: View, axis: str, lossy: list[Lossy]) -> int | None:
    """The smallest of the sizes that would mend one call on which all of them fit along an axis."""
    candidates = set()
    for _, node, _, dropping in lossy:
        growth = view.growth(view.padding(node.input_tensors[0])[0], axis)
        missing = [one.missing for one in dropping if one.axis == axis]
        if missing and growth is None:
            return None
        candidates |= {growth[0] + growth[1] * one for one in missing if growth is not None}
    if len(candidates) == 1:
        return candidates.pop()
    sizes = Sizes(view.graph)
    sources = [source for source, (_, name) in spatial_axes(view.graph).items() if name == axis]
    for candidate in sorted(candidates):
        with apart(view.model):
            walk = sizes.at(dict.fromkeys(sources, candidate))
        windows = [one for _, node, _, _ in lossy for one in slidings(view, node, walk.shapes) if one.axis == axis]
        if not walk.failed and not any(one.dropped for one in windows):
            return candidate
    return None


@check("S107", "flatten-of-open-size", "Flatten meets an axis whose size is open, so that no Dense can follow")
def flatten_of_open_size(subject: Subject) -> Iterator[Problem]:
    for view, node, layer in subject.calls(Flatten):
        tensor = node.input_tensors[0]
        names = layer.axis_names(tensor.ndim)
        opened = [name for name, size in zip(names[1:], tensor.shape[1:], strict=True) if size is None]
        if opened:
            pooling = f", or {_POOLING[tensor.ndim]} in its place: its output does not depend on the size"
            yield Problem(
                view.path(node),
                f"{layer.title} flattens {tensor.shape}, whose {' and '.join(opened)} {_are(opened)} open: its output "
                f"is {node.output_tensors[0].shape}.",
                "a Dense behind it has a row of weights for each feature, and their number is not known",
                f"give the input a fixed {' and '.join(opened)}{pooling if tensor.ndim in _POOLING else ''}",
            )


_POOLING = {3: "GlobalAveragePooling1D", 4: "GlobalAveragePooling2D", 5: "GlobalAveragePooling3D"}


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


# A product with one number a row, column or channel is a gate (squeeze and excitation); a sum with one is a mistake.
_SUMS = (Add, Subtract, Average, Maximum, Minimum)
_FUNCTIONS = ("add", "subtract", "multiply", "divide", "true_divide", "maximum", "minimum")


@check("S108", "merge-broadcasts", "tensors of different shapes are merged by repeating one of them")
def merge_broadcasts(subject: Subject) -> Iterator[Problem]:
    for view in subject.views:
        for node in view.nodes:
            tensors, operation = node.input_tensors, node.operation
            if not (_batch_meets(node) if isinstance(operation, Operation) else _repeats(node)):
                continue
            title = getattr(operation, "title", f"The function {operation.name!r}")
            shapes = " and ".join(f"{one.shape}{_from(one)}" for one in tensors[:3])
            yield Problem(
                view.path(node),
                f"{title} merges {shapes}: what is missing is repeated, to {node.output_tensors[0].shape}.",
                "the shapes meet only by repetition; branches that are to be merged number by number have one shape",
                "give the branches one shape; Concatenate joins different ones; Multiply is for gates",
            )


def _repeats(node: Node) -> bool:
    """Whether a merging layer repeats one of its inputs along an axis; a product, each of them."""
    if not isinstance(node.operation, (*_SUMS, Multiply)) or len(node.input_tensors) < 2:
        return False
    shape = node.output_tensors[0].shape
    stretched = []
    for tensor in node.input_tensors:
        padded = (*tensor.shape[:1], *(1,) * (len(shape) - tensor.ndim), *tensor.shape[1:])
        stretched.append(any(one == 1 != other for one, other in zip(padded, shape, strict=True)))
    return any(stretched) if isinstance(node.operation, _SUMS) else all(stretched)


def _batch_meets(node: Node) -> bool:
    """Whether a function aligns the batch axis of one tensor with another axis of a longer one."""
    function = node.operation.function
    ranks = {tensor.ndim for tensor in node.input_tensors if tensor.ndim and tensor.shape[0] is None}
    return function.__name__ in _FUNCTIONS and function.__module__.startswith("lamina.ops") and len(ranks) > 1
