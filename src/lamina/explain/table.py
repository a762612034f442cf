"""Text tables for `summary()` and for explanations, in the look of Keras 3's summary, with rich's boxes.

A table never cuts a cell: what is too long is folded onto further lines, at a space where there is one, and otherwise
behind an underscore or a slash. A table is as wide as its cells need and, if that can be, no wider than the terminal.
"""

from __future__ import annotations

import html
import itertools
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from rich import box as boxes
from rich.cells import cell_len, chop_cells

DEFAULT_WIDTH = 80  # when the output is no terminal
_LEAST_WIDTH = 6  # a narrower column is not readable: then the table gets wider than asked
_LIGHT_OPENING, _HEAVY_CLOSING = "┬", "┻"  # junctions that rich's heavy box lacks
_ASCII_BOX = boxes.Box("+-++\n| ||\n+=++\n| ||\n+-++\n+-++\n| ||\n+-++\n", ascii=True)
_SPELLED = {"└": "`-", "×": "x", "·": "*", "−": "-", "–": "-", "—": "-", "→": "->", "…": "...", "²": "^2", "³": "^3"}
_SPELLED |= {"⌊": "floor(", "⌋": ")", "⌈": "ceil(", "⌉": ")", "≤": "<=", "≥": ">=", "≠": "!=", "µ": "u"}


@dataclass(frozen=True)
class Column:
    """A column. One that is to be kept (`keep`), as shapes and counts are, is folded only when folding the others, even
    inside their words, does not make enough room."""

    title: str
    align: Literal["left", "right", "center"] = "left"
    keep: bool = False


@dataclass(frozen=True)
class Row:
    """The cells of a row, one for each column; `indent` is the depth of a layer inside nested models.

    A `section` is a heading: its one cell runs over all columns.
    """

    cells: tuple[str, ...]
    indent: int = 0
    section: bool = False


@dataclass(frozen=True)
class Table:
    """A table that prints as text and shows as HTML in a notebook.

    `rows` are `Row`s or plain sequences of cells; `title` stands above, the lines of `footer` below; `lines` draws a
    rule between any two rows. Raises `ValueError` for a row whose number of cells is not the number of columns.

    >>> from lamina.explain.table import Column, Row, Table
    >>> rows = [("inner (Sequential)", "520"), Row(("dense (Dense)", "520"), indent=1)]
    >>> print(Table((Column("Layer (type)"), Column("Param #", "right")), rows).text(encoding="ascii"))
    +---------------------+---------+
    | Layer (type)        | Param # |
    +=====================+=========+
    | inner (Sequential)  |     520 |
    +---------------------+---------+
    |    `- dense (Dense) |     520 |
    +---------------------+---------+
    """

    columns: Sequence[Column]
    rows: Sequence[Row | Sequence[str]]
    title: str | None = None
    footer: Sequence[str] = ()
    lines: bool = True

    def __post_init__(self) -> None:
        for row in self._rows():
            needed = 1 if row.section else len(self.columns)
            if len(row.cells) != needed:
                raise ValueError(f"a row of this table has {needed} cells, and this one {len(row.cells)}: {row.cells}")

    def _rows(self) -> list[Row]:
        return [row if isinstance(row, Row) else Row(tuple(row)) for row in self.rows]

    def text(
        self,
        width: int | None = None,
        line_length: int | None = None,
        encoding: str = "utf-8",
        positions: Sequence[float] | None = None,
    ) -> str:
        """The table as text.

        `width` is the most that it may take (the terminal's width when not given), `line_length` what it takes at
        least and at most. When `encoding` cannot show the boxes, they are drawn in ASCII. `positions` are the ends of
        the columns, in characters or, up to 1, as parts of the whole width.
        """
        limit = line_length or width or terminal_width()
        plain = partial(_encodable, encoding=encoding)
        rows = [
            Row(_indented(tuple(map(plain, row.cells)), row.indent, plain("└")), row.indent, row.section)
            for row in self._rows()
        ]
        titles = tuple(plain(column.title) for column in self.columns)
        body = [titles, *(row.cells for row in rows if not row.section)]
        widths = _column_widths(self.columns, body, limit - 3 * len(self.columns) - 1)
        if positions is not None:
            widths = _widths_between(positions, len(widths), limit)
        elif line_length:
            for index in itertools.islice(
                itertools.cycle(range(len(widths))), limit - 3 * len(widths) - 1 - sum(widths)
            ):
                widths[index] += 1
        lines = list(_drawn(self, titles, rows, widths, _ASCII_BOX if plain("┏") != "┏" else boxes.HEAVY_HEAD))
        if self.title:
            lines[:0] = _fold(plain(self.title), limit)
        for line in self.footer:
            lines += _fold(plain(line), limit)
        return "\n".join(line.rstrip() for line in lines)

    def __str__(self) -> str:
        return self.text(encoding=_stdout_encoding())

    def _repr_html_(self) -> str:
        cell = "padding:2px 10px;border-bottom:1px solid #d5dce4;vertical-align:top;text-align:"
        parts = ['<div style="font-family:monospace">']
        if self.title:
            parts.append(f"<p><b>{_html(self.title)}</b></p>")
        parts.append('<table style="border-collapse:collapse"><thead><tr>')
        parts += [f'<th style="{cell}{column.align}">{_html(column.title)}</th>' for column in self.columns]
        parts.append("</tr></thead><tbody>")
        for row in self._rows():
            if row.section:
                parts.append(
                    f'<tr><th colspan="{len(self.columns)}" style="{cell}left">{_html(row.cells[0])}</th></tr>'
                )
                continue
            parts.append("<tr>")
            for number, (column, text) in enumerate(zip(self.columns, row.cells, strict=True)):
                indent = f";padding-left:{10 + 24 * row.indent}px" if row.indent and number == 0 else ""
                parts.append(f'<td style="{cell}{column.align}{indent}">{_html(text)}</td>')
            parts.append("</tr>")
        parts += ["</tbody></table>", *(f"<div>{_html(line)}</div>" for line in self.footer), "</div>"]
        return "".join(parts)

    def show(
        self,
        line_length: int | None = None,
        print_fn: Callable[[str], Any] | None = None,
        positions: Sequence[float] | None = None,
    ) -> None:
        """Prints the table; `print_fn`, when given, is called once with the whole text, as Keras does."""
        if print_fn is None or print_fn is print:
            print(self.text(line_length=line_length, encoding=_stdout_encoding(), positions=positions))
        else:
            print_fn(self.text(line_length=line_length, positions=positions))


def render_table(
    columns: Sequence[Column],
    rows: Sequence[Row | Sequence[str]],
    *,
    title: str | None = None,
    footer: Sequence[str] = (),
    lines: bool = True,
    width: int | None = None,
    line_length: int | None = None,
    encoding: str = "utf-8",
) -> str:
    """The text of a `Table` in one call; the arguments are those of `Table` and of `Table.text`."""
    return Table(columns, rows, title, footer, lines).text(width, line_length, encoding)


def terminal_width() -> int:
    """The columns of the terminal that the output goes to, 80 when it goes to none."""
    if sys.stdout is not None and sys.stdout.isatty():
        return shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns
    return DEFAULT_WIDTH


def _stdout_encoding() -> str:
    return getattr(sys.stdout, "encoding", None) or "utf-8"


def _encodable(text: str, encoding: str) -> str:
    """The text with every character that the encoding lacks spelled out, so that nothing is lost."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        spelled = "".join(c if c.encode(encoding, "ignore") else _SPELLED.get(c, c) for c in text)
        return spelled.encode(encoding, "backslashreplace").decode(encoding)
    return text


def _html(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")


# ------------------------------------------------------------------------------------------- widths and folding


def _indented(cells: tuple[str, ...], indent: int, corner: str) -> tuple[str, ...]:
    """Marks the first cell of a nested layer; `_fold` repeats the leading blanks on the lines that follow."""
    return (f"{'   ' * indent}{corner} {cells[0]}", *cells[1:]) if indent else cells


def _column_widths(columns: Sequence[Column], body: Sequence[tuple[str, ...]], room: int) -> list[int]:
    """Widths that fill `room` at most: first the columns that are not to be kept give way, as far as their words allow,
    then as far as the parts of their words allow; then the kept ones in the same way; then all, to the least width."""
    cells = [[line for row in body for line in row[number].split("\n")] for number in range(len(columns))]
    widths = [max(map(cell_len, column)) for column in cells]
    words = [_longest(column, r"\s+") for column in cells]
    parts = [_longest(column, r"\s+|(?<=[_/])") for column in cells]

    def unless_kept(floors: list[int]) -> list[int]:
        return [width if column.keep else floor for column, width, floor in zip(columns, widths, floors, strict=True)]

    for floors in (unless_kept(words), unless_kept(parts), words, parts, [_LEAST_WIDTH] * len(columns)):
        while sum(widths) > room:
            spare = [width - max(floor, _LEAST_WIDTH) for width, floor in zip(widths, floors, strict=True)]
            candidates = [number for number in range(len(widths)) if spare[number] > 0]
            if not candidates:
                break
            widths[max(candidates, key=widths.__getitem__)] -= 1
    return widths


def _widths_between(positions: Sequence[float], columns: int, limit: int) -> list[int]:
    """The widths of columns that end at these positions. Errors: a ValueError for fewer of them, or too close ones."""
    if len(positions) < columns:
        raise ValueError(f"positions are the ends of the columns: this table has {columns}; got {list(positions)}.")
    scale = limit if positions[-1] <= 1 else 1
    ends = [0, *(round(scale * position) for position in positions[:columns])]
    widths = [end - start - 3 for start, end in itertools.pairwise(ends)]
    widths[-1] -= 1
    if min(widths) < _LEAST_WIDTH:
        least = _LEAST_WIDTH + 3
        raise ValueError(f"positions leave each column {least} characters or more; got {list(positions)}.")
    return widths


def _longest(lines: Iterable[str], separator: str) -> int:
    """The width of the longest part, with the indentation that its line has."""
    return max(
        (_hang(line) + cell_len(part) for line in lines for part in re.split(separator, line.strip()) if part),
        default=0,
    )


def _hang(line: str) -> int:
    """How far the lines that continue this one are indented: to the text behind the corner of a nested layer."""
    mark = re.match(r"\s+(└|`-) ", line)
    return cell_len(mark.group()) if mark else 0


def _fold(text: str, width: int) -> list[str]:
    """Lines of at most `width` that hold the whole text; lines that fit are left as they are."""
    folded: list[str] = []
    for line in text.split("\n"):
        if cell_len(line) <= width:
            folded.append(line)
            continue
        hang = min(_hang(line), width // 2)
        start = _hang(line)
        current, blank = line[:start][-hang:] if hang else "", " " * hang
        empty = True
        for word in line[start:].split():
            gap = "" if empty else " "
            if cell_len(current + gap + word) <= width:
                current, empty = current + gap + word, False
                continue
            if not empty:
                folded.append(current)
                current = blank
            for part in _parts(word, width - hang):
                if cell_len(current + part) > width:
                    folded.append(current)
                    current = blank
                current += part
            empty = False
        folded.append(current)
    return folded


def _parts(word: str, width: int) -> list[str]:
    """A word in parts of at most `width`, cut behind underscores and slashes where that is possible."""
    parts = [part for part in re.split(r"(?<=[_/])", word) if part]
    return [piece for part in parts for piece in ([part] if cell_len(part) <= width else chop_cells(part, width))]


# ------------------------------------------------------------------------------------------------------ drawing


def _drawn(
    table: Table, titles: tuple[str, ...], rows: Sequence[Row], widths: list[int], box: boxes.Box
) -> Iterable[str]:
    """The lines of the table, from the upper border to the lower one."""

    def rule(left: str, line: str, crossing: str, right: str) -> str:
        return left + crossing.join(line * (width + 2) for width in widths) + right

    def lines_of(cells: tuple[str, ...], left: str, vertical: str, right: str) -> Iterable[str]:
        columns = [_fold(cell, width) for cell, width in zip(cells, widths, strict=True)]
        for parts in itertools.zip_longest(*columns, fillvalue=""):
            aligned = (
                _aligned(part, width, column.align)
                for part, width, column in zip(parts, widths, table.columns, strict=True)
            )
            yield f"{left} {f' {vertical} '.join(aligned)} {right}"

    opening = _LIGHT_OPENING if box is boxes.HEAVY_HEAD else box.top_divider
    yield rule(box.top_left, box.top, box.top_divider, box.top_right)
    yield from lines_of(titles, box.head_left, box.head_vertical, box.head_right)
    whole = sum(widths) + 3 * (len(widths) - 1)
    before: Row | None = None
    for row in rows:
        if before is None:
            closing = _HEAVY_CLOSING if box is boxes.HEAVY_HEAD else box.bottom_divider
            crossing = closing if row.section else box.head_row_cross
            yield rule(box.head_row_left, box.head_row_horizontal, crossing, box.head_row_right)
        elif table.lines or row.section or before.section:
            crossing = {
                (False, False): box.row_cross,
                (False, True): box.bottom_divider,
                (True, False): opening,
                (True, True): box.row_horizontal,
            }[before.section, row.section]
            yield rule(box.row_left, box.row_horizontal, crossing, box.row_right)
        if row.section:
            for line in _fold(row.cells[0], whole):
                yield f"{box.mid_left} {_aligned(line, whole, 'left')} {box.mid_right}"
        else:
            yield from lines_of(row.cells, box.mid_left, box.mid_vertical, box.mid_right)
        before = row
    crossing = box.bottom_divider
    if before is None:
        yield rule(box.head_row_left, box.head_row_horizontal, box.head_row_cross, box.head_row_right)
    elif before.section:
        crossing = box.bottom
    yield rule(box.bottom_left, box.bottom, crossing, box.bottom_right)


def _aligned(text: str, width: int, align: str) -> str:
    room = max(width - cell_len(text), 0)
    before = {"left": 0, "right": room, "center": room // 2}[align]
    return " " * before + text + " " * (room - before)


# ------------------------------------------------------------------------------------------------------ numbers


def format_count(count: int) -> str:
    """A count with commas.

    >>> from lamina.explain.table import format_count
    >>> format_count(1234567)
    '1,234,567'
    """
    return f"{count:,}"


def format_short(count: int) -> str:
    """A large count with three digits and its thousands as a letter: K, M, G, T.

    >>> from lamina.explain.table import format_short
    >>> format_short(118013952), format_short(3857973248), format_short(640)
    ('118 M', '3.86 G', '640')
    """
    size, unit = float(count), ""
    for unit in ("", " K", " M", " G", " T"):
        if size < 999.5 or unit == " T":
            break
        size /= 1000
    return f"{size:.3g}{unit}" if unit else str(count)


def format_bytes(size: float) -> str:
    """A size in memory with the unit that leaves it above 1, where a KB is 1024 bytes, as in Keras's summary.

    >>> from lamina.explain.table import format_bytes
    >>> format_bytes(10528), format_bytes(28133128), format_bytes(0)
    ('10.28 KB', '26.83 MB', '0.00 B')
    """
    units = ("B", "KB", "MB", "GB", "TB", "PB")
    for unit in units[:-1]:
        if abs(size) < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} {units[-1]}"


def format_shape(shape: Any) -> str:
    """A shape, or a list, tuple or dict of shapes, as Python writes tuples; `None` for no shape at all is "?".

    >>> from lamina.explain.table import format_shape
    >>> format_shape((None, 32)), format_shape([(None, 3), (4,)]), format_shape({"mean": (None, 2)})
    ('(None, 32)', '[(None, 3), (4,)]', '{mean: (None, 2)}')
    """
    if shape is None:
        return "?"
    if isinstance(shape, Mapping):
        return "{" + ", ".join(f"{key}: {format_shape(value)}" for key, value in shape.items()) + "}"
    if any(isinstance(entry, (Mapping, Sequence)) and not isinstance(entry, str) for entry in shape):
        inner = ", ".join(format_shape(entry) for entry in shape)
        return f"[{inner}]" if isinstance(shape, list) else f"({inner})"
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
