"""Draws a graph of boxes as SVG or PNG: the renderer behind `plot_model`. It knows nothing of models or of torch.

Every cluster is laid out by itself (`layered`) and is then one box of the level around it; an edge that crosses its
frame goes through a port on the frame. Layout coordinates are `across` and `down`; `direction` turns them at the end.
"""

from __future__ import annotations

import itertools
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape

from lamina.explain.columns import TURN, in_columns
from lamina.explain.layered import (
    Block,
    ClusterPath,
    Frame,
    Level,
    Link,
    Point,
    assign_across,
    backward,
    extent,
    optional,
)

Direction = Literal["TB", "LR", "BT", "RL"]
Item = str | ClusterPath  # what a level holds: a node, by its key, or a cluster, by its path

MAX_PIXELS = 16_000  # a side of a PNG; most viewers and GPUs refuse more
MAX_AREA = 50_000_000  # of a PNG in pixels: 200 MB in a viewer


@dataclass(frozen=True)
class DrawnNode:
    """One box: a heading (`title`, and `subtitle` beside it) over rows of (label, value).

    `kind` picks the colour; `cluster` is the path of frames around the box, from the outermost to the innermost.
    """

    key: str
    title: str
    subtitle: str = ""
    rows: tuple[tuple[str, str], ...] = ()
    kind: str = "layer"
    cluster: ClusterPath = ()


@dataclass(frozen=True)
class DrawnEdge:
    """An arrow from the node with key `source` to the node with key `target`."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True)
class Drawing:
    """Nodes and edges to draw; `direction` is the way the arrows go: "TB", "LR", "BT" or "RL".

    `columns`: into how many columns a long chain is broken where it is narrow; None chooses by the size. Cycles, self
    loops and parallel edges are allowed. Raises `ValueError` for a key that two nodes share, an edge to a key that no
    node has, an unknown direction, and less than one column.

    >>> from lamina.explain.drawing import DrawnEdge, DrawnNode, Drawing, to_svg
    >>> nodes = (DrawnNode("a", "input", kind="input"), DrawnNode("b", "dense", "Dense", (("output", "(None, 8)"),)))
    >>> svg = to_svg(Drawing(nodes, (DrawnEdge("a", "b"),)))
    >>> svg[:4], "(None, 8)" in svg
    ('<svg', True)
    """

    nodes: Sequence[DrawnNode]
    edges: Sequence[DrawnEdge] = ()
    direction: Direction = "TB"
    title: str = ""
    columns: int | None = 1

    def __post_init__(self) -> None:
        if self.direction not in ("TB", "LR", "BT", "RL"):
            raise ValueError(f"direction={self.direction!r}: give 'TB', 'LR', 'BT' or 'RL'")
        if self.columns is not None and self.columns < 1:
            raise ValueError(f"columns={self.columns}: give a positive number, or None")
        keys = {node.key for node in self.nodes}
        if len(keys) < len(self.nodes):
            seen: set[str] = set()
            twice = sorted({node.key for node in self.nodes if node.key in seen or seen.add(node.key)})  # type: ignore[func-returns-value]
            raise ValueError(f"two nodes of a drawing share the key {twice[0]!r}; keys must be unique")
        for edge in self.edges:
            for key in (edge.source, edge.target):
                if key not in keys:
                    raise ValueError(f"the edge {edge.source!r} → {edge.target!r} names {key!r}, which no node has")


# ---------------------------------------------------------------------------------------------------------- text

TITLE_SIZE, TEXT_SIZE, HEADING_SIZE = 13.0, 11.0, 17.0
# The font that pillow carries has no glyph for these; a machine without fonts would draw an empty box.
_SPELLED = str.maketrans(
    {"×": "x", "−": "-", "–": "-", "→": "-&gt;", "²": "^2", "³": "^3", "—": "-", "≤": "&lt;=", "≥": "&gt;="}
)


@cache
def _font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size=100)


@cache
def _text_width(text: str, size: float) -> float:
    """Width of a line of text in pixels, by the font that pillow carries, with which PNG is drawn, too."""
    known = "".join(character for character in text if character.isascii())
    others = sum(1.0 if ord(character) >= 0x1100 else 0.62 for character in text if not character.isascii())
    return size * (_font().getlength(known) / 100 + others)


# --------------------------------------------------------------------------------------------------------- boxes

_PAD_X, _PAD_Y = 10.0, 6.0
_TITLE_LINE, _TEXT_LINE = 17.0, 15.0
_COLUMN_GAP = 12.0
_VALUE_LIMIT = 64  # characters of a value on one line


@dataclass(frozen=True)
class _Box:
    """The measured text of a node: a head of one or two lines over lines of (label, value)."""

    node: DrawnNode
    width: float
    height: float
    head_height: float
    lines: tuple[tuple[str, str], ...]
    label_width: float


def _measure(node: DrawnNode, stacked: bool) -> _Box:
    """Sizes a box by its text; `stacked` puts the subtitle under the title and not beside it."""
    import textwrap

    lines: list[tuple[str, str]] = []
    for label, value in node.rows:
        folded = [line for part in value.split("\n") for line in textwrap.wrap(part, _VALUE_LIMIT)] or [""]
        lines += [(label, folded[0]), *(("", line) for line in folded[1:])]
    title, subtitle = _text_width(node.title, TITLE_SIZE), _text_width(node.subtitle, TEXT_SIZE)
    two_lines = stacked and bool(node.subtitle)
    head = max(title, subtitle) if two_lines else title + (subtitle + _COLUMN_GAP + 4 if subtitle else 0)
    label_width = max((_text_width(label, TEXT_SIZE) for label, _ in lines), default=0.0)
    if label_width:
        label_width += _COLUMN_GAP
    body = label_width + max((_text_width(value, TEXT_SIZE) for _, value in lines), default=0.0)
    head_height = _TITLE_LINE + 2 * _PAD_Y + (_TEXT_LINE if two_lines else 0)
    height = head_height + (len(lines) * _TEXT_LINE + 2 * _PAD_Y - 2 if lines else 0)
    width = max(head, body, 36.0) + 2 * _PAD_X
    return _Box(node, round(width, 1), height, head_height, tuple(lines), label_width)


# -------------------------------------------------------------------------------------- clusters inside clusters

_FRAME_PAD, _FRAME_TITLE = 12.0, 15.0
_LOOP_REACH = 20.0


class _Planner:
    """Lays out a drawing, level by level, the innermost clusters first."""

    def __init__(self, drawing: Drawing, boxes: dict[str, _Box]):
        self.drawing = drawing
        self.boxes = boxes
        self.sideways = drawing.direction in ("LR", "RL")
        self.cluster = {node.key: node.cluster for node in drawing.nodes}
        self.items: dict[ClusterPath, dict[Item, None]] = defaultdict(dict)
        self.inner: dict[ClusterPath, list[tuple[int, Item, Item]]] = defaultdict(list)  # edge, upper, lower
        self.crossing: dict[ClusterPath, dict[int, tuple[str, bool]]] = defaultdict(dict)  # edge → end, at the top?
        self.flipped: set[int] = set()
        self.port_hints: dict[int, float] = {}
        self.loops: dict[str, list[int]] = defaultdict(list)
        for node in drawing.nodes:
            for depth in range(len(node.cluster)):
                self.items[node.cluster[:depth]][node.cluster[: depth + 1]] = None
            self.items[node.cluster][node.key] = None
        self._orient()

    def _item(self, key: str, level: ClusterPath) -> Item:
        cluster = self.cluster[key]
        return key if cluster == level else cluster[: len(level) + 1]

    def _orient(self) -> None:
        """Decides for every edge which end is above, on the level where its ends part, and so its ports."""
        parting: dict[ClusterPath, list[int]] = defaultdict(list)
        for number, edge in enumerate(self.drawing.edges):
            if edge.source == edge.target:
                self.loops[edge.source].append(number)
                continue
            both = zip(self.cluster[edge.source], self.cluster[edge.target], strict=False)
            shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], both))
            parting[self.cluster[edge.source][:shared]].append(number)
        for level, numbers in parting.items():
            ends = {}
            for number in numbers:
                edge = self.drawing.edges[number]
                ends[number] = (self._item(edge.source, level), self._item(edge.target, level))
            against = backward(self.items[level], set(ends.values()))
            for number, (source, target) in ends.items():
                flipped = (source, target) in against
                if flipped:
                    self.flipped.add(number)
                self.inner[level].append((number, target, source) if flipped else (number, source, target))
                edge = self.drawing.edges[number]
                for key, at_top in ((edge.source, flipped), (edge.target, not flipped)):
                    for depth in range(len(level) + 1, len(self.cluster[key]) + 1):
                        self.crossing[self.cluster[key][:depth]][number] = (key, at_top)

    def block(self, path: ClusterPath) -> Block:
        """The layout of one cluster, or of the whole drawing for the empty path."""
        level = Level(port_hints=self.port_hints)
        # The last cluster first: where its lines come in says in which order those of the earlier ones go out.
        blocks = {item: self.block(item) for item in reversed(self.items[path]) if isinstance(item, tuple)}
        vertex: dict[Item, int] = {}
        for item in self.items[path]:
            block = blocks[item] if isinstance(item, tuple) else self._leaf(item)
            vertex[item] = level.add(block.width, block.height)
            level.blocks[vertex[item]] = block
        edges = self.drawing.edges
        labelled = {edges[number].source for number, *_ in self.inner[path] if edges[number].label}
        for number, upper, lower in self.inner[path]:
            stops = [vertex[upper], vertex[lower]]
            if edges[number].label:
                stops.insert(1, self._add_label(level, number))
            elif edges[number].source in labelled:  # it goes as far as the one with the label
                stops.insert(1, level.add(thin=True))
            level.links += [Link(number, list(pair)) for pair in itertools.pairwise(stops)]
        first: set[int] = set()
        last: set[int] = set()
        for number, (key, at_top) in self.crossing[path].items():
            port = level.ports[number] = level.add(thin=True)
            (first if at_top else last).add(port)
            inside = vertex[self._item(key, path)]
            level.links.append(Link(number, [port, inside] if at_top else [inside, port]))
        if path and not self.sideways:  # the title stands where lines come in or go out: it needs a place beside them
            level.title = level.add(_text_width(path[-1], TEXT_SIZE), _FRAME_TITLE)
            (first if self.drawing.direction == "TB" else last).add(level.title)
        level.assign_ranks(first, last)
        level.split_links()
        level.assign_order()
        assign_across(level)
        level.assign_touch()
        level.assign_rows()
        return self._assemble(path, level)

    def _leaf(self, key: str) -> Block:
        box = self.boxes[key]
        solid, height = (box.height, box.width) if self.sideways else (box.width, box.height)
        width = solid + (2 * _LOOP_REACH if self.loops[key] else 0)
        block = Block(width, height, solid=solid, boxes={key: (width / 2, height / 2)})
        side = (width + solid) / 2
        for number in self.loops[key]:
            block.routes[number] = [(side, height * 0.7), (side + _LOOP_REACH, height / 2), (side, height * 0.3)]
        return block

    def _add_label(self, level: Level, edge: int) -> int:
        width, height = _label_size(self.drawing.edges[edge].label)
        level.labels[edge] = level.add(height, width) if self.sideways else level.add(width, height)
        return level.labels[edge]

    def _assemble(self, path: ClusterPath, level: Level) -> Block:
        """Makes the blocks of a level, and the lines between them, one block with its frame round it."""
        left, right = extent(level.across, level.width)
        if level.title is not None:  # it is the leftmost of its rank, so it may go into the corner
            level.across[level.title] = left + level.width[level.title] / 2
        pad = _FRAME_PAD if path else 0.0
        beside = pad + (_FRAME_TITLE + 2 if path and self.sideways else 0)
        start = pad if self.sideways else pad / 2
        whole = Block(right - left + beside + pad, (level.rows[-1][1] if level.rows else 0.0) + 2 * start)
        if path:
            if self.sideways:
                whole.height = max(whole.height, _text_width(path[-1], TEXT_SIZE) + 2 * pad)
            whole.frames.append(Frame(path, 0.0, 0.0, whole.width, whole.height))
        for vertex, block in level.blocks.items():
            corner = (level.across[vertex] - block.width / 2 + beside - left, level.span(vertex)[0] + start)
            level.blocks[vertex] = block.shifted(*corner)
            whole.take(level.blocks[vertex])
        for edge, vertex in level.labels.items():
            whole.labels[edge] = (level.across[vertex] + beside - left, sum(level.span(vertex)) / 2 + start)
        routes: dict[int, list[Point]] = {}
        for number, link in enumerate(level.links):
            upper, lower = (level.blocks.get(vertex) for vertex in (link.vertices[0], link.vertices[-1]))
            if upper is not None:
                routes[link.edge] = list(upper.routes.get(link.edge, ()))
            route = routes.setdefault(link.edge, [])
            route += [(across + beside - left, down + start) for across, down in level.route(number)]
            inner = [block for block in (upper, lower) if block is not None]
            if len(link.vertices) > 2 or any(link.edge in block.bypasses for block in inner):
                whole.bypasses.add(link.edge)
            if lower is not None:
                route += lower.routes.get(link.edge, ())
        for edge, port in level.ports.items():
            whole.ports[edge] = level.across[port] + beside - left
            at_top = self.crossing[path][edge][1]
            routes[edge].insert(0 if at_top else len(routes[edge]), (whole.ports[edge], 0 if at_top else whole.height))
            self.port_hints[edge] = whole.ports[edge] - whole.width / 2
        whole.routes |= routes
        return whole


# ----------------------------------------------------------------------------------------------------------- SVG

MARGIN = 16.0
_PAGE = 1.3  # width by height that columns aim at
_ARROW = (8.0, 3.5)  # length, half width
_INK, _MUTED, _LINE, _FRAME_LINE = "#1f2933", "#5f6b7a", "#7b8794", "#c3ccd6"
_FRAME_FILLS = ("#f5f7fa", "#eaeef3")
_FAMILY = "Aileron, Helvetica, Arial, sans-serif"
# kind → (fill of the head, border). All fills are light, so that the text reads well in grey, too.
COLOURS: dict[str, tuple[str, str]] = {
    "input": ("#d5dce4", "#52606d"),
    "output": ("#b8c4d0", "#3e4c59"),
    "layer": ("#e9edf2", "#7b8794"),
    "convolution": ("#bcd7f0", "#2f6ea8"),
    "dense": ("#cfdcf5", "#4a6bb0"),
    "recurrent": ("#d3cdf2", "#6553b0"),
    "attention": ("#d3cdf2", "#6553b0"),
    "embedding": ("#c8e6e3", "#2f7f78"),
    "normalization": ("#e8e2f3", "#8a76b3"),
    "activation": ("#fbe9c6", "#b98218"),
    "pooling": ("#c4e3c8", "#3f8a4b"),
    "reshape": ("#e6ecd9", "#7d8f52"),
    "regularization": ("#eceae6", "#948b7c"),
    "merge": ("#f4cdc2", "#b8573c"),
    "model": ("#dfe5ec", "#52606d"),
    "block": ("#f6e3d6", "#b0764f"),
}


def _turned(size: Point, sideways: bool) -> Point:
    return size[::-1] if sideways else size


def _label_size(text: str) -> tuple[float, float]:
    return _text_width(text, TEXT_SIZE) + 8, _TEXT_LINE


@dataclass(frozen=True)
class Layout:
    """A drawing with positions in pixels: boxes and frames as (x, y, width, height), routes from source to target.

    Two points of a route that share the coordinate across the direction bound a straight line; any other two bound a
    bend that leaves and arrives along the direction and stays in the rectangle between them. Where two share the
    coordinate along it, the line turns back, at most `columns.TURN` behind them.
    """

    drawing: Drawing
    width: float
    height: float
    boxes: dict[str, tuple[float, float, float, float]]
    frames: dict[ClusterPath, tuple[float, float, float, float]]
    routes: dict[int, list[Point]]
    labels: dict[int, Point]
    measured: dict[str, _Box]


def lay_out(drawing: Drawing) -> Layout:
    """Positions of everything in a drawing. Raises `ImportError` when fast-sugiyama is not installed."""
    measured = {node.key: _measure(node, drawing.direction in ("LR", "RL")) for node in drawing.nodes}
    planner = _Planner(drawing, measured)
    sideways = drawing.direction in ("LR", "RL")
    block = planner.block(())
    if drawing.columns != 1:
        sizes = {key: _turned((box.width, box.height), sideways) for key, box in measured.items()}
        labels = {edge: _turned(_label_size(drawing.edges[edge].label), sideways) for edge in block.labels}
        ends = {n: e.target if n in planner.flipped else e.source for n, e in enumerate(drawing.edges)}
        block = in_columns(block, sizes, labels, ends, drawing.columns, 1 / _PAGE if sideways else _PAGE)
    title_width = _text_width(drawing.title, HEADING_SIZE)
    heading = HEADING_SIZE + 14 if drawing.title else 0.0
    width, height = (block.height, block.width) if sideways else (block.width, block.height)
    left = MARGIN + max(0.0, (title_width - width) / 2)

    def turn(point: Point) -> Point:
        across, down = point
        down = block.height - down if drawing.direction in ("BT", "RL") else down
        x, y = (down, across) if sideways else (across, down)
        return round(x + left, 1), round(y + MARGIN + heading, 1)

    def rectangle(across: float, down: float, extent: float, length: float) -> tuple[float, float, float, float]:
        (x, y), (other_x, other_y) = turn((across, down)), turn((across + extent, down + length))
        return min(x, other_x), min(y, other_y), round(abs(x - other_x), 1), round(abs(y - other_y), 1)

    boxes = {}
    for key, centre in block.boxes.items():
        (x, y), box = turn(centre), measured[key]
        boxes[key] = (round(x - box.width / 2, 1), round(y - box.height / 2, 1), box.width, box.height)
    return Layout(
        drawing=drawing,
        width=max(width, title_width) + 2 * MARGIN,
        height=height + heading + 2 * MARGIN,
        boxes=boxes,
        frames={f.cluster: rectangle(f.across, f.down, f.width, f.height) for f in block.frames},
        routes={
            edge: [turn(point) for point in _smoothed(points[::-1] if edge in planner.flipped else points)]
            for edge, points in block.routes.items()
        },
        labels={edge: turn(point) for edge, point in block.labels.items()},
        measured=measured,
    )


def _smoothed(points: list[Point]) -> list[Point]:
    """The points of a route without repetitions and without the steps that rounding errors make of straight lines."""
    smooth = points[:1]
    for across, down in points[1:]:
        last_across, last_down = smooth[-1]
        across = last_across if abs(across - last_across) < 0.5 else across
        if across == last_across and abs(down - last_down) < 0.5:
            continue
        if len(smooth) > 1 and smooth[-2][0] == last_across == across:
            smooth.pop()  # it is on the straight line between its neighbours
        smooth.append((across, down))
    return smooth


def to_svg(drawing: Drawing) -> str:
    """The drawing as SVG text. Raises `ImportError` when the extra "plot" is not installed."""
    layout = lay_out(drawing)
    size = (
        f'width="{layout.width:.0f}" height="{layout.height:.0f}" viewBox="0 0 {layout.width:.0f} {layout.height:.0f}"'
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{_FAMILY}" font-size="{TEXT_SIZE:g}">',
        f"<title>{_escaped(drawing.title or 'model')}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    if drawing.title:
        parts.append(_text(drawing.title, (layout.width / 2, MARGIN + HEADING_SIZE), HEADING_SIZE, _INK, "middle"))
    parts += [_frame_svg(path, rectangle) for path, rectangle in layout.frames.items()]
    parts += [_edge_svg(layout, edge) for edge in sorted(layout.routes)]
    parts += [_label_svg(drawing.edges[edge].label, centre) for edge, centre in layout.labels.items()]
    parts += [_box_svg(layout.measured[key], x, y) for key, (x, y, _, _) in layout.boxes.items()]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _escaped(text: str) -> str:
    return escape("".join(c if c >= " " and c not in "\ufffe\uffff" else " " for c in text), {'"': "&quot;"})


def _text(text: str, at: Point, size: float, colour: str, anchor: str = "start") -> str:
    """One line of text; `textLength` holds it to the width it was given room for, whatever font is found."""
    if not text.strip():
        return ""
    length = f'textLength="{_text_width(text, size):.1f}" lengthAdjust="spacingAndGlyphs"'
    place = f'x="{at[0]:.1f}" y="{at[1]:.1f}"' + (f' text-anchor="{anchor}"' if anchor != "start" else "")
    own_size = f' font-size="{size:g}"' if size != TEXT_SIZE else ""
    return f'<text {place} fill="{colour}"{own_size} {length}>{_escaped(text)}</text>'


def _frame_svg(path: ClusterPath, rectangle: tuple[float, float, float, float]) -> str:
    x, y, width, height = rectangle
    fill = _FRAME_FILLS[(len(path) - 1) % 2]
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="9" fill="{fill}" stroke="{_FRAME_LINE}"/>'
        + _text(path[-1], (x + _FRAME_PAD, y + _FRAME_PAD / 2 + TEXT_SIZE), TEXT_SIZE, _MUTED)
    )


def _box_svg(box: _Box, x: float, y: float) -> str:
    node = box.node
    fill, border = COLOURS.get(node.kind, COLOURS["layer"])
    width, height, head = box.width, box.height, box.head_height
    radius = 10 if node.kind in ("input", "output") else 5
    parts = [f"<g><title>{_escaped(' '.join((node.title, node.subtitle)))}</title>"]
    outline = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius}"'
    if box.lines:
        bottom = y + head
        parts.append(f'<rect {outline} fill="#ffffff"/>')
        parts.append(
            f'<path d="M{x:g} {bottom:g}V{y + radius:g}a{radius} {radius} 0 0 1 {radius} {-radius}'
            f'h{width - 2 * radius:g}a{radius} {radius} 0 0 1 {radius} {radius}V{bottom:g}Z" fill="{fill}"/>'
        )
        parts.append(f'<path d="M{x:g} {bottom:g}h{width:g}" stroke="{border}" stroke-opacity="0.45"/>')
    parts.append(f'<rect {outline} fill="{"none" if box.lines else fill}" stroke="{border}"/>')
    baseline = y + _PAD_Y + TITLE_SIZE
    stacked = head > _TITLE_LINE + 2 * _PAD_Y
    alone = stacked or not node.subtitle
    start = (x + width / 2, baseline) if alone else (x + _PAD_X, baseline)
    parts.append(_text(node.title, start, TITLE_SIZE, _INK, "middle" if alone else "start"))
    if stacked:
        parts.append(_text(node.subtitle, (x + width / 2, baseline + _TEXT_LINE), TEXT_SIZE, _MUTED, "middle"))
    else:
        parts.append(_text(node.subtitle, (x + width - _PAD_X, baseline), TEXT_SIZE, _MUTED, "end"))
    for number, (label, value) in enumerate(box.lines):
        line = y + head + _PAD_Y - 1 + number * _TEXT_LINE + TEXT_SIZE
        parts.append(_text(label, (x + _PAD_X, line), TEXT_SIZE, _MUTED))
        parts.append(_text(value, (x + _PAD_X + box.label_width, line), TEXT_SIZE, _INK))
    return "".join(parts) + "</g>"


def _label_svg(text: str, centre: Point) -> str:
    width, height = _label_size(text)
    x, y = centre[0] - width / 2, centre[1] - height / 2
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:g}" rx="3" fill="#ffffff" '
        f'fill-opacity="0.92"/>' + _text(text, (centre[0], centre[1] + TEXT_SIZE * 0.36), TEXT_SIZE, _MUTED, "middle")
    )


def _edge_svg(layout: Layout, number: int) -> str:
    edge, points = layout.drawing.edges[number], list(layout.routes[number])
    sideways = layout.drawing.direction in ("LR", "RL")
    length, half = _ARROW
    loop = edge.source == edge.target
    if loop:
        (x, y), (far_x, far_y), tip = points
        along = (0.0, -1.0) if sideways else (-1.0, 0.0)
    else:
        tip, before = points[-1], points[-2]
        way = tip[0] - before[0] if sideways else tip[1] - before[1]
        along = (1.0 if way > 0 else -1.0, 0.0) if sideways else (0.0, 1.0 if way > 0 else -1.0)
        straight = before[1] == tip[1] if sideways else before[0] == tip[0]
        if straight and abs(way) < length and len(points) > 2:
            points.pop(-2)  # no room for the head on so short a line: the bend before it ends at the head
    base = (tip[0] - along[0] * (length - 1), tip[1] - along[1] * (length - 1))
    if loop:
        bulge = f"{x:g} {far_y:g} {base[0]:g} {far_y:g}" if sideways else f"{far_x:g} {y:g} {far_x:g} {base[1]:g}"
        path = f"M{x:g} {y:g}C{bulge} {base[0]:g} {base[1]:g}"
    else:
        points = [*points[:-1], base]
        path = f"M{points[0][0]:g} {points[0][1]:g}" + "".join(
            _turn(points[place - 1 : place + 2], sideways)
            if place and points[place][0 if sideways else 1] == points[place + 1][0 if sideways else 1]
            else _bend(points[place], points[place + 1], sideways)
            for place in range(len(points) - 1)
        )
    (tail_x, tail_y), (side_x, side_y) = (
        (tip[0] - along[0] * length, tip[1] - along[1] * length),
        (along[1] * half, along[0] * half),
    )
    head = f"M{tip[0]:g} {tip[1]:g}L{tail_x + side_x:g} {tail_y + side_y:g}L{tail_x - side_x:g} {tail_y - side_y:g}Z"
    return (
        f'<g><title>{_escaped(edge.source)} → {_escaped(edge.target)}</title><path d="{path}" fill="none" '
        f'stroke="{_LINE}" stroke-width="1.3"/><path d="{head}" fill="{_LINE}"/></g>'
    )


def _bend(start: Point, end: Point, sideways: bool) -> str:
    """A straight line, or a curve that leaves and arrives along the direction of the drawing."""
    (x, y), (end_x, end_y) = start, end
    if (y == end_y) if sideways else (x == end_x):
        return f"L{end_x:g} {end_y:g}"
    if sideways:
        middle = (x + end_x) / 2
        return f"C{middle:g} {y:g} {middle:g} {end_y:g} {end_x:g} {end_y:g}"
    middle = (y + end_y) / 2
    return f"C{x:g} {middle:g} {end_x:g} {middle:g} {end_x:g} {end_y:g}"


def _turn(points: list[Point], sideways: bool) -> str:
    """A line that goes on a little, across, and back; it comes from the first of three points."""
    (_, y), (far_x, far_y), (end_x, end_y) = (point[::-1] if sideways else point for point in points)
    reach = TURN if far_y > y else -TURN
    side = TURN if end_x > far_x else -TURN
    corners = [
        ((far_x, far_y + reach / 2), (far_x + side / 2, far_y + reach), (far_x + side, far_y + reach)),
        ((end_x - side, far_y + reach), (end_x - side, far_y + reach), (end_x - side, far_y + reach)),
        ((end_x - side / 2, far_y + reach), (end_x, far_y + reach / 2), (end_x, end_y)),
    ]
    return "".join(
        "C" + " ".join(f"{a:g} {b:g}" for a, b in ((point[::-1] if sideways else point) for point in corner))
        for corner in corners
    )


# ----------------------------------------------------------------------------------------------------------- PNG


def to_png(drawing: Drawing, dpi: int = 200) -> bytes:
    """The drawing as PNG at `dpi` dots an inch (an inch is 96 pixels of the SVG); less where it would be too large.

    No side has more than 16,000 pixels, and the whole no more than 50 million.

    The text is set in the font that pillow carries, so that it looks the same on a machine without fonts. Raises
    `ImportError` when the extra "plot" is not installed.
    """
    if dpi <= 0:
        raise ValueError(f"dpi={dpi}: give a positive number of dots an inch")
    svg = to_svg(drawing).translate(_SPELLED)
    width, height = (float(number) for number in svg.split('viewBox="0 0 ', 1)[1].split('"', 1)[0].split())
    scale = min(dpi / 96, MAX_PIXELS / max(width, height), (MAX_AREA / (width * height)) ** 0.5)
    with tempfile.TemporaryDirectory() as folder:
        font = Path(folder) / "font.otf"
        font.write_bytes(_font().font_bytes)
        return optional("resvg_py").svg_to_bytes(
            svg_string=svg,
            width=max(1, int(width * scale)),
            height=max(1, int(height * scale)),
            font_files=[str(font)],
            skip_system_fonts=svg.isascii(),  # they are slow to read, and only needed for letters pillow's font lacks
        )


def save(drawing: Drawing, path: str | Path, dpi: int = 200) -> Path:
    """Writes a drawing to a `.svg` or a `.png` file, as its suffix says. Raises `ValueError` for any other suffix."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".svg":
        path.write_text(to_svg(drawing), encoding="utf-8")
    elif suffix == ".png":
        path.write_bytes(to_png(drawing, dpi))
    else:
        raise ValueError(
            f"cannot draw to {path.name!r}: lamina writes '.svg' and '.png'. For a PDF, write SVG and convert it "
            "(a browser prints it, rsvg-convert and Inkscape convert it)."
        )
    return path
