"""Training beside Keras: the same weights and data give the same logs, history and weights."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import lamina

RNG = np.random.default_rng(0)
X = RNG.normal(size=(22, 4)).astype("float32")  # 22 samples in batches of 8: the last batch is uneven
ONE = RNG.normal(size=(22, 1)).astype("float32")
BINARY = RNG.integers(0, 2, (22, 1))
CLASSES = RNG.integers(0, 3, 22)
ONE_HOT = np.eye(3, dtype="float32")[CLASSES]
WEIGHTS = RNG.uniform(0.2, 2.0, 22).astype("float32")


def perceptron(k, units=1, activation=None, **hidden):
    return k.Sequential(
        [
            k.Input((4,)),
            k.layers.Dense(5, "relu", name="hidden", **hidden),
            k.layers.Dense(units, activation, name="out"),
        ]
    )


def two_heads(k, as_dict=False):
    x = k.Input((4,), name="x")
    h = k.layers.Dense(5, "tanh", name="hidden")(x)
    a = k.layers.Dense(1, name="a")(h)
    b = k.layers.Dense(3, "softmax", name="b")(h)
    return k.Model(x, {"a": a, "b": b} if as_dict else [a, b])


def settings(keras_module, make):
    """The arguments of a call for one of both libraries."""
    return make(keras_module) if callable(make) else dict(make)


def beside(keras, build, compile_args, fit_args, epochs=2, tolerance=2e-4):
    """Trains with both libraries from the same weights and compares history, weights and `evaluate`; both models."""
    found = {}
    ours, theirs = build(lamina), build(keras)
    if ours.built:
        start = [RNG.normal(size=w.shape).astype("float32") * 0.5 for w in ours.get_weights()]
        start = [np.abs(w) for w in start] if any("variance" in w.path for w in ours.weights) else start
        ours.set_weights(start)
        theirs.set_weights(start)
    for k, model in ((lamina, ours), (keras, theirs)):
        model.compile(**{"optimizer": k.optimizers.SGD(0.1), **settings(k, compile_args)})
        given = {"batch_size": 8, "epochs": epochs, "shuffle": False, "verbose": 0, **settings(k, fit_args)}
        found[k] = model.fit(**given)
    same_history(found[lamina], found[keras], tolerance)
    for mine, wanted in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=tolerance, atol=tolerance)
    assert [metric.name for metric in ours.metrics] == [metric.name for metric in theirs.metrics]
    if fit_args.get("y") is not None:
        data = {name: fit_args[name] for name in ("x", "y", "sample_weight") if name in fit_args}
        values = ours.evaluate(**data, batch_size=8, verbose=0)
        assert len(ours.metrics_names) == np.size(values)
        wanted = theirs.evaluate(**data, batch_size=8, verbose=0)
        if np.size(wanted) == np.size(values):  # Keras lists each of two metrics with one name twice
            np.testing.assert_allclose(values, wanted, rtol=tolerance, atol=tolerance)
    return ours, theirs


def same_history(ours, theirs, tolerance=2e-4):
    assert sorted(ours.history) == sorted(theirs.history)
    assert ours.epoch == theirs.epoch
    for name, wanted in theirs.history.items():
        np.testing.assert_allclose(ours.history[name], wanted, rtol=tolerance, atol=tolerance, err_msg=name)


def custom_loss(y_true, y_pred):
    return (y_true - y_pred) ** 4


def distance(y_true, y_pred):
    return abs(y_true - y_pred)


SINGLE = {
    "strings": (1, None, lambda k: {"loss": "mse", "metrics": ["mae", "mse"], "optimizer": "sgd"}, ONE),
    "classes": (
        1,
        None,
        lambda k: {"loss": k.losses.Huber(), "metrics": [k.metrics.MeanAbsoluteError(name="gap")]},
        ONE,
    ),
    "functions": (
        1,
        None,
        lambda k: {"loss": custom_loss, "metrics": [distance, k.metrics.mean_squared_error]},
        ONE,
    ),
    "one_metric": (1, None, lambda k: {"loss": "mean_absolute_error", "metrics": ["mse"]}, ONE),
    "adam": (1, None, lambda k: {"loss": "mse", "optimizer": k.optimizers.Adam(0.01)}, ONE),
    "binary": (
        1,
        "sigmoid",
        lambda k: {"loss": "binary_crossentropy", "metrics": ["accuracy", "acc", "AUC", "binary_accuracy"]},
        BINARY,
    ),
    "binary_flat": (1, "sigmoid", lambda k: {"loss": "binary_crossentropy", "metrics": ["accuracy"]}, BINARY[:, 0]),
    "sparse": (
        3,
        "softmax",
        lambda k: {"loss": "sparse_categorical_crossentropy", "metrics": ["acc", "accuracy"]},
        CLASSES,
    ),
    "sparse_column": (
        3,
        "softmax",
        lambda k: {"loss": "sparse_categorical_crossentropy", "metrics": ["acc"]},
        CLASSES[:, None],
    ),
    "categorical": (
        3,
        "softmax",
        lambda k: {"loss": "categorical_crossentropy", "metrics": ["accuracy", k.metrics.Precision(name="p")]},
        ONE_HOT,
    ),
    "logits": (
        3,
        None,
        lambda k: {"loss": k.losses.SparseCategoricalCrossentropy(from_logits=True), "metrics": ["accuracy"]},
        CLASSES,
    ),
    "ce_binary": (1, "sigmoid", lambda k: {"loss": "crossentropy"}, BINARY),
    "ce_sparse": (3, "softmax", lambda k: {"loss": "ce", "metrics": ["accuracy"]}, CLASSES),
    "ce_categorical": (3, "softmax", lambda k: {"loss": "crossentropy"}, ONE_HOT),
    "many_binary": (3, "sigmoid", lambda k: {"loss": "binary_crossentropy", "metrics": ["accuracy"]}, ONE_HOT),
    "same_metric_twice": (1, None, lambda k: {"loss": "mse", "metrics": ["mse", "mse", distance, distance]}, ONE),
    "loss_weights": (1, None, lambda k: {"loss": "mse", "loss_weights": 0.5, "metrics": ["mae"]}, ONE),
    "weighted_metrics": (1, None, lambda k: {"loss": "mse", "metrics": ["mae"], "weighted_metrics": ["mae"]}, ONE),
    "lists_of_one": (1, None, lambda k: {"loss": ["mse"], "metrics": [["mae"]], "loss_weights": [0.5]}, ONE),
    "dicts_of_one": (1, None, lambda k: {"loss": "mse", "metrics": {"out": ["mae"]}}, ONE),
    "gradient_accumulation": (
        1,
        None,
        lambda k: {"loss": "mse", "optimizer": k.optimizers.SGD(0.1, gradient_accumulation_steps=2)},
        ONE,
    ),
}


@pytest.mark.parametrize("name", SINGLE)
def test_one_output(keras, name):
    units, activation, compile_args, y = SINGLE[name]
    beside(keras, lambda k: perceptron(k, units, activation), compile_args, {"x": X, "y": y})


@pytest.mark.parametrize("name", ["strings", "binary", "sparse", "weighted_metrics"])
def test_sample_weights(keras, name):
    units, activation, compile_args, y = SINGLE[name]
    data = {"x": X, "y": y, "sample_weight": WEIGHTS, "validation_data": (X[:9], y[:9], WEIGHTS[9:18])}
    beside(keras, lambda k: perceptron(k, units, activation), compile_args, data)


@pytest.mark.parametrize("name", ["sparse", "categorical", "binary"])
def test_class_weights(keras, name):
    units, activation, compile_args, y = SINGLE[name]
    data = {"x": X, "y": y, "class_weight": {0: 0.3, 1: 2.0, 2: 1.5}}
    beside(keras, lambda k: perceptron(k, units, activation), compile_args, data)


HEADS = {
    "lists": {"loss": ["mse", "sparse_categorical_crossentropy"], "metrics": [["mae"], ["accuracy"]]},
    "flat_lists": {"loss": ["mse", "ce"], "metrics": ["mae", "accuracy"]},
    "loss_weights": {"loss": ["mse", "ce"], "loss_weights": [0.5, 2.0], "metrics": [None, ["accuracy"]]},
    "dicts": {
        "loss": {"b": "ce", "a": "mae"},
        "loss_weights": {"a": 0.3, "b": 1.0},
        "metrics": {"b": "accuracy", "a": ["mse", "mae"]},
        "weighted_metrics": {"b": ["accuracy"]},
    },
    "one_loss_for_one": {"loss": {"a": "mse", "b": None}, "metrics": {"a": ["mae"]}},
    "none": {"loss": [None, "ce"], "metrics": [["mae"], []]},
}


@pytest.mark.parametrize(
    ("name", "as_dict"), [(name, False) for name in HEADS] + [("dicts", True), ("one_loss_for_one", True)]
)
@pytest.mark.filterwarnings("ignore:The loss depends not on", "ignore:Gradients do not exist")
def test_several_outputs(keras, name, as_dict):
    given = HEADS[name]
    y = {"a": ONE, "b": CLASSES} if as_dict else [ONE, CLASSES]
    data = {"x": X, "y": y, "validation_data": (X[:9], _first(y, 9))}
    beside(keras, lambda k: two_heads(k, as_dict), given, data)


def _first(y, count):
    return {n: v[:count] for n, v in y.items()} if isinstance(y, dict) else [v[:count] for v in y]


def test_sample_weights_per_output(keras):
    given = {**HEADS["lists"], "weighted_metrics": [["mae"], ["accuracy"]]}
    data = {"x": X, "y": [ONE, CLASSES], "sample_weight": [WEIGHTS, WEIGHTS[::-1].copy()]}
    beside(keras, two_heads, given, data)


def test_regularizers_and_activity(keras):
    def build(k):
        return perceptron(
            k, kernel_regularizer=k.regularizers.L2(0.1), bias_regularizer="l1", activity_regularizer="l2"
        )

    beside(keras, build, {"loss": "mse", "metrics": ["mae"]}, {"x": X, "y": ONE, "validation_data": (X[:9], ONE[:9])})


def test_add_loss(keras):
    def build(k):
        class Penalty(k.layers.Layer):
            def call(self, x):
                self.add_loss(0.3 * k.ops.mean(k.ops.square(x)))
                return x

        return k.Sequential([k.Input((4,)), k.layers.Dense(3), Penalty(), k.layers.Dense(1)])

    beside(keras, build, {"loss": "mse"}, {"x": X, "y": ONE})


def test_only_added_losses(keras):
    def build(k):
        return k.Sequential([k.Input((4,)), k.layers.Dense(3, activity_regularizer="l2")])

    beside(keras, build, {}, {"x": X})


def test_frozen_layer(keras):
    def build(k):
        model = perceptron(k)
        model.layers[0].trainable = False
        return model

    ours, _ = beside(keras, build, {"loss": "mse"}, {"x": X, "y": ONE})
    assert len(ours.trainable_weights) == 2


def test_batch_normalization(keras):
    def build(k):
        return k.Sequential([k.Input((4,)), k.layers.Dense(3), k.layers.BatchNormalization(), k.layers.Dense(1)])

    beside(keras, build, {"loss": "mse"}, {"x": X, "y": ONE, "validation_data": (X, ONE)}, tolerance=1e-3)


FITS = {
    "validation_split": {"validation_split": 0.3},
    "validation_freq": {"validation_split": 0.3, "validation_freq": 2, "epochs": 4},
    "validation_list": {"validation_split": 0.3, "validation_freq": [1, 3], "epochs": 3},
    "initial_epoch": {"initial_epoch": 2, "epochs": 4},
    "steps": {"steps_per_epoch": 2, "batch_size": 5},
    "validation_steps": {"validation_data": (X, ONE), "validation_steps": 1, "validation_batch_size": 5},
    "default_batch": {"batch_size": None},
}


@pytest.mark.parametrize("name", FITS)
def test_fit_arguments(keras, name):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="keras")
        beside(keras, perceptron, {"loss": "mse", "metrics": ["mae"]}, {"x": X, "y": ONE, **FITS[name]})
