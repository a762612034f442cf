"""Losses against Keras: values, gradients, reductions, masks, configs; and what shapes say."""

from __future__ import annotations

import os
import warnings

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import pytest
import torch

import lamina
from agreement import assert_agree
from lamina import losses
from lamina.base import config
from lamina.base.errors import ShapeError, ShapeWarning

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(6, 5)).astype("float32")
POINTS_TRUE = RNG.normal(size=(6, 5)).astype("float32")
BITS = RNG.integers(0, 2, (6, 5)).astype("float32")
CHANCES = RNG.uniform(0.0, 1.0, (6, 5)).astype("float32")
CHANCES[0, :3] = [0.0, 1.0, 0.5]  # where clipping matters
CLASSES = RNG.integers(0, 5, (6,))
ONE_HOT = np.eye(5, dtype="float32")[CLASSES]
DISTRIBUTION = CHANCES / CHANCES.sum(-1, keepdims=True)

REGRESSION = (POINTS_TRUE, POINTS)
POSITIVE = (np.abs(POINTS_TRUE), np.abs(POINTS))
BINARY = (BITS, CHANCES)
LOGITS = (BITS, POINTS)
CATEGORICAL = (ONE_HOT, CHANCES)
CATEGORICAL_LOGITS = (ONE_HOT, POINTS)
SPARSE = (CLASSES, CHANCES)
SPARSE_LOGITS = (CLASSES, POINTS)

CASES = [
    ("MeanSquaredError", {}, REGRESSION),
    ("MeanAbsoluteError", {}, REGRESSION),
    ("MeanAbsolutePercentageError", {}, REGRESSION),
    ("MeanSquaredLogarithmicError", {}, REGRESSION),
    ("MeanSquaredLogarithmicError", {}, POSITIVE),
    ("Huber", {}, REGRESSION),
    ("Huber", {"delta": 0.3}, REGRESSION),
    ("LogCosh", {}, REGRESSION),
    ("CosineSimilarity", {}, REGRESSION),
    ("CosineSimilarity", {"axis": 0}, REGRESSION),
    ("Hinge", {}, LOGITS),
    ("Hinge", {}, (2 * BITS - 1, POINTS)),
    ("SquaredHinge", {}, LOGITS),
    ("CategoricalHinge", {}, CATEGORICAL),
    ("KLDivergence", {}, (ONE_HOT, DISTRIBUTION)),
    ("KLDivergence", {}, (DISTRIBUTION[::-1].copy(), DISTRIBUTION)),
    ("Poisson", {}, POSITIVE),
    ("BinaryCrossentropy", {}, BINARY),
    ("BinaryCrossentropy", {"from_logits": True}, LOGITS),
    ("BinaryCrossentropy", {"label_smoothing": 0.2}, BINARY),
    ("BinaryCrossentropy", {"axis": 0}, BINARY),
    ("BinaryFocalCrossentropy", {}, BINARY),
    ("BinaryFocalCrossentropy", {"apply_class_balancing": True, "alpha": 0.4, "gamma": 1.5}, BINARY),
    ("BinaryFocalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, LOGITS),
    ("CategoricalCrossentropy", {}, CATEGORICAL),
    ("CategoricalCrossentropy", {"from_logits": True}, CATEGORICAL_LOGITS),
    ("CategoricalCrossentropy", {"label_smoothing": 0.2}, CATEGORICAL),
    ("CategoricalCrossentropy", {"axis": 0}, CATEGORICAL),
    ("CategoricalCrossentropy", {"from_logits": True, "axis": 0}, CATEGORICAL_LOGITS),
    ("CategoricalFocalCrossentropy", {}, CATEGORICAL),
    ("CategoricalFocalCrossentropy", {"from_logits": True, "gamma": 1.5, "label_smoothing": 0.1}, CATEGORICAL_LOGITS),
    ("SparseCategoricalCrossentropy", {}, SPARSE),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, SPARSE_LOGITS),
    ("SparseCategoricalCrossentropy", {"ignore_class": 2}, SPARSE),
    ("SparseCategoricalCrossentropy", {"ignore_class": 2, "from_logits": True}, SPARSE_LOGITS),
    ("SparseCategoricalCrossentropy", {"ignore_class": -1}, (np.where(CLASSES == 2, -1, CLASSES), CHANCES)),
    ("Dice", {}, BINARY),
    ("Dice", {"axis": 1}, BINARY),
    ("Tversky", {"alpha": 0.3, "beta": 0.6}, BINARY),
    ("CategoricalGeneralizedCrossEntropy", {"q": 0.3}, SPARSE),
]
IDS = [
    f"{name}-{'-'.join(f'{k}={v}' for k, v in arguments.items())}-{i}" for i, (name, arguments, _) in enumerate(CASES)
]


def both(name, **arguments):
    return getattr(losses, name)(**arguments), getattr(keras.losses, name)(**arguments)


@pytest.mark.parametrize(("name", "arguments", "data"), CASES, ids=IDS)
def test_value_and_gradient(name, arguments, data):
    results = []
    for loss in both(name, **arguments):
        y_pred = torch.tensor(data[1], requires_grad=True)
        value = loss(data[0], y_pred)
        value.backward()
        results.append((value, y_pred.grad))
    assert_agree(results[0][0], results[1][0])
    assert_agree(results[0][1], results[1][1], rtol=1e-4, atol=1e-6)


WEIGHTS = RNG.uniform(0.0, 2.0, (6,)).astype("float32")


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None])
@pytest.mark.parametrize("weight", [None, WEIGHTS, WEIGHTS[:, None], 2.0, np.zeros(6)], ids=str)
@pytest.mark.parametrize("mask", [None, np.array([True, False, True, True, False, True]), np.zeros(6, bool)], ids=str)
@pytest.mark.parametrize(
    ("name", "data"), [("MeanSquaredError", REGRESSION), ("SparseCategoricalCrossentropy", SPARSE)]
)
def test_reduction_weight_mask(reduction, weight, mask, name, data):
    if mask is not None and isinstance(weight, float):
        weight = np.full(6, weight)  # Keras under torch cannot multiply one number by a mask
    values = []
    for loss in both(name, reduction=reduction):
        y_pred = torch.tensor(data[1])
        if mask is not None:
            y_pred._keras_mask = torch.tensor(mask)
        values.append(loss(data[0], y_pred, sample_weight=weight))
    assert_agree(*values)


@pytest.mark.parametrize("weight", [None, (2, 1), (2, 3), (2, 3, 1)], ids=str)
@pytest.mark.parametrize("mask", [None, (2, 3)], ids=str)
def test_sequences(weight, mask):
    y_true, y_pred = RNG.normal(size=(2, 2, 3, 4)).astype("float32")
    weights = None if weight is None else RNG.uniform(size=weight)
    if mask is not None and weight == (2, 1):
        weights = np.repeat(weights, 3, 1)  # Keras under torch cannot stretch weights to a mask
    values = []
    for loss in both("MeanAbsoluteError"):
        outputs = torch.tensor(y_pred)
        outputs._keras_mask = None if mask is None else torch.tensor([[True, True, False], [True, False, False]])
        values.append(loss(y_true, outputs, sample_weight=weights))
    assert_agree(*values)


@pytest.mark.parametrize(
    "arguments", [{}, {"from_logits": True}, {"ignore_class": 1}, {"from_logits": True, "axis": 1}], ids=str
)
@pytest.mark.parametrize("extra", [False, True])
def test_sparse_of_higher_rank(arguments, extra):
    axis = arguments.get("axis", -1)
    y_pred = RNG.uniform(size=(2, 3, 4, 5)).astype("float32")
    y_true = RNG.integers(0, 3, np.delete(y_pred.shape, axis))
    y_true = np.expand_dims(y_true, axis) if extra else y_true
    assert_agree(*(loss(y_true, y_pred) for loss in both("SparseCategoricalCrossentropy", **arguments)))


@pytest.mark.parametrize(
    ("true", "pred"), [((4,), (4, 1)), ((4, 1), (4,)), ((4, 3, 1), (4, 3)), ((4, 3), (4, 3, 1)), ((4,), (4,))]
)
@pytest.mark.parametrize("name", ["MeanSquaredError", "BinaryCrossentropy", "Hinge", "Poisson", "KLDivergence"])
def test_trailing_one(name, true, pred):
    data = RNG.uniform(0.1, 0.9, true), RNG.uniform(0.1, 0.9, pred)
    assert_agree(*(loss(*data) for loss in both(name, reduction="none")))


def test_class_numbers_of_one_column():
    assert_agree(*(loss(CLASSES[:, None], CHANCES) for loss in both("SparseCategoricalCrossentropy")))


FUNCTIONS = {n for n in losses.__all__ if n in dir(keras.losses) and n.islower()} - {"get", "serialize", "deserialize"}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_exist_alike(name):
    data = SPARSE if "sparse" in name or "generalized" in name else BINARY
    arguments = {"q": 0.5} if "generalized" in name else {}
    data = (data[0], torch.tensor(data[1]))
    data = (torch.tensor(data[0]), data[1]) if name != "categorical_hinge" else data
    assert_agree(*(getattr(package, name)(*data, **arguments) for package in (losses, keras.losses)))


@pytest.mark.parametrize(("name", "arguments", "data"), CASES, ids=IDS)
def test_config(name, arguments, data):
    ours, theirs = both(name, **arguments)
    given = ours.get_config()
    # Keras drops these arguments from its configs; lamina writes them where they are not the default.
    lost = {key: value for key, value in arguments.items() if key not in theirs.get_config()}
    assert given == {**theirs.get_config(), **lost}
    twin = losses.deserialize(losses.serialize(ours))
    assert type(twin) is type(ours)
    assert_agree(twin(*data), ours(*data))


def test_serialized_like_keras():
    assert losses.serialize(losses.MeanSquaredError()) == keras.losses.serialize(keras.losses.MeanSquaredError())
    assert losses.serialize(losses.mean_squared_error) == keras.losses.serialize(keras.losses.mean_squared_error)
    assert losses.deserialize(losses.serialize(losses.huber)) is losses.huber
    wrapped = losses.LossFunctionWrapper(losses.huber, name="mine", delta=0.5)
    assert losses.LossFunctionWrapper.from_config(wrapped.get_config())(*REGRESSION) == wrapped(*REGRESSION)


@pytest.mark.parametrize(
    "name", ["mse", "MSE", "mae", "mape", "msle", "bce", "kld", "huber", "MeanSquaredError", "Huber"]
)
def test_get(name):
    found = losses.get(name)
    assert isinstance(found, losses.Loss) == name[1:2].islower() * name[0].isupper()
    assert losses.get(found) is found
    assert losses.get(None) is None


def test_get_of_unknown_names():
    with pytest.raises(ValueError, match="Did you mean 'mean_squared_error'"):
        losses.get("mean_square_error")
    with pytest.raises(TypeError):
        losses.get(3)
    with pytest.raises(ValueError, match="reduction is one of"):
        losses.MeanSquaredError(reduction="average")


def test_a_loss_of_ones_own():
    class Gap(losses.Loss):
        def call(self, y_true, y_pred):
            assert y_true.dtype is torch.float32
            return (y_true - y_pred).abs().amax(-1)

    class KerasGap(keras.losses.Loss):
        call = Gap.call

    assert_agree(
        Gap()([[1, 2]], [[3.0, 5.0]], [2.0]), KerasGap()(np.array([[1, 2]]), np.array([[3.0, 5.0]]), np.array([2.0]))
    )
    with pytest.raises(NotImplementedError, match=r"define call\(y_true, y_pred\)"):
        losses.Loss()([1.0], [1.0])


def test_a_function_of_ones_own_gets_equal_ranks():
    loss = losses.LossFunctionWrapper(lambda y_true, y_pred: (y_true - y_pred) ** 2, reduction="none")
    assert loss(np.ones(4), np.zeros((4, 1))).shape == (4, 1)
    pairs = losses.LossFunctionWrapper(lambda y_true, y_pred: y_true["a"] - y_pred["a"], reduction="none")
    assert pairs({"a": np.ones(4)}, {"a": np.zeros((4, 1))}).shape == (4, 1)


def test_dtype():
    assert losses.MeanSquaredError(dtype="float64")(*REGRESSION).dtype is torch.float64
    assert losses.MeanSquaredError()(POINTS_TRUE, torch.tensor(POINTS).bfloat16()).dtype is torch.float32
    assert losses.MeanSquaredError(dtype="mixed_bfloat16").get_config()["dtype"] == "bfloat16"
    many = torch.zeros(1, 5000, dtype=torch.float16)
    wide = losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float16")
    many[0, 4999] = 9.0
    assert wide([4999], many) < wide([4998], many)  # float16 holds no 4999


def test_no_samples():
    assert losses.MeanSquaredError()(np.zeros((0, 3)), np.zeros((0, 3))).shape == (0,)
    assert losses.MeanSquaredError()(np.zeros((0, 3, 2)), np.zeros((0, 3, 2))).item() == 0.0


def test_symbolic():
    x = lamina.Input((3,))
    assert losses.mean_squared_error(x, x).shape == (None,)
    assert losses.MeanSquaredError()(x, x).shape == ()


def test_class_number_outside():
    for arguments in ({}, {"from_logits": True}):
        with pytest.raises(ValueError, match="class number 7; outputs of 5 classes know 0 to 4"):
            losses.sparse_categorical_crossentropy([1, 7], CHANCES[:2], **arguments)
        with pytest.raises(ValueError, match="class number -100;"):
            losses.sparse_categorical_crossentropy([1, -100], CHANCES[:2], **arguments)


# --- shapes

FITTING = [
    ("mse", (10, 3), (10, 3)),
    ("mse", (10,), (10, 1)),
    ("mse", (10, 1), (10,)),
    ("mse", (10, 7, 1), (10, 7)),
    ("mse", (), (10, 7)),
    ("mse", (None, 3), (10, 3)),
    ("mse", (1000,), (None, 1)),
    ("sparse_categorical_crossentropy", (10,), (10, 4)),
    ("sparse_categorical_crossentropy", (10, 1), (10, 4)),
    ("sparse_categorical_crossentropy", (10, 7), (10, 7, 4)),
    ("sparse_categorical_crossentropy", (10, 7, 1), (10, 7, 4)),
    ("dice", (10, 7), (10, 7)),
    (lambda y_true, y_pred: 0.0, (10,), (3, 4)),
]


@pytest.mark.parametrize(("loss", "true", "pred"), FITTING)
def test_fitting_shapes(loss, true, pred):
    assert losses.target_problem(loss, true, pred) is None


MESSAGES = [
    (
        ("binary_crossentropy", (10,), (10, 16)),
        """binary_crossentropy got targets (10,) for outputs (10, 16).
  received   targets (10,), outputs (10, 16)
  expected   targets (10, 16), one for each output
  because    the shapes meet only by repetition: each target against all 16 outputs of its sample
  to mend    give targets of shape (10, 16), or let the model end in Dense(1); class numbers go with
             sparse_categorical_crossentropy
             config.set_shape_policy("legacy") repeats them, as Keras 2 did""",
    ),
    (
        (losses.MeanSquaredError(), (10, 1), (10, 16)),
        """mean_squared_error got targets (10, 1) for outputs (10, 16).
  received   targets (10, 1), outputs (10, 16)
  expected   targets (10, 16), one for each output
  because    the shapes meet only by repetition: each target against all 16 outputs of its sample
  to mend    give targets of shape (10, 16), or let the model end in Dense(1)
             config.set_shape_policy("legacy") repeats them, as Keras 2 did""",
    ),
    (
        ("mae", (8, 3), (10, 3)),
        """mean_absolute_error got targets (8, 3) for outputs (10, 3).
  received   targets (8, 3), outputs (10, 3)
  expected   targets (10, 3), one for each output
  because    axis 0 counts samples: 8 in the targets, 10 in the outputs
  to mend    give targets of shape (10, 3)""",
    ),
    (
        ("huber", (None, 4, 3), (None, 3)),
        """huber got targets (None, 4, 3) for outputs (None, 3).
  received   targets (None, 4, 3), outputs (None, 3)
  expected   targets (None, 3), one for each output
  because    the shapes meet only by repetition: both would be stretched to (None, 4, 3)
  to mend    give targets of shape (None, 3)
             config.set_shape_policy("legacy") repeats them, as Keras 2 did""",
    ),
    (
        (losses.CategoricalCrossentropy(), (32,), (32, 10)),
        """categorical_crossentropy got targets (32,) for outputs (32, 10).
  received   targets (32,), outputs (32, 10)
  expected   targets (32, 10), a one-hot row of 10 for each sample
  because    the targets look like class numbers, and categorical_crossentropy compares
             distributions over 10 classes
  to mend    use sparse_categorical_crossentropy, or utils.to_categorical(y, 10)""",
    ),
    (
        ("categorical_crossentropy", (32, 9), (32, 10)),
        """categorical_crossentropy got targets (32, 9) for outputs (32, 10).
  received   targets (32, 9), outputs (32, 10)
  expected   targets (32, 10), one for each output
  because    axis 1 is 9 in the targets and 10 in the outputs
  to mend    give targets of shape (32, 10)""",
    ),
    (
        ("sparse_categorical_crossentropy", (32, 10), (32, 10)),
        """sparse_categorical_crossentropy got targets (32, 10) for outputs (32, 10).
  received   targets (32, 10), outputs (32, 10)
  expected   targets (32,), a class number below 10 for each
  because    the targets have the outputs' shape: they look one-hot, and here each is one class
             number
  to mend    use categorical_crossentropy, or give the class numbers: y.argmax(axis=-1)""",
    ),
    (
        ("sparse_categorical_crossentropy", (32, 7), (32, 10)),
        """sparse_categorical_crossentropy got targets (32, 7) for outputs (32, 10).
  received   targets (32, 7), outputs (32, 10)
  expected   targets (32,), a class number below 10 for each
  because    the targets have rank 2 and the outputs without their class axis rank 1
  to mend    give targets of shape (32,)""",
    ),
]


@pytest.mark.parametrize(("case", "message"), MESSAGES, ids=[f"{c[1]}-{c[2]}" for c, _ in MESSAGES])
def test_messages(case, message):
    loss, true, pred = case
    problem = losses.target_problem(loss, true, pred)
    assert type(problem) is ShapeError
    assert str(problem) == message
    if None not in true + pred:
        with pytest.raises(ShapeError) as raised:
            losses.get(loss)(np.zeros(true), np.ones(pred))
        assert str(raised.value) == message


@pytest.fixture
def legacy(monkeypatch):
    monkeypatch.setitem(config._settings, "shape_policy", "default")  # what comes back after the test
    config.set_shape_policy("legacy")


@pytest.mark.usefixtures("legacy")
def test_legacy_repeats_with_a_warning():
    y_true, y_pred = BITS[:, 0], CHANCES
    assert losses.target_problem("binary_crossentropy", y_true.shape, y_pred.shape) is None
    with pytest.warns(ShapeWarning, match="each target against all 5 outputs"):
        value = losses.BinaryCrossentropy()(y_true, y_pred)
    assert_agree(value, keras.losses.BinaryCrossentropy()(np.repeat(y_true[:, None], 5, 1), y_pred))
    with pytest.raises(ShapeError):  # Keras 2 could not either
        losses.binary_crossentropy(y_true[:5], y_pred)
    with pytest.raises(ShapeError, match="look like class numbers"):
        losses.categorical_crossentropy(y_true, y_pred)
    with pytest.warns(ShapeWarning, match="cannot weigh"):
        losses.MeanSquaredError()(np.ones((5, 5, 2)), np.ones((5, 5, 2)), sample_weight=np.ones(5))


def test_weights_that_do_not_fit():
    with pytest.raises(ShapeError) as raised:
        losses.MeanSquaredError()(np.ones((5, 5, 2)), np.ones((5, 5, 2)), sample_weight=np.ones(5))
    assert str(raised.value) == (
        "sample_weight (5,) cannot weigh values (5, 5).\n"
        "  received   sample_weight (5,), values (5, 5)\n"
        "  expected   sample_weight (5, 5), or 1 in place of an axis whose entries share a weight\n"
        "  because    a weight belongs to the value at its own place; it is not repeated along an axis it\n"
        "             does not have\n"
        "  to mend    for one weight a sample, give shape (5, 1)"
    )


def test_one_class():
    with pytest.warns(ShapeWarning, match="outputs of one class"):
        losses.categorical_crossentropy([[1.0]], [[0.5]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses.binary_crossentropy([[1.0]], [[0.5]])


def test_kinds():
    shapes = [((8,), (8, 1)), ((8, 1), (8, 1)), ((8,), (8, 5)), ((8, 1), (8, 5)), ((8, 5), (8, 5)), ((8, 3), (8, 3, 5))]
    assert [losses.output_kind(*pair) for pair in shapes] == [
        "binary",
        "binary",
        *["sparse"] * 2,
        "categorical",
        "sparse",
    ]
    assert losses.crossentropy_for((8, 5), (8, 5)) is losses.categorical_crossentropy


def test_weights_stretch_to_a_mask():
    outputs = torch.tensor(POINTS).reshape(2, 3, 5)
    outputs._keras_mask = torch.tensor([[True, True, False], [True, False, False]])
    loss = losses.MeanSquaredError()
    full = loss(POINTS_TRUE.reshape(2, 3, 5), outputs, np.repeat([[0.5], [2.0]], 3, 1))
    assert_agree(loss(POINTS_TRUE.reshape(2, 3, 5), outputs, np.array([[0.5], [2.0]])), full)
    assert_agree(loss(POINTS_TRUE.reshape(2, 3, 5), outputs, 1.0), loss(POINTS_TRUE.reshape(2, 3, 5), outputs))
