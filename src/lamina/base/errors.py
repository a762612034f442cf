"""The one family of errors: what came, what was needed, why, and how to mend it.

The place that detects a problem raises a `ShapeError` with a short headline, a reason and a remedy. The outer
handler (`Layer.__call__`) adds the layer's name, its path in the model and the producer of the input with `place`.
"""

from __future__ import annotations

import textwrap
import warnings
from typing import Any

from lamina.base import config

LINE_WIDTH = 100
_LABEL_WIDTH = 13


class LaminaError(Exception):
    """Base of every error that lamina raises on purpose."""


class UnfinishedError(LaminaError, NotImplementedError):
    """A name of the Keras API that lamina knows and does not have yet."""


class _ShapeProblem:
    """The parts that a `ShapeError` and a `ShapeWarning` share. `str()` renders them."""

    headline: str
    layer: str | None
    path: str | None
    received: str | None
    expected: str | None
    because: str | None
    mend: str | None

    def _set_parts(self, headline: str, parts: dict[str, Any]) -> None:
        self.headline = headline
        for name in ("layer", "path", "received", "expected", "because", "mend", "table"):
            setattr(self, name, parts.pop(name, None))
        if parts:
            raise TypeError(f"a shape message has no part {sorted(parts)}")

    def place(self, **parts: Any) -> Any:
        """Fills the parts that the detecting code could not know; parts that are set stay. Returns self."""
        for name, value in parts.items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        return self

    def parts(self) -> dict[str, str | None]:
        names = ("headline", "layer", "path", "received", "expected", "because", "mend")
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        lines = textwrap.wrap(self.headline, LINE_WIDTH, break_long_words=False, break_on_hyphens=False)
        rows = (
            ("in", self.path),
            ("received", self.received),
            ("expected", self.expected),
            ("because", self.because),
            ("to mend", self.mend),
        )
        for label, text in rows:
            if text is None:
                continue
            indent = " " * _LABEL_WIDTH
            first = f"  {label:<{_LABEL_WIDTH - 2}}"
            for paragraph in str(text).split("\n"):
                lines.extend(
                    textwrap.wrap(
                        paragraph,
                        LINE_WIDTH,
                        initial_indent=first,
                        subsequent_indent=indent,
                        break_long_words=False,
                        break_on_hyphens=False,
                        drop_whitespace=True,
                    )
                )
                first = indent
        if getattr(self, "table", None):
            lines.append(str(self.table))  # type: ignore[attr-defined]
        return "\n".join(lines)


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


for _class in (LaminaError, UnfinishedError, ShapeError, ShapeWarning):
    _class.__module__ = "lamina"  # the traceback says `lamina.ShapeError`, the name that a user imports


def warn_shape(headline: str, **parts: Any) -> None:
    """Issues a `ShapeWarning`, or raises the same as a `ShapeError` under the policy "strict"."""
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
