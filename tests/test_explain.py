"""Explanations, summaries and plots: formulas that compute, tables that say what Keras's say, pictures that open."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import pytest
from PIL import Image

import lamina
from golden import check_golden
from lamina import layers
from lamina.base.errors import LaminaError

WEIGHTED = [
    (lambda: layers.Dense(10), (None, 7)),
    (lambda: layers.Dense(10, use_bias=False), (None, 3, 7)),
    (lambda: layers.EinsumDense("abc,cd->abd", (None, 8), bias_axes="d"), (None, 5, 7)),
    (lambda: layers.Embedding(50, 6), (None, 4)),
    (lambda: layers.Conv1D(4, 3), (None, 9, 2)),
    (lambda: layers.Conv2D(64, 7, strides=2, padding="same"), (None, 224, 224, 3)),
    (lambda: layers.Conv2D(8, 3, groups=2), (None, 9, 9, 4)),
    (lambda: layers.Conv3D(4, 2), (None, 5, 5, 5, 2)),
    (lambda: layers.Conv2DTranspose(8, 3, strides=2), (None, 5, 5, 2)),
    (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), (None, 5, 5, 2)),
    (lambda: layers.SeparableConv2D(8, 3), (None, 5, 5, 2)),
    (lambda: layers.BatchNormalization(), (None, 5, 5, 2)),
    (lambda: layers.LayerNormalization(), (None, 5, 6)),
    (lambda: layers.GroupNormalization(2), (None, 5, 6)),
    (lambda: layers.PReLU(), (None, 5, 6)),
]


@pytest.mark.parametrize(("make", "shape"), WEIGHTED)
def test_parameter_formulas_compute_the_count(make, shape):
    layer = make()
    explained = lamina.explain.explain_layer(layer, shape)
    left = explained.parameter_formula.split(" = ")[0]
    assert eval(left.replace("·", "*")) == layer.count_params() == explained.parameters
    for weight in explained.weights:
        assert weight.axes is not None, f"{type(layer).__name__} names no axes of {weight.name}"
        assert len(weight.axes) == len(weight.shape)


def small():
    x = lamina.Input((28, 28, 1), name="image")
    y = layers.Conv2D(8, 3, strides=2, padding="same", name="conv")(x)
    y = layers.ZeroPadding2D(1, name="pad")(y)
    y = layers.MaxPooling2D(3, strides=2, name="pool")(y)
    y = layers.Concatenate(name="join")([y, y])
    return lamina.Model(x, layers.Dense(3, name="head")(layers.Flatten(name="flat")(y)), name="small")


def test_an_explanation_as_text():
    check_golden("explain_small", str(small().explain()))


def test_the_count_follows_the_size_only_where_a_weight_reads_it():
    explained = small().explain()
    assert explained.size_dependent == ("head",)
    assert "'head' has a weight for every position of it" in explained.conclusion
    x = lamina.Input((28, 28, 1))
    pooled = lamina.Model(x, layers.Dense(3)(layers.GlobalMaxPooling2D()(layers.Conv2D(4, 3)(x))))
    assert pooled.explain().size_dependent == ()
    assert "the same for every input size" in pooled.explain().conclusion


def test_the_layers_whose_count_follows_the_channels():
    dense = lamina.Sequential([lamina.Input((4,)), layers.Dense(32, name="first"), layers.Dense(16)])
    assert dense.explain().channel_dependent == (("first", "features", "4·32 + 32 = 160"),)
    assert "every input size" not in dense.explain().conclusion
    assert "It follows the input's features, in 'first' (4·32 + 32 = 160)." in str(dense.explain())
    x = lamina.Input((1, 32, 32))
    first = lamina.Model(x, layers.Conv2D(10, 8, data_format="channels_first", name="conv")(x))
    assert [axis.name for axis in first.explain().layers[0].axes] == ["channels", "height", "width"]
    assert (first.explain().size_dependent, first.explain().channel_dependent[0][:2]) == ((), ("conv", "channels"))
    nested = lamina.Sequential([first, layers.GlobalAveragePooling2D(data_format="channels_first"), layers.Dense(2)])
    assert nested.explain().channel_dependent == ((f"{first.name}/conv", "channels", "8·8·1·10 + 10 = 650"),)
    words = lamina.Sequential(
        [lamina.Input((8,)), layers.Embedding(10, 4), layers.Flatten(), layers.Dense(2, name="last")]
    )
    assert words.explain().size_dependent == ("last",)
    assert words.explain().channel_dependent == ()


def test_the_inputs_of_a_nested_model_have_their_own_axes():
    image, numbers = lamina.Input((8, 8, 3)), lamina.Input((5,))
    joined = layers.Concatenate()([layers.Flatten()(layers.Conv2D(2, 3)(image)), layers.Dense(3)(numbers)])
    inner = lamina.Model([image, numbers], joined, name="inner")
    given = [lamina.Input((8, 8, 3)), lamina.Input((5,))]
    explained = lamina.Model(given, layers.Dense(2, name="head")(inner(given))).explain()
    assert [one[:2] for one in explained.channel_dependent] == [
        ("inner/conv2d", "channels"),
        ("inner/dense", "features"),
    ]
    assert explained.size_dependent == ("head",)


def test_a_window_that_keeps_a_size_says_so():
    conv = layers.Conv2D(10, 8, padding="same", data_format="channels_first")
    said = [str(axis) for axis in lamina.explain(conv, (None, 1, 32, 32)).axes]
    assert said == ["open", "10", "32, as it came", "32, as it came"]


def test_open_sizes_stay_formulas():
    x = lamina.Input((None, None, 3))
    model = lamina.Model(x, layers.Conv2D(4, 7, strides=2, name="conv")(layers.ZeroPadding2D(3)(x)))
    said = [str(axis) for axis in model.explain("conv").axes]
    assert said == ["open", "⌊(height − 7)/2⌋ + 1", "⌊(width − 7)/2⌋ + 1", "4"]


def test_explanations_as_data_and_html():
    explained = small().explain()
    data = explained.to_dict()
    assert data["parameters"] == small().count_params()
    assert [layer["name"] for layer in data["layers"]] == [layer.name for layer in small().layers]
    assert "<pre>" in explained._repr_html_()
    assert explained["conv"].parameters == 80


def test_a_model_without_a_graph_says_what_to_do():
    with pytest.raises(LaminaError, match="Give a Sequential an Input"):
        lamina.Sequential([layers.Dense(3)]).explain()


def cells(text):
    """The rows of a summary without its frame: every cell's words, folded lines joined."""
    rows: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith(("├", "┡", "┏", "└")):
            rows.append([])
        elif line.startswith("│"):
            parts = [part.strip() for part in line.strip("│").split("│")]
            before = rows[-1] or [""] * len(parts)
            rows[-1] = [" ".join(filter(None, pair)) for pair in zip(before, parts, strict=True)]
    return [row for row in rows if row]


def build_for_summary(k):
    x = k.Input((8, 8, 1))
    y = k.layers.Conv2D(4, 3, padding="same")(x)
    inner = k.Sequential([k.layers.Dense(4), k.layers.BatchNormalization()], name="inner")
    y = k.layers.Add()([y, inner(y)])
    return k.Model(x, k.layers.Dense(2)(y))


@pytest.mark.parametrize("options", [{}, {"show_trainable": True}, {"expand_nested": True}])
def test_a_summary_says_what_keras_says(keras, options, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")  # Keras cuts what does not fit
    texts = []
    for k in (keras, lamina):
        keras.utils.clear_session()
        lamina.utils.clear_session()
        said: list[str] = []
        model = build_for_summary(k)
        model.summary(print_fn=lambda text, said=said, **_: said.append(text), line_length=140, **options)
        texts.append("\n".join(said))
    theirs, mine = texts
    assert cells(mine) == cells(theirs)
    totals = [re.findall(r"params: .*", text) for text in texts]
    assert totals[0] == totals[1]


def test_no_name_is_cut_at_80_columns():
    name = "a_layer_with_a_name_that_is_much_longer_than_any_column_of_a_terminal_could_ever_hold"
    model = lamina.Sequential([lamina.Input((4,)), layers.Dense(2, name=name)])
    said: list[str] = []
    model.summary(print_fn=said.append)
    assert name in "".join(cells(said[0])[0][0].split())
    assert max(map(len, said[0].splitlines())) <= 80


def test_layer_range_and_unbuilt_models():
    said: list[str] = []
    small().summary(print_fn=said.append, layer_range=["conv", "pool"])
    assert [row[0].split()[0] for row in cells(said[0])] == ["conv", "pad", "pool"]
    lamina.Sequential([layers.Dense(3)]).summary(print_fn=said.append)
    assert "0 (unbuilt)" in said[1]


def test_plots_open_and_say_everything(tmp_path):
    model = build_for_summary(lamina)
    options = {"show_shapes": True, "show_layer_names": True, "expand_nested": True}
    svg = lamina.utils.plot_model(model, tmp_path / "m.svg", **options)
    text = " ".join(ElementTree.parse(svg).getroot().itertext())
    for word in ("inner", "batch_normalization", "(None, 8, 8, 4)", "conv2d"):
        assert word in text
    png = model.plot(tmp_path / "m.png", show_dtype=True, rankdir="LR")
    with Image.open(io.BytesIO(png.path.read_bytes())) as picture:
        assert picture.width > picture.height
    with pytest.raises(ValueError, match=r"\.svg"):
        lamina.utils.plot_model(model, tmp_path / "m.pdf")
    with pytest.raises(LaminaError, match="has no graph to draw"):
        lamina.utils.plot_model(lamina.Sequential([layers.Dense(2)]), tmp_path / "n.svg")
