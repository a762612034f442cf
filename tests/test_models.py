"""Functional, Sequential and subclassed models beside Keras's."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import lamina
from lamina.base.errors import LaminaError, ShapeError, ShapeWarning


def both(keras, build):
    """The same program on lamina and on Keras, with Keras's weights in both."""
    keras.utils.clear_session()
    mine, theirs = build(lamina), build(keras)
    mine.set_weights(theirs.get_weights())
    return mine, theirs


def residual(k):
    x = k.Input((8, 8, 3))
    y = k.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    z = k.layers.Conv2D(4, 1)(x)
    y = k.layers.BatchNormalization()(y)
    y = k.layers.Add()([y, z])
    return k.Model(x, k.layers.Dense(2)(k.layers.GlobalAveragePooling2D()(y)))


def shared(k):
    a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
    dense = k.layers.Dense(3)
    both_sides = k.layers.Concatenate()([dense(a), dense(b)])
    return k.Model([a, b], [k.layers.Dense(2, name="left")(both_sides), k.layers.Dense(1, name="right")(dense(a))])


def nested(k):
    x = k.Input((6,), name="x")
    inner = k.Sequential([k.layers.Dense(5, activation="tanh"), k.layers.Dense(4)])
    y = inner(x)
    return k.Model({"x": x}, {"sum": k.layers.Add()([y, inner(x)]), "out": k.layers.Dense(2)(y)})


@pytest.mark.parametrize("build", [residual, shared, nested])
def test_models_agree_with_keras(keras, build):
    mine, theirs = both(keras, build)
    rng = np.random.default_rng(0)
    x = keras.tree.map_structure(lambda t: rng.normal(size=(3, *t.shape[1:])).astype("float32"), theirs.input)
    ours = lamina.tree.map_structure(lambda t: t.detach().numpy(), mine(x))
    expected = keras.tree.map_structure(lambda t: t.detach().numpy(), theirs(x))
    lamina.tree.map_structure(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), ours, expected)
    assert [layer.name for layer in mine.layers] == [layer.name for layer in theirs.layers]
    assert [w.path for w in mine.weights] == [w.path for w in theirs.weights]
    assert mine.count_params() == theirs.count_params()
    assert [t.shape for t in mine.outputs] == [t.shape for t in theirs.outputs]
    assert mine.name == theirs.name


@pytest.mark.parametrize("build", [residual, shared, nested])
def test_config_round_trip_and_copies(keras, build):
    model = build(lamina)
    x = lamina.tree.map_structure(lambda t: torch.randn(2, *t.shape[1:]), model.input)
    expected = lamina.tree.flatten(model(x))
    for twin in (
        type(model).from_config(model.get_config()),
        lamina.models.model_from_json(model.to_json()),
        lamina.models.clone_model(model),
    ):
        twin.set_weights(model.get_weights())
        for a, b in zip(lamina.tree.flatten(twin(x)), expected, strict=True):
            assert torch.equal(a, b)
    copied = copy.deepcopy(model)
    for a, b in zip(lamina.tree.flatten(copied(x)), expected, strict=True):
        assert torch.equal(a, b)
    assert copied.weights[0] is not model.weights[0]


def test_operators_on_symbols_become_nodes():
    x = lamina.Input((4,))
    model = lamina.Model(x, lamina.ops.relu(x * 2 + 1) - x[:, :1])
    value = torch.randn(3, 4)
    torch.testing.assert_close(model(value), torch.relu(value * 2 + 1) - value[:, :1])
    twin = lamina.Model.from_config(model.get_config())
    torch.testing.assert_close(twin(value), model(value))


def test_open_sizes_meet_after_strides():
    x = lamina.Input((None, None, 3))
    half = lamina.layers.Conv2D(4, 3, strides=2, padding="same")(x)
    back = lamina.layers.UpSampling2D(2)(half)
    joined = lamina.ops.concatenate([back, x], axis=-1)
    assert joined.shape == (None, None, None, 7)


def test_weight_sharing_lists_a_weight_once():
    model = shared(lamina)
    assert len(model.weights) == len({id(w) for w in model.weights}) == 6


def test_state_dict_of_a_functional_goes_by_layer_names():
    model = shared(lamina)
    assert list(model.state_dict()) == [
        "dense.kernel", "dense.bias", "left.kernel", "left.bias", "right.kernel", "right.bias",
    ]  # fmt: skip


def test_layer_order_is_keras_order_in_resnet50(keras):
    with lamina.device("meta"):
        mine = lamina.applications.ResNet50(weights=None)
    theirs = keras.applications.ResNet50(weights=None)
    names = [layer.name for layer in mine.layers][1:]
    assert names == [layer.name for layer in theirs.layers][1:]
    assert [mine.layers[13].name, mine.layers[14].name] == ["conv2_block1_0_conv", "conv2_block1_3_conv"]
    assert [layer.output.shape for layer in mine.layers] == [layer.output.shape for layer in theirs.layers]
    assert mine.count_params() == theirs.count_params()


def test_a_deferred_sequential_builds_on_data(keras):
    def build(k):
        model = k.Sequential([k.layers.Dense(3), k.layers.Dense(2)])
        model(np.ones((2, 5), "float32"))
        return model

    mine, theirs = both(keras, build)
    x = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    np.testing.assert_allclose(mine.predict(x, verbose=0), theirs.predict(x, verbose=0), rtol=1e-5)
    assert mine.output_shape == (None, 2)


def test_sequential_add_and_pop():
    model = lamina.Sequential()
    model.add(lamina.Input((4,)))
    model.add(lamina.layers.Dense(3))
    model.add(lamina.layers.Dense(2))
    assert model.output_shape == (None, 2)
    model.pop()
    assert model.output_shape == (None, 3)
    with pytest.raises(ValueError, match="already: every name must be unique"):
        model.add(model.layers[0])
    with pytest.raises(ValueError, match="takes a layer"):
        model.add("dense")
    with pytest.raises(ValueError, match="takes one tensor and got list"):
        lamina.Sequential([lamina.layers.Dense(3)])([torch.ones(1, 4), torch.ones(1, 4)])


def test_a_subclassed_model(keras):
    def build(k):
        class Net(k.Model):
            def __init__(self):
                super().__init__()
                self.hidden = k.layers.Dense(6, activation="relu")
                self.head = k.layers.Dense(2)

            def call(self, x, training=None):
                return self.head(self.hidden(x))

        net = Net()
        net(np.ones((1, 4), "float32"))
        return net

    mine, theirs = both(keras, build)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    np.testing.assert_allclose(mine.predict(x, verbose=0), theirs.predict(x, verbose=0), rtol=1e-5)
    assert [layer.name for layer in mine.layers] == [layer.name for layer in theirs.layers]
    text = []
    mine.summary(print_fn=text.append)
    assert "(None, 6)" in text[0]
    assert "?" not in text[0]
    assert not torch.nn.modules.module._has_any_global_hook()  # every call of every module would be slower


def test_a_subclass_that_calls_super_with_a_graph():
    class Named(lamina.Model):
        def __init__(self, width):
            x = lamina.Input((4,))
            super().__init__(inputs=x, outputs=lamina.layers.Dense(width)(x))
            self.width = width

    model = Named(3)
    assert isinstance(model, Named)
    assert model(torch.ones(2, 4)).shape == (2, 3)
    assert model.width == 3


@pytest.mark.parametrize(
    ("shape", "mend"),
    [
        ((28, 28, 1), "add the batch axis: x[None]"),
        ((5, 28, 28, 2), "give data of shape (None, 28, 28, 1)"),
        ((5, 1, 28, 28), "move the channels to the end"),
        ((28, 28), "add the batch and the channel axis"),
    ],
)
def test_a_wrong_batch_says_how_to_mend_it(shape, mend):
    x = lamina.Input((28, 28, 1), name="image")
    model = lamina.Model(x, lamina.layers.Flatten()(x))
    with pytest.raises(ShapeError) as error:
        model(torch.zeros(shape))
    assert error.value.layer == "image"
    assert mend in error.value.mend
    assert str(shape) in str(error.value)


def test_a_missing_last_axis_of_one_is_added_as_in_keras():
    x = lamina.Input((28, 28, 1))
    model = lamina.Model(x, lamina.layers.Flatten()(x))
    assert model(torch.zeros(2, 28, 28)).shape == (2, 784)


def test_disconnected_and_repeated_names_are_refused():
    a, b = lamina.Input((4,), name="a"), lamina.Input((4,), name="b")
    y = lamina.layers.Add()([a, b])
    with pytest.raises(LaminaError, match="need the input 'b'"):
        lamina.Model(a, y)
    one, two = lamina.layers.Dense(2, name="same")(a), lamina.layers.Dense(2, name="same")(a)
    with pytest.raises(ValueError, match="two layers named 'same'"):
        lamina.Model(a, [one, two])


def test_get_layer_shows_the_nearest_name():
    model = residual(lamina)
    assert model.get_layer("conv2d").name == "conv2d"
    assert model.get_layer(index=1) is model.layers[1]
    with pytest.raises(ValueError, match="Did you mean 'conv2d_1'"):
        model.get_layer("conv2d_11")


def test_a_cut_inside_a_residual_block_warns_and_one_behind_it_does_not(recwarn):
    x = lamina.Input((8, 8, 4))
    branch = lamina.layers.Conv2D(4, 3, padding="same", name="branch")(x)
    middle = lamina.layers.Activation("relu", name="middle")(branch)
    block = lamina.layers.Add(name="block_add")([x, lamina.layers.Conv2D(4, 1, name="last")(middle)])
    lamina.layers.GlobalAveragePooling2D()(block)
    lamina.Model(x, block)
    assert not [w for w in recwarn if issubclass(w.category, ShapeWarning)]
    with pytest.warns(ShapeWarning, match="ends inside a residual block") as caught:
        lamina.Model(x, middle)
    assert "before 'block_add' joins" in " ".join(str(caught[0].message).split())
    assert "'last'" in str(caught[0].message)


def test_masks_flow_through_the_flat_program(keras):
    def build(k):
        x = k.Input((5,), dtype="int32")
        y = k.layers.Embedding(10, 4, mask_zero=True)(x)
        return k.Model(x, k.layers.GlobalAveragePooling1D()(k.layers.Dense(3)(y)))

    mine, theirs = both(keras, build)
    x = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 0]])
    np.testing.assert_allclose(mine(x).detach(), theirs(x).detach(), rtol=1e-5)


def test_mixed_precision_in_a_graph(keras):
    lamina.config.set_dtype_policy("mixed_bfloat16")
    model = residual(lamina)
    out = model(torch.randn(2, 8, 8, 3))
    assert out.dtype is torch.bfloat16
    assert all(w.dtype is torch.float32 for w in model.weights)


def many_outputs(k):
    x = k.Input((4,), name="image")
    same, other = k.layers.Dense(4, name="same"), k.layers.Dense(4, name="same_1")
    first = same(x)
    return k.Model(x, [first, same(first), other(x), x], name="many")


def test_every_output_has_a_name_of_its_own(keras):
    mine, theirs = many_outputs(lamina), many_outputs(keras)
    assert theirs.output_names == ["same", "same", "same_1", "image"]
    assert mine.output_names == ["same", "same_2", "same_1", "image"]
    ours, theirs = both(keras, shared)
    assert ours.output_names == theirs.output_names == ["left", "right"]


def test_named_outputs_are_the_call_by_name():
    model = many_outputs(lamina)
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    plain, named = model(x), model.named_outputs(x)
    assert isinstance(plain, list)
    assert list(named) == model.output_names
    assert all(torch.equal(one, other) for one, other in zip(plain, named.values(), strict=True))


def test_named_outputs_of_a_dict_and_of_one_tensor():
    x = lamina.Input((4,))
    one, two = lamina.layers.Dense(2, name="one")(x), lamina.layers.Dense(3, name="two")(x)
    by_key = lamina.Model(x, {"b": one, "a": two})
    assert {key: tuple(value.shape) for key, value in by_key.named_outputs(np.ones((5, 4))).items()} == {
        "b": (5, 2),
        "a": (5, 3),
    }
    assert list(lamina.Model(x, one).named_outputs(np.ones((5, 4)))) == ["one"]


def test_named_outputs_follow_training():
    x = lamina.Input((100,))
    model = lamina.Model(x, lamina.layers.Dropout(0.5, name="drop")(x))
    ones = np.ones((2, 100), "float32")
    assert bool((model.named_outputs(ones)["drop"] == 1).all())
    assert bool((model.named_outputs(ones, training=True)["drop"] == 0).any())


def test_an_output_out_of_range_lists_all():
    model = many_outputs(lamina)
    assert model.outputs[-1] is model.outputs[3]
    with pytest.raises(IndexError) as error:
        model.outputs[15]
    assert str(error.value) == (
        "The model 'many' has 4 outputs; there is none at index 15. They are:\n"
        "  0  same  (None, 4)\n"
        "  1  same_2  (None, 4)\n"
        "  2  same_1  (None, 4)\n"
        "  3  image  (None, 4)"
    )
    with pytest.raises(ValueError, match=r"2 layers, from 0 \('flat'\) to 1 \('head'\); there is none at index 5"):
        lamina.Sequential(
            [lamina.Input((2, 2)), lamina.layers.Flatten(name="flat"), lamina.layers.Dense(2, name="head")]
        ).get_layer(index=5)


def test_the_outputs_are_a_list_that_goes_on_into_layers_and_models(tmp_path):
    model = many_outputs(lamina)
    assert isinstance(model.outputs, list)
    assert [*model.outputs[:2], model.outputs[2], model.input] == list(model.outputs)
    again = lamina.Model(model.inputs, model.outputs)
    nested = lamina.Model(model.inputs, {"all": model.outputs, "last": model.outputs[-1]})
    total = lamina.Model(model.inputs, lamina.layers.Add(name="sum")(model.outputs), name="total")
    x = np.ones((2, 4), "float32")
    plain = model(x)
    assert all(torch.equal(one, other) for one, other in zip(plain, again(x), strict=True))
    assert torch.allclose(total(x), sum(plain))
    assert len(nested(x)["all"]) == 4
    total.save(tmp_path / "total.keras")
    assert torch.allclose(lamina.models.load_model(tmp_path / "total.keras")(x), total(x))


def test_training_logs_every_output_by_its_name():
    x = lamina.Input((4,))
    same = lamina.layers.Dense(4, name="same")
    first = same(x)
    model = lamina.Model(x, [first, same(first)])
    model.compile("sgd", "mse")
    history = model.fit(np.ones((4, 4)), [np.zeros((4, 4)), np.zeros((4, 4))], verbose=0).history
    assert sorted(history) == ["loss", "same_1_loss", "same_loss"]
    assert history["loss"][0] == pytest.approx(history["same_loss"][0] + history["same_1_loss"][0], rel=1e-5)


def test_a_stack_that_grows_calls_each_layer_once(keras):
    for k in (keras, lamina):
        model = k.Sequential([k.Input((8, 8, 1))])
        for filters in (2, 3, 4):
            model.add(k.layers.Conv2D(filters, 3))
        assert [layer.output.shape[-1] for layer in model.layers] == [2, 3, 4]
        assert [len(layer._inbound_nodes) for layer in model.layers] == [1, 1, 1] or k is keras
        model.pop()
        model.add(k.layers.Flatten())
        assert model.output_shape == (None, 48)
        assert model.predict(np.zeros((1, 8, 8, 1), "float32"), verbose=0).shape == (1, 48)


def test_a_layer_that_does_not_fit_is_not_added():
    model = lamina.Sequential([lamina.Input((4, 4, 1)), lamina.layers.Conv2D(2, 3, name="fits")])
    with pytest.raises(lamina.ShapeError):
        model.add(lamina.layers.Conv2D(2, 3, name="too_large"))
    assert [layer.name for layer in model.layers] == ["fits"]
    model.add(lamina.layers.Conv2D(2, 2, name="too_large"))
    assert model.output_shape == (None, 1, 1, 2)
