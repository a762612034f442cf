"""The kernels of oneDNN that a prediction is bound to: what they must not do to anybody else's memory and numbers.

That their numbers are right is held by `test_folding.py`, `test_applications.py` and everything that predicts.
"""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest
import torch

import lamina
from lamina import layers
from lamina.engine import onednn
from lamina.graph.bound_plan import BoundPlan
from lamina.graph.plan import Plan

pytestmark = pytest.mark.skipif(not onednn.available(), reason="onednn-cpu-gomp is for Linux with x86-64")


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def model():
    x = lamina.Input((12, 10, 8))
    y = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    y = layers.Concatenate()([y, layers.Conv2D(8, 1)(y)])
    gate = layers.Dense(24, activation="sigmoid")(layers.Reshape((1, 1, 24))(layers.GlobalAveragePooling2D()(y)))
    y = layers.MaxPooling2D()(layers.Multiply()([y, gate]))
    return lamina.Model(x, layers.Dense(5)(layers.Flatten()(y)))


def plans(model):
    return list(model.graph._folded._plans.values())


def assert_predicts(model, x):
    with torch.no_grad():
        torch.testing.assert_close(model.infer(x), model(x, training=False), rtol=1e-4, atol=1e-5)


def test_they_are_used_and_can_be_left_out(model, monkeypatch):
    x = images(2, 12, 10, 8)
    assert_predicts(model, x)
    assert type(plans(model)[0]) is BoundPlan
    monkeypatch.setattr(onednn, "available", lambda: False)
    model.graph.forget_folded()
    assert_predicts(model, x)
    assert type(plans(model)[0]) is Plan


def test_the_environment_turns_them_off(monkeypatch):
    monkeypatch.setenv("LAMINA_ONEDNN", "0")
    onednn._library.cache_clear()
    try:
        assert not onednn.available()
    finally:
        monkeypatch.undo()
        onednn._library.cache_clear()
    assert onednn.available()


def test_what_was_given_stays_as_it_was(model):
    first, second = images(2, 12, 10, 8), images(2, 12, 10, 8, seed=1)
    with torch.no_grad():
        given = model.infer(first)
        kept = given.clone()
        other = model.infer(second)
    assert torch.equal(given, kept)
    assert not torch.equal(given, other)


def test_inner_outputs_stay_too(model):
    inner = lamina.Model(model.inputs, [layer.output for layer in model.layers if layer.name != "input_layer"])
    with torch.no_grad():
        given = inner.infer(images(2, 12, 10, 8))
        kept = [one.clone() for one in given]
        inner.infer(images(2, 12, 10, 8, seed=1))
    assert all(torch.equal(one, then) for one, then in zip(given, kept, strict=True))


class Keeps(lamina.layers.Layer):
    """A layer that holds on to what it read."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, inputs):
        self.seen.append(inputs)
        return inputs[..., ::2]


def test_a_layer_of_the_users_may_hold_what_it_read():
    x = lamina.Input((6, 6, 4))
    keeps = Keeps()
    y = layers.Conv2D(4, 1)(keeps(layers.Conv2D(8, 3)(x)))
    model = lamina.Model(x, y)
    keeps.seen.clear()
    with torch.no_grad():
        model.infer(images(1, 6, 6, 4))
        first = keeps.seen[-1]
        then = first.clone()
        model.infer(images(1, 6, 6, 4, seed=1))
    assert torch.equal(first, then)
    assert not torch.equal(first, keeps.seen[-1])


class Cuts(lamina.layers.Layer):
    """As many steps as the first number says."""

    def compute_output_shape(self, input_shape):
        return (input_shape[0], None, input_shape[2])

    def call(self, inputs):
        return inputs[:, : int(inputs[0, 0, 0])]


def test_a_size_that_follows_from_the_numbers():
    x = lamina.Input((6, 3))
    model = lamina.Model(x, layers.Dense(4, activation="relu")(Cuts()(x)))
    for steps in (2, 5, 5, 2, 1):
        assert_predicts(model, torch.full((2, 6, 3), float(steps)))


def test_inputs_of_any_memory_order(model):
    x = images(2, 8, 12, 10)
    assert_predicts(model, x.permute(0, 2, 3, 1))
    assert_predicts(model, x.permute(0, 2, 3, 1).contiguous())
    assert_predicts(model, images(4, 12, 10, 8)[::2])


@pytest.mark.parametrize("first", [torch.inference_mode, torch.no_grad])
def test_with_and_without_inference_mode(model, first):
    x = images(2, 12, 10, 8)
    for mode in (first, torch.no_grad, torch.inference_mode, torch.no_grad):
        with mode():
            found = model.infer(x)
            torch.testing.assert_close(found, model(x, training=False), rtol=1e-4, atol=1e-5)
    assert not found.is_inference()


def test_from_several_threads_at_once(model):
    given = [images(2, 12, 10, 8, seed=seed) for seed in range(4)]
    with torch.no_grad():
        expected = [model.infer(x).clone() for x in given]
    wrong = []

    def work(x, wanted):
        with torch.no_grad():
            wrong.extend(1 for _ in range(30) if not torch.equal(model.infer(x), wanted))

    threads = [threading.Thread(target=work, args=pair) for pair in zip(given, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_another_number_of_threads_is_another_plan(model):
    before = torch.get_num_threads()
    assert_predicts(model, images(2, 12, 10, 8))
    try:
        torch.set_num_threads(before + 1)
        assert_predicts(model, images(2, 12, 10, 8))
    finally:
        torch.set_num_threads(before)
    assert len(plans(model)) == 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_no_number_is_made_of_nan(model, bad):
    """oneDNN's ReLU and maximum give numbers for NaN; a network with NaN must not look healthy."""
    x = images(2, 12, 10, 8)
    x[1, 3, 4, 5] = bad
    with torch.no_grad():
        torch.testing.assert_close(model.infer(x), model(x, training=False), equal_nan=True)
        assert not torch.isfinite(model.infer(x)[1]).any()
    healthy = images(2, 12, 10, 8)
    kernel = model.layers[1].kernel
    values = kernel.numpy().copy()
    values[0, 0, 0, 0] = bad
    kernel.assign(values)
    found = model.predict(healthy, verbose=0)
    with torch.no_grad():
        np.testing.assert_allclose(found, model(healthy, training=False), rtol=1e-5)
    assert not np.isfinite(found).any()


def test_numbers_that_are_put_in_the_place_of_others(model):
    x = images(2, 12, 10, 8)
    assert_predicts(model, x)
    kernel = model.layers[1].kernel
    kernel.data = kernel.data * 3
    assert_predicts(model, x)
    bias = model.layers[1].bias
    bias.data = bias.data + 1
    assert_predicts(model, x)


def test_a_hook_is_seen_when_it_comes_and_when_it_goes(model):
    x, seen = images(2, 12, 10, 8), []
    assert_predicts(model, x)
    handle = model.layers[1].register_forward_hook(lambda *given: seen.append(1))
    with torch.no_grad():
        model.infer(x)
    assert len(seen) == 1
    handle.remove()
    with torch.no_grad():
        model.infer(x)
    assert len(seen) == 1
    assert_predicts(model, x)


def test_what_is_forgotten_is_free(model):
    assert_predicts(model, images(2, 12, 10, 8))
    plan = weakref.ref(plans(model)[0])
    model.graph.forget_folded()
    gc.collect()
    assert plan() is None


def test_max_pooling_of_padded_numbers_below_zero():
    """Zeros around an image win over numbers below zero; only behind a ReLU are they no more than padding."""
    x = lamina.Input((6, 6, 4))
    for activation in ("linear", "relu", "relu6", "tanh"):
        y = layers.ZeroPadding2D(1)(layers.Conv2D(4, 1, activation=activation, bias_initializer="random_normal")(x))
        for options in ({}, {"strides": 1}, {"padding": "same"}, {"strides": 2, "padding": "same"}):
            model = lamina.Model(x, layers.MaxPooling2D(3, **options)(y))
            assert_predicts(model, -images(2, 6, 6, 4).abs())


@pytest.mark.parametrize("channels", [1, 3, 16, 17])
@pytest.mark.parametrize("rows", [16, 5])
def test_scales_and_shifts(channels, rows):
    chain = [layers.Rescaling(1 / 3, offset=-1), layers.Normalization(mean=[0.5] * channels, variance=[2.0] * channels)]
    model = lamina.Sequential([lamina.Input((rows, channels)), *chain, layers.BatchNormalization(), layers.ReLU()])
    for weight in model.weights[1:]:
        weight.assign(torch.rand(weight.shape) + 0.1)
    assert_predicts(model, images(4, rows, channels))
    assert len(model.graph._folded.units) == 1


def test_oneDNN_says_what_it_cannot():
    layout = onednn.Layout.of((4, 4), (4, 1), torch.float32)
    with pytest.raises(onednn.Unsupported):
        onednn.pooling("max", layout, layout, (1, 1), (3, 3), ((0, 0), (0, 0)))
