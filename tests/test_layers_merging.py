"""Layers that join tensors, against Keras: values, masks, and what they say when shapes do not meet."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lamina
from lamina import layers
from lamina.base.errors import ShapeError
from lamina.shapes import Axes
from layer_parity import check_layer

STEPS = (2, 3, 4)
PARITY = [
    *[(name, [STEPS, STEPS], {}) for name in ("Subtract", "Add", "Multiply", "Average", "Maximum", "Minimum")],
    *[(name, [STEPS, (2, 1, 4), STEPS], {}) for name in ("Add", "Multiply", "Average", "Maximum", "Minimum")],
    ("Add", [(2, 4), STEPS], {}),
    ("Multiply", [(2, 4), (2, 5, 6, 4)], {"open_axes": (0, 2)}),
    ("Add", [STEPS], {}),
    ("Concatenate", [STEPS, (2, 3, 2)], {}),
    ("Concatenate", [STEPS, (2, 5, 4), (2, 1, 4)], {"axis": 1}),
    ("Concatenate", [STEPS, STEPS], {"axis": -2, "open_axes": (0, 1)}),
    ("Dot", [(2, 3), (2, 3)], {"axes": 1}),
    ("Dot", [(2, 3), (2, 3)], {"axes": -1, "normalize": True}),
    ("Dot", [STEPS, (2, 4, 5)], {"axes": (2, 1)}),
    ("Dot", [STEPS, (2, 5, 4)], {"axes": -1, "normalize": True, "open_axes": (0, 1)}),
    ("Dot", [(2, 2, 4, 3), (2, 5, 3, 6)], {"axes": (3, 2)}),
    ("Dot", [(2, 3), (2, 4, 3)], {"axes": (1, 2)}),
]


@pytest.mark.parametrize(("name", "shapes", "options"), PARITY)
def test_as_keras_has_it(name, shapes, options):
    check_layer(name, shapes, **options)


def masked(array, mask):
    tensor = torch.tensor(array, dtype=torch.float32)
    tensor._keras_mask = None if mask is None else torch.tensor(mask)
    return tensor


STEPS_A = [[True, True, False], [True, False, False]]
STEPS_B = [[True, False, True], [True, False, False]]
STEPS_C = [[True, True], [True, False]]


@pytest.mark.parametrize(
    ("name", "options", "second_steps", "masks"),
    [
        ("Add", {}, 3, (STEPS_A, STEPS_B)),
        ("Add", {}, 3, (STEPS_A, None)),
        ("Maximum", {}, 3, (STEPS_A, STEPS_B)),
        ("Concatenate", {}, 3, (STEPS_A, STEPS_B)),
        ("Concatenate", {}, 3, (STEPS_A, None)),
        ("Concatenate", {"axis": 1}, 2, (STEPS_A, STEPS_C)),
        ("Concatenate", {"axis": -2}, 2, (None, STEPS_C)),
        ("Dot", {"axes": 2}, 3, (STEPS_A, STEPS_B)),
    ],
)
def test_masks_are_joined_as_keras_joins_them(keras, name, options, second_steps, masks):
    def given():
        return [masked(np.ones((2, 3, 4)), masks[0]), masked(np.ones((2, second_steps, 4)), masks[1])]

    ours = getattr(layers, name)(**options)(given())
    theirs = getattr(keras.layers, name)(**options)(given())
    wanted = getattr(theirs, "_keras_mask", None)
    got = getattr(ours, "_keras_mask", None)
    if wanted is None:
        assert got is None
    else:
        assert got.tolist() == wanted.tolist()


def test_masks_of_symbolic_inputs_are_joined():
    x, y = lamina.Input((3,), dtype="int32"), lamina.Input((2,), dtype="int32")
    embedding = layers.Embedding(5, 4, mask_zero=True)
    joined = layers.Concatenate(axis=1)([embedding(x), embedding(y)])
    assert joined._keras_mask.shape == (None, 5)
    model = lamina.Model([x, y], joined)
    out = model([torch.tensor([[1, 0, 2]]), torch.tensor([[0, 3]])])
    assert out._keras_mask.tolist() == [[True, False, True, False, True]]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *[(name, {}) for name in ("add", "subtract", "multiply", "average", "maximum", "minimum")],
        ("concatenate", {"axis": 1}),
        ("dot", {"axes": 2}),
    ],
)
def test_functions_make_and_call_the_layer(keras, name, options):
    x, y = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    torch.testing.assert_close(getattr(layers, name)([x, y], **options), getattr(keras.layers, name)([x, y], **options))
    assert (
        getattr(layers, name)([lamina.Input((3, 4))] * 2, **options, name="mine")._keras_history.operation.name
        == "mine"
    )


def test_open_sizes_meet_known_ones():
    open_steps, five = lamina.Input((None, 3)), lamina.Input((5, 3))
    assert layers.Add()([open_steps, five]).shape == (None, 5, 3)
    assert layers.Concatenate()([open_steps, five]).shape == (None, 5, 6)
    assert layers.Add()([open_steps, lamina.Input((1, 3))]).shape == (None, None, 3)
    assert layers.Concatenate(axis=1)([open_steps, five]).shape == (None, None, 3)


def test_integers_stay_integers():
    x = torch.ones(2, 3, dtype=torch.int32)
    whole = lamina.Input((3,), dtype="int32")
    assert layers.Add()([x, x]).dtype is torch.int32
    assert layers.Add()([whole, whole]).dtype == "int32"
    assert layers.Add()([whole, lamina.Input((3,))]).dtype == "float32"
    assert layers.Average()([x, x]).dtype is torch.float32
    assert layers.Average()([whole, whole]).dtype == "float32"


def test_formulas():
    joined = layers.Concatenate().shape_rule(Axes.of((None, 8, 3)).named(), Axes.of((None, 8, 4)).named())
    assert joined["features"].formula == "features + features"
    assert joined["features"].arithmetic == "3 + 4"


MISTAKES = {
    "features": (
        lambda: layers.Add(name="sum")(
            [layers.Dense(64, name="a")(lamina.Input((8, 3))), layers.Dense(128, name="b")(lamina.Input((8, 3)))]
        ),
        """\
Add 'sum': inputs 1 and 2 differ on axis 2 (features): 64 and 128.
  received   (None, 8, 64)  from Dense 'a'
             (None, 8, 128)  from Dense 'b'
  expected   the same features in all inputs, or 1
  because    they are combined number by number: on every axis the sizes must be equal, or one of
             them 1
  to mend    bring both to the same features with a Dense layer; Concatenate joins inputs of
             different features
  sizes      input_layer    InputLayer  (None, 8, 3)
             a              Dense       (None, 8, 64)
             input_layer_1  InputLayer  (None, 8, 3)
             b              Dense       (None, 8, 128)""",
    ),
    "height": (
        lambda: layers.Maximum(name="max")([torch.ones(1, 8, 8, 2), torch.ones(1, 8, 8, 1), torch.ones(1, 4, 8, 2)]),
        """\
Maximum 'max': inputs 1 and 3 differ on axis 1 (height): 8 and 4.
  received   (1, 8, 8, 2)  batch, height, width, channels
             (1, 8, 8, 1)  batch, height, width, channels
             (1, 4, 8, 2)  batch, height, width, channels
  expected   the same height in all inputs, or 1
  because    they are combined number by number: on every axis the sizes must be equal, or one of
             them 1
  to mend    let both branches shrink alike (strides, padding="same"), or cut one with a Cropping
             layer, so that they have the same height""",
    ),
    "batch": (
        lambda: layers.Add(name="sum")([torch.ones(2, 3), torch.ones(1, 3)]),
        """\
Add 'sum': inputs 1 and 2 differ on axis 0 (batch): 2 and 1.
  received   (2, 3)  batch, features
             (1, 3)  batch, features
  expected   the same number of examples in all inputs
  because    the first axis counts the examples, which are joined one by one
  to mend    give all inputs the same examples""",
    ),
    "concatenate": (
        lambda: layers.Concatenate(name="cat")([torch.ones(2, 8, 3), torch.ones(2, 7, 3)]),
        """\
Concatenate 'cat': inputs 1 and 2 differ on axis 1 (steps): 8 and 7.
  received   (2, 8, 3)  batch, steps, features
             (2, 7, 3)  batch, steps, features
  expected   the same steps in all inputs
  because    they are joined along axis 2 (features); on every other axis their sizes must be equal
  to mend    make their steps equal, or join along axis=1 if it is the steps that should add up""",
    ),
    "ranks": (
        lambda: layers.Concatenate(name="cat")([torch.ones(2, 8, 3), torch.ones(2, 3)]),
        """\
Concatenate 'cat': inputs 1 and 2 have 3 and 2 axes.
  received   (2, 8, 3)  batch, steps, features
             (2, 3)  batch, features
  expected   3 axes in all inputs, as in the first
  because    inputs are joined along one axis, and must have all the others in common
  to mend    give all the same number of axes, with Reshape or Flatten""",
    ),
    "dot": (
        lambda: layers.Dot(1, name="dot")([torch.ones(2, 3), torch.ones(2, 4)]),
        """\
Dot 'dot': axis 1 of input 1 (features) has 3 numbers and axis 1 of input 2 (features) 4.
  received   (2, 3)  batch, features
             (2, 4)  batch, features
  expected   as many numbers on axis 1 of input 1 as on axis 1 of input 2
  because    the products of both are added up along these axes
  to mend    choose other axes=, or bring both to the same size""",
    ),
    "one tensor": (
        lambda: layers.Add(name="sum")(torch.ones(2, 3)),
        """\
Add 'sum' takes a list of tensors and got one tensor.
  received   (2, 3)  batch, features
  expected   a list of tensors
  because    it joins the tensors of a list, and the list is its one argument
  to mend    call it as Add()([a, b])""",
    ),
    "three": (
        lambda: layers.Subtract(name="minus")([torch.ones(1, 3)] * 3),
        """\
Subtract 'minus' takes a list of exactly 2 tensors and got 3 in the list.
  received   (1, 3)  batch, features
             (1, 3)  batch, features
             (1, 3)  batch, features
  expected   a list of exactly 2 tensors
  because    it joins the tensors of a list, and the list is its one argument
  to mend    call it as Subtract()([a, b])""",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake):
    make, text = MISTAKES[mistake]
    with pytest.raises(ShapeError) as caught:
        make()
    assert str(caught.value) == text


def test_a_graph_whose_open_sizes_turn_out_to_differ():
    x, y = lamina.Input((None, 3)), lamina.Input((5, 3))
    model = lamina.Model([x, y], layers.Add(name="sum")([x, y]))
    with pytest.raises(ShapeError, match=r"inputs 1 and 2 differ on axis 1 \(steps\): 4 and 5"):
        model([torch.ones(1, 4, 3), torch.ones(1, 5, 3)])


def test_axes_that_are_no_axes():
    with pytest.raises(TypeError, match="whole number"):
        layers.Dot("a")
    with pytest.raises(ShapeError, match="axis 0 counts the examples"):
        layers.Dot(0)([torch.ones(2, 3), torch.ones(2, 3)])
    with pytest.raises(ShapeError, match="works on axis 4"):
        layers.Concatenate(axis=4)([torch.ones(2, 3), torch.ones(2, 3)])
