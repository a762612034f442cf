"""The folded program of `predict` against the model as it is: the same numbers, and never stale ones."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lamina
from each_layer import EACH_LAYER, model_around
from lamina import layers
from lamina.base.errors import without_shape_warnings
from lamina.engine.forms import Affine, Convolution, Joined, Sum


def randomized(model):
    """Every weight another number, variances above 0."""
    generator = torch.Generator().manual_seed(0)
    for weight in model.weights:
        noise = torch.rand(weight.shape, generator=generator, dtype=torch.float32) * 0.5 + 0.1
        weight.assign(noise.to(weight.dtype) - (0.3 if weight.ndim > 1 else 0))
    return model


def folded(model):
    """The units of the folded program as (form, is something added, is there an activation)."""
    return [(type(u.form).__name__, u.plus is not None, u.after is not None) for u in model.graph._folded.units]


def assert_folds_alike(model, *shapes, tolerance=1e-5, seed=0):
    """`infer` is a call up to rounding; twice the same; and the inputs stay what they were."""
    generator = torch.Generator().manual_seed(seed)
    inputs = [torch.randn(shape, generator=generator) for shape in shapes]
    given = inputs if len(inputs) > 1 else inputs[0]
    before = copy.deepcopy(given)
    with torch.no_grad():
        expected = lamina.tree.flatten(model(given, training=False))
        first = lamina.tree.flatten(model.infer(given))
        second = lamina.tree.flatten(model.infer(given))
    assert model.graph._folded is not None
    for want, one, two in zip(expected, first, second, strict=True):
        assert (one.shape, one.dtype) == (want.shape, want.dtype)
        scale = max(want.abs().max().item(), 1e-6)
        assert (one - want).abs().max().item() <= tolerance * scale
        assert torch.equal(one, two)
    for was, now in zip(lamina.tree.flatten(before), lamina.tree.flatten(given), strict=True):
        assert torch.equal(was, now)


def model_of(inputs, outputs):
    """A randomized model between symbols, some of whose graphs also lead elsewhere."""
    with without_shape_warnings():
        return randomized(lamina.Model(inputs, outputs))


def image_model(*chain, size=(9, 8), channels=4, **kwargs):
    return randomized(lamina.Sequential([lamina.Input((*size, channels)), *chain], **kwargs))


ACTIVATIONS = "linear relu relu6 silu hard_silu hard_sigmoid sigmoid tanh gelu elu softmax softplus".split()


class TestForms:
    @pytest.mark.parametrize("activation", ACTIVATIONS)
    @pytest.mark.parametrize("make", [layers.Conv2D, layers.Dense, layers.DepthwiseConv2D])
    def test_activations(self, make, activation):
        first = {layers.Conv2D: (6, 3), layers.Dense: (6,), layers.DepthwiseConv2D: (3,)}[make]
        model = image_model(make(*first, activation=activation))
        assert_folds_alike(model, (3, 9, 8, 4))
        assert folded(model)[0][2] is (activation not in ("linear", "elu", "softmax", "softplus"))

    @pytest.mark.parametrize("padding", ["same", "valid"])
    @pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"kernel_size": 1},
            {"kernel_size": (2, 5)},
            {"strides": 2},
            {"strides": (1, 3), "kernel_size": 4},
            {"dilation_rate": 2},
            {"groups": 2},
            {"use_bias": False},
        ],
        ids=str,
    )
    def test_convolutions(self, options, data_format, padding):
        layer = layers.Conv2D(6, **{"kernel_size": 3, **options}, padding=padding, data_format=data_format)
        shape = (4, 11, 10) if data_format == "channels_first" else (11, 10, 4)
        norm = layers.BatchNormalization(axis=1 if data_format == "channels_first" else -1)
        model = randomized(lamina.Sequential([lamina.Input(shape), layer, norm, layers.ReLU()]))
        assert_folds_alike(model, (2, *shape))
        assert folded(model) == [("Convolution", False, True)]

    @pytest.mark.parametrize("pads", [((0, 1), (0, 1)), ((1, 0), (2, 0)), ((2, 2), (1, 1)), ((3, 0), (0, 3))])
    @pytest.mark.parametrize("strides", [1, 2])
    @pytest.mark.parametrize(
        "make", [lambda **k: layers.DepthwiseConv2D(3, **k), lambda **k: layers.Conv2D(5, (3, 4), **k)]
    )
    @pytest.mark.parametrize("padding", ["valid", "same"])
    def test_padding_goes_into_the_convolution(self, make, strides, pads, padding):
        model = image_model(layers.ZeroPadding2D(pads), make(strides=strides, padding=padding))
        assert_folds_alike(model, (2, 9, 8, 4))
        assert folded(model) == [("Convolution", False, False)]

    def test_depth_multiplier(self):
        assert_folds_alike(image_model(layers.DepthwiseConv2D(3, depth_multiplier=2, strides=2)), (2, 9, 8, 4))

    @pytest.mark.parametrize("size", [1, 3])
    def test_one_channel(self, size):
        chain = [layers.DepthwiseConv2D(3, padding="same"), layers.BatchNormalization(), layers.Conv2D(1, size)]
        assert_folds_alike(image_model(*chain, channels=1), (2, 9, 8, 1))

    @pytest.mark.parametrize("axis", [1, 2, -1])
    def test_a_normalisation_of_another_axis_stays_by_itself(self, axis):
        model = image_model(layers.Conv2D(6, 3), layers.BatchNormalization(axis=axis), layers.Activation("tanh"))
        assert_folds_alike(model, (2, 9, 8, 4))
        assert len(folded(model)) == (1 if axis == -1 else 2)

    @pytest.mark.parametrize("options", [{"scale": False}, {"center": False}, {"scale": False, "center": False}, {}])
    def test_dense_and_normalisations_become_one(self, options):
        chain = [layers.Dense(7), layers.BatchNormalization(**options), layers.BatchNormalization(), layers.ReLU(2.0)]
        model = randomized(lamina.Sequential([lamina.Input((5, 4)), *chain]))
        assert_folds_alike(model, (3, 5, 4))
        assert folded(model) == [("Linear", False, True)]

    @pytest.mark.parametrize("dtype", ["float64", "mixed_bfloat16", "bfloat16", "mixed_float16"])
    def test_other_types(self, dtype):
        lamina.config.set_dtype_policy(dtype)
        try:
            x = lamina.Input((9, 8, 4))
            y = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x))
            y = layers.Add()([layers.ReLU()(y), layers.Conv2D(4, 1)(y)])
            kind = "float64" if dtype == "float64" else "float32"
            y = layers.Dense(3, dtype=kind)(layers.GlobalAveragePooling2D()(y))
            model = model_of(x, y)
        finally:
            lamina.config.set_dtype_policy("float32")
        assert_folds_alike(model, (2, 9, 8, 4), tolerance=1e-12 if dtype == "float64" else 2e-2)
        assert model.graph._folded is not None


class TestJoining:
    def test_a_residual_block_is_one_call_a_convolution(self):
        x = lamina.Input((8, 8, 4))
        shortcut = layers.BatchNormalization()(layers.Conv2D(6, 1)(x))
        y = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same")(x)))
        y = layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same")(y))
        model = model_of(x, layers.ReLU()(layers.Add()([shortcut, y])))
        assert_folds_alike(model, (2, 8, 8, 4))
        assert sorted(folded(model)) == [
            ("Convolution", False, False),
            ("Convolution", False, True),
            ("Convolution", True, True),
        ]

    @pytest.mark.parametrize("swap", [False, True])
    def test_what_is_added_may_come_from_anywhere(self, swap):
        x = lamina.Input((8, 8, 4))
        convolved = layers.Conv2D(4, 3, padding="same")(x)
        for other in (x, layers.MaxPooling2D(3, 1, padding="same")(x), layers.Conv2D(4, 1)(convolved), convolved):
            pair = [other, convolved] if swap else [convolved, other]
            assert_folds_alike(model_of(x, layers.Add()(pair)), (2, 8, 8, 4))

    @pytest.mark.parametrize("activation", ["relu", "silu", "relu6", "softmax"])
    def test_an_activation_behind_an_addition(self, activation):
        x = lamina.Input((8, 8, 4))
        y = layers.Add()([x, layers.Conv2D(4, 3, padding="same")(x)])
        model = model_of(x, layers.Activation(activation)(y))
        assert_folds_alike(model, (2, 8, 8, 4))

    def test_a_value_that_is_read_twice_is_not_joined_away(self):
        x = lamina.Input((8, 8, 4))
        convolved = layers.Conv2D(4, 3, padding="same")(x)
        normalised = layers.BatchNormalization()(convolved)
        active = layers.ReLU()(normalised)
        model = model_of(x, [convolved, normalised, active, layers.Add()([normalised, active])])
        assert_folds_alike(model, (2, 8, 8, 4))

    def test_memory_that_a_view_still_shows_is_not_written_over(self):
        x = lamina.Input((4, 4, 4))
        first = layers.Conv2D(4, 1)(x)
        view = layers.Reshape((16, 4))(first)
        summed = layers.Add()([first, layers.Conv2D(4, 3, padding="same")(x)])
        last = layers.Conv2D(4, 1)(summed)
        model = model_of(x, [view, last, layers.Add()([layers.Reshape((16, 4))(last), view])])
        assert_folds_alike(model, (2, 4, 4, 4))

    def test_dense_blocks(self):
        x = y = lamina.Input((8, 8, 4))
        for _ in range(4):
            new = layers.Conv2D(3, 3, padding="same")(layers.ReLU()(layers.BatchNormalization()(y)))
            y = layers.Concatenate()([y, new])
        y = layers.Conv2D(5, 1)(layers.ReLU()(layers.BatchNormalization()(y)))
        assert_folds_alike(model_of(x, y), (2, 8, 8, 4))

    def test_squeeze_and_excite(self):
        x = lamina.Input((8, 8, 6))
        y = layers.Activation("silu")(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x)))
        gate = layers.Conv2D(2, 1, activation="silu")(layers.GlobalAveragePooling2D(keepdims=True)(y))
        y = layers.Multiply()([y, layers.Conv2D(6, 1, activation="sigmoid")(gate)])
        model = model_of(x, layers.Add()([x, layers.Dropout(0.2)(layers.Conv2D(6, 1)(y))]))
        assert_folds_alike(model, (2, 8, 8, 6))

    def test_models_inside_are_laid_open(self):
        inner = lamina.Sequential([lamina.Input((8, 8, 4)), layers.Conv2D(4, 3, padding="same"), layers.ReLU()])
        x = lamina.Input((8, 8, 4))
        model = model_of(x, layers.BatchNormalization()(inner(inner(x))))
        assert_folds_alike(model, (2, 8, 8, 4))
        assert [name for name, *_ in folded(model)] == ["Convolution", "Convolution", "Affine"]

    @pytest.mark.parametrize(
        "change",
        [
            *(lambda y: y + 3.0, lambda y: 3 + y, lambda y: y - 0.5, lambda y: 2.0 - y),
            *(lambda y: y * 0.25, lambda y: -2 * y, lambda y: y / 4, lambda y: (2 * y - 1) / 3 + 1),
            *(lambda y: lamina.ops.add(y, 3.0), lambda y: layers.ReLU(6.0)(y + 3.0) * (1 / 6)),
            *(lambda y: 2 * layers.ReLU()(y - 0.1), lambda y: 0.5 * layers.ReLU(2.0)(y * 3)),
        ],
    )
    @pytest.mark.parametrize("make", [lambda: layers.Conv2D(5, 3), lambda: layers.Dense(5)])
    def test_numbers_go_into_the_weights_before_them(self, make, change):
        x = lamina.Input((9, 8, 4))
        model = model_of(x, change(make()(x)))
        assert_folds_alike(model, (3, 9, 8, 4))
        assert [name for name, *_ in folded(model)] in (["Convolution"], ["Linear"])

    @pytest.mark.parametrize(
        ("change", "units"),
        [
            (lambda y: layers.ReLU()(y) * -2, ["Convolution", "Affine"]),  # a ReLU is no ReLU of the negative
            (lambda y: layers.ReLU()(y) * 0, ["Convolution", "Affine"]),
            (lambda y: layers.ReLU()(y) + 1, ["Convolution", "Affine"]),
            (lambda y: layers.Activation("tanh")(y) * 2, ["Convolution", "Affine"]),
            (lambda y: 1 / (y * y + 1), ["Convolution", "NoneType", "Affine", "NoneType"]),
            (lambda y: y / 0.0, ["Convolution", "NoneType"]),
            (lambda y: y + float("inf"), ["Convolution", "NoneType"]),
            (lambda y: y + True, ["Convolution", "NoneType"]),
            (lambda y: y + np.ones((1, 5), "float32"), ["Convolution", "NoneType"]),
        ],
    )
    def test_what_no_weights_can_take_in(self, change, units):
        x = lamina.Input((9, 8, 4))
        model = model_of(x, change(layers.Conv2D(5, 3)(x)))
        images = torch.randn(3, 9, 8, 4)
        with torch.no_grad():
            torch.testing.assert_close(model.infer(images), model(images), rtol=1e-5, atol=1e-6, equal_nan=True)
        assert [name for name, *_ in folded(model)] == units

    def test_operators_of_two_values(self):
        x = lamina.Input((9, 8, 4))
        y = layers.ReLU()(layers.Conv2D(4, 3, padding="same")(x) + x)
        gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
        model = model_of(x, (y * layers.Activation("sigmoid")(y) - y) * gate)
        assert_folds_alike(model, (3, 9, 8, 4))
        assert folded(model)[0] == ("Convolution", True, True)
        names = [name for name, *_ in folded(model)[1:]]
        assert sorted(names) == ["Mean", "NoneType", "NoneType", "Pointwise", "Product"]  # "-", and "*" that repeats

    @pytest.mark.parametrize("add", [lambda y, z: y + z, lambda y, z: layers.Add()([y, z])])
    @pytest.mark.parametrize("sizes", [(5, 1), (1, 5)])
    @pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_bfloat16"])
    def test_sums_that_repeat_a_value(self, add, sizes, dtype):
        """Of open sizes nobody knows beforehand that one of two is 1."""
        previous = lamina.config.dtype_policy()
        lamina.config.set_dtype_policy(dtype)
        try:
            x, other = lamina.Input((None, None, 3)), lamina.Input((None, None, 4))
            y = layers.ReLU()(add(layers.Conv2D(4, 1)(x), layers.Activation("tanh")(other)))
            model = model_of([x, other], y)
        finally:
            lamina.config.set_dtype_policy(previous)
        images = [torch.randn(2, size, size, count) for size, count in zip(sizes, (3, 4), strict=True)]
        with torch.no_grad():
            expected, found = model(images), model.infer(images)
        assert found.shape == expected.shape == (2, 5, 5, 4)
        torch.testing.assert_close(
            found, expected, rtol=2e-2 if "16" in dtype else 1e-5, atol=1e-2 if "16" in dtype else 1e-6
        )

    def test_numbers_of_whole_numbers_and_of_open_features(self):
        x = lamina.Input((4,), dtype="int32")
        model = lamina.Model(x, x * 2 + 1)
        assert model.infer(torch.ones(2, 4, dtype=torch.int32)).tolist() == [[3] * 4] * 2
        x = lamina.Input((None,))
        assert lamina.Model(x, x * 2 + 1).infer(torch.ones(1, 3)).tolist() == [[3.0] * 3]

    def test_several_inputs_by_name_and_outputs_as_dict(self):
        a, b = lamina.Input((4,), name="a"), lamina.Input((4,), name="b")
        joined = layers.Concatenate()([layers.Dense(4, activation="relu")(a), b])
        model = model_of({"a": a, "b": b}, {"y": layers.Dense(2)(joined), "z": joined})
        rows = {"a": np.ones((5, 4), "float32"), "b": np.zeros((5, 4), "float32")}
        expected, found = model(rows), model.predict(rows, verbose=0)
        assert found.keys() == expected.keys()
        for key, value in found.items():
            np.testing.assert_allclose(value, expected[key].detach(), rtol=1e-5, atol=1e-6)


STEPS = st.lists(
    st.sampled_from(
        "conv strided depthwise norm relu swish pad pool add multiply join gate drop nested plus times capped".split()
    ),
    min_size=1,
    max_size=9,
)


def grown(steps):
    """A random graph: each step reads the last value, and two-input steps an earlier one of the same shape."""
    x = lamina.Input((10, 9, 4))
    values = [x]
    for step in steps:
        y = values[-1]
        same = [value for value in values[:-1] if value.shape == y.shape]
        partner = same[0] if same else layers.Conv2D(y.shape[-1], 1)(y)
        build = {
            "conv": lambda y: layers.Conv2D(4, 3, padding="same")(y),
            "strided": lambda y: layers.Conv2D(4, 3, strides=2, padding="same")(y),
            "depthwise": lambda y: layers.DepthwiseConv2D(3, strides=2, padding="same")(y),
            "norm": lambda y: layers.BatchNormalization()(y),
            "relu": lambda y: layers.ReLU()(y),
            "swish": lambda y: layers.Activation("silu")(y),
            "pad": lambda y: layers.ZeroPadding2D(((0, 1), (1, 0)))(y),
            "pool": lambda y: layers.MaxPooling2D(3, 1, padding="same")(y),
            "add": lambda y, other=partner: layers.Add()([y, other]),
            "plus": lambda y, other=partner: (y + other) * 0.5 - 1,
            "times": lambda y, other=partner: 2 * y * layers.Activation("sigmoid")(other),
            "capped": lambda y: layers.ReLU(6.0)(y + 3.0) / 6,
            "multiply": lambda y, other=partner: layers.Multiply()([y, layers.Activation("sigmoid")(other)]),
            "join": lambda y, other=partner: layers.Concatenate()([other, y]),
            "gate": lambda y: layers.Multiply()([y, layers.GlobalAveragePooling2D(keepdims=True)(y)]),
            "drop": lambda y: layers.Dropout(0.5)(y),
            "nested": lambda y: lamina.Sequential([layers.Conv2D(4, 1), layers.ReLU()])(y),
        }[step]
        values.append(build(y))
    return values


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, several=st.booleans(), seed=st.integers(0, 9))
def test_random_graphs(steps, several, seed):
    values = grown(steps)
    model = model_of(values[0], values[1:] if several else values[-1])
    assert_folds_alike(model, (2, 10, 9, 4), seed=seed)


@pytest.mark.parametrize("name", EACH_LAYER)
def test_every_layer(name):
    build, x = model_around(name, 5)
    model = build()
    with torch.no_grad():
        expected, found = model(x, training=False), model.infer(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


class TestNeverStale:
    @pytest.fixture
    def model(self):
        return image_model(
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, name="head"),
        )

    def test_after_every_way_of_changing_a_weight(self, model, tmp_path):
        shape = (2, 9, 8, 4)
        assert_folds_alike(model, shape)
        kernel = model.get_layer("conv").kernel
        kernel.assign(kernel * 2)
        assert_folds_alike(model, shape)
        with torch.no_grad():
            model.get_layer("norm").moving_variance.mul_(3)
        assert_folds_alike(model, shape)
        model.set_weights([weight * 1.5 for weight in model.get_weights()])
        assert_folds_alike(model, shape)
        other = randomized(lamina.models.clone_model(model))
        other.save_weights(tmp_path / "other.weights.h5")
        model.load_weights(tmp_path / "other.weights.h5")
        assert_folds_alike(model, shape)
        model.load_state_dict({key: value + 0.1 for key, value in model.state_dict().items()})
        assert_folds_alike(model, shape)
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        model(torch.randn(shape)).square().sum().backward()
        optimizer.step()
        assert_folds_alike(model, shape)
        model.get_layer("head").kernel = lamina.Variable(np.ones((4, 3), "float32"))
        assert_folds_alike(model, shape)

    def test_after_training_statistics_only(self, model):
        assert_folds_alike(model, (2, 9, 8, 4))
        with torch.no_grad():
            model(torch.randn(8, 9, 8, 4) * 3, training=True)
        assert_folds_alike(model, (2, 9, 8, 4))

    def test_after_fit(self, model):
        x, y = np.random.default_rng(0).normal(size=(16, 9, 8, 4)), np.zeros((16, 3))
        assert_folds_alike(model, (2, 9, 8, 4))
        for optimizer in ("sgd", "adam"):
            model.compile(optimizer, "mse")
            model.fit(x, y, epochs=2, verbose=0)
            assert model.graph._folded is None  # its memory is free while training goes on
            assert_folds_alike(model, (2, 9, 8, 4))

    def test_after_an_attribute_was_set(self, model):
        assert_folds_alike(model, (2, 9, 8, 4))
        model.get_layer("relu").max_value = 0.1
        assert_folds_alike(model, (2, 9, 8, 4))
        model.get_layer("head").activation = lamina.activations.tanh
        assert_folds_alike(model, (2, 9, 8, 4))

    def test_in_double_precision(self, model):
        assert_folds_alike(model, (2, 9, 8, 4))
        before = model.predict(np.ones((1, 9, 8, 4)), verbose=0)
        lamina.config.set_dtype_policy("float64")
        try:
            double = lamina.models.clone_model(model)
        finally:
            lamina.config.set_dtype_policy("float32")
        double.set_weights(model.get_weights())
        np.testing.assert_allclose(double.predict(np.ones((1, 9, 8, 4)), verbose=0), before, rtol=1e-5)

    def test_hooks_run(self, model):
        seen = []
        assert_folds_alike(model, (2, 9, 8, 4))
        handle = model.get_layer("norm").register_forward_hook(lambda *_: seen.append("norm"))
        with torch.no_grad():
            model.infer(torch.ones(1, 9, 8, 4))
        assert seen == ["norm"]
        handle.remove()
        everywhere = torch.nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(module.name))
        with torch.no_grad():
            model.infer(torch.ones(1, 9, 8, 4))
        everywhere.remove()
        assert {"conv", "norm", "relu", "head"} <= set(seen)

    def test_watchers_see_every_call(self, model):
        from torch.utils.flop_counter import FlopCounterMode

        x = torch.ones(1, 9, 8, 4)
        with torch.no_grad(), FlopCounterMode(display=False) as counted:
            model.infer(x)
        assert counted.get_total_flops() == 2 * (7 * 6 * 9 * 4 * 4 + 4 * 3)
        with torch.no_grad(), torch.device("cpu"):
            model.infer(x)
        assert model.graph._folded is not None

    def test_a_call_of_the_users_own_is_called(self):
        class Doubled(layers.Conv2D):
            def call(self, inputs):
                return super().call(inputs) * 2

        class Louder(layers.Dense):
            def __call__(self, inputs, **kwargs):
                return super().__call__(inputs, **kwargs) + 1

        class Scaled(layers.Add):
            def _combine(self, tensors):
                return tensors[0] + 0.5 * tensors[1]

        class Loud(lamina.Sequential):
            def call(self, inputs, training=None, mask=None):
                return super().call(inputs, training, mask) * 10

        inner = Loud([lamina.Input((7, 6, 5)), layers.ReLU()])
        model = image_model(Doubled(5, 3), inner, Louder(2))
        assert_folds_alike(model, (2, 9, 8, 4))
        x = lamina.Input((9, 8, 4))
        assert_folds_alike(model_of(x, Scaled()([x, layers.Conv2D(4, 1)(x)])), (2, 9, 8, 4))
        model = Loud([lamina.Input((3,)), layers.Dense(2)])
        x = np.ones((2, 3), "float32")
        np.testing.assert_allclose(model.predict(x, verbose=0), model(x).detach(), rtol=1e-6)

    def test_with_gradients_it_is_a_call(self, model):
        x = torch.ones(1, 9, 8, 4, requires_grad=True)
        model.infer(x).sum().backward()
        assert x.grad is not None
        assert x.grad.abs().sum() > 0

    def test_masks(self):
        model = lamina.Sequential([layers.Embedding(9, 4, mask_zero=True), layers.GlobalAveragePooling1D()])
        rows = np.array([[1, 2, 0], [3, 0, 0]])
        np.testing.assert_array_equal(model.predict(rows, verbose=0), model(rows).detach())


class TestPrograms:
    def test_predict_on_odd_last_batches_and_other_sizes(self):
        x = lamina.Input((None, None, 3))
        y = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
        y = layers.DepthwiseConv2D(3, strides=2, padding="same")(y)
        model = model_of(x, layers.BatchNormalization()(y))
        for shape in [(7, 10, 10, 3), (3, 11, 9, 3), (1, 12, 13, 3), (7, 10, 10, 3)]:
            data = np.random.default_rng(0).normal(size=shape).astype("float32")
            found = model.predict(data, batch_size=4, verbose=0)
            np.testing.assert_allclose(found, model(data).detach(), rtol=1e-4, atol=1e-5)

    def test_plans_are_few(self):
        model = image_model(layers.Conv2D(2, 3))
        with torch.no_grad():
            for count in range(1, 30):
                model.infer(torch.ones(count, 9, 8, 4))
        assert len(model.graph._folded._plans) <= 8

    def test_errors_are_those_of_a_call(self):
        model = image_model(layers.Conv2D(2, 3, name="conv"), name="wrong")
        messages = []
        for run in (lambda x: model(x), lambda x: model.predict(x, verbose=0), lambda x: model.predict_on_batch(x)):
            with pytest.raises(ValueError, match="4") as error:
                run(np.ones((1, 9, 8, 5), "float32"))
            messages.append(type(error.value))
        assert messages == [lamina.ShapeError] * 3

    def test_an_empty_batch(self):
        model = image_model(layers.Conv2D(2, 3))
        with torch.no_grad():
            assert model.infer(torch.ones(0, 9, 8, 4)).shape == (0, 7, 6, 2)

    def test_the_model_can_be_copied_and_saved_after_it(self, tmp_path):
        model = image_model(layers.Conv2D(2, 3), layers.BatchNormalization())
        x = np.ones((2, 9, 8, 4), "float32")
        expected = model.predict(x, verbose=0)
        np.testing.assert_array_equal(copy.deepcopy(model).predict(x, verbose=0), expected)
        model.save(tmp_path / "m.keras")
        np.testing.assert_array_equal(lamina.models.load_model(tmp_path / "m.keras").predict(x, verbose=0), expected)

    def test_forms_are_few_on_resnet(self):
        model = lamina.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=4)
        for weight in model.weights:
            if weight.ndim == 1:
                weight.assign(weight + 0.1 * torch.rand(weight.shape))
        assert_folds_alike(model, (1, 32, 32, 3), tolerance=1e-4)
        kinds = [type(unit.form) for unit in model.graph._folded.units]
        assert kinds.count(Convolution) == 53
        assert not {Affine, Sum, Joined} & set(kinds)
