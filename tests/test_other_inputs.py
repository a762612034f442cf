"""`what_if` against models that are really built on the other input; `minimum_input` against models that really run."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lamina
from golden import check_golden
from lamina import layers
from lamina.base import names
from lamina.base.errors import LaminaError, ShapeError
from thin import APPLICATIONS, application, thin


def built(name, shape):
    names.reset_names()
    with lamina.device("meta"):
        return getattr(lamina.applications, name)(weights=None, input_shape=shape, min_size=None)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_the_other_model_is_the_one_that_is_built_on_this_input(name):
    shape = (224, 224, 1) if name.startswith("VGG") else (96, 160, 1)
    found = application(name).what_if(shape)
    other = built(name, shape)
    assert found.possible
    assert found.parameters == (application(name).count_params(), other.count_params())
    layers_built = {layer.name: layer for layer in other.layers}
    assert {change.name for change in found.changes} == set(layers_built) - {other.layers[0].name}
    explained = {layer.name: layer for layer in other.explain().layers}
    for change in found.changes:
        assert change.other.shapes == explained[change.name].outputs
        assert change.other.parameters == layers_built[change.name].count_params()
        assert change.other.multiply_accumulates == explained[change.name].multiply_accumulates
    assert found.total("multiply_accumulates")[1] == other.explain().multiply_accumulates
    assert found.total("activation_bytes")[1] == other.explain().activation_bytes


def test_a_larger_image_changes_no_parameter_and_says_why():
    found = application("DenseNet121").what_if((512, 512, 3))
    assert found.parameters == (8_062_504, 8_062_504)
    assert not found.parameter_changes
    assert "No height, width or length of the input occurs in any parameter formula" in found.why


def test_one_channel_changes_the_first_convolution_alone():
    found = application("DenseNet121").what_if((224, 224, 1))
    (changed,) = found.parameter_changes
    assert (changed.name, changed.other.parameters - changed.own.parameters) == ("conv1_conv", -6_272)
    assert found.why == "−6,272 parameters, all in 'conv1_conv': 7·7·3·64 → 7·7·1·64"


def test_an_impossible_input_is_followed_to_the_layer_that_fails():
    found = application("DenseNet121").what_if((28, 28, 3))
    assert (found.possible, found.failed_layer) == (False, "pool4_pool")
    assert found.changes[-1].other is None
    assert found.changes[-2].other.shapes == ((None, 1, 1, 512),)
    check_golden("what_if_impossible", "\n".join(str(found).splitlines()[-12:]))


def small():
    x = lamina.Input((28, 28, 1), name="image")
    y = layers.Conv2D(8, 3, strides=2, name="conv")(x)
    y = lamina.Sequential([layers.MaxPooling2D(2, name="pool"), layers.Flatten(name="flat")], name="inner")(y)
    return lamina.Model(x, layers.Dense(10, name="head")(y), name="small")


def test_the_table_of_a_small_model():
    check_golden("what_if", str(small().what_if((32, 32, 3))))


def test_a_layer_inside_a_nested_model_is_named():
    assert small().what_if((4, 28, 1)).failed_layer == "inner/pool"


def test_data_and_html():
    found = small().what_if((32, 32, 1))
    data = json.loads(json.dumps(found.to_dict()))
    assert data["parameters"] == [80 + 8 * 6 * 6 * 10 + 10, 80 + 8 * 7 * 7 * 10 + 10]
    assert [layer["name"] for layer in data["layers"]] == ["conv", "inner", "pool", "flat", "head"]
    assert "<table" in found._repr_html_()


def test_nothing_happens_to_the_model():
    model = small()
    before = [weight.clone() for weight in model.weights]
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    state, name = torch.get_rng_state(), layers.Dense(1).name
    model.what_if((32, 32, 3))
    model.minimum_input()
    assert all(torch.equal(a, b) for a, b in zip(before, model.weights, strict=True))
    assert nodes == [len(layer._inbound_nodes) for layer in model.layers]
    assert torch.equal(state, torch.get_rng_state())
    assert (name, layers.Dense(1).name) == ("dense", "dense_1")


def test_ways_to_give_the_input():
    x, extra = lamina.Input((8, 8, 3), name="image"), lamina.Input((4,), name="extra")
    y = layers.Concatenate()([layers.Flatten()(layers.Conv2D(2, 3)(x)), extra])
    model = lamina.Model([x, extra], layers.Dense(3)(y), name="two")
    by_name = model.what_if({"image": (None, 6, 6, 3)})
    assert by_name.other_inputs == ((None, 6, 6, 3), (None, 4))
    assert by_name.to_dict() == model.what_if([(6, 6, 3), (4,)]).to_dict()
    with pytest.raises(ValueError, match="has no input"):
        model.what_if({"picture": (6, 6, 3)})
    with pytest.raises(ValueError, match="has 2 inputs"):
        model.what_if((6, 6, 3))
    with pytest.raises(ShapeError) as error:
        small().what_if((6,))
    check_golden("what_if_rank", str(error.value))


def test_layers_without_a_config_and_functions():
    class Scaled(lamina.Layer):
        def __init__(self, table):
            super().__init__()
            self.table = table

        def call(self, x):
            return x * len(self.table)

    x = lamina.Input((8, 3))
    model = lamina.Model(x, lamina.ops.relu(layers.Lambda(lambda t: t[:, ::2])(Scaled({1: object()})(x))))
    assert model.what_if((12, 3)).changes[-1].other.shapes == ((None, 6, 3),)


def test_a_model_without_a_graph_says_what_to_do():
    with pytest.raises(LaminaError, match="is no graph"):
        lamina.Sequential([layers.Dense(3)]).what_if((3,))


# ------------------------------------------------------------------------------------------------------ minimum input

SMALLEST = {"ResNet50": 1, "DenseNet121": 29, "VGG16": 32}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_the_smallest_image_runs_and_a_smaller_one_does_not(name):
    found = application(name).minimum_input()
    (size,) = set(found.sizes.values())
    assert size == SMALLEST.get(name, size)
    assert found.total_stride == (32, 32)
    assert thin(name, size)(torch.ones(1, size, size, 1)).isfinite().all()
    if size > 1:
        with pytest.raises(ShapeError) as error:
            thin(name, size - 1)
        assert error.value.layer == found.axes[0].bound
    else:
        assert found.axes[0].bound == ""


@pytest.mark.parametrize("name", ["ResNet50", "ResNet152"])
def test_from_what_size_on_a_stage_does_real_down_sampling(name):
    found = application(name).minimum_input()
    stages = found.axes[0].stages
    assert [stage.stride for stage in stages] == [2, 4, 8, 16, 32]
    assert [stage.real_from for stage in stages] == [2, 3, 5, 9, 17]
    for stage in stages[2:]:  # not padded: the layer's own input tells
        for size, several in ((stage.real_from - 1, False), (stage.real_from, True)):
            layer = thin(name, size).get_layer(stage.layer)
            assert (layer.input.shape[1] > 1) == several


@pytest.mark.parametrize("name", ["EfficientNetB0", "EfficientNetV2B0", "MobileNetV3Small", "MobileNetV3Large"])
def test_the_stride_goes_on_behind_gates(name):
    """A gate brings the whole image to each position, which stays where it is."""
    found = application(name).minimum_input()
    assert found.total_stride == (32, 32)
    assert [stage.stride for stage in found.axes[0].stages] == [2, 4, 8, 16, 32]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, 3), st.sampled_from(["valid", "same"])), min_size=1, max_size=5
    )
)
def test_the_minimum_of_any_chain_is_what_trying_gives(windows):
    def chain(size):
        x = lamina.Input((size, 1))
        y = x
        for kernel, stride, padding in windows:
            y = layers.MaxPooling1D(kernel, stride, padding)(y)
        return lamina.Model(x, y)

    def works(size):
        try:
            chain(size)
        except ShapeError:
            return False
        return True

    tried = next(size for size in range(1, 2000) if works(size))
    assert chain(2000).minimum_input().sizes == {"steps": tried}


def test_branches_that_must_meet_allow_multiples_only():
    x = lamina.Input((64, 48, 3), name="image")
    one = layers.Conv2D(4, 3, padding="same", name="one")(x)
    two = layers.MaxPooling2D(2, name="down")(layers.MaxPooling2D((2, 1), name="down_first")(one))
    up = layers.UpSampling2D((4, 2), name="up")(two)
    model = lamina.Model(x, layers.Concatenate(name="join")([one, up]), name="u_net")
    found = model.minimum_input()
    assert [(axis.name, axis.size, axis.step, axis.total_stride) for axis in found.axes] == [
        ("height", 4, 4, 4),
        ("width", 2, 2, 2),
    ]
    check_golden("minimum_input", str(found))


def test_weights_for_one_size_do_not_count():
    found = small().minimum_input()
    assert found.sizes == {"height": 5, "width": 5}
    assert found.axes[0].bound == "inner/pool"


def test_the_stages_of_a_nested_model_are_its_layers():
    with lamina.device("meta"):
        base = lamina.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3), name="base")
        model = lamina.Sequential([lamina.Input((64, 64, 3)), base, layers.GlobalAveragePooling2D(), layers.Dense(2)])
    alone, nested = base.minimum_input().axes[0], model.minimum_input().axes[0]
    assert [(f"base/{one.layer}", one.real_from) for one in alone.stages] == [
        (one.layer, one.real_from) for one in nested.stages
    ]
    assert nested.total_stride == 32


def test_a_minimum_as_data_and_without_spatial_axes():
    data = json.loads(json.dumps(application("VGG16").minimum_input().to_dict()))
    assert data["axes"][0]["bound"] == "block5_pool"
    x = lamina.Input((4,))
    assert "have no height" in str(lamina.Model(x, layers.Dense(2)(x)).minimum_input())


def test_two_images_of_different_sizes():
    one, other = lamina.Input((64, 64, 1), name="one"), lamina.Input((32, 32, 1), name="other")
    halved = layers.MaxPooling2D(2)(one)
    model = lamina.Model([one, other], layers.Concatenate()([halved, other]))
    found = {(axis.input, axis.name): axis.size for axis in model.minimum_input().axes}
    assert found["one", "height"] == 64  # beside an image of 32
    assert found["other", "height"] == 32
