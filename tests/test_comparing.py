"""`lamina.compare`: models that differ in a known way, and models that do not differ."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import lamina
from golden import check_golden
from lamina import layers
from lamina.base.errors import LaminaError
from lamina.explain.comparing import CHANGED, EQUAL, ONLY_IN_A, ONLY_IN_B
from lamina.explain.matching import items_of, matched


def chain(*stack, name="chain", shape=(12, 12, 3)):
    x = y = lamina.Input(shape)
    for layer in stack:
        y = layer(y)
    return lamina.Model(x, y, name=name)


def image_net(filters=8, name="net"):
    return chain(
        layers.Conv2D(filters, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(5),
        name=name,
    )


def residual(blocks=2, name="residual", **replaced):
    x = y = lamina.Input((8, 8, 4))
    for number in range(blocks):
        z = layers.Conv2D(4, 3, padding="same")(y)
        if number == 0:
            z = layers.ReLU()(z)
        y = layers.Add()([y, z])
    return lamina.Model(x, layers.Flatten(**replaced)(y), name=name)


def differences(match):
    return {difference.what: (difference.a, difference.b) for difference in match.differences}


def marks(comparison):
    return "".join(match.mark for match in comparison.matches)


# ------------------------------------------------------------------------------------------------------------ equal


@pytest.mark.parametrize("make", [image_net, residual])
def test_a_model_equals_itself_and_what_is_read_from_its_file(make, tmp_path):
    model = make()
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = lamina.models.load_model(path)
    for other in (model, loaded, lamina.models.clone_model(model), lamina.models.model_from_json(model.to_json())):
        comparison = lamina.compare(model, other)
        assert comparison.equal is bool(comparison) is True
        assert set(marks(comparison)) == {EQUAL}
        assert len(comparison.matches) == len(model.layers)
    assert lamina.compare(model, loaded, weights=True)


def test_applications_equal_themselves(tmp_path):
    with lamina.device("meta"):
        for name in ("ResNet50", "DenseNet121", "VGG16"):
            model = getattr(lamina.applications, name)(weights=None)
            again = lamina.models.clone_model(model)
            assert lamina.compare(model, again).equal
            assert lamina.compare(model, again).to_dict()["parameters"] == [model.count_params()] * 2


def test_a_sequential_equals_the_functional_of_the_same_layers():
    stack = [lamina.Input((12, 12, 3)), layers.Conv2D(8, 3), layers.Flatten(), layers.Dense(2)]
    sequential = lamina.Sequential(stack)
    functional = chain(layers.Conv2D(8, 3), layers.Flatten(), layers.Dense(2))
    comparison = lamina.compare(sequential, functional)
    assert comparison.equal
    assert [match.b for match in comparison.matches] == [layer.name for layer in functional.layers]
    x = lamina.Input((12, 12, 3))
    assert lamina.compare(lamina.Model(x, sequential(x)), lamina.Model(x, functional(x)))


def test_automatic_names_do_not_count_and_given_ones_do():
    first = chain(layers.Dense(3), shape=(4,))
    assert chain(layers.Dense(3), shape=(4,)).layers[1].name == "dense_1"
    assert lamina.compare(first, chain(layers.Dense(3), shape=(4,)))
    assert lamina.compare(first, chain(layers.Dense(3, name="head"), shape=(4,)))
    comparison = lamina.compare(
        chain(layers.Dense(3, name="neck"), shape=(4,)), chain(layers.Dense(3, name="head"), shape=(4,))
    )
    (changed,) = comparison.changed
    assert differences(changed) == {"name": ("neck", "head")}


def test_values_of_weights():
    one, other = image_net(), image_net()
    assert lamina.compare(one, other)
    comparison = lamina.compare(one, other, weights=True)
    assert [match.class_name for match in comparison.changed] == ["Conv2D", "Dense"]
    assert not comparison
    other.set_weights(one.get_weights())
    assert lamina.compare(one, other, weights=True)
    with torch.no_grad():
        other.layers[-1].kernel[0, 0] += 0.25
    (changed,) = lamina.compare(one, other, weights=True).changed
    assert str(changed.differences[0]) == "values of kernel: differ by up to 0.25"
    with lamina.device("meta"):
        empty = image_net()
    with pytest.raises(LaminaError) as error:
        lamina.compare(one, empty, weights=True)
    check_golden("compare_meta", str(error.value))


# ---------------------------------------------------------------------------------------------------------- changed


def test_resnet50_and_resnet101():
    with lamina.device("meta"):
        one, other = (getattr(lamina.applications, name)(weights=None) for name in ("ResNet50", "ResNet101"))
    comparison = lamina.compare(one, other)
    more = [layer.name for layer in other.layers if layer.name not in {own.name for own in one.layers}]
    assert set(comparison.only_in_b) == {name for name in more if not name.startswith("input_layer")}
    assert (comparison.changed, comparison.only_in_a) == ((), ())
    assert len(comparison.same) == len(one.layers)
    assert comparison.parameters == (25_636_712, 44_707_176)
    check_golden("compare_resnets", str(comparison))
    backwards = lamina.compare(other, one)
    assert (backwards.only_in_a, backwards.only_in_b) == (comparison.only_in_b, ())


def test_other_channels_change_one_layer_of_resnet():
    with lamina.device("meta"):
        one, other = (
            lamina.applications.ResNet50(weights=None, input_shape=(224, 224, channels)) for channels in (3, 1)
        )
    comparison = lamina.compare(one, other)
    assert [match.a for match in comparison.changed][1:] == ["conv1_pad", "conv1_conv"]
    assert all(match.follows for match in comparison.changed)
    assert differences(comparison.changed[-1]) == {"parameters": ("9,472", "3,200")}
    check_golden("compare_channels", str(comparison))


@pytest.mark.parametrize("place", [1, 2, 3])
def test_one_layer_more_in_the_middle(place):
    stack = [layers.Dense(8, activation="relu"), layers.LayerNormalization(), layers.Dense(8), layers.Dense(2)]
    longer = [layers.Dense(8, activation="relu"), layers.LayerNormalization(), layers.Dense(8), layers.Dense(2)]
    longer.insert(place, layers.Dropout(0.5))
    comparison = lamina.compare(chain(*stack, shape=(8,)), chain(*longer, shape=(8,)))
    assert comparison.only_in_b == ("dropout",)
    assert (comparison.changed, comparison.only_in_a) == ((), ())
    assert [match.mark for match in comparison.matches][place + 1] == ONLY_IN_B


def test_another_number_of_filters_and_what_follows():
    comparison = lamina.compare(image_net(8, "eight"), image_net(16, "sixteen"))
    assert marks(comparison) == EQUAL + CHANGED * 4
    conv, normalization, pooling, dense = comparison.changed
    assert differences(conv) == {
        "filters": ("8", "16"),
        "output": ("(None, 10, 10, 8)", "(None, 10, 10, 16)"),
        "parameters": ("224", "448"),
    }
    assert not conv.follows
    assert differences(normalization)["parameters"] == ("32", "64")
    assert differences(pooling) == {"output": ("(None, 8)", "(None, 16)")}
    assert differences(dense) == {"parameters": ("45", "85")}
    assert normalization.follows
    assert pooling.follows
    assert dense.follows
    check_golden("compare_filters", str(comparison))


def test_settings_of_every_kind():
    one = chain(layers.Conv2D(4, 3, kernel_initializer="he_normal", name="conv"), layers.ReLU(name="act"))
    other = chain(
        layers.Conv2D(4, (3, 3), use_bias=False, kernel_regularizer=lamina.regularizers.L2(0.01), name="conv"),
        layers.LeakyReLU(name="act"),
        name="other",
    )
    comparison = lamina.compare(one, other)
    conv, act = comparison.changed
    assert differences(conv) == {
        "use_bias": ("True", "False"),
        "kernel_initializer": ("HeNormal()", "GlorotUniform()"),
        "kernel_regularizer": ("None", "L2(0.01)"),
        "parameters": ("112", "108"),
    }
    assert differences(act)["class"] == ("ReLU", "LeakyReLU")
    check_golden("compare_settings", str(comparison))


def test_a_block_more_with_automatic_names():
    comparison = lamina.compare(residual(2), residual(3))
    assert sorted(name.split("_")[0] for name in comparison.only_in_b) == ["add", "conv2d"]
    assert (comparison.changed, comparison.only_in_a) == ((), ())
    comparison = lamina.compare(residual(3), residual(2))
    assert marks(comparison).count(ONLY_IN_A) == 2


def test_what_a_layer_reads():
    def model(swapped):
        x = lamina.Input((4,), name="x")
        a = layers.Dense(4, name="a")(x)
        b = layers.Dense(4, name="b")(x)
        y = layers.Subtract(name="minus")([b, a] if swapped else [a, b])
        return lamina.Model(x, y, name="swapped" if swapped else "straight")

    comparison = lamina.compare(model(False), model(True))
    (changed,) = comparison.changed
    assert changed.a == "minus"
    assert differences(changed) == {"reads": ("'a', 'b'", "'b', 'a'")}
    check_golden("compare_reads", str(comparison))
    assert lamina.compare(model(True), model(True))


def test_shared_weights():
    def model(shared):
        x = lamina.Input((4,), name="x")
        first = layers.Dense(4, name="first")
        second = first if shared else layers.Dense(4, name="second")
        return lamina.Model(x, second(first(x)), name="shared" if shared else "separate")

    comparison = lamina.compare(model(True), model(False))
    assert lamina.compare(model(True), model(True)).equal
    assert not comparison.equal
    assert comparison.parameters == (20, 40)
    assert differences(comparison.changed[-1])["weights"] == ("those of 'first'", "its own")
    check_golden("compare_shared", str(comparison))


def test_other_outputs_of_the_same_layers():
    x = lamina.Input((4,), name="x")
    a = layers.Dense(3, name="a")(x)
    b = layers.Dense(3, name="b")(a)
    comparison = lamina.compare(lamina.Model(x, [a, b], name="both"), lamina.Model(x, b, name="last"))
    assert marks(comparison) == EQUAL * 3
    assert not comparison.equal
    assert [str(difference) for difference in comparison.differences] == ["outputs: 'a', 'b' → 'b'"]
    check_golden("compare_outputs", str(comparison))
    assert not lamina.compare(lamina.Model(x, [a, b]), lamina.Model(x, [b, a])).equal


def test_which_result_of_a_call_is_read():
    def model(number):
        x = lamina.Input((3, 4), name="x")
        parts = lamina.ops.unstack(x, 3, axis=1)
        return lamina.Model(x, layers.Dense(2, name="head")(parts[number]))

    assert lamina.compare(model(1), model(1))
    (changed,) = lamina.compare(model(0), model(1)).changed
    assert differences(changed)["reads"] == ("'unstack_2'", "'unstack_3' (result 2)")
    x = lamina.Input((3, 4), name="x")
    first, second, _ = lamina.ops.unstack(x, 3, axis=1)
    assert not lamina.compare(lamina.Model(x, first), lamina.Model(x, second)).equal


def test_nested_models_are_compared_inside():
    def outer(units):
        inner = lamina.Sequential(
            [lamina.Input((4,)), layers.Dense(units, name="wide"), layers.Dense(2, name="narrow")], name="inner"
        )
        x = lamina.Input((4,), name="x")
        return lamina.Model(x, layers.ReLU(name="last")(inner(x)), name=f"outer_{units}")

    assert lamina.compare(outer(3), outer(3))
    comparison = lamina.compare(outer(3), outer(5))
    (changed,) = comparison.changed
    assert [match.a for match in changed.inner.changed] == ["wide", "narrow"]
    check_golden("compare_nested", str(comparison))


def test_functions_and_what_they_are_called_with():
    def model(factor):
        x = lamina.Input((4,), name="x")
        return lamina.Model(x, lamina.ops.relu(x * factor))

    assert lamina.compare(model(2), model(2))
    (changed,) = lamina.compare(model(2), model(3)).changed
    assert differences(changed) == {"called with": ("[2]", "[3]")}


def test_a_layer_whose_settings_cannot_be_read():
    one, other = (chain(layers.Lambda(lambda x: x + 1, name="own"), shape=(4,)) for _ in range(2))
    assert lamina.compare(one, one).equal
    (changed,) = lamina.compare(one, other).changed
    assert changed.class_name == "Lambda"
    assert differences(changed)["settings"][0].startswith("not known")


def test_models_without_a_graph():
    class Net(lamina.Model):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.hidden = layers.Dense(units)
            self.head = layers.Dense(2, name="head")

        def call(self, x):
            return self.head(self.hidden(x))

    one, other = Net(3, name="three"), Net(4, name="four")
    for model in (one, other):
        model(torch.ones(1, 5))
    assert lamina.compare(one, one).equal
    comparison = lamina.compare(one, other)
    assert [differences(match) for match in comparison.changed] == [
        {"units": ("3", "4"), "parameters": ("18", "24")},
        {"parameters": ("8", "10")},
    ]
    functional = chain(layers.Dense(3), layers.Dense(2, name="head"), shape=(5,))
    comparison = lamina.compare(one, functional)
    assert set(marks(comparison)) == {EQUAL}
    assert [str(difference) for difference in comparison.differences] == ["class: Net → Functional"]
    assert not comparison.equal


def test_only_models_are_compared():
    with pytest.raises(LaminaError) as error:
        lamina.compare(image_net(), layers.Dense(3, name="head"))
    check_golden("compare_no_model", str(error.value))


# ------------------------------------------------------------------------------------------------ as text and data


def test_equal_models_in_print():
    check_golden("compare_equal", str(lamina.compare(image_net(), image_net())))


def test_as_data():
    data = json.loads(json.dumps(lamina.compare(image_net(8), image_net(16)).to_dict()))
    assert data["equal"] is False
    assert data["parameters"] == [image_net(8).count_params(), image_net(16).count_params()]
    assert data["matches"][1]["differences"][0] == {"what": "filters", "a": "8", "b": "16", "text": ""}
    assert [match["mark"] for match in data["matches"]] == ["=", "~", "~", "~", "~"]


def test_every_report_fits_80_columns():
    with lamina.device("meta"):
        one, other = (getattr(lamina.applications, name)(weights=None) for name in ("DenseNet121", "DenseNet169"))
    text = str(lamina.compare(one, other))
    assert max(map(len, text.split("\n"))) <= 80


def test_pairs_of_one_name_are_joined_though_their_order_differs():
    def model(first, second):
        x = lamina.Input((4,), name="x")
        parts = {"a": layers.Dense(3, name="a"), "b": layers.Dense(5, name="b")}
        return lamina.Model(x, parts[second](parts[first](x)))

    one, other = items_of(model("a", "b")), items_of(model("b", "a"))
    pairs = {(one[i].label, other[j].label) for i, j in matched(one, other) if i is not None and j is not None}
    assert pairs == {("x", "x"), ("a", "a"), ("b", "b")}


def test_the_matching_in_order_has_the_most_signs():
    """Against a search over all pairings of short rows."""
    from functools import cache

    from lamina.explain.matching import _aligned

    generator = np.random.default_rng(0)
    for _ in range(50):
        signs = generator.integers(0, 4, size=generator.integers(1, 7, size=2))

        @cache
        def best(row, column, signs=signs):
            if row == signs.shape[0] or column == signs.shape[1]:
                return 0
            paired = signs[row, column] + best(row + 1, column + 1)
            return max(paired, best(row + 1, column), best(row, column + 1))

        pairs = _aligned(signs)
        both = [(i, j) for i, j in pairs if i is not None and j is not None]
        assert sum(signs[i, j] for i, j in both) == best(0, 0)
        assert [i for i, _ in pairs if i is not None] == list(range(signs.shape[0]))
        assert [j for _, j in pairs if j is not None] == list(range(signs.shape[1]))
        assert all(signs[i, j] for i, j in both)
