"""Captured steps: equal to eager ones to the bit, never stale, and refused with a reason where Python matters."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
import torch

import lamina
from captured_training import (
    BATCH,
    BINARY,
    CHANGES,
    CLASSES,
    LAYERS,
    ONE_HOT,
    OPTIMIZERS,
    SAMPLES,
    X,
    assert_same_state,
    dense,
    everything,
    numbers,
    trained,
)
from each_layer import EACH_LAYER, model_around
from lamina import layers, losses, metrics, optimizers
from lamina.training import capture
from narrow import narrow
from zoo_parity import MODELS


@pytest.fixture(autouse=True)
def captures_soon(monkeypatch):
    monkeypatch.setattr(capture, "_WARM_STEPS", {True: 1, "auto": 1})


def assert_same(build, captured=True, **options):
    """Trains captured and eagerly, and compares to the bit."""
    model, history, state, scores, following = trained(build, "auto", **options)
    _, plain_history, plain_state, plain_scores, plain_following = trained(build, False, **options)
    np.testing.assert_equal(history, plain_history)
    assert_same_state(state, plain_state)
    np.testing.assert_equal(scores, plain_scores)
    assert torch.equal(following, plain_following), "another number of random numbers was drawn"
    assert bool(model.captured_step.fit.shapes) is captured, str(model.captured_step)
    return model


def test_a_perceptron_is_captured_for_both_sizes_of_batches():
    model = assert_same(dense, compiled=lambda: {"metrics": ["accuracy"], "loss": "binary_crossentropy"})
    assert model.captured_step.fit.shapes == ["(8, 4), (8, 1)", "(4, 4), (4, 1)"]
    assert model.captured_step.evaluate.reason is None
    assert "captured" in str(model.captured_step)


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    assert_same(LAYERS[name])


def test_masks_and_embeddings():
    def build():
        x = layers.Input((5,), dtype="int32")
        y = layers.Embedding(7, 4, mask_zero=True)(x)
        return lamina.Model(x, layers.Dense(3)(layers.Dropout(0.2)(y)))

    x, y = numbers(SAMPLES, 5, kind=7), numbers(SAMPLES, 5, 3)
    assert_same(build, x=x, y=y, compiled=lambda: {"metrics": ["mae"], "weighted_metrics": ["mse"]})


def test_several_inputs_and_outputs():
    def build():
        a, b = layers.Input((4,), name="a"), layers.Input((3,), name="b")
        joined = layers.Concatenate()([layers.Dense(5)(a), b])
        return lamina.Model(
            {"a": a, "b": b}, [layers.Dense(1, name="one")(joined), layers.Dense(3, "softmax", name="two")(joined)]
        )

    def compiled():
        chosen = {"one": "mse", "two": "sparse_categorical_crossentropy"}
        return {"loss": chosen, "loss_weights": {"one": 0.5, "two": 2.0}, "metrics": {"two": ["accuracy"]}}

    assert_same(build, x={"a": X, "b": numbers(SAMPLES, 3)}, y=[BINARY, CLASSES], compiled=compiled)


LOSSES = sorted(
    {thing.__name__ for thing in vars(losses).values() if isinstance(thing, type) and issubclass(thing, losses.Loss)}
    - {"Loss", "LossFunctionWrapper", "CTC"}
)


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    y = CLASSES if name.startswith("Sparse") or "Generalized" in name else ONE_HOT
    compiled = lambda: {"loss": getattr(losses, name)()}  # noqa: E731
    weights = numbers(SAMPLES, kind="uniform")
    build = lambda: dense(units=3, activation="softmax")  # noqa: E731
    assert_same(build, y=y, compiled=compiled, sample_weight=None if name in ("Tversky", "Dice") else weights)


METRICS = {
    "accuracies": ["accuracy", metrics.BinaryAccuracy(), "mae", metrics.CosineSimilarity()],
    "confusion": [metrics.Precision(), metrics.Recall(), metrics.AUC(num_thresholds=20)],
    "top": [
        metrics.TopKCategoricalAccuracy(2),
        metrics.RootMeanSquaredError(),
        metrics.MeanIoU(3, sparse_y_true=False, sparse_y_pred=False),
    ],
}


@pytest.mark.parametrize("name", METRICS)
def test_metrics(name):
    def compiled():
        fresh = [one if isinstance(one, str) else type(one).from_config(one.get_config()) for one in METRICS[name]]
        return {"metrics": fresh, "weighted_metrics": ["mse"], "loss": "categorical_crossentropy"}

    weights = {"sample_weight": numbers(SAMPLES, kind="uniform")}
    assert_same(lambda: dense(units=3, activation="softmax"), y=ONE_HOT, compiled=compiled, **weights)


def test_class_weights_and_validation():
    options = {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5}, "validation_data": (X[:10], CLASSES[:10])}
    compiled = lambda: {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}  # noqa: E731
    assert_same(lambda: dense(units=3, activation="softmax"), y=CLASSES, compiled=compiled, **options)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    assert_same(dense, compiled=lambda: {"optimizer": OPTIMIZERS[name]()})


def test_a_users_optimizer():
    class Plain(optimizers.Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, learning_rate * gradient)

    assert_same(dense, compiled=lambda: {"optimizer": Plain(0.1)})


@pytest.mark.parametrize("name", EACH_LAYER)
def test_captured_and_eager_agree_on_every_layer(name):
    build, x = model_around(name, SAMPLES)
    assert_same(build, x=x, epochs=3, captured=name != "Lambda")  # a function's Python might do anything


def operators():
    x = layers.Input((4,))
    one, other = layers.Dense(3)(x), layers.Dense(3, "tanh")(x)
    return lamina.Model(x, layers.Dense(1)((one + other) * one - 2 * other))


def test_captured_and_eager_agree_on_operators():
    assert_same(operators)


@pytest.mark.parametrize("name", MODELS)
def test_captured_and_eager_agree_on_every_application(name):
    results = []
    for jit_compile in ("auto", False):
        lamina.utils.set_random_seed(3)
        model = narrow(name)
        model.compile(optimizers.SGD(0.01, momentum=0.9), "mse", jit_compile=jit_compile)
        x, y = numbers(4, *model.input_shape[1:], kind="uniform"), numbers(4, *model.output_shape[1:])
        scores = [model.train_on_batch(x, y) for _ in range(4)]
        results.append((scores, everything(model)))
        assert bool(model.captured_step.fit.shapes) is (jit_compile == "auto"), str(model.captured_step)
    (scores, state), (plain_scores, plain_state) = results
    assert len(set(scores)) == 4
    np.testing.assert_equal(scores, plain_scores)
    assert_same_state(state, plain_state)


# Nothing stale.


def assert_same_after(change, build=dense, compiled=None):
    """Trains, changes the model, trains on: captured and eagerly."""
    results = []
    for jit_compile in ("auto", False):
        model, *_ = trained(build, jit_compile, compiled=compiled)
        change(model)
        model.fit(X, BINARY, batch_size=BATCH, epochs=3, verbose=0)
        results.append(everything(model))
        assert bool(model.captured_step.fit.shapes) is (jit_compile == "auto")
    assert_same_state(*results)


@pytest.mark.parametrize("name", CHANGES)
def test_changes_between_fits(name):
    assert_same_after(CHANGES[name], lambda: dense(layers.Dropout(0.4)))


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_train_batch_end"])
def test_changes_by_callbacks(hook):
    class Anneal(lamina.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.calls = 0

    def change(self, *args):
        self.calls += 1
        if self.calls == 3:
            self.model.layers[1].rate = 0.1
            self.model.optimizer.learning_rate = 0.05

    setattr(Anneal, hook, change)
    results = [trained(lambda: dense(layers.Dropout(0.6)), jit, callbacks=[Anneal()])[2] for jit in ("auto", False)]
    assert_same_state(*results)


def test_compile_and_trainable():
    model, *_ = trained(dense, "auto")
    frozen = model.layers[0].kernel.detach().clone()
    model.layers[0].trainable = False
    model.compile("sgd", "mae")
    assert not model.captured_step.fit.shapes
    model.fit(X, BINARY, batch_size=BATCH, epochs=3, verbose=0)
    assert model.captured_step.fit.shapes
    assert torch.equal(model.layers[0].kernel.detach(), frozen)


def test_trainable_without_compile():
    results = []
    for jit_compile in ("auto", False):
        model, *_ = trained(dense, jit_compile)
        model.layers[0].trainable = False
        model.fit(X, BINARY, batch_size=BATCH, epochs=3, verbose=0)
        results.append(everything(model))
    assert_same_state(*results)


def test_what_changes_at_every_step_is_given_up():
    class Restless(lamina.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.layers[1].rate = 0.1 + 0.01 * batch

    model = trained(lambda: dense(layers.Dropout(0.6)), "auto", epochs=20, callbacks=[Restless()])[0]
    assert "changes again and again" in model.captured_step.fit.reason


# Refusals.


class Twice(layers.Layer):
    def call(self, x):
        return x * 2


class OwnStep(lamina.Sequential):
    def train_step(self, data):
        return super().train_step(data)


def with_hook():
    model = dense()
    model.layers[0].register_forward_hook(lambda *args: None)
    return model


def own_loss(y_true, y_pred):
    return ((y_true - y_pred) ** 2).mean(-1)


REFUSALS = {
    "a class of yours": (lambda: dense(Twice()), None),
    "test_capture": (lambda: dense(layers.Lambda(lambda x: x * 2)), None),
    "train_step()": (lambda: OwnStep([layers.Input((4,)), layers.Dense(1)]), None),
    "a hook watches Dense": (with_hook, None),
    "own_loss": (dense, lambda: {"loss": own_loss}),
    "run_eagerly=True": (dense, lambda: {"run_eagerly": True}),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_what_runs_eagerly_says_why(reason):
    build, compiled = REFUSALS[reason]
    model = assert_same(build, captured=False, compiled=compiled)
    assert reason in model.captured_step.fit.reason
    assert f"runs eagerly: {model.captured_step.fit.reason}" in str(model.captured_step)


def test_asked_for_a_users_layer_is_captured():
    model, _, state, *_ = trained(lambda: dense(Twice()), True)
    assert model.captured_step.fit.shapes
    plain = trained(lambda: dense(Twice()), False)[2]
    assert_same_state(state, plain)


class Around(lamina.Model):
    """A model without a graph: nothing tries its layers on symbols."""

    def __init__(self, layer):
        super().__init__()
        self.first, self.layer, self.last = layers.Dense(6), layer, layers.Dense(1)

    def call(self, x):
        return self.last(self.layer(self.first(x)))


class Decides(layers.Layer):
    def call(self, x):
        return x * 2 if x.sum() > 0 else x


class Masks(layers.Layer):
    def call(self, x):
        return x * x[x > 0].mean()


class ReadsNumpy(layers.Layer):
    def call(self, x):
        return x * float(x.detach().numpy().max())


class Draws(layers.Layer):
    def call(self, x):
        return x + torch.rand(x.shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (Decides, "float(), int() or bool()"),
        (Masks, "hangs on the numbers"),
        (ReadsNumpy, "numpy"),
        (Draws, "random generator"),
    ],
)
def test_asked_for_what_cannot_be_captured_warns(layer, reason):
    with pytest.warns(UserWarning, match="jit_compile=True: fit runs eagerly"):
        model, _, state, *_ = trained(lambda: Around(layer()), True)
    assert reason in model.captured_step.fit.reason
    plain = trained(lambda: Around(layer()), False)[2]
    assert_same_state(state, plain)


def test_jit_compile_is_one_of_three():
    with pytest.raises(ValueError, match="jit_compile is True, False or"):
        dense().compile("sgd", "mse", jit_compile="always")


# Errors, copies, memory.


def embedding():
    return lamina.Sequential(
        [
            layers.Input((2,), dtype="int32"),
            layers.Embedding(5, 3, name="rows"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )


def test_an_error_in_a_captured_step_is_the_eager_one():
    messages, states = [], []
    for jit_compile in ("auto", False):
        x = numbers(SAMPLES, 2, kind=5)
        model, *_ = trained(embedding, jit_compile, x=x)
        assert bool(model.captured_step.fit.shapes) is (jit_compile == "auto")
        bad = x.clone()
        bad[20] = 99
        with pytest.raises(Exception, match="rows 0 to 4") as caught:
            model.fit(bad, BINARY, batch_size=BATCH, shuffle=False, verbose=0)
        messages.append((type(caught.value), str(caught.value)))
        states.append(everything(model))
    assert messages[0] == messages[1]
    assert_same_state(*states)


def test_copies_and_pickles_capture_for_themselves():
    model, *_ = trained(dense, "auto")
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        before = everything(model)
        twin.compile("sgd", "mse")
        twin.fit(X, BINARY, batch_size=BATCH, epochs=3, verbose=0)
        assert twin.captured_step.fit.shapes
        assert_same_state(before, everything(model))


def test_programs_are_few_and_freed_with_the_model():
    model = dense()
    model.compile("sgd", "mse")
    for batch in range(3, 23):
        model.fit(X, BINARY, batch_size=batch, epochs=3, verbose=0)
    assert len(model.captured_step.fit.shapes) <= 8
    program = weakref.ref(next(iter(model.captured_step.fit._programs.values())))
    del model
    gc.collect()
    assert program() is None


def test_many_steps_leave_nothing_behind():
    def tensors():
        gc.collect()
        return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())

    model, *_ = trained(lambda: dense(layers.Dropout(0.5)), "auto")
    before = tensors()
    model.fit(X, BINARY, batch_size=BATCH, epochs=250, verbose=0)
    assert tensors() <= before


def test_versions_of_weights_count_on():
    model, *_ = trained(dense, "auto")
    before = [weight._version for weight in model.trainable_weights]
    model.fit(X, BINARY, batch_size=BATCH, verbose=0)
    assert all(weight._version > version for weight, version in zip(model.trainable_weights, before, strict=True))
    assert all(weight.grad is not None for weight in model.trainable_weights)
