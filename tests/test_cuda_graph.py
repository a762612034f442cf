"""Captured steps as graphs of the device, on a device that `fake_cuda_graph` makes of the CPU: equal to eager ones.

The learning rate is float32 in a graph, so what an optimizer in it computes is equal to seven digits.
"""

from __future__ import annotations

import pytest
import torch

import fake_cuda_graph
import lamina
from captured_training import (
    BATCH,
    BINARY,
    CHANGES,
    LAYERS,
    OPTIMIZERS,
    X,
    assert_same_state,
    dense,
    everything,
    trained,
)
from lamina import layers, optimizers
from lamina.training import capture, cuda_graph

ROUNDING = 2e-6
IN_THE_GRAPH = ("sgd", "nesterov", "amsgrad", "adamw", "clipnorm", "clipvalue", "global_clipnorm", "loss scale factor")


@pytest.fixture(autouse=True)
def repeats(monkeypatch):
    """The graphs that were made, as the number of their repetitions."""
    made = []

    def counted(*arguments):
        repeat = fake_cuda_graph.record(*arguments)
        made.append(0)
        place = len(made) - 1

        def once():
            made[place] += 1
            repeat()

        return once

    monkeypatch.setattr(capture, "_WARM_STEPS", {True: 1, "auto": 1})
    monkeypatch.setattr(cuda_graph, "has_graphs", lambda tensor: True)
    monkeypatch.setattr(cuda_graph, "new_pool", lambda: ("pool",))
    monkeypatch.setattr(cuda_graph, "record", counted)
    return made


def assert_graph_equals_eager(build, compiled=None, epochs=6, **options):
    model, history, state, scores, following = trained(build, "auto", compiled=compiled, epochs=epochs, **options)
    plain = trained(build, False, compiled=compiled, epochs=epochs, **options)
    assert_same_state(state, plain[2], ROUNDING)
    assert history == {name: pytest.approx(values, rel=1e-5) for name, values in plain[1].items()}
    assert scores == pytest.approx(plain[3], rel=1e-5)
    assert torch.equal(following, plain[4]), "another number of random numbers was drawn"
    return model


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, repeats):
    assert_graph_equals_eager(LAYERS[name])
    assert len(repeats) == 2  # for batches of 8 and of 4
    assert repeats[0] >= 10


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "loss scale"])
def test_optimizers(name, repeats):
    model = assert_graph_equals_eager(dense, compiled=lambda: {"optimizer": OPTIMIZERS[name]()})
    said = str(model.captured_step.fit)
    if name in IN_THE_GRAPH or name == "schedule":
        assert said.endswith("A CUDA graph, the optimizer in it.")
    else:
        assert "A CUDA graph without the optimizer: " in said
    assert repeats[0] > 0


def test_a_loss_scale_that_changes(repeats):
    scaled = lambda: optimizers.LossScaleOptimizer(optimizers.Adam(0.01), dynamic_growth_steps=15)  # noqa: E731
    model = assert_graph_equals_eager(dense, compiled=lambda: {"optimizer": scaled()}, epochs=10)
    assert "without the optimizer: its step decides in Python" in str(model.captured_step.fit)
    assert len(repeats) > 2, "the scale, which a graph has frozen, did not change"


def test_evaluate(repeats):
    model = trained(dense, "auto", compiled=lambda: {"metrics": ["mae"]})[0]
    before = len(repeats)
    first, second = (model.evaluate(X, BINARY, batch_size=BATCH, verbose=0) for _ in range(2))
    assert first == second
    assert len(repeats) == before + 1
    assert str(model.captured_step.evaluate).endswith("A CUDA graph.")
    model.set_weights([2 * weight for weight in model.get_weights()])
    changed = model.evaluate(X, BINARY, batch_size=BATCH, verbose=0)
    model.compile("sgd", "mse", metrics=["mae"], jit_compile=False)
    assert changed == model.evaluate(X, BINARY, batch_size=BATCH, verbose=0) != first


@pytest.mark.parametrize("name", CHANGES)
def test_changes_between_fits(name):
    states = []
    for jit_compile in ("auto", False):
        model, *_ = trained(lambda: dense(layers.Dropout(0.4)), jit_compile, epochs=6)
        CHANGES[name](model)
        model.fit(X, BINARY, batch_size=BATCH, epochs=4, verbose=0)
        states.append(everything(model))
    assert_same_state(*states, ROUNDING)


class Rates(lamina.callbacks.Callback):
    """Another learning rate after every batch."""

    def on_train_batch_end(self, batch, logs=None):
        self.model.optimizer.learning_rate = 0.01 * (batch + 1)


def test_a_learning_rate_that_changes_after_every_batch(repeats):
    assert_graph_equals_eager(dense, compiled=lambda: {"optimizer": "adam"}, callbacks=[Rates()])
    assert len(repeats) == 2, "a learning rate is no reason for another graph"


def test_another_optimizer_between_the_steps(repeats):
    class Exchange(lamina.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 4:
                self.model.optimizer = optimizers.SGD(0.5)

    model = assert_graph_equals_eager(dense, epochs=12, callbacks=[Exchange()])
    assert isinstance(model.optimizer, optimizers.SGD)
    assert len(repeats) == 3


def test_weights_that_a_graph_changes_count_as_changed(repeats):
    """`predict` folds weights, and learns from torch's counts that they are others."""

    class Counts(lamina.callbacks.Callback):
        found = ()

        def on_train_batch_end(self, batch, logs=None):
            self.found = (*self.found, self.model.layers[0].kernel._version)

    counts = Counts()
    trained(dense, "auto", epochs=6, callbacks=[counts])
    assert repeats[0] > 5
    assert all(before < after for before, after in zip(counts.found[:-1], counts.found[1:], strict=True))


def test_a_number_in_the_processors_memory_that_is_changed_ends_a_graph():
    program = next(iter(trained(dense, "auto")[0].captured_step.fit._programs.values()))
    number = torch.tensor(2.0)
    program.constants, program.devices = {0: number}, {torch.device("meta")}
    graph = cuda_graph.GraphedStep(program, [torch.empty(2, device="meta")], None, [], None)
    assert graph.problem is None
    assert graph.holds(None)
    number.add_(1)
    assert not graph.holds(None)


def test_a_recording_that_fails_leaves_the_step_as_it_was(monkeypatch):
    def fails(work, *arguments):
        work_alone = fake_cuda_graph.record(work, *arguments)
        assert work_alone
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(cuda_graph, "record", fails)
    model = assert_graph_equals_eager(dense)
    said = "No CUDA graph: recording it failed (operation not permitted when stream is capturing)."
    assert str(model.captured_step.fit).endswith(said)


def test_what_lies_on_two_devices_or_with_gaps_has_no_graph(repeats):
    program = trained(dense, "auto")[0].captured_step.fit._programs
    program = next(iter(program.values()))
    batch = [X[:8], BINARY[:8]]
    graph = cuda_graph.GraphedStep(program, [batch[0], batch[1].to("meta")], None, [], None)
    assert graph.problem == "a part of it lies on meta"
    graph = cuda_graph.GraphedStep(program, [X[:16:2], batch[1]], None, [], None)
    assert graph.problem == "a batch lies in memory with gaps"
    assert cuda_graph.GraphedStep(program, batch, None, [], None).problem is None
    program.devices.add(torch.device("cuda:1"))
    assert cuda_graph.GraphedStep(program, batch, None, [], None).problem == "a part of it lies on cuda:1"


def test_the_graph_of_these_tests_freezes_what_a_card_freezes():
    x, rate = torch.ones(3), [1.0]
    repeat = fake_cuda_graph.record(lambda: x.add_(1, alpha=rate[0]), None, [], None)
    assert x.tolist() == [1, 1, 1], "recorded, not done"
    rate[0] = 5.0
    repeat()
    assert x.tolist() == [2, 2, 2], "a number stays as it was"
    x.fill_(7)
    repeat()
    assert x.tolist() == [8, 8, 8], "a tensor is read where it lies"
    with pytest.raises(RuntimeError, match="capturing"):
        fake_cuda_graph.record(lambda: float(x[0]), None, [], None)
