"""Normalisations against Keras: values, gradients, moving statistics, masks, types."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lamina
from lamina import layers
from lamina.base.errors import ShapeError, UnfinishedError
from layer_parity import check_layer

STEPS, IMAGE = (2, 3, 4), (2, 5, 6, 3)
DRAWN = {"gamma_initializer": "random_normal", "beta_initializer": "random_normal"}
MOVED = {"moving_mean_initializer": "random_normal", "moving_variance_initializer": "random_uniform", "epsilon": 0.1}
PARITY = [
    *[
        ("BatchNormalization", shape, {**options, **DRAWN, **MOVED, "training": training})
        for training in (True, False)
        for shape, options in (
            (STEPS, {}),
            (STEPS, {"axis": 1}),
            (IMAGE, {}),
            (IMAGE, {"axis": 2, "momentum": 0.8}),
            ((6, 3), {"center": False}),
            ((2, 2, 3, 4, 5), {"scale": False}),
            (IMAGE, {"trainable": False}),
            ((1, 4), {}),
        )
    ],
    ("LayerNormalization", STEPS, DRAWN),
    ("LayerNormalization", STEPS, {"axis": [1, 2], **DRAWN}),
    ("LayerNormalization", STEPS, {"axis": [-1, -2], **DRAWN}),
    ("LayerNormalization", IMAGE, {"axis": [1, 3], **DRAWN}),
    ("LayerNormalization", STEPS, {"center": False, "epsilon": 0.1}),
    ("LayerNormalization", STEPS, {"scale": False}),
    ("GroupNormalization", STEPS, {"groups": 2, **DRAWN}),
    ("GroupNormalization", IMAGE, {"groups": -1, **DRAWN}),
    ("GroupNormalization", IMAGE, {"groups": 1, "center": False, "open_axes": (0, 1, 2)}),
    ("GroupNormalization", (2, 4, 3, 3), {"groups": 2, "axis": 1, **DRAWN}),
    ("GroupNormalization", (2, 4), {"groups": 2, "scale": False}),
    ("UnitNormalization", STEPS, {}),
    ("UnitNormalization", STEPS, {"axis": 1}),
    ("UnitNormalization", STEPS, {"axis": [1, 2]}),
]


@pytest.mark.parametrize(("name", "shape", "options"), PARITY)
def test_as_keras_has_it(name, shape, options):
    check_layer(name, shape, **options)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (8, 6, 6, 3)),
        ({"axis": 1}, (8, 3, 6, 6)),
        ({"axis": 2}, (4, 3, 5, 6)),
        ({"momentum": 0.7, "epsilon": 0.1}, (8, 5, 3)),
        ({"center": False}, (8, 3)),
        ({"scale": False}, (2, 2, 3, 4, 5)),
        ({}, (1, 3)),  # one number for each mean
    ],
)
def test_moving_statistics_and_gradients_after_three_steps(keras, options, shape):
    rng = np.random.default_rng(0)
    ours, theirs = layers.BatchNormalization(**options), keras.layers.BatchNormalization(**options)
    for _ in range(3):
        x = (3 * rng.normal(size=shape) + 2).astype("float32")
        weight = torch.tensor(rng.normal(size=shape), dtype=torch.float32)
        inputs = [torch.tensor(x, requires_grad=True) for _ in range(2)]
        got, wanted = ours(inputs[0], training=True), theirs(inputs[1], training=True)
        torch.testing.assert_close(got, wanted, atol=5e-5, rtol=1e-5)
        (got * weight).sum().backward()
        (wanted * weight).sum().backward()
        torch.testing.assert_close(inputs[0].grad, inputs[1].grad, atol=1e-4, rtol=1e-4)
    for mine, other in zip(ours.trainable_weights, theirs.trainable_weights, strict=True):
        torch.testing.assert_close(mine.grad, other.value.grad, atol=1e-4, rtol=1e-4)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(ours(inputs[0]), theirs(inputs[1]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("axis", [-1, 1])
def test_batch_normalization_counts_unmasked_steps_only(keras, axis):
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=(4, 3, 5)), dtype=torch.float32)
    for mask in (rng.random((4, 3)) < 0.6, np.zeros((4, 3), bool)):
        ours, theirs = layers.BatchNormalization(axis=axis), keras.layers.BatchNormalization(axis=axis)
        got = ours(x, training=True, mask=torch.tensor(mask))
        torch.testing.assert_close(got, theirs(x, training=True, mask=torch.tensor(mask)), atol=1e-5, rtol=1e-5)
        for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-7)


def test_batch_normalization_takes_the_mask_that_its_input_carries(keras):
    x = torch.tensor([[[1.0, 2.0], [0.0, 0.0], [3.0, 6.0]]])
    ours, theirs = layers.BatchNormalization(), keras.layers.BatchNormalization()
    got, wanted = ours(layers.Masking()(x), training=True), theirs(keras.layers.Masking()(x), training=True)
    torch.testing.assert_close(got, wanted)
    assert got._keras_mask.tolist() == [[True, False, True]]
    np.testing.assert_allclose(ours.moving_mean.numpy(), [0.02, 0.04], rtol=1e-5)


def test_a_frozen_batch_normalization_runs_in_inference_mode():
    norm = layers.BatchNormalization(trainable=False)
    x = torch.randn(4, 3)
    torch.testing.assert_close(norm(x, training=True), norm(x, training=False))
    assert norm.moving_mean.tolist() == [0.0] * 3
    norm.trainable = True
    norm(x, training=True)
    assert norm.moving_mean.tolist() != [0.0] * 3
    assert len(norm.trainable_weights) == len(norm.non_trainable_weights) == 2


def test_a_shared_batch_normalization_has_gradients():
    norm = layers.BatchNormalization()
    x = torch.randn(4, 5, 5, 3, requires_grad=True)
    norm(norm(x, training=True), training=True).square().sum().backward()
    assert x.grad.isfinite().all()


def test_batch_normalization_of_images_keeps_their_memory_layout():
    norm = layers.BatchNormalization()
    x = torch.randn(2, 4, 4, 3)
    assert norm(x, training=True).is_contiguous()
    assert norm(x, training=False).is_contiguous()


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize(
    ("name", "options"), [("BatchNormalization", {}), ("LayerNormalization", {}), ("GroupNormalization", {"groups": 3})]
)
def test_policies(keras, policy, name, options):
    x = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
    ours = getattr(layers, name)(dtype=policy, **options)
    theirs = getattr(keras.layers, name)(dtype=policy, **options)
    training = {"training": True} if name == "BatchNormalization" else {}
    got, wanted = ours(x, **training), theirs(x, **training)
    assert got.dtype == wanted.dtype
    assert [str(w.dtype).removeprefix("torch.") for w in ours.weights] == [w.dtype for w in theirs.weights]
    assert ours(lamina.Input((5, 3))).dtype == str(got.dtype).removeprefix("torch.")
    torch.testing.assert_close(got.float(), wanted.float(), atol=2e-2, rtol=1e-2)
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        torch.testing.assert_close(mine.detach(), other.value.detach(), atol=1e-3, rtol=1e-2)
    got.float().square().sum().backward()
    assert all(w.grad is not None for w in ours.trainable_weights)


@pytest.mark.parametrize("axis", [1, [1, 2], [0, 2]])
def test_layer_normalization_over_any_axes(axis):
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    norm = layers.LayerNormalization(axis=axis, dtype="float64")
    got = norm(x)
    axes = [axis] if isinstance(axis, int) else axis
    wanted = (x - x.mean(axes, keepdim=True)) / (x.var(axes, unbiased=False, keepdim=True) + 1e-3).sqrt()
    torch.testing.assert_close(got, wanted)
    assert tuple(norm.gamma.shape) == tuple(x.shape[a] for a in axes)


def test_rms_scaling_is_as_keras_has_it(keras):
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    with pytest.warns(DeprecationWarning, match="rms_scaling"):
        ours = layers.LayerNormalization(rms_scaling=True)
    with pytest.warns(UserWarning, match="rms_scaling"):
        wanted = keras.layers.LayerNormalization(rms_scaling=True)(x)
    torch.testing.assert_close(ours(x), wanted)
    assert [w.name for w in ours.weights] == ["gamma"]


def test_unit_normalization_of_short_vectors(keras):
    x = np.array([[1e-5, 0], [0, 0], [1e-13, 0], [3, 4]], "float32")
    torch.testing.assert_close(layers.UnitNormalization()(x), keras.layers.UnitNormalization()(x))
    assert layers.UnitNormalization(axis=(1,)).get_config()["axis"] == [1]


def test_what_is_not_there_yet():
    with pytest.raises(UnfinishedError, match="synchronized"):
        layers.BatchNormalization(synchronized=True)
    with pytest.raises(UnfinishedError, match="renorm"):
        layers.BatchNormalization(renorm=True)


def test_a_failing_call_moves_no_statistics():
    norm = built(layers.BatchNormalization(), 3)
    before = [w.copy() for w in norm.get_weights()]
    with pytest.raises(ShapeError, match="needs 3 features and got 4"):
        norm(torch.ones(2, 4), training=True)
    for now, then in zip(norm.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def built(layer, *shape):
    layer(lamina.Input(shape))
    return layer


MISTAKES = {
    "another size": (
        lambda: built(layers.BatchNormalization(name="norm"), 4, 3)(torch.ones(2, 4, 5), training=True),
        """\
BatchNormalization 'norm' needs 3 features and got 5.
  received   (2, 4, 5)  batch, steps, features
  expected   (2, 4, 3)  fixed when 'norm' was built
  because    its weights have the shape (3,)
  to mend    make a new BatchNormalization for this input, or give it an input of 3 features""",
    ),
    "no such axis": (
        lambda: layers.BatchNormalization(axis=5, name="norm")(torch.ones(2, 3)),
        """\
BatchNormalization 'norm' works on axis 5, which its input does not have.
  received   (2, 3)  batch, features
  expected   an input of at least 6 axes
  because    axis=5 is one of the layer's arguments, and the input has 2 axes
  to mend    choose an axis between -2 and 1""",
    ),
    "open": (
        lambda: layers.LayerNormalization(axis=[1, 2], name="norm")(lamina.Input((None, 4), name="x")),
        """\
LayerNormalization 'norm' makes weights for its input's steps, and their number is open.
  received   (None, None, 4)  from InputLayer 'x'
  expected   a known size on the axis 'steps'
  because    the layer's weights have one entry (or row) for each of the steps
  to mend    give the model's input fixed sizes, or join its open axes with a global pooling before
             this layer""",
    ),
    "groups": (
        lambda: layers.GroupNormalization(3, name="norm")(torch.ones(2, 4)),
        """\
GroupNormalization 'norm' cannot make 3 groups of 4 features.
  received   (2, 4)  batch, features
  expected   a number of features that 3 divides
  because    all groups have the same size, so their number divides the channels
  to mend    choose groups from 1, 2, 4""",
    ),
    "mask": (
        lambda: layers.BatchNormalization(name="norm")(torch.ones(2, 3, 4), mask=torch.ones(2, dtype=torch.bool)),
        """\
BatchNormalization 'norm' takes a mask of one axis less than its input.
  received   an input of (2, 3, 4) and a mask of (2,)
  expected   a mask of (2, 3)
  because    a mask says of every position whether it counts, and a position has one entry a feature
  to mend    leave the features' axis out of the mask""",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake):
    make, text = MISTAKES[mistake]
    with pytest.raises(ShapeError) as caught:
        make()
    assert str(caught.value) == text


@pytest.mark.parametrize("name", ["LayerNormalization", "UnitNormalization"])
def test_an_axis_is_a_number_or_a_list(name):
    with pytest.raises(TypeError, match="axis is a whole number or a list"):
        getattr(layers, name)(axis="a")
