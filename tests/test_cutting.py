"""Places to cut a model at, and the models up to them, against models that are made by hand."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch

import lamina
from golden import check_golden
from lamina import layers
from lamina.base.errors import LaminaError, ShapeError, ShapeWarning
from lamina.graph.regions import carriers


@pytest.fixture(scope="module")
def resnet():
    with lamina.device("meta"):
        return lamina.applications.ResNet50(weights=None)


def residual(name="small"):
    """Two blocks: a projected one and one with a plain shortcut."""
    x = lamina.Input((16, 16, 3), name="image")
    y = layers.Conv2D(8, 3, padding="same", name="stem")(x)
    for number, stride in ((1, 2), (2, 1)):
        shortcut = layers.Conv2D(8, 1, strides=stride, name=f"block{number}_project")(y) if stride > 1 else y
        z = layers.Conv2D(8, 3, strides=stride, padding="same", name=f"block{number}_conv1")(y)
        z = layers.Conv2D(8, 3, padding="same", name=f"block{number}_conv2")(z)
        y = layers.ReLU(name=f"block{number}_out")(layers.Add(name=f"block{number}_add")([shortcut, z]))
    y = layers.GlobalAveragePooling2D(name="pool")(y)
    return lamina.Model(x, layers.Dense(5, name="head")(y), name=name)


def u_net():
    x = lamina.Input((16, 16, 1), name="image")
    first = layers.Conv2D(4, 3, padding="same", name="down")(x)
    low = layers.Conv2D(8, 3, padding="same", name="bottom")(layers.MaxPooling2D(name="shrink")(first))
    y = layers.Concatenate(name="join")([layers.UpSampling2D(name="grow")(low), first])
    return lamina.Model(x, layers.Conv2D(1, 1, name="mask")(y), name="u_net")


def towers():
    left, right = lamina.Input((4,), name="left"), lamina.Input((6,), name="right")
    a = layers.Dense(3, name="of_left")(left)
    b = layers.Dense(3, name="of_right")(right)
    y = layers.Concatenate(name="both")([a, b])
    return lamina.Model([left, right], layers.Dense(1, name="score")(y), name="towers")


def refusal(model, at):
    with pytest.raises(LaminaError) as error:
        model.cut(at)
    return error.value


# ------------------------------------------------------------------------------------------------------- the places


def test_every_place_of_resnet_is_a_whole_model(resnet):
    cuts = resnet.cuts()
    assert [cut.tensor for cut in cuts] == [tensor for _, tensor in carriers(resnet.graph)][1:]
    for cut in cuts:
        short = lamina.Model(resnet.input, resnet.get_layer(cut.layer).output)
        assert (cut.shape, cut.parameters) == (short.output_shape, short.count_params())
    assert len(cuts) == len(list(cuts)) == 40
    assert cuts[-1].share == 1.0
    assert cuts[0].multiply_accumulates == 0
    assert cuts["conv1_conv"].multiply_accumulates == 112 * 112 * 7 * 7 * 3 * 64
    assert cuts[-1].multiply_accumulates == resnet.explain().multiply_accumulates


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("ResNet50", ["conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"]),
        ("DenseNet121", ["conv1_relu", "pool2_conv", "pool3_conv", "pool4_conv", "relu"]),
        ("VGG16", [*(f"block{n}_conv{2 + (n > 2)}" for n in range(1, 6)), "block5_pool"]),
    ],
)
def test_stage_ends_are_those_that_feature_pyramids_use(name, ends):
    with lamina.device("meta"):
        model = getattr(lamina.applications, name)(weights=None)
    found = model.cuts().stage_ends
    assert [cut.layer for cut in found] == ends
    strides = [32 // 2**power for power in range(len(ends))][::-1]
    assert [cut.stride for cut in found] == list(map(str, strides))
    assert [cut.shape[1] * stride for cut, stride in zip(found, strides, strict=True)] == [224] * len(ends)
    pyramid = lamina.Model(model.input, [cut.tensor for cut in found])
    assert [shape[1:] for shape in pyramid.output_shape] == [cut.shape[1:] for cut in found]


def test_the_table():
    check_golden("cuts_small", str(residual().cuts()))


def test_the_table_of_resnet_fits_80_columns(resnet):
    text = str(resnet.cuts())
    check_golden("cuts_resnet50", text)
    assert max(map(len, text.split("\n"))) <= 80
    assert all(f" {cut.layer} " in text for cut in resnet.cuts())  # no name is folded


def test_as_data(resnet):
    data = json.loads(json.dumps(resnet.cuts().to_dict()))
    assert data["model"] == "resnet50"
    entry = next(one for one in data["cuts"] if one["layer"] == "conv3_block4_out")
    assert entry["shape"] == [None, 28, 28, 512]
    assert entry["class_name"] == "Activation"
    assert entry["stage_end"] is True
    assert [axis["stride"] for axis in entry["receptive_field"]["axes"]] == [8, 8]
    assert 0.44 < entry["share"] < 0.46


def test_unequal_axes_and_open_sizes():
    x = lamina.Input((None, 20, 1))
    model = lamina.Model(x, layers.Conv2D(2, (3, 5), strides=(2, 1), name="conv")(x))
    (cut,) = model.cuts()
    assert (cut.stride, cut.field_size, cut.share) == ("2×1", "3×5", None)
    assert " ? " in str(model.cuts())


def test_a_model_of_separate_branches_has_no_places():
    a, b = lamina.Input((3,), name="a"), lamina.Input((3,), name="b")
    model = lamina.Model([a, b], [layers.Dense(1)(a), layers.Dense(1)(b)], name="pair")
    assert len(model.cuts()) == 0
    check_golden("cuts_none", str(model.cuts()))


def test_places_by_name():
    cuts = residual().cuts()
    assert cuts["block1_out"].shape == (None, 8, 8, 8)
    with pytest.raises(KeyError, match="Did you mean 'block1_out'"):
        cuts["block1_ou"]


def test_functions_and_shared_layers_count_once():
    x = lamina.Input((4,), name="x")
    twice = layers.Dense(4, name="twice")
    y = twice(lamina.ops.relu(twice(x)))
    cuts = lamina.Model(x, y).cuts()
    assert [(cut.layer, cut.class_name, cut.parameters) for cut in cuts] == [
        ("twice", "Dense", 20), ("relu", "ops.relu", 20), ("twice", "Dense", 20),
    ]  # fmt: skip
    assert [cut.multiply_accumulates for cut in cuts] == [16, 16, 32]


def test_no_graph_no_places():
    class Own(lamina.Model):
        def call(self, x):
            return x

    for model in (Own(name="own"), lamina.Sequential([layers.Dense(3)], name="open")):
        with pytest.raises(LaminaError, match="is no graph, so it has no places to cut at"):
            model.cuts()
        with pytest.raises(LaminaError, match="is no graph, so it has no places to cut at"):
            model.cut("dense")


# -------------------------------------------------------------------------------------------------------- the model


@pytest.mark.parametrize("at", ["stem", "block1_add", "block1_out", "block2_out", "pool", "head"])
def test_a_cut_is_the_model_up_to_there_and_shares_the_layers(at):
    model = residual()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        short = model.cut(at=at)
    x = torch.rand(2, 16, 16, 3)
    expected = lamina.Model(model.input, model.get_layer(at).output)(x).detach()
    torch.testing.assert_close(short(x).detach(), expected)
    assert short.name == f"small_to_{at}"
    kernel = model.get_layer("stem").kernel
    assert short.get_layer("stem").kernel is kernel
    with torch.no_grad():
        kernel.zero_()
    torch.testing.assert_close(short(x), lamina.Model(model.input, model.get_layer(at).output)(x))
    for same in (model.get_layer(at), model.get_layer(at).output, model.cuts()[at]):
        assert model.cut(same).output is short.output


def test_a_cut_can_be_saved_and_trained(tmp_path):
    short = residual().cut("block2_out")
    path = tmp_path / "short.keras"
    short.save(path)
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype("float32")
    np.testing.assert_allclose(lamina.models.load_model(path).predict(x, verbose=0), short.predict(x, verbose=0))
    features = layers.GlobalAveragePooling2D()(short.output)
    whole = lamina.Model(short.input, layers.Dense(2)(features))
    whole.compile("sgd", "mse")
    before = short.get_weights()[0].copy()
    whole.fit(x, np.zeros((4, 2)), verbose=0)
    assert not np.array_equal(short.get_weights()[0], before)


def test_a_sequential_is_cut():
    model = lamina.Sequential(
        [lamina.Input((8,)), layers.Dense(4, name="one"), layers.Dense(2, name="two")], name="stack"
    )
    short = model.cut("one")
    x = torch.rand(3, 8)
    torch.testing.assert_close(short(x), model.get_layer("one")(x))
    assert [cut.layer for cut in model.cuts()] == ["one", "two"]


def test_only_the_inputs_that_the_layer_needs_are_kept():
    model = towers()
    left = model.cut("of_left")
    assert left.input_names == ["left"]
    assert left(torch.rand(2, 4)).shape == (2, 3)
    assert model.cut("both").input_names == ["left", "right"]
    named = lamina.Model({"l": model.inputs[0], "r": model.inputs[1]}, model.output)
    assert named.cut("of_right")({"r": torch.rand(2, 6)}).shape == (2, 3)
    third = lamina.Input((2,), name="third")
    three = lamina.Model([*model.inputs, third], layers.Concatenate()([model.output, third]))
    assert three.cut("score").input_names == ["left", "right"]


def test_one_head_of_several_is_no_block():
    x = lamina.Input((4,), name="x")
    y = layers.Dense(4, name="neck")(x)
    heads = [layers.Dense(1, name="age")(y), layers.Dense(2, name="kind")(layers.Dense(3, name="before_kind")(y))]
    model = lamina.Model(x, heads)
    assert model.cut("before_kind").output_shape == (None, 3)
    assert model.cut("age").output_names == ["age"]
    assert [cut.layer for cut in model.cuts()] == ["neck"]


def test_a_result_among_several_is_cut_by_its_tensor():
    x = lamina.Input((3, 4), name="x")
    first, second, _ = lamina.ops.unstack(x, 3, axis=1)
    model = lamina.Model(x, layers.Dense(2, name="head")(layers.Concatenate(name="join")([first, second])))
    name = first._keras_history.operation.name
    check_golden("cut_several_results", str(refusal(model, name)))
    assert isinstance(refusal(model, first), ShapeError)
    assert model.cut(first, force=True).output_shape == (None, 4)


# ------------------------------------------------------------------------------------------------------ the refusals


@pytest.mark.parametrize(
    ("case", "make", "at"),
    [
        ("shortcut", residual, "block2_conv1"),
        ("branch", residual, "block1_conv1"),
        ("projection", residual, "block1_project"),
        ("skip", u_net, "bottom"),
        ("misspelt", residual, "block1_ot"),
    ],
)
def test_messages(case, make, at):
    check_golden(f"cut_{case}", str(refusal(make(), at)))


def test_the_parts_of_a_refusal(resnet):
    error = refusal(resnet, "conv3_block1_2_relu")
    assert isinstance(error, ShapeError)
    parts = error.parts()
    assert parts["layer"] == "conv3_block1_2_relu"
    assert "'conv3_block1_add' closes the block" in parts["because"]
    assert "'conv3_block1_0_conv', 'conv3_block1_0_bn'" in parts["because"]
    assert "'conv2_block3_out'" in parts["expected"]
    assert "'conv3_block1_out'" in parts["mend"]


def test_every_layer_of_resnet_is_a_place_or_is_refused_with_its_merge(resnet):
    places = {cut.layer for cut in resnet.cuts()}
    for layer in resnet.layers[1:]:
        if layer.name in places:
            assert resnet.cut(layer).output_shape == layer.output.shape
            continue
        block = "_".join(layer.name.split("_")[:2])
        error = refusal(resnet, layer)
        assert f"'{block}_add' closes the block" in error.because
        assert f"'{block}_out'" in error.mend


def test_a_merge_of_unnamed_layers_without_places():
    x = lamina.Input((4,), name="x")
    a, b = layers.Dense(2, name="a")(x), layers.Dense(2, name="b")(x)
    c, d = layers.Add(name="c")([a, b]), layers.Subtract(name="d")([a, b])
    model = lamina.Model(x, [c, d], name="crossed")
    check_golden("cut_no_places", str(refusal(model, "a")))


def test_force_cuts_in_silence_and_check_knows():
    model = residual()
    for policy in ("default", "strict"):
        lamina.config.set_shape_policy(policy)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            short = model.cut("block1_conv1", force=True)
        assert short.output_shape == (None, 8, 8, 8)
    lamina.config.set_shape_policy("default")
    between = model.get_layer("block2_conv1").output
    with pytest.warns(ShapeWarning, match="inside a residual block"):
        lamina.Model(model.input, between)
    short = model.cut("block2_conv1", force=True)
    assert "block2_add" in short._cut_in_block["because"]


def test_layers_of_nested_models_are_cut_in_the_nested_model():
    inner = residual("inner")
    x = lamina.Input((16, 16, 3))
    model = lamina.Model(x, layers.Dense(1, name="last")(inner(x)), name="outer")
    check_golden("cut_nested", str(refusal(model, "inner/block1_out")))
    assert str(refusal(model, "block1_out")) == str(refusal(model, "inner/block1_out"))
    assert "made outside, or in a nested model" in str(refusal(model, inner.get_layer("stem").output))
    assert model.cut("inner").output_shape == (None, 5)
    assert "no layer 'inner/nothing'" in str(refusal(model, "inner/nothing"))


def test_a_layer_that_is_called_twice_is_cut_by_its_tensor():
    x = lamina.Input((4,), name="x")
    twice = layers.Dense(4, name="twice")
    first = twice(x)
    model = lamina.Model(x, twice(first), name="shared")
    check_golden("cut_shared", str(refusal(model, "twice")))
    value = torch.rand(2, 4)
    torch.testing.assert_close(model.cut(first)(value), twice(value))


@pytest.mark.parametrize("at", [3, None, layers.Dense(2, name="stranger")])
def test_what_is_no_place_at_all(at):
    assert "is none of them" in str(refusal(residual(), at))
