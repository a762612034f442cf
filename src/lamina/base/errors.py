"""The one family of errors: what came, what was needed, why, and how to mend it.

The place that detects a problem raises a `ShapeError` with a short headline, a reason and a remedy. The outer
handler (`Layer.__call__`, a graph's program, the trainer) adds the layer's name, its path in the model, the producers
of the inputs and, where a graph could not be built, the table of the sizes up to there.
"""

from __future__ import annotations

import re
import textwrap
import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from lamina.base import config
from lamina.base.scope import Scoped

LINE_WIDTH = 100
_LABEL_WIDTH = 13
_CODE = re.compile(r"\[[^\[\]]*\]|\([\d, None]*\)")  # indices and shapes, which stay on one line
_FIRST_ROWS, _LAST_ROWS = 3, 8  # of a longer table of sizes; the last are the ones that led to the failure


class LaminaError(Exception):
    """Base of every error that lamina raises on purpose."""


class UnfinishedError(LaminaError, NotImplementedError):
    """A name of the Keras API that lamina knows and does not have yet."""


class UnsafeFileError(LaminaError):
    """A file, or a config in it, that asks for more than a description of a model may: code, paths, too much memory.

    >>> import lamina
    >>> lamina.layers.deserialize({"module": "os", "class_name": "system", "config": {}})
    Traceback (most recent call last):
    lamina.UnsafeFileError: The config names 'system' of 'os', which is neither lamina's nor registered. ...
    """


@dataclass(frozen=True)
class SizeTable:
    """What ran before a failure: (name, class, shape) of each layer, in the order in which they ran.

    >>> print(SizeTable((("image", "InputLayer", "(None, 9, 9, 3)"), ("conv", "Conv2D", "(None, 7, 7, 4)"))))
    image  InputLayer  (None, 9, 9, 3)
    conv   Conv2D      (None, 7, 7, 4)
    """

    rows: tuple[tuple[str, str, str], ...]

    def inside(self, name: str) -> SizeTable:
        """The same rows as those of a model of this name."""
        return SizeTable(tuple((f"{name}/{row[0]}", *row[1:]) for row in self.rows))

    def after(self, before: SizeTable | None) -> SizeTable:
        return self if before is None else SizeTable(before.rows + self.rows)

    def __str__(self) -> str:
        rows, left_out = list(self.rows), len(self.rows) - _FIRST_ROWS - _LAST_ROWS
        if left_out > 1:  # a line that says "1 more" saves none
            rows[_FIRST_ROWS:-_LAST_ROWS] = []
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        lines = [f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {shape}" for name, kind, shape in rows]
        if left_out > 1:
            lines.insert(_FIRST_ROWS, f"… {left_out} more")
        return "\n".join(lines)


class _ShapeProblem:
    """The parts that a `ShapeError` and a `ShapeWarning` share. `str()` renders them."""

    headline: str
    layer: str | None
    received: str | None
    expected: str | None
    because: str | None
    mend: str | None
    table: SizeTable | None
    _path: str | None

    def _set_parts(self, headline: str, parts: dict[str, Any]) -> None:
        self.headline = headline
        for name in ("layer", "path", "received", "expected", "because", "mend", "table"):
            setattr(self, name, parts.pop(name, None))
        if parts:
            raise TypeError(f"a shape message has no part {sorted(parts)}")

    @property
    def path(self) -> str | None:
        """The names from the outermost model to the layer; the layer's own where nothing lies around it."""
        return self._path or self.layer

    @path.setter
    def path(self, value: str | None) -> None:
        self._path = value

    def place(self, **parts: Any) -> Any:
        """Fills the parts that the detecting code could not know; parts that are set stay. Returns self."""
        for name, value in parts.items():
            if getattr(self, "_path" if name == "path" else name) is None:
                setattr(self, name, value)
        return self

    def parts(self) -> dict[str, str | None]:
        names = ("headline", "layer", "path", "received", "expected", "because", "mend")
        return {name: getattr(self, name) for name in names}

    def _path_tells_more(self) -> bool:
        """Whether the path has a name that neither the headline nor the layer says."""
        return any(name != self.layer and repr(name) not in self.headline for name in (self.path or "").split("/"))

    def __str__(self) -> str:
        return self.text(LINE_WIDTH)

    def text(self, width: int) -> str:
        """The parts in lines of at most `width`; sizes are not folded."""
        lines = textwrap.wrap(self.headline, width, break_long_words=False, break_on_hyphens=False)
        for label, text in (
            ("in", self.path if self._path_tells_more() else None),
            ("received", self.received),
            ("expected", self.expected),
            ("because", self.because),
            ("to mend", self.mend),
        ):
            if text is not None:
                lines += _labelled(label, str(text), width)
        if self.table is not None:
            first, *rest = str(self.table).split("\n")
            lines += [f"{_label('sizes')}{first}", *(" " * _LABEL_WIDTH + line for line in rest)]
        return "\n".join(lines)


def _label(text: str) -> str:
    return f"  {text:<{_LABEL_WIDTH - 2}}"


def _labelled(label: str, text: str, width: int) -> list[str]:
    """The paragraphs of a part, wrapped, beside its label."""
    lines: list[str] = []
    indent = " " * _LABEL_WIDTH
    first = _label(label)
    for paragraph in text.split("\n"):
        lines += textwrap.wrap(
            _CODE.sub(lambda found: found[0].replace(" ", "\0"), paragraph),
            width,
            initial_indent=first,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        first = indent
    return [line.replace("\0", " ") for line in lines]


class ShapeError(_ShapeProblem, LaminaError, ValueError):
    """A shape that a layer, a loss or a function cannot take.

    Parameters (all but the headline by keyword, all text): `layer`, `path`, `received`, `expected`, `because`, `mend`.

    >>> from lamina.base.errors import ShapeError
    >>> print(ShapeError("Dense 'head' needs 128 features and got 64.", received="(None, 64)", mend="a new Dense"))
    Dense 'head' needs 128 features and got 64.
      received   (None, 64)
      to mend    a new Dense
    """

    def __init__(self, headline: str, **parts: Any):
        super().__init__(headline)
        self._set_parts(headline, parts)


class ShapeWarning(_ShapeProblem, UserWarning):
    """What Keras accepts in silence but cannot be meant. An error under `set_shape_policy("strict")`."""

    def __init__(self, headline: str, **parts: Any):
        super().__init__(headline)
        self._set_parts(headline, parts)


for _class in (LaminaError, UnfinishedError, UnsafeFileError, ShapeError, ShapeWarning):
    _class.__module__ = "lamina"  # the traceback says `lamina.ShapeError`, the name that a user imports


_unwarned: Scoped[bool] = Scoped(False)


def without_shape_warnings() -> AbstractContextManager[None]:
    """A block in which `warn_shape` says nothing: what runs there is a copy, of which the user was told already."""
    return _unwarned.set(True)


def warn_shape(headline: str, **parts: Any) -> None:
    """Issues a `ShapeWarning`, or raises the same as a `ShapeError` under the policy "strict"."""
    if _unwarned.value:
        return
    if config.shape_policy() == "strict":
        raise ShapeError(headline, **parts)
    warnings.warn(ShapeWarning(headline, **parts), stacklevel=outside_frame())


def outside_frame() -> int:
    """The `stacklevel` with which a caller of `warnings.warn` points at the first line outside lamina and torch."""
    import sys

    frame = sys._getframe(1)
    level = 1
    while frame.f_back is not None:
        module = frame.f_globals.get("__name__", "")
        if not (module.startswith(("lamina.", "torch.")) or module == "lamina"):
            break
        frame = frame.f_back
        level += 1
    return level
