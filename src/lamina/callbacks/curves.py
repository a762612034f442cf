"""The curves of a training: what `History.plot` draws."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from lamina.base.errors import LaminaError
from lamina.base.optional import optional

_COLUMNS = 3
_TRAIN, _VALIDATION = "#2f6ea8", "#b8573c"


def draw_curves(
    history: Mapping[str, Sequence[Any]],
    epochs: Mapping[str, Sequence[int]],
    to_file: str | os.PathLike[str] | None = None,
) -> Any:
    """One axes a metric, with the curve of training and of validation over the epochs: a matplotlib Figure.

    Parameters: `history`, values by name, those of validation as `val_<name>`; `epochs`, for each name the epochs,
    from 0, at which they came (validation may come less often); `to_file`, a file in a format that its suffix says.

    Errors: a LaminaError when there is nothing to draw; a MissingPackageError without matplotlib.
    """
    figures = optional("matplotlib.figure", "plot", "History.plot()")
    curves = {name: values for name, values in history.items() if _are_numbers(values)}
    names = list(dict.fromkeys(name.removeprefix("val_") for name in curves))
    if not names:
        raise LaminaError("There are no curves to draw: fit() has not finished an epoch.")
    columns = min(len(names), _COLUMNS)
    rows = math.ceil(len(names) / columns)
    # No pyplot: its list of open figures would keep this one, and a machine without a screen needs none.
    figure = figures.Figure(figsize=(4.2 * columns, 3.2 * rows), layout="constrained")
    for number, name in enumerate(names, start=1):
        axes = figure.add_subplot(rows, columns, number)
        for label, key, colour in (("training", name, _TRAIN), ("validation", f"val_{name}", _VALIDATION)):
            if key in curves:
                values = [float(value) for value in curves[key]]
                numbers = _numbers(epochs.get(key, ()), len(values))
                axes.plot(numbers, values, label=label, color=colour, marker="o", markersize=3)
        _dress(axes, name)
    if to_file is not None:
        figure.savefig(os.fspath(to_file), dpi=150)
    figure._repr_png_ = partial(_png, figure)  # a notebook shows by itself only the figures that pyplot knows
    return figure


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    return stream.getvalue()


def _numbers(epochs: Sequence[int], count: int) -> list[int]:
    """The epochs of a curve, counted from 1; from anew where they do not rise, as after a second fit()."""
    rising = len(epochs) == count and all(one < other for one, other in pairwise(epochs))
    return [epoch + 1 for epoch in epochs] if rising else list(range(1, count + 1))


def _dress(axes: Any, name: str) -> None:
    axes.set_title(name.replace("_", " "))
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(color="#e4e7eb")
    axes.spines[["top", "right"]].set_visible(False)
    if name == "learning_rate" and min(axes.lines[0].get_ydata()) > 0:
        axes.set_yscale("log")
    if len(axes.lines) > 1 or axes.lines[0].get_label() == "validation":
        axes.legend(frameon=False)


def _are_numbers(values: Sequence[Any]) -> bool:
    """Whether a curve can be drawn: metrics that give an array an epoch have none."""
    return bool(values) and all(isinstance(value, int | float) or getattr(value, "ndim", 1) == 0 for value in values)
