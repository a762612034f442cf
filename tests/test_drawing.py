"""The drawing of graphs: no two boxes overlap, no line crosses a box, nothing leaves the picture, all text is there."""

from __future__ import annotations

import io
import itertools
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lamina.explain import drawing as drawings
from lamina.explain import layered
from lamina.explain.drawing import Drawing, DrawnEdge, DrawnNode, Layout, lay_out, save, to_png, to_svg

pytest.importorskip("fast_sugiyama")
pytest.importorskip("resvg_py")

SVG = "{http://www.w3.org/2000/svg}"
Rectangle = tuple[float, float, float, float]
DIRECTIONS = ("TB", "LR", "BT", "RL")


def node(key: str, kind: str = "layer", cluster: tuple[str, ...] = (), rows: int = 1) -> DrawnNode:
    return DrawnNode(key, key, kind.title(), (("output", "(None, 25, 25, 64)"),) * rows, kind, cluster)


def edges(*pairs: str) -> tuple[DrawnEdge, ...]:
    return tuple(DrawnEdge(*pair.split(">")) for pair in pairs)


def residual(direction: str = "TB", clusters: bool = True) -> Drawing:
    """Two residual blocks inside a nested model; the second one has an identity as its skip connection."""
    nodes, lines, current = [node("input", "input")], [], "input"
    for block in (1, 2):
        path = ("resnet", f"block{block}") if clusters else ()
        before, skip = current, current
        for layer in ("conv1", "bn1", "relu", "conv2", "bn2"):
            nodes.append(node(f"{block}_{layer}", "convolution", path))
            lines.append(DrawnEdge(before, nodes[-1].key))
            before = nodes[-1].key
        if block == 1:
            nodes.append(node("1_conv0", "convolution", path))
            lines.append(DrawnEdge(skip, "1_conv0"))
            skip = "1_conv0"
        current = f"{block}_add"
        nodes.append(node(current, "merge", path, rows=0))
        lines += [DrawnEdge(before, current), DrawnEdge(skip, current)]
    nodes.append(node("output", "output", rows=0))
    return Drawing(tuple(nodes), (*lines, DrawnEdge(current, "output")), direction, "residual")


def two_inputs(direction: str = "TB") -> Drawing:
    nodes = (
        node("text", "input"),
        node("image", "input"),
        node("embedding", "embedding"),
        node("lstm", "recurrent"),
        node("conv", "convolution", ("tower",)),
        node("pool", "pooling", ("tower",), rows=0),
        node("join", "merge", rows=4),
        node("priority", "dense"),
        node("department", "dense"),
    )
    lines = edges("text>embedding", "embedding>lstm", "lstm>join", "image>conv", "conv>pool", "pool>join")
    lines += edges("join>priority", "join>department", "image>join", "image>join", "join>join")
    return Drawing(nodes, (*lines, DrawnEdge("text", "join", "(None, 100)")), direction)


def tangled(direction: str = "TB") -> Drawing:
    """Cycles, also through a cluster, a lonely node, loops and a label on an edge that goes back."""
    clusters = {"b": ("s",), "d": ("s",), "e": ("s", "t"), "f": ("u",), "g": ("u",)}
    nodes = tuple(node(key, cluster=clusters.get(key, ())) for key in ("a", "b", "c", "d", "e", "f", "g", "lonely"))
    lines = edges("a>b", "b>c", "c>d", "d>e", "e>b", "e>f", "f>g", "a>g", "d>d", "e>e", "c>f", "g>a")
    return Drawing(nodes, (*lines, DrawnEdge("g", "e", "back")), direction)


def densenet() -> Drawing:
    nodes, lines, current = [node("input", "input")], [], "input"
    for block in range(61):
        before = current
        for layer in ("bn0", "relu0", "conv1", "bn1", "relu1", "conv2"):
            nodes.append(node(f"{block}_{layer}"))
            lines.append(DrawnEdge(before, nodes[-1].key))
            before = nodes[-1].key
        nodes.append(node(f"{block}_concat", "merge"))
        lines += [DrawnEdge(current, nodes[-1].key), DrawnEdge(before, nodes[-1].key)]
        current = nodes[-1].key
    return Drawing(tuple(nodes), tuple(lines))


# ------------------------------------------------------------------------------------------------- geometry


def overlap(one: Rectangle, other: Rectangle, margin: float = 0.0) -> bool:
    return all(
        one[axis] < other[axis] + other[axis + 2] + margin and other[axis] < one[axis] + one[axis + 2] + margin
        for axis in (0, 1)
    )


def inside(inner: Rectangle, outer: Rectangle) -> bool:
    return all(
        outer[axis] - 0.2 <= inner[axis] and inner[axis] + inner[axis + 2] <= outer[axis] + outer[axis + 2] + 0.2
        for axis in (0, 1)
    )


def points_of(path: str) -> list[tuple[float, float]]:
    """Points along the path of an edge, as the SVG says it: lines and cubic curves with absolute coordinates."""
    points: list[tuple[float, float]] = []
    for command, text in re.findall(r"([MLC])([^MLC]*)", path):
        numbers = [float(number) for number in text.split()]
        stops = list(zip(numbers[::2], numbers[1::2], strict=True))
        if command == "M":
            points += stops
            continue
        if command == "L":
            stops = [points[-1], stops[0], stops[0]]
        curve = [points[-1], *stops]
        for step in range(1, 25):
            t = step / 24
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
            points.append(tuple(sum(w * p[axis] for w, p in zip(weights, curve, strict=True)) for axis in (0, 1)))
    return points


def paths_of(svg: str) -> list[list[tuple[float, float]]]:
    """For every edge of a drawing, in order, the points along its line."""
    groups = [group for group in ElementTree.fromstring(svg).iter(f"{SVG}g") if " → " in (group[0].text or "")]
    return [points_of(group[1].attrib["d"]) for group in groups]


def check(drawing: Drawing) -> Layout:
    """Everything that must hold for every drawing."""
    layout, svg = lay_out(drawing), to_svg(drawing)
    page = (0.0, 0.0, layout.width, layout.height)
    assert set(layout.boxes) == {node.key for node in drawing.nodes}
    assert set(layout.routes) == set(range(len(drawing.edges)))
    for one, other in itertools.combinations(layout.boxes, 2):
        assert not overlap(layout.boxes[one], layout.boxes[other], 8), f"the boxes {one} and {other} overlap"
    check_frames(drawing, layout)
    labels = {}
    for number, (x, y) in layout.labels.items():
        width = 5.0 * len(drawing.edges[number].label)
        labels[number] = (x - width / 2, y - 5, width, 10.0)
        assert not any(overlap(labels[number], box) for box in layout.boxes.values())
    assert all(inside(rectangle, page) for rectangle in (*layout.boxes.values(), *labels.values()))
    paths = paths_of(svg)
    assert len(paths) == len(drawing.edges)
    for edge, path in zip(drawing.edges, paths, strict=True):
        assert all(inside((*point, 0, 0), page) for point in path)
        for key, box in layout.boxes.items():
            margin = -1.0 if key in (edge.source, edge.target) else 3.0
            assert not any(overlap((*point, 0, 0), box, margin) for point in path), f"{edge} crosses {key}"
        for key, point, slack in ((edge.source, path[0], 1.0), (edge.target, path[-1], 10.0)):
            assert overlap((*point, 0, 0), layout.boxes[key], slack), f"{edge} does not touch {key}"
    return layout


def check_frames(drawing: Drawing, layout: Layout) -> None:
    for path, frame in layout.frames.items():
        for drawn in drawing.nodes:
            box = layout.boxes[drawn.key]
            belongs = drawn.cluster[: len(path)] == path
            assert inside(box, frame) if belongs else not overlap(box, frame), (path, drawn.key)
        for other, rectangle in layout.frames.items():
            if other[: len(path)] == path:
                assert inside(rectangle, frame)
            elif path[: len(other)] != other:
                assert not overlap(rectangle, frame)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("make", [residual, two_inputs, tangled])
def test_nothing_overlaps(make, direction: str) -> None:
    check(make(direction))


def chain(direction: str = "TB", columns: int | None = 3) -> Drawing:
    """Boxes and blocks of two ways in a row, with labels behind forks and elsewhere."""
    nodes, lines, current = [node("input", "input")], [], "input"
    for number in range(9):
        path = (f"block{number}",) if number % 3 else ()
        nodes += [node(f"{number}_{part}", rows=number % 2, cluster=path) for part in ("a", "b")]
        nodes.append(node(f"{number}_end", "merge", path, rows=0))
        label = "(None, 25)" if number % 2 else ""
        lines += [
            DrawnEdge(current, f"{number}_a", label),
            *edges(f"{number}_a>{number}_b", f"{number}_b>{number}_end"),
        ]
        lines.append(DrawnEdge(current, f"{number}_end"))
        nodes.append(node(f"{number}_out", rows=0))
        lines.append(DrawnEdge(f"{number}_end", f"{number}_out", label))
        current = f"{number}_out"
    return Drawing(nodes, lines, direction, "chain", columns)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("columns", [2, 3, 7, 100, None])
def test_nothing_overlaps_in_columns(direction: str, columns: int | None) -> None:
    whole, broken = lay_out(chain(direction, 1)), check(chain(direction, columns))
    along = "width" if direction in ("LR", "RL") else "height"
    assert getattr(broken, along) < getattr(whole, along) * (0.25 if columns == 100 else 1.6 / (columns or 2))
    across = 1 if direction in ("LR", "RL") else 0
    places = {round(rectangle[across] / 60) for rectangle in broken.boxes.values()}
    assert len(places) >= (columns if columns in (2, 3, 7) else 2)


def test_a_drawing_without_narrow_places_stays_whole() -> None:
    def pair(columns: int | None) -> Drawing:
        nodes = [node(f"{side}{number}") for number in range(40) for side in "ab"]
        lines = [DrawnEdge(f"{side}{number}", f"{side}{number + 1}") for number in range(39) for side in "ab"]
        return Drawing(nodes, [*lines, DrawnEdge("a0", "b1"), DrawnEdge("a38", "b39")], columns=columns)

    whole = lay_out(pair(1))
    assert whole.height > 1500
    assert lay_out(pair(None)).boxes == lay_out(pair(4)).boxes == whole.boxes


@st.composite
def random_drawings(draw: st.DrawFn) -> Drawing:
    count = draw(st.integers(1, 12))
    clusters = st.sampled_from([(), (), ("a",), ("a", "b"), ("c",), ("a", "d")])
    nodes = tuple(node(str(i), cluster=draw(clusters), rows=draw(st.integers(0, 3))) for i in range(count))
    ends = st.integers(0, count - 1)
    pairs = draw(st.lists(st.tuples(ends, ends, st.sampled_from(["", "", "", "(None, 7)"])), max_size=18))
    if draw(st.booleans()):  # acyclic, as models are
        pairs = [(min(a, b), max(a, b), label) for a, b, label in pairs if a != b]
    lines = tuple(DrawnEdge(str(a), str(b), label) for a, b, label in pairs)
    title, columns = draw(st.sampled_from(["", "a title"])), draw(st.sampled_from([1, 1, 2, 3, None]))
    return Drawing(nodes, lines, draw(st.sampled_from(DIRECTIONS)), title, columns)


@settings(max_examples=80, deadline=None)
@given(random_drawings())
def test_nothing_overlaps_in_random_graphs(drawing: Drawing) -> None:
    check(drawing)


# ---------------------------------------------------------------------------------------------------- beauty


@pytest.mark.parametrize("clusters", [True, False])
def test_the_skip_connection_goes_round_a_straight_main_path(clusters: bool) -> None:
    layout = check(residual(clusters=clusters))
    centre = {key: x + width / 2 for key, (x, _, width, _) in layout.boxes.items()}
    main = ["2_conv1", "2_bn1", "2_relu", "2_conv2", "2_bn2", "2_add", "output"]
    assert len({round(centre[key]) for key in main}) == 1
    skip = paths_of(to_svg(layout.drawing))[layout.drawing.edges.index(DrawnEdge("1_add", "2_add"))]
    x, top, width, _ = layout.boxes["2_conv1"]
    bottom = layout.boxes["2_bn2"][1]
    beside = [across for across, down in skip if top < down < bottom]
    assert beside
    assert all(across < x - 5 or across > x + width + 5 for across in beside)


def test_a_chain_is_straight() -> None:
    nodes = [node(str(i), rows=i % 3) for i in range(9)]
    layout = lay_out(Drawing(nodes, [DrawnEdge(str(i), str(i + 1)) for i in range(8)]))
    assert len({round(x) for points in layout.routes.values() for x, _ in points}) == 1


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_direction(direction: str) -> None:
    layout = lay_out(Drawing([node("a"), node("b")], edges("a>b"), direction))
    (x, y, *_), (other_x, other_y, *_) = layout.boxes["a"], layout.boxes["b"]
    ahead = {"TB": other_y - y, "BT": y - other_y, "LR": other_x - x, "RL": x - other_x}
    assert ahead[direction] > 40


def test_long_words_widen_the_box_and_long_values_fold() -> None:
    shapes = ", ".join(["(None, 112, 112, 64)"] * 8)
    drawn = DrawnNode("a", "a" * 90, "b" * 40, (("outputs", f"[{shapes}]"), ("two", "x\ny")))
    box = lay_out(Drawing([drawn])).measured["a"]
    assert box.width > 90 * 6 + 40 * 5
    assert [label for label, _ in box.lines] == ["outputs", "", "", "two", ""]
    assert " ".join(value for _, value in box.lines) == f"[{shapes}] x y"


# ----------------------------------------------------------------------------------------------- SVG and PNG


def test_every_text_is_in_the_svg() -> None:
    drawing = two_inputs()
    texts = {element.text for element in ElementTree.fromstring(to_svg(drawing)).iter(f"{SVG}text")}
    for drawn in drawing.nodes:
        assert {drawn.title, drawn.subtitle, *itertools.chain(*drawn.rows)} <= texts
    assert {"(None, 100)", "tower"} <= texts


def test_strange_text_is_still_xml() -> None:
    strange = DrawnNode("<&\">'\x00", "<&\">'\x07", "中 é ×", (("", "a ≤ b"),), "no such kind", ("<>",))
    drawing = Drawing([strange], [DrawnEdge(strange.key, strange.key)], title="<title>")
    assert "<&\">' " in "".join(ElementTree.fromstring(to_svg(drawing)).itertext())
    assert to_png(drawing)[:4] == b"\x89PNG"


def test_the_same_drawing_gives_the_same_text_in_every_process() -> None:
    code = "from test_drawing import *; import hashlib; print(hashlib.md5(to_svg(tangled()).encode()).hexdigest())"
    folder = Path(__file__).parent
    printed = {
        subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(printed) == 1


def test_png_shows_text_on_a_machine_without_fonts() -> None:
    """The text is ASCII after spelling, so no font of the system is read: what is drawn comes from pillow's font."""
    words = Image.open(io.BytesIO(to_png(Drawing([DrawnNode("a", "conv → relu", "Conv2D")]), dpi=192))).convert("L")
    blank = Image.open(io.BytesIO(to_png(Drawing([DrawnNode("a", " " * 20)]), dpi=192))).convert("L")
    assert words.height == blank.height
    assert sum(words.histogram()[:120]) > 10 * sum(blank.histogram()[:80])
    assert sum(words.histogram()[:120]) > 300


def test_png_size_follows_dpi_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = lay_out(residual())
    sizes = {dpi: Image.open(io.BytesIO(to_png(residual(), dpi))).size for dpi in (96, 48)}
    assert sizes[96] == pytest.approx((layout.width, layout.height), abs=1.1)
    assert sizes[48] == pytest.approx((layout.width / 2, layout.height / 2), abs=1.1)
    monkeypatch.setattr(drawings, "MAX_PIXELS", 500)
    assert max(Image.open(io.BytesIO(to_png(residual(), 2000))).size) in (499, 500)
    monkeypatch.setattr(drawings, "MAX_AREA", 10_000)
    width, height = Image.open(io.BytesIO(to_png(residual(), 2000))).size
    assert 9_000 < width * height <= 10_000


def test_a_model_of_430_layers_is_drawn_in_seconds() -> None:
    start = time.perf_counter()
    drawing = densenet()
    png = to_png(drawing)
    assert time.perf_counter() - start < 3
    assert len(drawing.nodes) == 428
    assert max(Image.open(io.BytesIO(png)).size) <= drawings.MAX_PIXELS


def test_save(tmp_path: Path) -> None:
    drawing = residual("LR")
    assert save(drawing, tmp_path / "model.svg").read_text(encoding="utf-8") == to_svg(drawing)
    picture = Image.open(save(drawing, str(tmp_path / "model.PNG"), dpi=60))
    assert len(picture.convert("RGB").getcolors(1 << 20)) > 20
    with pytest.raises(ValueError, match=r"'model.pdf'.*'.svg' and '.png'"):
        save(drawing, tmp_path / "model.pdf")
    with pytest.raises(ValueError, match="positive number"):
        to_png(drawing, dpi=0)


def test_empty_drawing() -> None:
    ElementTree.fromstring(to_svg(Drawing(())))
    assert to_png(Drawing((), title="nothing"))


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="share the key 'a'"):
        Drawing([node("a"), node("a")])
    with pytest.raises(ValueError, match="names 'b', which no node has"):
        Drawing([node("a")], edges("a>b"))
    with pytest.raises(ValueError, match="'TB', 'LR', 'BT' or 'RL'"):
        Drawing([], direction="up")  # type: ignore[arg-type]


def test_missing_extra_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fast_sugiyama", None)
    with pytest.raises(ImportError, match=r"pip install lamina\[plot\]"):
        to_svg(Drawing([node("a"), node("b")], edges("a>b")))
    assert layered.optional("json").dumps(1) == "1"


def test_no_torch_is_imported() -> None:
    foreign = r"^\s*(import|from) (torch|lamina\.(?!explain\.(?:layered|columns)\b))"
    for name in ("layered", "columns", "drawing", "table"):
        text = (Path(drawings.__file__).parent / f"{name}.py").read_text(encoding="utf-8")
        assert not re.search(foreign, text, re.MULTILINE), name
