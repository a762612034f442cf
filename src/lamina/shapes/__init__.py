"""Floor 1: shape arithmetic in pure Python. Sizes are ints, None (open) or a `Dim`, which writes its own formula."""

from lamina.shapes.axes import Axes, axis_names
from lamina.shapes.broadcasting import broadcast, multiply, total
from lamina.shapes.dim import Dim, Size, ceil_div, maximum, value_of
from lamina.shapes.window import FIRST, HERE, Reading, Readings, TransposedWindow, Window, window

__all__ = [
    "FIRST",
    "HERE",
    "Axes",
    "Dim",
    "Reading",
    "Readings",
    "Size",
    "TransposedWindow",
    "Window",
    "axis_names",
    "broadcast",
    "ceil_div",
    "maximum",
    "multiply",
    "total",
    "value_of",
    "window",
]
