"""Text tables: golden texts, and what holds for every table: the width, no lost letter, ASCII where it must be."""

from __future__ import annotations

import io
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from golden import check_golden
from lamina.explain import table as tables
from lamina.explain.table import Column, Row, Table, format_bytes, format_count, format_shape, render_table

LONG = "a_very_long_layer_name_indeed_that_overflows_its_column"
COLUMNS = (
    Column("Layer (type)"),
    Column("Output Shape", keep=True),
    Column("Param #", "right", keep=True),
    Column("Connected to"),
)
ROWS = (
    ("input (InputLayer)", "(None, 32)", "0", "-"),
    (f"{LONG} (Dense)", "(None, 64)", "2,112", "input[0][0]"),
    ("inner (Sequential)", "(None, 8)", "520", f"{LONG}[0][0]"),
    Row(("dense (Dense)", "(None, 8)", "520", "-"), indent=1),
    Row((f"{LONG} (Dropout)", "(None, 8)", "0", "-"), indent=2),
    Row(("Decoder: ⌊(n − 3)/2⌋ + 1",), section=True),
    ("concatenate (Concatenate)", "(None, 72)", "0", f"inner[0][0], {LONG}[0][0]"),
)
FOOTER = (" Total params: 2,632 (10.28 KB)", " Non-trainable params: 0 (0.00 B)")
SUMMARY = Table(COLUMNS, ROWS, 'Model: "functional"', FOOTER)


def test_summary_look() -> None:
    check_golden("table_80", SUMMARY.text())
    check_golden("table_60_ascii", SUMMARY.text(60, encoding="ascii"))
    check_golden("table_line_length_120", SUMMARY.text(line_length=120))


def test_other_forms() -> None:
    simple = render_table(
        (Column("size"), Column("arithmetic", "center")),
        [
            Row(("first",), section=True),
            Row(("second",), section=True),
            ("10", "(32 + 6 − 7)/3 + 1"),
            ("two\nlines", "1"),
        ],
        lines=False,
    )
    check_golden("table_sections", simple)
    check_golden("table_empty", render_table((Column("Layer (type)"), Column("Param #", "right")), ()))


def test_same_box_as_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    """The frame of a summary is, glyph by glyph, what Keras prints; only the widths of the columns are our own."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense"), keras.layers.ReLU(name="re_lu")])
    printed: list[str] = []
    model.summary(print_fn=lambda text, **_: printed.append(text), line_length=60)
    rows = (("dense (Dense)", "(None, 3)", "15"), ("re_lu (ReLU)", "(None, 3)", "0"))
    ours = render_table(COLUMNS[:3], rows).split("\n")
    theirs = [line for line in "".join(printed).split("\n") if line and line[0] in "┏┃┡│├└"]

    def shape(line: str) -> str:
        return re.sub(r"([━─ ])\1*", r"\1", line)

    assert [shape(line) for line in ours] == [shape(line) for line in theirs]


@given(
    st.lists(
        st.tuples(*[st.text("abc_/ (){},\n×é中[]0", max_size=40)] * 3, st.integers(0, 3)),
        max_size=4,
    ),
    st.integers(40, 120),
    st.booleans(),
)
def test_no_letter_is_lost_and_the_width_is_held(rows: list, width: int, ascii_only: bool) -> None:
    columns = (Column("a"), Column("b", "right", keep=True), Column("c"))
    encoding = "ascii" if ascii_only else "utf-8"
    text = render_table(columns, [Row(tuple(cells), depth) for *cells, depth in rows], width=width, encoding=encoding)
    assert all(cell_len(line) <= width for line in text.split("\n"))
    text.encode(encoding)
    separator = "|" if ascii_only else "│"
    body = [line.split(separator)[1:-1] for line in text.split("\n") if line.startswith(separator)]
    if ascii_only:
        body = body[1:] if body and body[0][0].strip() == "a" else body
        return
    for number in range(3):
        shown = re.sub(r"[\s└]", "", "".join(line[number] for line in body))
        assert shown == re.sub(r"\s", "", "".join(row[number] for row in rows))


def test_latin_1_keeps_what_it_can() -> None:
    text = render_table((Column("naïve ×"),), [("⌊n/2⌋ → 中",)], encoding="latin-1")
    assert "naïve ×" in text
    assert "floor(n/2) -> \\u4e2d" in text
    assert text.startswith("+-")


def test_str_follows_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert str(SUMMARY).isascii()
    SUMMARY.show()
    stream.flush()
    assert stream.buffer.getvalue().decode("ascii").startswith('Model: "functional"\n+--')  # type: ignore[attr-defined]


def test_terminal_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "50")
    assert tables.terminal_width() == 50
    assert max(map(len, SUMMARY.text().split("\n"))) <= 50
    monkeypatch.setattr(tables.sys.stdout, "isatty", lambda: False, raising=False)
    assert tables.terminal_width() == 80


def test_show_calls_print_fn_once() -> None:
    printed: list[str] = []
    SUMMARY.show(line_length=100, print_fn=printed.append)
    assert printed == [SUMMARY.text(line_length=100)]


def test_html() -> None:
    page = Table(
        (Column("<a>"),), [("x & y",), Row(("deep",), 2), Row(("part",), section=True)], "t", ("end",)
    )._repr_html_()
    for piece in ("&lt;a&gt;", "x &amp; y", "padding-left:58px", 'colspan="1"', "<b>t</b>", "<div>end</div>"):
        assert piece in page


def test_wrong_number_of_cells() -> None:
    with pytest.raises(ValueError, match="has 4 cells, and this one 2"):
        Table(COLUMNS, [("a", "b")])


def test_numbers() -> None:
    assert format_count(1234567) == "1,234,567"
    assert [format_bytes(size) for size in (0, 60, 10528, 28133128, 5 * 1024**3, 3e18)] == [
        "0.00 B",
        "60.00 B",
        "10.28 KB",
        "26.83 MB",
        "5.00 GB",
        "2664.54 PB",
    ]
    assert format_shape((None, 32)) == "(None, 32)"
    assert format_shape((7,)) == "(7,)"
    assert format_shape(()) == "()"
    assert format_shape(None) == "?"
    assert format_shape([None, 3]) == "(None, 3)"
    assert format_shape([(None, 3), (None, 4)]) == "[(None, 3), (None, 4)]"
    assert format_shape({"a": (1,), "b": [(2, 3)]}) == "{a: (1,), b: [(2, 3)]}"
