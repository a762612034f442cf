"""`summary()`: what Keras prints where Keras knows; beyond it every call's shape, subclassed models, and costs."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch

import lamina
from golden import check_golden
from lamina import layers
from lamina.base.errors import LaminaError, ShapeError
from lamina.explain import summarize
from lamina.explain.table import terminal_width
from test_explain import cells


def printed(model, **options):
    said: list[str] = []
    model.summary(print_fn=lambda text, **_: said.append(text), **options)
    return "\n".join(said)


def shared(k):
    first, second = k.Input((4,), name="a"), k.Input((4,), name="b")
    dense = k.layers.Dense(8, name="shared")
    return k.Model([first, second], k.layers.Add(name="add")([dense(first), dense(second)]))


def nested(k):
    x = k.Input((4,), name="x")
    deep = k.Sequential([k.layers.Dense(2, name="deepest")], name="deep")
    inner = k.Sequential([k.layers.Dense(3, name="in_1"), deep], name="inner")
    model = k.Model(x, k.layers.Dense(1, name="out")(inner(x)), name="outer")
    inner.get_layer("in_1").trainable = False
    return model


def with_functions(k):
    x = k.Input((4,), name="x")
    return k.Model(x, k.ops.exp(k.layers.Dense(2, name="q")(x)) + 1)


def two_outputs(k):
    class Two(k.layers.Layer):
        def call(self, x):
            return x[:, :2], x[:, 2:]

    x = k.Input((8,), name="x")
    return k.Model(x, list(Two(name="two")(x)))


@pytest.mark.parametrize("build", [shared, nested, with_functions, two_outputs])
@pytest.mark.parametrize("options", [{}, {"expand_nested": True, "show_trainable": True}])
def test_the_rows_are_those_of_keras(keras, build, options, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    rows, totals = [], []
    for k in (keras, lamina):
        k.utils.clear_session()
        text = printed(build(k), line_length=140, **options)
        rows.append(
            [[re.sub(r"\((ops\.)?(\w+)\)$", lambda m: m[2].lower(), cell) for cell in row] for row in cells(text)]
        )
        totals.append(re.findall(r"params: .*", text))
    assert rows[0] == rows[1]
    assert totals[0] == totals[1]


def test_the_rows_of_a_range_are_those_of_keras(keras, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    rows = []
    for k in (keras, lamina):
        model = k.Sequential([k.Input((4,)), *(k.layers.Dense(n, name=f"dense_{n}") for n in (1, 2, 3))])
        rows.append(
            [
                cells(printed(model, line_length=100, layer_range=span))
                for span in (["dense_2", "dense_3"], [".*_3", ".*_2"])
            ]
        )
    assert rows[0] == rows[1]


def test_a_range_that_is_none():
    model = nested(lamina)
    assert [row[0] for row in cells(printed(model, expand_nested=True, layer_range=("inner", "inner")))] == [
        "inner (Sequential)",
        "└ in_1 (Dense)",
        "└ deep (Sequential)",
        "└ deepest (Dense)",
    ]
    with pytest.raises(ValueError, match=r"'innar', and the model 'outer' has no such layer. Did you mean 'inner'\?"):
        model.summary(layer_range=("x", "innar"))
    with pytest.raises(ValueError, match="layer_range is the names of two layers; got 'inner'"):
        model.summary(layer_range="inner")


def test_positions_are_the_ends_of_the_columns():
    model = nested(lamina)
    for positions in ([30, 60, 80], [0.375, 0.75, 1.0]):
        line = printed(model, positions=positions, line_length=80).split("\n")[1]
        assert [place + 1 for place, sign in enumerate(line) if sign in "┳┓"] == [31, 61, 80]
    with pytest.raises(ValueError, match="this table has 3"):
        model.summary(positions=[30, 60])
    with pytest.raises(ValueError, match="leave each column 9 characters"):
        model.summary(positions=[30, 35, 80])


def test_every_call_of_a_shared_layer_has_its_shape():
    small, large = lamina.Input((8, 8, 3), name="small"), lamina.Input((16, 16, 3), name="large")
    conv = layers.Conv2D(4, 3, name="conv")
    model = lamina.Model([small, large], [conv(small), conv(large)], name="shared")
    row = summarize(model, show="params|macs|rf|memory").layers[-1]
    assert row.shapes == ((None, 6, 6, 4), (None, 14, 14, 4))
    assert row.multiply_accumulates == (36 + 196) * 27 * 4
    assert row.activation_bytes == (36 + 196) * 4 * 4
    check_golden("summary_shared", printed(model, show="params|macs|rf|connected"))


class Twice(lamina.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(4, 3, padding="same", name="conv")
        self.pool = layers.GlobalAveragePooling2D(name="pool")
        self.head = lamina.Sequential([layers.Dense(2, name="dense")], name="head")
        self.spare = layers.Dense(3, name="spare")

    def call(self, x, training=None):
        return self.head(self.pool(self.conv(self.conv(x)[:, ::2])))


def test_subclassed_models_have_real_shapes():
    model = Twice(name="twice")
    assert "?" not in printed(model)
    check_golden("summary_uncalled", printed(model))
    model.summary(input_shape=(None, 8, 8, 4), print_fn=lambda text: None)
    assert model.conv.built
    assert not model.spare.built
    by_build = printed(model, expand_nested=True)
    check_golden("summary_subclassed", by_build)

    called = Twice(name="twice")
    called(np.ones((5, 8, 8, 4), "float32"))
    assert printed(called, expand_nested=True) == by_build
    assert summarize(called, input_shape=(2, 16, 8, 4)).layers[0].shapes == ((2, 16, 8, 4), (2, 8, 8, 4))
    with pytest.raises(ShapeError, match="needs 4 channels and got 3"):
        called.summary(input_shape=(None, 8, 8, 3))


def test_subclassed_models_inside_a_graph():
    x = lamina.Input((8, 8, 4))
    inner = Twice(name="inner")
    model = lamina.Model(x, layers.Dense(1, name="out")(inner(x)))
    found = {row.name: row for row in summarize(model, expand_nested=True, show="params|macs|rf").layers}
    assert found["conv"].shapes == ((None, 8, 8, 4), (None, 4, 8, 4))
    assert found["dense"].shapes == ((None, 2),)
    assert found["spare"].shapes == ()
    assert found["conv"].multiply_accumulates == (64 + 32) * 9 * 4 * 4
    assert found["inner"].multiply_accumulates == found["conv"].multiply_accumulates + 4 * 2
    assert "not known" in printed(model, show="rf")


def test_a_call_that_needs_values_is_shown_as_it_was_seen():
    class Choosing(lamina.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3, name="dense")

        def call(self, x):
            return self.dense(x) if float(x.sum()) > 0 else x

    model = Choosing()
    model(np.ones((2, 5), "float32"))
    assert summarize(model).layers[0].shapes == ((None, 3),)
    with pytest.raises(ShapeError, match="needs values"):
        model.summary(input_shape=(None, 5))


def test_a_summary_changes_nothing():
    model = Twice()
    model(np.ones((2, 8, 8, 4), "float32"))
    before, state = [weight.detach().clone() for weight in model.weights], torch.get_rng_state()
    printed(model, show="all", expand_nested=True)
    assert all(torch.equal(one, other) for one, other in zip(before, model.weights, strict=True))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.nn.modules.module._global_forward_hooks
    assert not torch.nn.modules.module._global_forward_pre_hooks


def test_the_columns_say_what_explain_says():
    with lamina.device("meta"):
        model = lamina.applications.DenseNet121(weights=None)
    found, explained = summarize(model, show="macs|rf|memory"), model.explain()
    assert found.multiply_accumulates == explained.multiply_accumulates == 2834161664
    assert found.activation_bytes == explained.activation_bytes
    for row, layer in zip(found.layers, explained.layers, strict=True):
        assert (row.name, row.multiply_accumulates, row.activation_bytes, row.fields) == (
            layer.name,
            layer.multiply_accumulates,
            layer.activation_bytes,
            (layer.receptive_field,),
        )


def test_inside_a_nested_model_the_field_is_on_the_whole_models_input():
    x, y = lamina.Input((32, 32, 3)), lamina.Input((None, None, 4))
    inner = lamina.Model(y, layers.Conv2D(4, 3, name="second")(y), name="inner")
    model = lamina.Model(x, inner(layers.Conv2D(4, 3, strides=2, name="first")(x)))
    found = {row.name: row for row in summarize(model, expand_nested=True, show="rf").layers}
    assert found["second"].fields[0].short == found["inner"].fields[0].short == "7×7"
    assert found["second"].fields[0].stride_text == "2×2"


def test_dtypes_name_the_weights_where_they_differ():
    x = lamina.Input((8, 8, 3), dtype="uint8")
    y = layers.Conv2D(4, 3, dtype="mixed_bfloat16", name="conv")(layers.Rescaling(1 / 255)(x))
    rows = summarize(lamina.Model(x, layers.Activation("relu", dtype="mixed_bfloat16")(y)), show="dtype").layers
    assert [row.dtypes for row in rows] == [("uint8",), ("float32",), ("bfloat16 (weights float32)",), ("bfloat16",)]


def test_open_sizes_have_open_costs():
    x = lamina.Input((None, None, 3))
    model = lamina.Model(x, layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="conv")(x)))
    text = printed(model, show="macs|memory")
    assert [row[2:] for row in cells(text)][1] == ["open", "open"]
    assert "Mult-adds:" not in text
    with pytest.raises(LaminaError, match=r"known sizes; this one is \(None, None, None, 3\)"):
        model.summary(show="time")


def test_times_are_measured():
    slow = layers.Dense(2000, name="slow")
    model = lamina.Sequential([lamina.Input((2000,)), slow, layers.Dense(1, name="fast")])
    found = summarize(model, show="time", batch_size=64)
    seconds = {row.name: row.seconds for row in found.layers}
    assert seconds["slow"] > 5 * seconds["fast"] > 0
    assert found.times is not None
    assert seconds["slow"] + seconds["fast"] <= found.times.whole
    assert "a batch of 64 on cpu, median of 5 runs" in str(found)
    functions = {row.name: row.seconds for row in summarize(with_functions(lamina), show="time").layers}
    assert all(functions[name] > 0 for name in ("exp", "q"))
    with pytest.raises(ValueError, match="batch_size is 1 or more; got 0"):
        model.summary(show="time", batch_size=0)


def test_times_need_weights_and_inputs():
    with lamina.device("meta"):
        model = lamina.Sequential([lamina.Input((4,)), layers.Dense(2)], name="light")
    with pytest.raises(LaminaError, match=r"no weights in memory.*model.materialize\(\)"):
        model.summary(show="time")
    with pytest.raises(LaminaError, match="no known input to measure times on"):
        Twice().summary(show="time")


def test_columns_are_chosen_by_name():
    model = nested(lamina)
    assert summarize(model, show="macs, rf").shown == summarize(model, show=["macs", "rf"]).shown == ("macs", "rf")
    assert "connected" not in summarize(model, show="all").shown
    with pytest.raises(ValueError, match=r"no column 'mac'. Did you mean 'macs'\?"):
        model.summary(show="params|mac")


def test_all_columns_fit_the_terminal_and_cut_no_name():
    name = "a_layer_with_a_name_that_is_much_longer_than_any_column"
    x = lamina.Input((32, 32, 3))
    model = lamina.Model(x, layers.Conv2D(4, 3, name=name)(x))
    text = printed(model, show="all")
    assert max(map(len, text.split("\n"))) <= terminal_width() == 80
    assert name in "".join(cells(text)[1][0].split())


def test_an_input_shape_builds_or_must_be_the_own_one():
    model = lamina.Sequential([layers.Dense(3, name="dense")])
    assert cells(printed(model, input_shape=(None, 4)))[0][1:] == ["(None, 3)", "15"]
    assert "15" in printed(model, input_shape=(None, 4))
    with pytest.raises(ValueError, match=r"is built on \(None, 4\) and input_shape is \(None, 5\). model.what_if"):
        model.summary(input_shape=(None, 5))


def test_a_summary_is_data_too():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = summarize(shared(lamina), show="params|macs|rf|connected").to_dict()
    assert [layer["name"] for layer in data["layers"]] == ["a", "b", "shared", "add"]
    assert data["layers"][2]["connected_to"] == ["a[0][0]", "b[0][0]"]
    assert data["parameters"]["total"] == {"count": 40, "bytes": 160}
