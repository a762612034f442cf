"""Receptive fields against gradients, multiply-accumulates against torch's counter, every formula evaluated."""

from __future__ import annotations

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

import lamina
from golden import check_golden
from lamina import layers
from lamina.base.errors import LaminaError
from lamina.explain.fields import fields_of
from lamina.shapes import HERE, Reading, TransposedWindow, Window
from thin import APPLICATIONS, application, influence, thin


def evaluate(text):
    """The value of a formula as explanations write it."""
    for sign, python in {"⌊": "floor(", "⌈": "ceil(", "⌋": ")", "⌉": ")", "·": "*", "−": "-", ",": ""}.items():
        text = text.replace(sign, python)
    assert not re.search(r"[a-z]", text.replace("floor", "").replace("ceil", "")), text
    return eval(text, {"floor": math.floor, "ceil": math.ceil})


# ------------------------------------------------------------------------------------------------- receptive fields

sizes = st.integers(1, 4)
WINDOWS = st.one_of(
    st.builds(Window, sizes, sizes, sizes, st.sampled_from(["valid", "causal", (1, 2)])),
    st.builds(TransposedWindow, sizes, sizes),
)


@given(st.lists(WINDOWS, min_size=1, max_size=5), st.integers(0, 30))
def test_readings_compose_to_what_following_each_position_gives(windows, position):
    reading = HERE
    for window in windows:
        reading = window.reading(None).after(reading)
    first = last = position
    for window in reversed(windows):
        first, last = window.reading(None).interval(first)[0], window.reading(None).interval(last)[1]
    assert reading.interval(position) == (first, last)


def test_two_paths_are_joined_to_the_interval_around_both():
    enlarged = Reading(1, ((0, 0), (0, 0))).after(Window(3, 2, padding=(1, 1)).reading(8))
    joined = HERE.joined(enlarged)
    assert joined is not None
    assert [joined.interval(i) for i in range(4)] == [(-1, 1), (-1, 1), (1, 3), (1, 3)]
    assert HERE.joined(Reading(2)) is None


LAYERS = st.sampled_from(
    [
        lambda: layers.Conv1D(1, 3, strides=2, padding="same", kernel_initializer="ones"),
        lambda: layers.Conv1D(1, 4, kernel_initializer="ones"),
        lambda: layers.Conv1D(1, 2, padding="causal", kernel_initializer="ones"),
        lambda: layers.AveragePooling1D(3, 2, padding="same"),
        lambda: layers.AveragePooling1D(2),
        lambda: layers.SeparableConv1D(1, 3, depthwise_initializer="ones", pointwise_initializer="ones"),
        lambda: layers.DepthwiseConv1D(5, strides=3, padding="same", depthwise_initializer="ones"),
        lambda: layers.Conv1DTranspose(1, 3, strides=2, padding="same", kernel_initializer="ones"),
        lambda: layers.Conv1DTranspose(1, 4, strides=2, kernel_initializer="ones"),
        lambda: layers.Conv1DTranspose(1, 3, strides=2, padding="same", output_padding=1, kernel_initializer="ones"),
        lambda: layers.UpSampling1D(2),
        lambda: layers.ZeroPadding1D((2, 1)),
        lambda: layers.Cropping1D((1, 2)),
        lambda: layers.LayerNormalization(axis=-1),
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(LAYERS, min_size=1, max_size=5), st.integers(120, 160), st.booleans())
def test_what_has_an_influence_is_what_the_field_says(makers, length, skip):
    x = lamina.Input((length, 1), dtype="float64")
    y = x
    for make in makers:
        layer = make()
        if isinstance(layer, layers.LayerNormalization):
            continue  # of one channel: a constant
        if y.shape[1] < 6:
            break
        layer = type(layer).from_config({**layer.get_config(), "dtype": "float64"})
        before, y = y, layer(y)
        if skip and before.shape == y.shape:
            y = layers.Add()([before, y])
    if y is x:
        return
    model = lamina.Model(x, y)
    (axis,) = model.receptive_field().axes
    cut = sum(2 * fields_of(model.graph)[id(one.input)].axes[0].stride for one in model.layers if "crop" in one.name)
    margin = axis.size + cut  # outside, padding or what was cut off may lie on the way
    values = torch.ones(1, length, 1, dtype=torch.float64, requires_grad=True)
    outputs = model(values)
    for position in range(outputs.shape[1]):
        (gradient,) = torch.autograd.grad(outputs[0, position, 0], values, retain_graph=True)
        influential = gradient[0, :, 0].nonzero().flatten().tolist()
        first, last = axis.interval(position)
        assert set(influential) <= set(range(first, last + 1))
        if influential and first > margin and last < length - margin:
            assert (influential[0], influential[-1]) == (first, last)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_fields_of_every_application_model(name):
    # at which the windows of all layers end at the border: what they drop would be no part of a field
    size = {"InceptionResNetV2": 299, "InceptionV3": 299, "NASNetMobile": 255, "Xception": 299}.get(name, 256)
    model = thin(name, size)
    fields = fields_of(model.graph)
    chosen = [layer for layer in model.layers if len(layer.output.shape) == 4][1:]
    step = max(len(chosen) // 6, 1)
    for layer in (*chosen[::step], chosen[-1]):
        position = layer.output.shape[1] // 2
        rows, columns = influence(model, layer.output, position)
        height, width = fields[id(layer.output)].axes
        for seen, axis in ((rows, height), (columns, width)):
            first, last = axis.interval(position)
            assert seen == list(range(max(first, 0), min(last, size - 1) + 1)), layer.name
    # the same as of the real model, of many channels
    real = fields_of(application(name).graph)
    for layer in chosen:
        mine, theirs = fields[id(layer.output)], real[id(application(name).get_layer(layer.name).output)]
        assert (mine.short, mine.stride_text) == (theirs.short, theirs.stride_text)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("times", [2, 3])
def test_fields_of_enlarged_images(interpolation, times):
    x = lamina.Input((7, 7, 1), dtype="float64")
    y = layers.UpSampling2D(times, interpolation=interpolation, dtype="float64")(x)
    model = lamina.Model(x, y)
    for position in range(3 * times, 4 * times):
        values = torch.zeros(1, 7, 7, 1, dtype=torch.float64, requires_grad=True)
        model(values)[0, position, position].sum().backward()
        rows = (values.grad[0, :, :, 0] != 0).any(1).nonzero().flatten().tolist()
        assert (rows[0], rows[-1]) == model.receptive_field().axes[0].interval(position)


def test_paths_that_see_everything():
    x = lamina.Input((16, 16, 3), name="image")
    y = layers.Conv2D(8, 3, padding="same", name="conv")(x)
    gate = layers.Reshape((1, 1, 8))(layers.Dense(8, activation="sigmoid")(layers.GlobalAveragePooling2D()(y)))
    model = lamina.Model(x, layers.Multiply(name="gated")([y, gate]))
    assert model.receptive_field("conv").short == "3×3"
    assert model.receptive_field("gated").short == "all"
    assert model.receptive_field("gated").sentence == "all of the input"
    normal = layers.GroupNormalization(2, name="norm")(y)
    assert lamina.Model(x, normal).receptive_field().short == "all"


def test_where_a_layer_does_not_say_what_it_reads_the_field_is_not_guessed():
    x = lamina.Input((8, 8, 3))
    rolled = layers.Lambda(lambda t: t.roll(1, 1), name="rolled")(x)
    model = lamina.Model(x, layers.Conv2D(2, 3, name="conv")(rolled))
    (height, width) = model.receptive_field().axes
    assert (str(height), height.size, width.short) == ("not known behind 'rolled'", None, "?")
    with pytest.raises(LaminaError, match="no interval"):
        height.interval(0)


def test_functions_between_layers_are_followed():
    x = lamina.Input((9, 9, 2))
    y = layers.Conv2D(2, 3, padding="same")(x)
    model = lamina.Model(x, lamina.ops.relu(y + 2 * x))
    assert model.receptive_field().short == "3×3"


def test_channels_first_and_nested_models_and_open_sizes():
    x = lamina.Input((3, None, None))
    inner = lamina.Sequential([layers.Conv2D(4, 5, strides=2, padding="same", data_format="channels_first")], name="in")
    y = layers.MaxPooling2D(2, data_format="channels_first")(layers.Activation("relu")(inner(x)))
    field = lamina.Model(x, y).receptive_field()
    assert [(axis.name, axis.size, axis.stride, axis.offset) for axis in field.axes] == [
        ("height", 7, 4, None),  # where "same" puts its zeros follows the size
        ("width", 7, 4, None),
    ]


def test_a_field_as_text_and_as_data():
    model = application("ResNet50")
    check_golden("receptive_field", str(model.receptive_field("conv5_block3_out")))
    axes = model.receptive_field("conv2_block1_out").to_dict()["axes"]
    assert axes[0] == {
        "name": "height",
        "input": "input_layer",
        "size": 19,
        "stride": 4.0,
        "offset": -9,
        "unknown": None,
    }
    with pytest.raises(ValueError, match="no layer 'conv2_block1_oot'"):
        model.receptive_field("conv2_block1_oot")
    with pytest.raises(LaminaError, match="is no layer of the model"):
        model.receptive_field(layers.Dense(3))


# -------------------------------------------------------------------------------------------- products and formulas

COSTLY = [
    (lambda: layers.Dense(10), (3, 7)),
    (lambda: layers.EinsumDense("abc,cd->abd", (None, 8)), (5, 7)),
    (lambda: layers.EinsumDense("...x,xy->...y", 64), (4, 5, 7)),
    (lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 3)), (5, 7)),
    (lambda: layers.EinsumDense("abcd,cde->abe", (None, 6)), (5, 2, 3)),
    (lambda: layers.Conv1D(4, 3, dilation_rate=2), (9, 2)),
    (lambda: layers.Conv2D(8, 3, strides=2, groups=2, padding="same"), (9, 9, 4)),
    (lambda: layers.Conv2D(8, 3, data_format="channels_first"), (4, 9, 9)),
    (lambda: layers.Conv3D(4, 2), (5, 5, 5, 2)),
    (lambda: layers.Conv2DTranspose(8, 3, strides=2), (5, 5, 2)),
    (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), (5, 5, 2)),
    (lambda: layers.SeparableConv2D(8, 3), (5, 5, 2)),
    (lambda: layers.Embedding(50, 6), (4,)),
    (lambda: layers.MaxPooling2D(), (4, 4, 1)),
]


@pytest.mark.parametrize(("make", "shape"), COSTLY)
def test_products_are_what_torch_counts(make, shape):
    layer = make()
    explained = lamina.explain(layer, (None, *shape))
    with FlopCounterMode(display=False) as counter:
        layer(torch.zeros(1, *shape, dtype=torch.int64 if isinstance(layer, layers.Embedding) else torch.float32))
    assert explained.multiply_accumulates == counter.get_total_flops() // 2
    if explained.multiply_accumulates:
        assert evaluate(explained.multiply_accumulates_formula.split(" = ")[0]) == explained.multiply_accumulates


def test_products_of_two_tensors():
    explained = lamina.explain(layers.Dot(axes=(2, 1)), [(None, 4, 3), (None, 3, 5)])
    assert (explained.multiply_accumulates, explained.multiply_accumulates_formula) == (60, "4·3·5 = 60")


def test_a_users_layer_is_counted_on_tensors_without_values():
    class Twice(lamina.Layer):
        def build(self, shape):
            self.kernel = self.add_weight((shape[-1], 4), name="kernel")

        def call(self, x):
            return torch.relu(x @ self.kernel) @ self.kernel.t()

    x = lamina.Input((6, 5))
    model = lamina.Model(x, Twice(name="twice")(x))
    assert model.explain("twice").multiply_accumulates == 6 * 5 * 4 + 6 * 4 * 5
    open_steps = lamina.Input((None, 5))
    assert lamina.Model(open_steps, Twice(name="t")(open_steps)).explain("t").multiply_accumulates is None


@pytest.mark.parametrize("name", APPLICATIONS)
def test_every_formula_of_every_application_model(name):
    model = application(name)
    explained = model.explain()
    counted = 0
    for layer in explained.layers:
        for axis in layer.axes:
            if axis.arithmetic:
                assert evaluate(axis.arithmetic) == axis.size
                counted += 1
        assert evaluate(layer.parameter_formula.split(" = ")[0]) == model.get_layer(layer.name).count_params()
        if layer.multiply_accumulates:
            assert evaluate(layer.multiply_accumulates_formula.split(" = ")[0]) == layer.multiply_accumulates
        assert layer.activation_bytes == 4 * math.prod(layer.outputs[0][1:])
    assert counted > 10
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 224, 224, 3, device="meta"))
    assert explained.multiply_accumulates == counter.get_total_flops() // 2


def test_which_axes_a_parameter_count_follows():
    assert lamina.explain(layers.Conv2D(4, 3), (None, 8, 8, 3)).parameter_axes == ("channels",)
    assert lamina.explain(layers.Dense(4), (None, 8)).parameter_axes == ("features",)
    assert lamina.explain(layers.PReLU(), (None, 4, 6)).parameter_axes == ("steps", "features")
    assert lamina.explain(layers.MaxPooling2D(), (None, 8, 8, 3)).parameter_axes == ()


def test_layers_of_nested_models():
    inner = lamina.Sequential([lamina.Input((8, 8, 1)), layers.Conv2D(2, 3, name="conv"), layers.ReLU()], name="inner")
    model = lamina.Sequential([lamina.Input((8, 8, 1)), inner, layers.Flatten()])
    explained = model.explain("inner")
    assert (explained.multiply_accumulates, explained.activation_bytes) == (36 * 18, 2 * 36 * 2 * 4)
    assert model.explain("inner/conv") == inner.explain("conv")
    assert model.explain().activation_bytes == 3 * 36 * 2 * 4


SILENT = {  # what these layers read, or which products they add up, follows from no statement
    "readings": {"Lambda", "Resizing", "Wrapper"},
    "multiply_accumulates": {"Lambda", "Wrapper"},  # a Wrapper is the base of any layer around one
}


@pytest.mark.parametrize("statement", SILENT)
def test_every_layer_states_what_explanations_are_made_of(statement):
    public = {name: one for name in dir(layers) if isinstance(one := getattr(layers, name), type)}
    kinds = {one for one in public.values() if issubclass(one, layers.Layer)} - {layers.Layer, layers.InputLayer}
    silent = {one.__name__ for one in kinds if getattr(one, statement) is getattr(layers.Layer, statement)}
    assert len(kinds) > 60
    assert silent == SILENT[statement]
