"""Pictures of models: what stands where, which blocks are grouped and folded, and how fast it goes."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

import lamina
from lamina import layers
from lamina.base.errors import LaminaError
from lamina.explain.drawing import lay_out
from lamina.explain.grouping import group_paths
from lamina.explain.plot import Picture, model_to_drawing, plot_model
from lamina.graph.regions import blocks

pytest.importorskip("fast_sugiyama")
pytest.importorskip("resvg_py")


@pytest.fixture(scope="module")
def resnet152():
    with lamina.device("meta"):
        return lamina.applications.ResNet152(weights=None, name="resnet152")


def residual(names: bool = True) -> lamina.Model:
    """Two residual blocks, the second with a projection and squeeze-and-excitation inside."""

    def name(text: str) -> dict[str, str]:
        return {"name": text} if names else {}

    start = lamina.Input((8, 8, 4), name="image")
    x = layers.Conv2D(4, 3, padding="same", **name("a_conv"))(start)
    x = layers.Add(**name("a_add"))([start, x])
    first = layers.ReLU(**name("a_out"))(x)
    x = layers.Conv2D(8, 3, padding="same", **name("b_conv"))(first)
    scale = layers.GlobalAveragePooling2D(keepdims=True, **name("b_se_squeeze"))(x)
    scale = layers.Conv2D(8, 1, **name("b_se_excite"))(scale)
    x = layers.Multiply(**name("b_se_scale"))([x, scale])
    side = layers.Conv2D(8, 1, **name("b_projection"))(first)
    x = layers.Add(**name("b_add"))([x, side])
    x = layers.Flatten(**name("flatten"))(x)
    return lamina.Model(start, layers.Dense(3, **name("head"))(x), name="residual")


def unet() -> lamina.Model:
    start = x = lamina.Input((32, 32, 3))
    skips = []
    for filters in (4, 8):
        x = layers.Conv2D(filters, 3, padding="same")(x)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(16, 3, padding="same")(x)
    for skip in reversed(skips):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skip])
        x = layers.Conv2D(skip.shape[-1], 3, padding="same")(x)
    return lamina.Model(start, x, name="unet")


def siamese() -> lamina.Model:
    left, right, inner = (lamina.Input((16,), name=name) for name in ("left", "right", "inner"))
    x = layers.Dense(32, name="hidden")(inner)
    x = layers.Add(name="sum")([x, layers.Dense(32, name="more")(x)])
    encoder = lamina.Model(inner, layers.Dense(8, name="code")(x), name="encoder")
    x = layers.Concatenate(name="both")([encoder(left), encoder(right)])
    x = layers.Dense(32, name="shared")(x)
    return lamina.Model([left, right], [layers.Dense(1, name="score")(x), layers.Dense(5, name="kind")(x)], name="pair")


def labels(picture: Picture) -> dict[str, str]:
    """Which arrow says what: "from>to" → label, by the titles of the boxes."""
    titles = {node.key: node.title for node in picture.drawing.nodes}
    return {f"{titles[e.source]}>{titles[e.target]}": e.label for e in picture.drawing.edges if e.label}


def frames(picture: Picture) -> dict[str, tuple[str, ...]]:
    return {node.title: node.cluster for node in picture.drawing.nodes if node.cluster}


# ---------------------------------------------------------------------------------------------- shapes on the edges


def test_shapes_stand_where_they_change() -> None:
    assert labels(residual().plot()) == {
        "image>a_conv": "(None, 8, 8, 4)",
        "b_conv>b_se_squeeze": "(None, 8, 8, 8)",
        "b_se_squeeze>b_se_excite": "(None, 1, 1, 8)",
        "b_projection>b_add": "(None, 8, 8, 8)",
        "flatten>head": "(None, 512)",
    }
    assert [node.rows for node in residual().plot().drawing.nodes if node.rows] == [(("output", "(None, 3)"),)]


def test_every_edge_says_the_shape_of_its_tensor() -> None:
    model = residual()
    picture = model.plot(shapes="edges")
    for pair, label in labels(picture).items():
        assert label == str(model.get_layer(pair.split(">")[0]).output.shape)
    assert len(labels(picture)) == len(picture.drawing.edges) == 14


def test_shapes_in_boxes_are_keras_rows() -> None:
    picture = plot_model(residual(), None, show_shapes=True, show_layer_names=True)
    assert not labels(picture)
    rows = {node.title: dict(node.rows) for node in picture.drawing.nodes}
    assert rows["b_conv"] == {"input": "(None, 8, 8, 4)", "output": "(None, 8, 8, 8)"}
    assert rows["image"] == {"output": "(None, 8, 8, 4)"}
    assert not any(node.rows for node in plot_model(residual(), None).drawing.nodes)
    assert residual().plot(show_shapes=True).drawing.nodes[1].rows == picture.drawing.nodes[1].rows


def test_outputs_of_a_fork_share_a_rank() -> None:
    layout = lay_out(siamese().plot().drawing)
    assert layout.boxes["score#0"][1] == layout.boxes["kind#0"][1]


# --------------------------------------------------------------------------------------------------- blocks


@pytest.mark.parametrize("name", ["ResNet50", "DenseNet121"])
def test_groups_of_a_chain_of_blocks_are_the_blocks_of_the_graph(name: str) -> None:
    with lamina.device("meta"):
        graph = getattr(lamina.applications, name)(weights=None).graph
    groups = list(dict.fromkeys(group for path in group_paths(graph).values() for group in path))
    assert [(group.name, set(group.nodes)) for group in groups] == [
        (block.name, set(block.nodes)) for block in blocks(graph)
    ]


def test_blocks_are_framed_by_name_and_inside_one_another() -> None:
    assert frames(residual().plot()) == {
        "a_conv": ("a",),
        "a_add": ("a",),
        "a_out": ("a",),
        "b_conv": ("b",),
        "b_projection": ("b",),
        "b_se_squeeze": ("b", "b_se"),
        "b_se_excite": ("b", "b_se"),
        "b_se_scale": ("b", "b_se"),
        "b_add": ("b",),
    }
    assert not frames(residual().plot(group_blocks=False))
    assert not frames(plot_model(residual(), None))


def test_blocks_without_names_are_numbered_and_end_with_their_activation() -> None:
    paths = Counter(node.cluster for node in residual(names=False).plot().drawing.nodes)
    assert paths == {(): 3, ("block 1",): 3, ("block 2",): 3, ("block 2", "block 3"): 3}


def test_levels_of_a_unet_are_inside_one_another() -> None:
    drawing = unet().plot().drawing
    assert Counter(node.cluster for node in drawing.nodes) == {
        (): 3,
        ("block 1",): 5,
        ("block 1", "block 2"): 4,
    }


def test_what_is_read_from_outside_is_no_block() -> None:
    start = lamina.Input((4,))
    inner = layers.Dense(4)(start)
    merged = layers.Add()([start, inner])
    assert group_paths(lamina.Model(start, merged).graph)
    assert not group_paths(lamina.Model(start, [merged, inner]).graph)  # an output inside
    assert not group_paths(lamina.Model(start, layers.Add()([start, start * 2])).graph)  # arithmetic
    other = lamina.Input((4,))
    assert not group_paths(lamina.Model([start, other], layers.Add()([layers.Dense(4)(start), other])).graph)


def test_folded_blocks_are_one_box_each() -> None:
    drawing = residual().plot(fold_blocks=True).drawing
    assert [(node.title, node.subtitle) for node in drawing.nodes[1:3]] == [("a", "3 layers"), ("b", "6 layers")]
    assert [(edge.source, edge.target) for edge in drawing.edges] == [
        ("image#0", "a#block"),
        ("a#block", "b#block"),
        ("b#block", "flatten#0"),
        ("flatten#0", "head#0"),
    ]
    inner = residual().plot(fold_blocks=2).drawing
    assert [node.title for node in inner.nodes if node.kind == "block"] == ["b_se"]
    one = residual().plot(fold_blocks="a").drawing
    assert [node.title for node in one.nodes if node.kind == "block"] == ["a"]
    rows = {node.title: dict(node.rows) for node in residual().plot(fold_blocks=True, show_shapes=True).drawing.nodes}
    assert rows["b"] == {"input": "(None, 8, 8, 4)", "output": "(None, 8, 8, 8)"}


def test_a_name_that_is_not_there_is_said() -> None:
    with pytest.raises(LaminaError, match=r"fold_blocks names 'c'.*there are: a, b, b_se\."):
        residual().plot(fold_blocks=["a", "c"])
    with pytest.raises(LaminaError, match=r"expand_nested names 'coder'.*there are: encoder\."):
        siamese().plot(expand_nested="coder")
    with pytest.raises(ValueError, match="shapes='arrows'"):
        siamese().plot(shapes="arrows")
    with pytest.raises(ValueError, match="columns=0"):
        siamese().plot(columns=0)
    with pytest.raises(TypeError, match="show_shape"):
        siamese().plot(show_shape=True)


# ------------------------------------------------------------------------------------------------ nested models


def test_nested_models_fold_to_one_box_a_call() -> None:
    boxes = [node.title for node in siamese().plot().drawing.nodes]
    assert Counter(boxes)["encoder"] == 2
    assert "hidden" not in boxes


@pytest.mark.parametrize("expand", [True, ["encoder"], "encoder"])
def test_nested_models_expand_to_frames(expand) -> None:
    picture = siamese().plot(expand_nested=expand)
    paths = Counter(node.cluster for node in picture.drawing.nodes)
    assert paths == {
        (): 6,
        ("encoder",): 2,
        ("encoder", "block 1"): 2,
        ("encoder, call 2",): 2,
        ("encoder, call 2", "block 1"): 2,
    }
    assert labels(picture)["left>hidden"] == "(None, 16)"
    assert labels(picture)["code>both"] == "(None, 8)"


# ------------------------------------------------------------------------------------- files, notebooks, arguments


def test_keras_arguments_are_the_same() -> None:
    import inspect

    import keras

    ours, theirs = inspect.signature(plot_model).parameters, inspect.signature(keras.utils.plot_model).parameters
    own = [name for name, parameter in ours.items() if parameter.kind is not parameter.KEYWORD_ONLY]
    assert own == [name for name in theirs if name != "kwargs"]
    assert all(ours[name].default == theirs[name].default for name in own)


def test_a_picture_shows_itself_and_is_a_path(tmp_path: Path) -> None:
    picture = residual().plot()
    assert "b_se" in "".join(ElementTree.fromstring(picture._repr_svg_()).itertext())
    with pytest.raises(LaminaError, match="not written to a file"):
        os.fspath(picture)
    saved = picture.save(tmp_path / "model.svg")
    assert os.fspath(saved) == str(saved) == str(tmp_path / "model.svg")
    assert ElementTree.parse(saved).getroot().tag.endswith("svg")
    assert repr(saved).startswith("<Picture of 'residual': 12 boxes, 14 arrows in ")
    positional = lamina.utils.plot_model(residual(), tmp_path / "keras.png", True, dpi=50)
    with Image.open(positional) as image:
        assert image.width > 100


# ------------------------------------------------------------------------------------------ many layers, columns


def test_a_long_chain_is_broken_into_columns(resnet152) -> None:
    drawing = model_to_drawing(resnet152, show_layer_names=True, shapes="changes", group_blocks=True)
    layout = lay_out(drawing)
    one = lay_out(model_to_drawing(resnet152, show_layer_names=True, shapes="changes", group_blocks=True, columns=1))
    assert one.height > 20 * one.width
    assert 0.7 < layout.width / layout.height < 2
    for path, (x, y, width, height) in layout.frames.items():  # no block is torn
        inside = [layout.boxes[node.key] for node in drawing.nodes if node.cluster == path]
        assert all(x < box[0] and box[0] + box[2] < x + width for box in inside)
        assert all(y < box[1] and box[1] + box[3] < y + height for box in inside)
        assert (width, height) == pytest.approx(one.frames[path][2:], abs=0.2)


def test_so_many_columns_as_asked(resnet152) -> None:
    folded = model_to_drawing(resnet152, fold_blocks=True, columns=3, show_layer_names=True)
    layout = lay_out(folded)
    left_ends = sorted(box[0] + box[2] / 2 for box in layout.boxes.values())
    gaps = [b - a for a, b in itertools.pairwise(left_ends) if b - a > 40]
    assert len(gaps) == 2


def test_resnet152_is_drawn_within_two_seconds(resnet152, tmp_path: Path) -> None:
    start = time.perf_counter()
    picture = resnet152.plot(tmp_path / "resnet152.svg")
    assert time.perf_counter() - start < 2
    assert len(picture.drawing.nodes) == len(resnet152.layers) == 517
    text = Path(picture).read_text(encoding="utf-8")
    assert all(f">{layer.name}<" in text for layer in resnet152.layers)


def test_the_kept_pictures_are_drawn_by_their_tool(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    subprocess.run([sys.executable, "tools/draw_examples.py", tmp_path], cwd=root, check=True, capture_output=True)
    kept = root / "docs" / "pictures"
    assert sorted(file.name for file in kept.glob("layers-*")) == sorted(file.name for file in tmp_path.iterdir())
    for file in kept.glob("layers-*"):
        assert file.stat().st_size < 400_000
        with Image.open(file) as one, Image.open(tmp_path / file.name) as other:
            assert one.size == other.size
