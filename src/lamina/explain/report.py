"""What every explanation is: an object that prints, shows itself in a notebook and is read as data."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable
from typing import Any

from lamina.explain.table import Table, terminal_width


class Report:
    """Something found out about a model. A subclass says its `parts()` and its `to_dict()`.

    `str()` gives the parts as text no wider than the terminal (80 columns where there is none); a notebook shows
    tables as tables; `to_dict()` holds plain numbers, texts, lists and dicts, ready for JSON.
    """

    def parts(self) -> Iterable[str | Table]:
        """The lines and tables of the report, from top to bottom."""
        raise NotImplementedError(f"{type(self).__name__} has no parts().")

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        raise NotImplementedError(f"{type(self).__name__} has no to_dict().")

    def __str__(self) -> str:
        width = terminal_width()
        return "\n".join(str(part) if isinstance(part, Table) else _wrapped(part, width) for part in self.parts())

    def _repr_html_(self) -> str:
        return "".join(
            part._repr_html_() if isinstance(part, Table) else f"<pre>{html.escape(part)}</pre>"
            for part in self.parts()
        )


def _wrapped(line: str, width: int) -> str:
    """A line in lines of at most `width`, all as far indented as it is."""
    if len(line) <= width:
        return line
    indent = line[: len(line) - len(line.lstrip())]
    wrapper = textwrap.TextWrapper(
        width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(wrapper.wrap(line.strip()))
