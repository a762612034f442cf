"""Metrics against Keras: values over batches, weights, masks, configs; and the life of their state."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import copy
import pickle

import keras
import numpy as np
import pytest
import torch

from agreement import assert_agree
from lamina import losses, metrics
from lamina.base import config, names
from lamina.base.errors import ShapeError, ShapeWarning
from lamina.engine.variable import Variable

RNG = np.random.default_rng(1)
POINTS_TRUE, POINTS = RNG.normal(size=(2, 12, 4)).astype("float32")
BITS = RNG.integers(0, 2, (12, 4)).astype("float32")
CHANCES = RNG.uniform(size=(12, 4)).astype("float32")
CHANCES[0] = [0.0, 1.0, 0.5, 0.25]  # on thresholds
CLASSES = RNG.integers(0, 4, (12,))
ONE_HOT = np.eye(4, dtype="float32")[CLASSES]
DISTRIBUTION = CHANCES / CHANCES.sum(-1, keepdims=True)
WEIGHTS = RNG.uniform(0.0, 2.0, (12,)).astype("float32")

REGRESSION, POSITIVE = (POINTS_TRUE, POINTS), (np.abs(POINTS_TRUE), np.abs(POINTS))
BINARY, LOGITS = (BITS, CHANCES), (BITS, POINTS)
CATEGORICAL, SPARSE = (ONE_HOT, CHANCES), (CLASSES, CHANCES)
COLUMN = (BITS[:, :1], CHANCES[:, :1])

CASES = [
    ("MeanSquaredError", {}, REGRESSION),
    ("RootMeanSquaredError", {}, REGRESSION),
    ("MeanAbsoluteError", {}, REGRESSION),
    ("MeanAbsolutePercentageError", {}, REGRESSION),
    ("MeanSquaredLogarithmicError", {}, POSITIVE),
    ("LogCoshError", {}, REGRESSION),
    ("CosineSimilarity", {}, REGRESSION),
    ("PearsonCorrelation", {}, REGRESSION),
    ("ConcordanceCorrelation", {}, REGRESSION),
    ("R2Score", {}, REGRESSION),
    ("R2Score", {"class_aggregation": None}, REGRESSION),
    ("R2Score", {"class_aggregation": "variance_weighted_average", "num_regressors": 2}, REGRESSION),
    ("Hinge", {}, LOGITS),
    ("SquaredHinge", {}, LOGITS),
    ("CategoricalHinge", {}, CATEGORICAL),
    ("KLDivergence", {}, (ONE_HOT, DISTRIBUTION)),
    ("Poisson", {}, POSITIVE),
    ("BinaryCrossentropy", {}, BINARY),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, LOGITS),
    ("CategoricalCrossentropy", {}, CATEGORICAL),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, (ONE_HOT, POINTS)),
    ("SparseCategoricalCrossentropy", {}, SPARSE),
    ("SparseCategoricalCrossentropy", {"from_logits": True, "ignore_class": 2}, (CLASSES, POINTS)),
    ("Accuracy", {}, (CLASSES, np.roll(CLASSES, 1))),
    ("Accuracy", {}, (CLASSES[:, None], np.where(CLASSES == 1, 0, CLASSES)[:, None])),
    ("BinaryAccuracy", {}, BINARY),
    ("BinaryAccuracy", {"threshold": 0.2}, COLUMN),
    ("CategoricalAccuracy", {}, CATEGORICAL),
    ("SparseCategoricalAccuracy", {}, SPARSE),
    ("SparseCategoricalAccuracy", {}, (CLASSES[:, None], CHANCES)),
    ("TopKCategoricalAccuracy", {"k": 2}, CATEGORICAL),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, SPARSE),
    (
        "SparseTopKCategoricalAccuracy",
        {"k": 2, "from_sorted_ids": True},
        (CLASSES, CHANCES.argsort(-1).astype("float32")),
    ),
    *(
        (name, arguments, BINARY)
        for name in ("TruePositives", "FalsePositives", "TrueNegatives", "FalseNegatives")
        for arguments in ({}, {"thresholds": [0.3, 0.7]}, {"thresholds": 0.25})
    ),
    *(
        (name, arguments, BINARY)
        for name in ("Precision", "Recall")
        for arguments in (
            {},
            {"thresholds": 0.3},
            {"thresholds": [0.9, 0.1, 0.5]},
            {"thresholds": [0.0, 0.25, 0.5, 0.75, 1.0]},
            {"top_k": 2},
            {"class_id": 1},
            {"top_k": 2, "class_id": 3},
            {"thresholds": [0.1, 0.6], "top_k": 1},
        )
    ),
    ("Precision", {}, COLUMN),
    ("Recall", {}, (BITS[:, 0], CHANCES[:, 0])),
    ("AUC", {}, COLUMN),
    ("AUC", {"num_thresholds": 2}, BINARY),
    ("AUC", {"thresholds": [0.7, 0.25, 0.5]}, BINARY),
    ("AUC", {"thresholds": [0.25, 0.5, 0.75]}, BINARY),
    ("AUC", {"from_logits": True}, LOGITS),
    ("AUC", {"label_weights": [0.25, 0.5, 1.0, 2.0]}, BINARY),
    *(
        ("AUC", {"curve": curve, "summation_method": method, "num_thresholds": 11}, BINARY)
        for curve in ("ROC", "PR", "PRGAIN")
        for method in ("interpolation", "minoring", "majoring")
    ),
    *(
        ("AUC", {"multi_label": True, "num_thresholds": 11, **more}, BINARY)
        for more in (
            {},
            {"curve": "PR"},
            {"num_labels": 4},
            {"label_weights": [0.25, 0.5, 1.0, 2.0]},
            {"curve": "PR", "label_weights": [1, 2, 3, 4]},
            {"thresholds": [0.2, 0.55]},
        )
    ),
    ("SensitivityAtSpecificity", {"specificity": 0.6}, BINARY),
    ("SpecificityAtSensitivity", {"sensitivity": 0.6, "num_thresholds": 1}, BINARY),
    ("PrecisionAtRecall", {"recall": 0.4, "class_id": 2}, BINARY),
    ("RecallAtPrecision", {"precision": 0.5, "num_thresholds": 20}, BINARY),
    *(
        ("FBetaScore", {"average": average, "beta": 2.0, **more}, BINARY)
        for average in (None, "micro", "macro", "weighted")
        for more in ({}, {"threshold": 0.4})
    ),
    ("F1Score", {"average": "macro"}, CATEGORICAL),
    ("IoU", {"num_classes": 4, "target_class_ids": [0, 2]}, (CLASSES, np.roll(CLASSES, 1))),
    ("MeanIoU", {"num_classes": 4, "ignore_class": 1, "dtype": "float32"}, (CLASSES, np.roll(CLASSES, 1))),
    ("MeanIoU", {"num_classes": 4, "sparse_y_pred": False, "dtype": "float32"}, SPARSE),
    ("BinaryIoU", {"threshold": 0.4, "dtype": "float32"}, BINARY),
    ("OneHotIoU", {"num_classes": 4, "target_class_ids": [1], "dtype": "float32"}, CATEGORICAL),
    ("OneHotMeanIoU", {"num_classes": 4, "dtype": "float32"}, CATEGORICAL),
]
IDS = [f"{name}-{i}" for i, (name, _, _) in enumerate(CASES)]
# IoU counts in integers here, and BinaryIoU wants a weight for every entry.
UNWEIGHTED = {"IoU", "BinaryIoU"}


def both(name, **arguments):
    return getattr(metrics, name)(**arguments), getattr(keras.metrics, name)(**arguments)


def over_batches(metric, data, weights):
    for part in (slice(0, 5), slice(5, 12)):
        y_true, y_pred = (torch.tensor(array[part]) for array in data)
        metric.update_state(y_true, y_pred, sample_weight=None if weights is None else torch.tensor(weights[part]))
    return metric.result()


@pytest.mark.parametrize(("name", "arguments", "data"), CASES, ids=IDS)
def test_value(name, arguments, data):
    assert_agree(*(over_batches(metric, data, None) for metric in both(name, **arguments)), rtol=2e-5)


@pytest.mark.parametrize(("name", "arguments", "data"), [case for case in CASES if case[0] not in UNWEIGHTED])
def test_weighted_value(name, arguments, data):
    assert_agree(*(over_batches(metric, data, WEIGHTS) for metric in both(name, **arguments)), rtol=2e-5)


@pytest.mark.parametrize(("name", "arguments", "data"), CASES, ids=IDS)
def test_config_and_reset(name, arguments, data):
    ours, theirs = both(name, **arguments)
    given, expected = ours.get_config(), theirs.get_config()
    for written in (given, expected):
        written.pop("name")
        if written.get("label_weights") is not None:
            written["label_weights"] = [float(weight) for weight in written["label_weights"]]
    assert given == expected
    twin = metrics.deserialize(metrics.serialize(ours))
    assert type(twin) is type(ours)
    first = over_batches(ours, data, None)
    assert_agree(over_batches(twin, data, None), first)
    ours.reset_state()
    assert all(not variable.any() for variable in ours.variables)
    assert_agree(over_batches(ours, data, None), first)


def test_names_and_variables_like_keras():
    keras.backend.clear_session()
    names.reset_names()
    for name, arguments, _ in CASES:
        ours, theirs = both(name, **arguments)
        assert ours.name == theirs.name
        assert [v.path for v in ours.variables] == [v.path for v in theirs.variables]
        assert [tuple(v.shape) for v in ours.variables] == [tuple(v.shape) for v in theirs.variables]


@pytest.mark.parametrize("name", ["Mean", "Sum"])
@pytest.mark.parametrize(
    ("shape", "weight"),
    [((), None), ((), ()), ((4,), None), ((4,), (4,)), ((4,), ()), ((4,), (4, 1)), ((4, 1), (4,)), ((4, 3), None),
     ((4, 3), (4,)), ((4, 3), (4, 1)), ((4, 3), (4, 3)), ((4, 3, 2), None), ((4, 3, 2), (4,)), ((4, 3, 2), (4, 3)),
     ((0,), None)],
)  # fmt: skip
def test_mean_and_sum(name, shape, weight):
    values = RNG.normal(size=shape).astype("float32")
    weights = None if weight is None else RNG.uniform(size=weight).astype("float32")
    ours, theirs = both(name)
    for _ in range(2):
        ours.update_state(values, sample_weight=weights)
        theirs.update_state(values, sample_weight=weights)
    assert_agree(ours.result(), theirs.result())


@pytest.mark.parametrize("weight", [None, (3, 4)])
def test_mask(weight):
    y_true, y_pred = RNG.integers(0, 5, (3, 4)), RNG.uniform(size=(3, 4, 5)).astype("float32")
    weights = None if weight is None else RNG.uniform(size=weight)
    results = []
    for metric in both("SparseCategoricalAccuracy"):
        outputs = torch.tensor(y_pred)
        outputs._keras_mask = torch.tensor([[True] * 4, [True, False, True, False], [False] * 4])
        results.append(metric(y_true, outputs, sample_weight=weights))
    assert_agree(*results)


@pytest.mark.parametrize("name", ["BinaryAccuracy", "MeanSquaredError", "Precision", "AUC"])
def test_trailing_one(name):
    assert_agree(*(metric(BITS[:, 0], CHANCES[:, :1]) for metric in both(name)))


@pytest.mark.parametrize(
    "name", ["BinaryAccuracy", "CategoricalAccuracy", "TopKCategoricalAccuracy", "MeanAbsoluteError"]
)
@pytest.mark.parametrize("weight", [None, (2, 3)])
def test_sequences(name, weight):
    data = np.eye(6)[RNG.integers(0, 6, (2, 3))].astype("float32"), RNG.uniform(size=(2, 3, 6)).astype("float32")
    weights = None if weight is None else RNG.uniform(size=weight)
    assert_agree(*(metric(*data, sample_weight=weights) for metric in both(name)))


FUNCTIONS = [
    ("binary_accuracy", BINARY), ("categorical_accuracy", CATEGORICAL), ("sparse_categorical_accuracy", SPARSE),
    ("top_k_categorical_accuracy", CATEGORICAL), ("sparse_top_k_categorical_accuracy", SPARSE),
    ("pearson_correlation", REGRESSION), ("concordance_correlation", REGRESSION), ("mean_squared_error", REGRESSION),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data"), FUNCTIONS)
def test_functions(name, data):
    arguments = {"k": 2} if "top_k" in name else {}
    results = [getattr(package, name)(*map(torch.tensor, data), **arguments) for package in (metrics, keras.metrics)]
    assert_agree(*results)


def test_all_names_of_keras():
    assert {name for name in dir(keras.metrics) if not name.startswith("_")} <= set(metrics.__all__)


@pytest.mark.parametrize(
    "name",
    ["mse", "MSE", "mae", "mape", "msle", "bce", "auc", "AUC", "binary_accuracy", "mean_squared_error", "f1_score"],
)
def test_get(name):
    assert type(metrics.get(name)).__name__ == type(keras.metrics.get(name)).__name__


def test_get_of_other_things():
    assert metrics.get(None) is None
    assert metrics.get(metrics.binary_accuracy) is metrics.binary_accuracy
    assert isinstance(metrics.get(metrics.AUC), metrics.AUC)
    with pytest.raises(ValueError, match="Did you mean 'Precision'"):
        metrics.get("Precisions")


def test_wrapper_of_a_function():
    ours = metrics.MeanMetricWrapper(losses.huber, name="mine", delta=0.5)
    theirs = keras.metrics.MeanMetricWrapper(keras.losses.huber, name="mine", delta=0.5)
    assert ours.get_config() == theirs.get_config()
    assert_agree(ours(*REGRESSION), theirs(*REGRESSION))
    assert_agree(metrics.deserialize(metrics.serialize(ours))(*REGRESSION), theirs.result())
    assert ours.delta == 0.5
    with pytest.raises(AttributeError):
        _ = ours.gamma


def test_a_metric_of_ones_own():
    class Both(metrics.Metric):
        def __init__(self, **options):
            super().__init__(**options)
            self.inner = metrics.Mean(name="inner")
            self.parts = [self.add_weight((2,), "ones", name="parts")]
            self.plain = Variable([5.0], trainable=False, name="plain")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.parts[0].assign_add(y_pred.sum(0))
            self.inner.update_state(y_true)

        def result(self):
            return {"inner": self.inner.result(), "sum": self.parts[0].sum()}

    metric = Both(name="both")
    assert [v.path for v in metric.variables] == ["both/parts", "plain", "inner/total", "inner/count"]
    weight = torch.ones(3, 2, requires_grad=True)
    result = metric(torch.ones(3), weight * 2)
    assert result["sum"].item() == 14.0
    assert not result["sum"].requires_grad
    assert Both.from_config(metric.get_config()).name == "both"
    metric.reset_state()
    assert not any(v.any() for v in metric.variables)
    with pytest.raises(NotImplementedError, match="define update_state"):
        metrics.Metric()(1)
    with pytest.raises(NotImplementedError, match="define result"):
        metrics.Metric().result()


def test_forgotten_super():
    class Forgetful(metrics.Metric):
        def __init__(self):
            self.total = self.add_weight()

    with pytest.raises(RuntimeError, match=r"Forgetful.__init__ must call super\(\).__init__\(\) first"):
        Forgetful()


def test_a_result_does_not_change_with_the_state():
    for metric in (metrics.Sum(), metrics.Mean()):
        metric.update_state([1.0])
        first = metric.result()
        metric.update_state([5.0])
        assert first.item() == 1.0
    metric = metrics.TruePositives(thresholds=[0.2, 0.5])
    first = metric([1], [0.9])
    metric.update_state([1], [0.9])
    assert first.tolist() == [1.0, 1.0]


def test_copies():
    metric = metrics.AUC(num_thresholds=5)
    metric.update_state(*COLUMN)
    twin = copy.deepcopy(metric)
    assert_agree(twin.result(), metric.result())
    twin.reset_state()
    assert metric.true_positives.any()
    assert_agree(pickle.loads(pickle.dumps(metric)).result(), metric.result())


def test_half_precision_outputs_count_on():
    many = torch.ones(5000, dtype=torch.float16)
    assert metrics.TruePositives()(many, many).item() == 5000
    assert metrics.BinaryAccuracy()(many, many).item() == 1.0
    assert metrics.FBetaScore(average="micro")(many[:, None], many[:, None]).item() == pytest.approx(1.0)


def test_outputs_that_are_not_numbers():
    broken = torch.tensor([0.9, float("nan")])
    assert metrics.AUC()([1, 0], broken).item() == 1.0
    assert metrics.Precision()([1, 0], broken).item() == 1.0


def test_shapes():
    with pytest.raises(ShapeError, match=r"precision got targets \(12,\) for outputs \(12, 4\)"):
        metrics.Precision(name="precision")(BITS[:, 0], CHANCES)
    with pytest.raises(ShapeError, match="use sparse_categorical_accuracy"):
        metrics.CategoricalAccuracy()(CLASSES, CHANCES)
    with pytest.raises(ShapeError, match="use categorical_accuracy"):
        metrics.SparseCategoricalAccuracy()(ONE_HOT, CHANCES)
    with pytest.raises(ShapeError, match="cannot weigh"):
        metrics.Mean()(np.ones(4), sample_weight=np.ones(3))
    with pytest.raises(ShapeError, match="cannot weigh"):
        metrics.Recall()(*BINARY, sample_weight=np.ones(5))


def test_legacy(monkeypatch):
    monkeypatch.setitem(config._settings, "shape_policy", "default")  # what comes back after the test
    config.set_shape_policy("legacy")
    with pytest.warns(ShapeWarning, match="each target against all 4 outputs"):
        value = metrics.BinaryAccuracy()(BITS[:, 0], CHANCES)
    assert_agree(value, keras.metrics.BinaryAccuracy()(np.repeat(BITS[:, :1], 4, 1), CHANCES))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Precision", {"thresholds": 1.2}),
        ("AUC", {"curve": "RO"}),
        ("AUC", {"num_thresholds": 1}),
        ("AUC", {"num_labels": 3}),
        ("PrecisionAtRecall", {"recall": 2}),
        ("RecallAtPrecision", {"precision": 0.5, "num_thresholds": 0}),
        ("FBetaScore", {"beta": 1}),
        ("FBetaScore", {"average": "mean"}),
        ("F1Score", {"threshold": 1.5}),
        ("IoU", {"num_classes": 2, "target_class_ids": [2]}),
        ("R2Score", {"class_aggregation": "sum"}),
        ("R2Score", {"num_regressors": -1}),
    ],
)
def test_wrong_arguments(name, arguments):
    with pytest.raises(ValueError, match=r"; got |goes with"):
        getattr(metrics, name)(**arguments)


def test_warnings():
    with pytest.warns(UserWarning, match="float weights lose their fractions"):
        metrics.MeanIoU(2)([0, 1], [0, 1], sample_weight=[0.5, 1.5])
    with pytest.warns(UserWarning, match="needs more than 4 values"):
        metrics.R2Score(num_regressors=3)([[1.0], [2.0]], [[1.0], [3.0]])


SHAPES = [((8,), (8, 1)), ((8, 1), (8, 1)), ((8,), (8, 5)), ((8, 1), (8, 5)), ((8, 5), (8, 5)), ((8, 3), (8, 3, 5))]


@pytest.mark.parametrize(("true", "pred"), SHAPES)
def test_accuracy_for(true, pred):
    from keras.src.trainers.compile_utils import get_metric

    ours, theirs = metrics.accuracy_for(true, pred), get_metric("accuracy", np.zeros(true), np.zeros(pred))
    assert (type(ours).__name__, ours.name) == (type(theirs).__name__, theirs.name)
    crossentropy = metrics.crossentropy_for(true, pred, losses.BinaryCrossentropy(from_logits=True))
    assert crossentropy.from_logits
    assert type(crossentropy).__name__.removesuffix("Crossentropy") == type(ours).__name__.removesuffix("Accuracy")
