"""Layers with weights of their own names, wrapped functions, activations and reshaping, against Keras."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lamina
from lamina import layers
from lamina.base.errors import LaminaError, ShapeError
from lamina.shapes import Axes
from layer_parity import check_layer

STEPS, IMAGE = (2, 3, 4), (2, 5, 6, 3)
DRAWN = "random_normal"

PARITY = [
    ("EinsumDense", STEPS, {"equation": "abc,cd->abd", "output_shape": (3, 5), "bias_axes": "d", "activation": "relu"}),
    ("EinsumDense", STEPS, {"equation": "abc,cd->abd", "output_shape": (None, 5), "open_axes": (0, 1)}),
    (
        "EinsumDense",
        STEPS,
        {"equation": "...x,xy->...y", "output_shape": 5, "bias_axes": "y", "bias_initializer": DRAWN},
    ),
    (
        "EinsumDense",
        STEPS,
        {"equation": "ab...,bc->ac...", "output_shape": 5, "bias_axes": "c", "bias_initializer": DRAWN},
    ),
    ("EinsumDense", STEPS, {"equation": "abc,cde->abde", "output_shape": (3, 2, 5), "bias_axes": "e"}),
    ("EinsumDense", STEPS, {"equation": "abc,bcd->abd", "output_shape": (3, 5), "bias_axes": "bd"}),
    ("EinsumDense", STEPS, {"equation": "abc,cd->adb", "output_shape": (5, 3), "bias_axes": "d"}),
    ("Embedding", (2, 5), {"input_dim": 7, "output_dim": 3, "dtype": "int32"}),
    ("Embedding", (4,), {"input_dim": 7, "output_dim": 3, "mask_zero": True, "dtype": "int32"}),
    ("Identity", STEPS, {}),
    ("Masking", STEPS, {}),
    ("Activation", STEPS, {"activation": "softmax"}),
    ("ReLU", STEPS, {}),
    ("ReLU", STEPS, {"max_value": 0.5, "negative_slope": 0.1, "threshold": 0.2}),
    ("LeakyReLU", STEPS, {"negative_slope": 0.1}),
    ("PReLU", STEPS, {"alpha_initializer": DRAWN}),
    ("PReLU", IMAGE, {"alpha_initializer": DRAWN, "shared_axes": [1, 2], "open_axes": (0, 1, 2)}),
    ("ELU", STEPS, {"alpha": 0.5}),
    ("Softmax", STEPS, {}),
    ("Softmax", STEPS, {"axis": 1}),
    ("Softmax", STEPS, {"axis": (1, 2)}),
    ("Flatten", IMAGE, {}),
    ("Flatten", IMAGE, {"data_format": "channels_first", "open_axes": (0, 2)}),
    ("Flatten", (3,), {}),
    ("Flatten", STEPS, {"dtype": "int32"}),
    ("Reshape", STEPS, {"target_shape": (2, -1)}),
    ("Reshape", STEPS, {"target_shape": (-1,), "open_axes": (0, 1)}),
    ("Reshape", STEPS, {"target_shape": (2, 2, 3)}),
    ("Permute", IMAGE, {"dims": (3, 1, 2), "open_axes": (0, 1)}),
    ("RepeatVector", (2, 3), {"n": 4}),
]


@pytest.mark.parametrize(("name", "shape", "options"), PARITY)
def test_as_keras_has_it(name, shape, options):
    # Only lamina writes an EinsumDense's missing activity regulariser into no config.
    check_layer(name, shape, ignored_config={"activity_regularizer"}, **options)


def masked(array, mask):
    tensor = torch.as_tensor(array)
    tensor._keras_mask = torch.tensor(mask)
    return tensor


def keeps_first(x):
    return x[:, :1]


def scaled(x, factor=1.0, training=None, mask=None):
    return x * factor * (2.0 if training else 1.0) * (1.0 if mask is None else mask[..., None])


# --- masks


def test_a_mask_goes_from_embedding_to_the_end(keras):
    numbers = torch.tensor([[1, 0, 2], [3, 3, 0]])

    def run(made):
        x = made.Embedding(5, 4, mask_zero=True, embeddings_initializer="ones")(numbers)
        x = made.Activation("relu")(made.Dropout(0.5)(made.Dense(3, kernel_initializer="ones")(x)))
        return made.Identity()(made.LayerNormalization()(x))

    ours, theirs = run(layers), run(keras.layers)
    assert ours._keras_mask.tolist() == theirs._keras_mask.tolist() == [[True, False, True], [True, True, False]]


def test_masking(keras):
    x = np.array([[[2.0, 2.0], [2.0, 1.0], [0.0, 0.0]]], "float32")
    ours, theirs = layers.Masking(2.0)(x), keras.layers.Masking(2.0)(x)
    torch.testing.assert_close(ours, theirs)
    assert ours._keras_mask.tolist() == theirs._keras_mask.tolist()
    whole = layers.Masking(2)(x.astype("int64"))
    assert torch.equal(whole, keras.layers.Masking(2)(x.astype("int64")))
    assert whole._keras_mask.tolist() == theirs._keras_mask.tolist()
    assert layers.Masking()(lamina.Input((5, 3)))._keras_mask.shape == (None, 5)
    x = lamina.Input((3, 2))
    model = lamina.Model(x, layers.Dense(1)(layers.Masking(2.0)(x)))
    assert model(torch.full((1, 3, 2), 2.0))._keras_mask.tolist() == [[False] * 3]


@pytest.mark.parametrize(
    "make", [lambda: layers.Flatten(), lambda: layers.Reshape((6,)), lambda: layers.Permute((2, 1))]
)
def test_reshaping_loses_the_mask(make):
    with pytest.warns(UserWarning, match="the mask ends here"):
        out = make()(masked(np.ones((1, 3, 2), "float32"), [[True, False, True]]))
    assert getattr(out, "_keras_mask", None) is None


@pytest.mark.parametrize(
    ("options", "mask"),
    [
        ({}, [[True, False, True]]),
        ({}, [[False, False, False]]),
        ({"axis": (1, 2)}, [[[True, False], [True, True], [False, True]]]),
    ],
)
def test_softmax_hides_what_is_masked(keras, options, mask):
    mask = np.array(mask)
    x = np.random.default_rng(0).normal(size=mask.shape).astype("float32")
    got, wanted = layers.Softmax(**options)(x, mask=torch.tensor(mask)), keras.layers.Softmax(**options)(x, mask=mask)
    torch.testing.assert_close(got, wanted)
    if "axis" not in options:
        torch.testing.assert_close(layers.Softmax()(masked(x, mask)), wanted)


def test_softmax_takes_no_mask_of_steps():
    with pytest.raises(ShapeError, match="got a mask that does not broadcast"):
        layers.Softmax()(torch.ones(2, 3, 2), mask=torch.ones(2, 3, dtype=torch.bool))


# --- Embedding


def test_embedding_casts_rows_and_not_numbers(keras):
    ours = layers.Embedding(300, 3, dtype="mixed_bfloat16")
    out = ours(np.array([[257, 258]]))  # numbers that bfloat16 cannot tell apart
    assert out.dtype is torch.bfloat16
    torch.testing.assert_close(out[0], ours.embeddings[257:259].detach().to(torch.bfloat16))
    assert ours(np.array([[1.0, 2.0]], "float32")).shape == (1, 2, 3)
    assert ours(lamina.Input((4,), dtype="int32")).dtype == "bfloat16"
    out.float().sum().backward()
    assert ours.embeddings.grad.dtype is torch.float32
    assert ours.supports_masking is keras.layers.Embedding(3, 2).supports_masking is False


def test_embedding_says_which_numbers_it_has_no_row_for():
    with pytest.raises(IndexError, match=r"has rows 0 to 3 \(input_dim=4\) and got numbers from 1 to 7"):
        layers.Embedding(4, 2)(torch.tensor([[1, 7]]))


def test_embedding_starts_with_given_weights():
    table = np.arange(8.0).reshape(4, 2)
    np.testing.assert_allclose(layers.Embedding(4, 2, weights=[table])(np.array([3])).detach(), [[6.0, 7.0]])


# --- Lambda


def test_lambda_finds_its_shape_by_running(keras):
    assert layers.Lambda(keeps_first)(lamina.Input((3,))).shape == (None, 1)
    assert layers.Lambda(lambda xs: xs[0] + xs[1])([lamina.Input((None, 4)), lamina.Input((None, 4))]).shape == (
        None,
        None,
        4,
    )
    for output_shape in ((2, 3), (None, 3), lambda shape: (*shape, 5)):
        ours = layers.Lambda(scaled, output_shape=output_shape)(lamina.Input((4,)))
        theirs = keras.layers.Lambda(scaled, output_shape=output_shape)(keras.Input((4,)))
        assert ours.shape == theirs.shape
    assert layers.Lambda(keeps_first).compute_output_shape((None, 7)) == (None, 1)


def test_lambda_passes_arguments_training_and_mask():
    layer = layers.Lambda(scaled, arguments={"factor": 3.0})
    x = torch.ones(1, 3, 2)
    assert layer(x).unique().tolist() == [3.0]
    assert layer(x, training=True).unique().tolist() == [6.0]
    with pytest.warns(UserWarning, match="the mask ends here"):
        assert layer(masked(x, [[True, False, True]]))[0, :, 0].tolist() == [3.0, 0.0, 3.0]
    kept = layers.Lambda(scaled, mask=lambda inputs, mask: ~mask)
    assert kept(masked(torch.ones(1, 3, 2), [[True, False, True]]))._keras_mask.tolist() == [[False, True, False]]


def test_lambda_configs_name_functions(keras):
    ours = layers.Lambda(scaled, output_shape=(3,), arguments={"factor": 2.0})
    theirs = keras.layers.Lambda(scaled, output_shape=(3,), arguments={"factor": 2.0})
    config, wanted = ours.get_config(), theirs.get_config()
    assert set(config) == set(wanted)
    assert config["arguments"] == wanted["arguments"]
    assert tuple(config["output_shape"]) == tuple(wanted["output_shape"])
    with lamina.saving.custom_object_scope({"scaled": scaled}):
        again = layers.Lambda.from_config(config)
    assert again.function is scaled
    assert again(lamina.Input((3,))).shape == (None, 3)
    activation = layers.Lambda(lamina.activations.relu)
    assert layers.Lambda.from_config(activation.get_config()).function is lamina.activations.relu
    with pytest.raises(LaminaError, match="A lambda cannot be written into a config"):
        layers.Lambda(lambda x: x).get_config()
    with pytest.raises(TypeError, match="takes a function"):
        layers.Lambda(3)


# --- structures, shapes, formulas


def test_identity_hands_on_any_structure():
    x, y = lamina.Input((3,)), lamina.Input((4,), dtype="int32")
    one, two = layers.Identity()([x, y])
    assert (one.shape, two.shape, two.dtype) == ((None, 3), (None, 4), "int32")
    assert layers.Identity()({"a": x})["a"].shape == (None, 3)
    assert layers.Identity()({"a": torch.ones(2)})["a"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda made: made.Reshape((-1, 6)), (None, 3)),
        (lambda made: made.Reshape((2, 6)), (None, 3)),
        (lambda made: made.Reshape((-1, 7)), (None, None)),
        (lambda made: made.Reshape(()), (1,)),
        (lambda made: made.Flatten(), (None, 3)),
        (lambda made: made.Flatten(), ()),
        (lambda made: made.Permute((2, 1)), (4, None)),
        (lambda made: made.RepeatVector(3), (None,)),
    ],
)
def test_open_sizes_as_keras_has_them(keras, make, shape):
    assert make(layers)(lamina.Input(shape)).shape == tuple(make(keras.layers)(keras.Input(shape)).shape)


def test_sizes_that_follow_are_known_where_keras_leaves_them_open():
    assert layers.Reshape((None, 3))(lamina.Input((6,))).shape == (None, 2, 3)
    assert layers.EinsumDense("abc,cd->abd", (None, 5))(lamina.Input((3, 4))).shape == (None, 3, 5)


def test_reshaping_no_examples_at_all():
    assert layers.Reshape((2, -1))(torch.ones(0, 4, 3)).shape == (0, 2, 6)
    assert layers.Flatten()(torch.ones(0, 4, 3)).shape == (0, 12)


def test_formulas():
    image = Axes.of((None, 8, 8, 4)).named()
    assert layers.Flatten().shape_rule(image)["features"].arithmetic == "8·8·4"
    assert layers.Reshape((-1, 16)).shape_rule(image).sizes[1].formula == "⌊height·width·channels/16⌋"
    assert layers.PReLU(shared_axes=[1]).shape_rule(image).shape == (None, 8, 8, 4)
    prelu = layers.PReLU(shared_axes=[1, 2])
    prelu.build((None, 8, 8, 4))
    assert prelu.alpha.axes == ("shared height", "shared width", "channels")
    einsum = layers.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d")
    einsum.build((None, 3, 4))
    assert (einsum.kernel.axes, einsum.bias.axes) == (("features", "output d"), ("output d",))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("EinsumDense", {"equation": "abc,cd->abd", "output_shape": (None, 4)}),
        ("PReLU", {}),
        ("Softmax", {}),
        ("Masking", {}),
        ("Flatten", {}),
        ("Rescaling", {"scale": 2.0}),
        ("UnitNormalization", {}),
    ],
)
def test_policies(keras, policy, name, options):
    x = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
    ours, theirs = getattr(layers, name)(dtype=policy, **options), getattr(keras.layers, name)(dtype=policy, **options)
    got, wanted = ours(x), theirs(x)
    ours.set_weights(theirs.get_weights())
    assert got.dtype == wanted.dtype
    torch.testing.assert_close(ours(x).float(), theirs(x).float(), atol=2e-2, rtol=1e-2)
    assert ours(lamina.Input((5, 3))).dtype == str(got.dtype).removeprefix("torch.")


def built(layer, *shape):
    layer(lamina.Input(shape))
    return layer


SHAPE_MISTAKES = {
    "reshape": (
        lambda: layers.Reshape((-1, 5), name="re")(torch.ones(2, 4, 3)),
        """\
Reshape 're' cannot put 12 numbers into (-1, 5).
  received   (2, 4, 3)  batch, steps, features
  expected   a multiple of 5 numbers
  because    one example holds 4 · 3 = 12 numbers, which is no multiple of 5
  to mend    choose sizes whose product is the number of an example's values; one of them may be -1""",
    ),
    "permute": (
        lambda: layers.Permute((2, 1), name="turn")(lamina.Input((4,), name="x")),
        """\
Permute 'turn' reads inputs of 3 axes and got 2.
  received   (None, 4)  from InputLayer 'x'
  expected   (batch, steps, features)
  because    a Permute reads 3 axes by their place: batch, steps, features
  to mend    add the axis of features: Input((4, 1)), or Reshape((4, 1)) before this layer""",
    ),
    "einsum": (
        lambda: built(layers.EinsumDense("abc,cd->abd", (None, 64), name="dense"), 3, 5)(torch.ones(1, 3, 6)),
        """\
EinsumDense 'dense': axis 'c' of 'abc,cd->abd' has the size 6 and its kernel has 5.
  received   (1, 3, 6)  batch, steps, features
  expected   5 on axis 'c'
  because    one letter stands for one size
  to mend    give it an input with 5 on axis 'c', or make a layer for 6""",
    ),
    "prelu": (
        lambda: built(layers.PReLU(name="slope"), 3)(torch.ones(2, 4)),
        """\
PReLU 'slope' needs 3 features and got 4.
  received   (2, 4)  batch, features
  expected   (2, 3)  fixed when 'slope' was built
  because    it has one slope for each position: its alpha is (3,)
  to mend    make a new PReLU for this input, or give it an input of 3 features""",
    ),
    "softmax": (
        lambda: layers.Softmax(axis=3, name="share")(torch.ones(2, 2)),
        """\
Softmax 'share' works on axis 3, which its input does not have.
  received   (2, 2)  batch, features
  expected   an input of at least 4 axes
  because    axis=3 is one of the layer's arguments, and the input has 2 axes
  to mend    choose an axis between -2 and 1""",
    ),
}


@pytest.mark.parametrize("mistake", SHAPE_MISTAKES)
def test_shape_mistakes(mistake):
    make, text = SHAPE_MISTAKES[mistake]
    with pytest.raises(ShapeError) as caught:
        make()
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.ReLU(negative_slope=-1), "negative_slope is a number of at least 0"),
        (lambda: layers.ReLU(max_value=-1), "max_value is a number of at least 0"),
        (lambda: layers.LeakyReLU(None), "negative_slope is a number of at least 0"),
        (lambda: layers.Reshape((-1, -1)), "one may be -1"),
        (lambda: layers.Permute((1, 3)), "an order of 1 to"),
        (lambda: layers.RepeatVector(0), "above 0"),
        (lambda: layers.Embedding(0, 3), "input_dim is a whole number above 0"),
        (lambda: layers.EinsumDense("abc->abd", 3), "an equation reads"),
        (lambda: layers.EinsumDense("ab,bc->acd", (3, 4)), "nothing gives the size of d"),
        (lambda: layers.EinsumDense("abc,cd->abd", 64), "output_shape lists the sizes of b, d"),
        (lambda: layers.EinsumDense("ab,bc->ac", 3, bias_axes="z"), "bias_axes names"),
        (
            lambda: layers.EinsumDense("abc,cd->abd", (5, 6))(torch.ones(1, 4, 3)),
            "has the size 4 and output_shape says 5",
        ),
        (lambda: layers.EinsumDense("abc,cd->abd", (None, 6))(torch.ones(1, 4)), "reads inputs of 3 axes and got 2"),
        (lambda: layers.EinsumDense("...bc,cd->...bd", (None, 6))(torch.ones(4)), "reads inputs of at least 2 axes"),
        (lambda: layers.PReLU(shared_axes=[5])(torch.ones(2, 3)), "works on axis 5"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ValueError, match=message):
        make()
