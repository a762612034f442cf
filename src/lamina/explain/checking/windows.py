"""How the windows of a call lie on what they slide over: what is padding, and what is not read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lamina.explain.checking.subject import Subject, View
from lamina.explain.trace import Shape
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node
from lamina.layers.same_shape import SameShape
from lamina.layers.spatial import ZeroPadding
from lamina.layers.windowed import SpatialLayer
from lamina.shapes import Axes, Window

NO_OTHERS: Mapping[int, Shape] = {}


@dataclass(frozen=True)
class Sliding:
    """A window on one axis: `size` positions that hold something, with zeros `before` and `after` them in all (those of
    a ZeroPadding layer and the window's own), and the `positions` of the window."""

    axis: str
    window: Window
    size: int
    before: int
    after: int
    positions: int

    @property
    def behind(self) -> int:
        """Positions, zeros included, behind the last that a window reads."""
        read = (self.positions - 1) * self.window.stride + self.window.reach
        return self.before + self.size + self.after - read

    @property
    def dropped(self) -> int:
        """Positions that hold something behind the last window, without the gap that follows every window of a stride
        above its reach: they would be read if another window fitted."""
        gap = max(self.window.stride - self.window.reach, 0)
        return max(self.behind - self.after - gap, 0)

    @property
    def missing(self) -> int:
        """By how many positions the axis must grow for another window to fit exactly."""
        return self.window.stride - self.behind

    @property
    def used(self) -> int:
        """How many of the kernel's positions ever meet a position that holds something."""
        starts = range(-self.before, -self.before + self.positions * self.window.stride, self.window.stride)
        taps = range(0, self.window.reach, self.window.dilation)
        return sum(any(0 <= start + tap < self.size for start in starts) for tap in taps)


def slidings(view: View, node: Node, shapes: Mapping[int, Shape] = NO_OTHERS) -> list[Sliding]:
    """The windows of a call on each spatial axis of known size; none for a layer that slides none.

    `shapes`: other shapes of tensors, by their id, those of the model on another input.
    """
    layer, tensor = node.operation, node.input_tensors[0]
    windows = getattr(layer, "windows", None)
    if not isinstance(layer, SpatialLayer) or not windows or not isinstance(windows[0], Window):
        return []
    names = layer.axis_names(tensor.ndim)
    source, zeros = view.padding(tensor)
    inside, padded, outside = (
        Axes(names, shapes.get(id(one), one.shape)) for one in (source, tensor, node.output_tensors[0])
    )
    found = []
    for number, (axis, window) in enumerate(zip(layer.spatial_names, windows, strict=True)):
        size, positions = inside[axis], outside[axis]
        if size is None or positions is None:
            continue
        before, after = zeros[number] if zeros else (0, 0)
        own = window.pads(padded[axis])
        found.append(Sliding(axis, window, size, before + own[0], after + own[1], positions))
    return found


def sliding_calls(subject: Subject) -> Iterator[tuple[View, Node, list[Sliding]]]:
    """Every call that slides windows over axes of known size."""
    for view, node, _ in subject.calls(SpatialLayer):
        if found := slidings(view, node):
            yield view, node, found


def reads_last(view: View, tensor: KerasTensor, axis: str) -> bool:
    """Whether anything reads the last positions of a tensor along an axis."""
    if id(tensor) in view.outputs:
        return True
    for node in view.readers(tensor):
        found = [one for one in slidings(view, node) if one.axis == axis]
        if found:
            if not found[0].dropped:
                return True
        elif not isinstance(node.operation, SameShape | ZeroPadding) or reads_last(view, node.output_tensors[0], axis):
            return True
    return False
