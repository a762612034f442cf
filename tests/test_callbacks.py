"""Callbacks against Keras's, driven with the same logs; the progress bar; messages."""

from __future__ import annotations

import fcntl
import io
import math
import os
import pty
import random
import re
import struct
import sys
import termios
import time
import warnings

import numpy as np
import pytest
import torch

import lamina
from lamina import callbacks
from lamina.callbacks import Callback, CallbackList, Progbar, ProgbarLogger


class FakeOptimizer:
    def __init__(self):
        self._rate = np.float32(1.0)

    @property
    def learning_rate(self):
        return self._rate

    @learning_rate.setter
    def learning_rate(self, value):
        self._rate = np.float32(value)


class FakeMetric:
    def __init__(self, name, direction):
        self.name = name
        self._direction = direction


class FakeModel:
    """The protocol that callbacks use, and a record of what they did."""

    def __init__(self):
        self.optimizer = FakeOptimizer()
        self.stop_training = False
        self.metrics = [FakeMetric("loss", "down"), FakeMetric("score", "up")]
        self.weights = 0
        self.saved = []

    def get_weights(self):
        return [self.weights]

    def set_weights(self, weights):
        self.weights = weights[0]

    def save(self, path, overwrite=True):
        self.saved.append(os.path.basename(path))

    save_weights = save


class FakeKerasModel(FakeModel):
    def __init__(self, keras):
        super().__init__()
        keras_model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
        keras_model.compile(keras.optimizers.SGD(1.0), "mse")
        self.optimizer = keras_model.optimizer


def drive(callback, logs, model=None):
    """What a callback does over epochs: learning rate, stop and logs after each; then weights and saved files."""
    model = model or FakeModel()
    callback.set_model(model)
    callback.set_params({"epochs": len(logs)})
    callback.on_train_begin()
    seen = []
    for epoch, entries in enumerate(logs):
        entries = dict(entries)
        callback.on_epoch_begin(epoch)
        model.weights = epoch
        callback.on_epoch_end(epoch, entries)
        seen.append((round(float(model.optimizer.learning_rate), 6), model.stop_training, sorted(entries)))
        if model.stop_training:
            break
    callback.on_train_end()
    return seen, model.weights, model.saved


def random_logs(seed):
    draw = random.Random(seed)
    values = [round(draw.uniform(0, 1) + 2 / (epoch + 1), 1) for epoch in range(14)]
    if seed % 5 == 0:
        values[draw.randrange(14)] = math.nan
    return [{"val_loss": value, "loss": value} for value in values]


@pytest.fixture(scope="module")
def keras_model(keras):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FakeKerasModel(keras)


def compare(keras, keras_model, name, logs, **arguments):
    keras_model.stop_training, keras_model.saved, keras_model.weights = False, [], 0
    keras_model.optimizer.learning_rate = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = drive(getattr(keras.callbacks, name)(**arguments), logs, keras_model)
    assert drive(getattr(callbacks, name)(**arguments), logs) == theirs


@pytest.mark.parametrize("seed", range(40))
def test_early_stopping_decides_as_keras(keras, keras_model, seed):
    draw = random.Random(seed)
    compare(
        keras,
        keras_model,
        "EarlyStopping",
        random_logs(seed),
        patience=draw.choice([0, 1, 2, 4]),
        min_delta=draw.choice([0, 0, 0.1, -0.25]),
        mode=draw.choice(["min", "max"]),
        baseline=draw.choice([None, None, 1.0]),
        restore_best_weights=draw.choice([True, False]),
        start_from_epoch=draw.choice([0, 0, 3]),
    )


@pytest.mark.parametrize("seed", range(40))
def test_reduce_on_plateau_decides_as_keras(keras, keras_model, seed):
    draw = random.Random(seed)
    compare(
        keras,
        keras_model,
        "ReduceLROnPlateau",
        random_logs(seed),
        patience=draw.choice([0, 1, 2]),
        factor=draw.choice([0.5, 0.1]),
        min_delta=draw.choice([0, 1e-4, 0.3]),
        mode=draw.choice(["min", "max"]),
        cooldown=draw.choice([0, 1, 3]),
        min_lr=draw.choice([0.0, 0.1, 0.3]),
    )


@pytest.mark.parametrize("seed", range(12))
def test_model_checkpoint_saves_as_keras(keras, keras_model, seed, tmp_path):
    draw = random.Random(seed)
    weights_only = draw.choice([True, False])
    ending = ".weights.h5" if weights_only else ".keras"
    compare(
        keras,
        keras_model,
        "ModelCheckpoint",
        [entry for entry in random_logs(seed) if not math.isnan(entry["loss"])],
        filepath=str(tmp_path / ("m{epoch:02d}-{val_loss:.2f}" + ending)),
        save_best_only=draw.choice([True, False]),
        save_weights_only=weights_only,
        mode=draw.choice(["min", "max"]),
        initial_value_threshold=draw.choice([None, 1.0]),
    )


@pytest.mark.parametrize("save_freq", [2, 3, 7])
def test_model_checkpoint_by_batches_as_keras(keras, keras_model, save_freq, tmp_path):
    results = []
    for package, model in ((callbacks, FakeModel()), (keras.callbacks, keras_model)):
        model.saved = []
        checkpoint = package.ModelCheckpoint(tmp_path / "m{epoch}-{batch}.keras", save_freq=save_freq)
        checkpoint.set_model(model)
        for epoch in range(3):
            checkpoint.on_epoch_begin(epoch)
            for batch in range(5):
                checkpoint.on_train_batch_end(batch, {"loss": 1.0})
            checkpoint.on_epoch_end(epoch, {"loss": 1.0})
        results.append(model.saved)
    assert results[0] == results[1] != []


def test_model_checkpoint_makes_folders_and_speaks(tmp_path, capsys):
    checkpoint = callbacks.ModelCheckpoint(tmp_path / "deep" / "er" / "m.keras", save_best_only=True, verbose=1)
    drive(checkpoint, [{"val_loss": 2.0}, {"val_loss": 1.5}, {"val_loss": 1.8}])
    assert (tmp_path / "deep" / "er").is_dir()
    lines = [line.replace(str(tmp_path), "") for line in capsys.readouterr().out.splitlines() if line]
    assert lines == [
        "Epoch 1: val_loss improved to 2.00000, saving to /deep/er/m.keras",
        "Epoch 2: val_loss improved from 2.00000 to 1.50000, saving to /deep/er/m.keras",
        "Epoch 3: val_loss is no better than 1.50000; the model is not saved",
    ]


LOG_TABLES = {
    "plain": [{"loss": 0.123456789012, "acc": np.float32(0.1)}, {"loss": 2, "acc": 1.0}],
    "lists": [{"loss": 1.0, "v": [1, 2]}, {"loss": 2.0}],
    "validation later": [{"loss": 1.0}, {"loss": 2.0, "val_loss": 3.0}],
    "validation missing": [{"loss": 1.0, "val_loss": 2.0}, {"loss": 2.0}],
    "nothing": [{}],
    "text": [{"loss": "a,b"}],
}


@pytest.mark.parametrize("table", LOG_TABLES)
@pytest.mark.parametrize(("separator", "append"), [(",", False), (";", True)])
def test_csv_file_equals_keras(keras, keras_model, tmp_path, table, separator, append):
    for name, package, model in (("ours", callbacks, FakeModel()), ("theirs", keras.callbacks, keras_model)):
        for _ in range(2):
            keras_model.stop_training = False
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                drive(package.CSVLogger(str(tmp_path / name), separator, append), LOG_TABLES[table], model)
    with open(tmp_path / "ours", newline="") as ours, open(tmp_path / "theirs", newline="") as theirs:
        assert ours.read().splitlines() == theirs.read().splitlines()


@pytest.mark.parametrize("schedule", [lambda epoch: 0.1 * (epoch + 1), lambda epoch, rate: rate * 0.5])
def test_learning_rate_scheduler_equals_keras(keras, keras_model, schedule):
    compare(keras, keras_model, "LearningRateScheduler", [{"loss": 1.0}] * 3, schedule=schedule)


def test_learning_rate_scheduler_hides_no_error_of_the_schedule():
    def broken(epoch, rate):
        return rate + "a"

    with pytest.raises(TypeError, match="unsupported operand"):
        drive(callbacks.LearningRateScheduler(broken), [{}])


@pytest.mark.parametrize("loss", [1.0, math.nan, math.inf, torch.tensor(math.nan), np.float32("nan")])
def test_terminate_on_nan(loss, capsys):
    model = FakeModel()
    callback = callbacks.TerminateOnNaN()
    callback.set_model(model)
    callback.on_train_batch_end(3, {"loss": loss})
    assert model.stop_training == (not math.isfinite(loss))
    assert capsys.readouterr().out.startswith("Batch 3: the loss is" if model.stop_training else "")
    if model.stop_training:
        with pytest.raises(RuntimeError, match=r"Batch 3: the loss is .*; training ends here"):
            callbacks.TerminateOnNaN(raise_error=True).on_batch_end(3, {"loss": loss})


@pytest.mark.parametrize(
    ("monitor", "stops_when_it_grows"),
    [
        ("val_loss", True),
        ("head_loss", True),
        ("mean_absolute_error", True),
        ("val_auc_1", False),
        ("head_accuracy", False),
        ("acc", False),
        ("score", False),
        ("val_out_score", False),
    ],
)
def test_direction_of_a_metric(monitor, stops_when_it_grows):
    seen, _, _ = drive(callbacks.EarlyStopping(monitor=monitor, patience=1), [{monitor: value} for value in (1, 2, 3)])
    assert seen[-1][1] == stops_when_it_grows


def test_early_stopping_speaks(capsys):
    stopping = callbacks.EarlyStopping(patience=1, verbose=1, restore_best_weights=True)
    drive(stopping, [{"val_loss": value} for value in (3, 2, 4, 5)])
    assert capsys.readouterr().out == (
        "Epoch 3: early stopping, val_loss no longer improves\nThe weights of the best epoch, 2, are restored.\n"
    )


ERRORS = {
    "mode": (lambda: callbacks.EarlyStopping(mode="up"), "mode of EarlyStopping is 'auto', 'min' or 'max'; got 'up'."),
    "direction": (
        lambda: drive(callbacks.EarlyStopping("foo"), [{"foo": 1}, {"foo": 2}]),
        "EarlyStopping cannot know whether 'foo' should grow or shrink; say mode='max' or mode='min'.",
    ),
    "factor": (
        lambda: callbacks.ReduceLROnPlateau(factor=1.0),
        "factor of ReduceLROnPlateau is at least 0 and below 1; got 1.0.",
    ),
    "schedule": (
        lambda: drive(callbacks.LearningRateScheduler(lambda epoch: "a"), [{}]),
        "The schedule of LearningRateScheduler must return a number; for epoch 0 got 'a'.",
    ),
    "ending": (
        lambda: callbacks.ModelCheckpoint("m.h6"),
        "filepath ends in '.keras' (or the old '.h5'); got 'm.h6'.",
    ),
    "ending of weights": (
        lambda: callbacks.ModelCheckpoint("m.keras", save_weights_only=True),
        "With save_weights_only=True, filepath ends in '.weights.h5'; got 'm.keras'.",
    ),
    "frequency": (
        lambda: callbacks.ModelCheckpoint("m.keras", save_freq="x"),
        "save_freq is 'epoch' or a number of batches; got 'x'.",
    ),
    "placeholder": (
        lambda: drive(callbacks.ModelCheckpoint("m{val_loss}.keras"), [{"loss": 1.0}]),
        "filepath 'm{val_loss}.keras' names 'val_loss', which is not known here; known are epoch, loss.",
    ),
    "hook": (lambda: callbacks.LambdaCallback(on_epoch=print), "on_epoch is no hook of a callback; the hooks are"),
    "class": (
        lambda: CallbackList([callbacks.History]),
        "callbacks takes instances of Callback; got <class 'lamina.callbacks.records.History'>; make one: History().",
    ),
    "csv": (lambda: callbacks.CSVLogger("x.csv").on_epoch_end(0, {}), "training has not begun"),
    "progress": (lambda: Progbar(3, stateful_metrics=[], stateless_metrics=[]), "Pass stateful_metrics"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_error_messages(case):
    action, message = ERRORS[case]
    with pytest.raises((ValueError, TypeError, KeyError), match=re.escape(message).replace(r"\'", "'")):
        action()


def test_missing_entry_is_a_warning_and_nothing_happens():
    for callback in (callbacks.EarlyStopping(), callbacks.ReduceLROnPlateau()):
        with pytest.warns(UserWarning, match=r"watches 'val_loss'.*they have: loss. Pass validation data."):
            seen, _, _ = drive(callback, [{"loss": 1.0}])
        assert seen[0][:2] == (1.0, False)


class Recorder(Callback):
    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(("batch", batch, logs))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(("epoch", epoch, dict(logs)))
        logs["added"] = 1


def test_list_gives_numbers_in_keras_order_and_shares_what_is_added():
    recorder, model = Recorder(), FakeModel()
    together = CallbackList([recorder], add_history=True, add_progbar=True, model=model, verbose=0, epochs=2)
    assert [type(callback).__name__ for callback in together.callbacks] == ["Recorder", "History", "ProgbarLogger"]
    assert model.history is together.history
    assert recorder.params == {"verbose": 0, "epochs": 2}
    together.on_train_begin()
    together.on_train_batch_end(0, {"loss": torch.tensor(0.5)})
    together.on_epoch_end(0, {"val_loss": torch.tensor(2.0), "loss": torch.tensor(1.0), "acc": np.float32(0.5)})
    assert recorder.calls[0] == ("batch", 0, {"loss": 0.5})
    assert type(recorder.calls[0][2]["loss"]) is float
    assert list(recorder.calls[1][2]) == ["acc", "loss", "val_loss"]
    assert together.history.history == {"acc": [0.5], "loss": [1.0], "val_loss": [2.0], "added": [1]}


def test_list_calls_only_hooks_that_are_written():
    class Old(Callback):
        def on_batch_end(self, batch, logs=None):
            seen.append(batch)

    seen: list[int] = []
    assert not CallbackList([callbacks.History(), callbacks.EarlyStopping()]).wants("on_train_batch_end")
    together = CallbackList([[Old()], callbacks.LambdaCallback(on_test_end=lambda logs: seen.append("test"))])
    assert together.wants("on_train_batch_end")
    assert not together.wants("on_train_batch_begin")
    together.on_train_batch_end(4)
    together.on_test_end()
    assert seen == [4, "test"]


def test_a_batch_costs_next_to_nothing():
    together = CallbackList(add_history=True, add_progbar=True, verbose=2, epochs=1, steps=10**5)
    together.on_epoch_begin(0)
    logs = {"loss": torch.tensor(1.0)}
    start = time.perf_counter()
    for batch in range(20_000):
        together.on_train_batch_begin(batch)
        together.on_train_batch_end(batch, logs)
    assert (time.perf_counter() - start) / 20_000 < 50e-6


def fake_fit(verbose, steps=3, epochs=2, validation=True, pause=0.0):
    together = CallbackList(add_history=True, add_progbar=True, verbose=verbose, epochs=epochs, steps=steps)
    together.on_train_begin()
    for epoch in range(epochs):
        together.on_epoch_begin(epoch)
        for batch in range(3):
            together.on_train_batch_end(batch, {"acc": torch.tensor(0.25), "loss": 1e-5})
            time.sleep(pause)
        if validation:
            together.on_test_begin()
            together.on_test_batch_end(0, {"loss": 1.0})
            together.on_test_end({"loss": 1.0})
        together.on_epoch_end(epoch, {"loss": 1e-5, "acc": 0.25, "val_loss": 1.5})
    together.on_train_end()


@pytest.mark.parametrize("verbose", [1, 2, "auto"])
@pytest.mark.parametrize("steps", [3, None])
def test_one_line_an_epoch_where_the_output_is_no_terminal(verbose, steps, capsys):
    fake_fit(verbose, steps)
    line = r"3/3 - 0s - \d+(us|ms)/step - acc: 0\.2500 - loss: 1\.0000e-05 - val_loss: 1\.5000\n"
    assert re.fullmatch(f"Epoch 1/2\n{line}Epoch 2/2\n{line}", capsys.readouterr().out)


def test_silence_and_single_runs(capsys):
    fake_fit(0)
    assert capsys.readouterr().out == ""
    logger = CallbackList(ProgbarLogger(), verbose=1, steps=2)
    logger.on_test_begin()
    logger.on_test_batch_end(1, {"loss": 0.5})
    logger.on_test_end({"loss": 0.5})
    logger.on_predict_begin()
    logger.on_predict_batch_end(1, {"outputs": np.zeros(3)})
    logger.on_predict_end()
    pattern = r"2/2 - 0s - \d+(us|ms)/step - loss: 0\.5000\n2/2 - 0s - \d+(us|ms)/step\n"
    assert re.fullmatch(pattern, capsys.readouterr().out)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def on_terminal(monkeypatch, action, columns=100):
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", str(columns))
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", terminal)
        action()
    return terminal.getvalue()


def normal(text):
    """What a terminal shows in the end of each redrawing, with times and backspaces taken out."""
    text = re.sub(r"\x08+", "", text)
    text = re.sub(r"\d+(us|ms|s)/", "T/", text)
    return [piece.rstrip() for piece in re.split(r"[\r\n]+", text) if piece.strip()]


@pytest.mark.parametrize(
    ("target", "calls"),
    [
        (10, [(1, []), (5, [("a", 1.0), ("b", 1e-5)]), (10, [("a", 3.0), ("b", 2000.0)])]),
        (200, [(3, [("loss", math.nan)]), (199, [("loss", 1.0)]), (200, [("loss", 2.0)])]),
        (None, [(1, [("a", 1.0)]), (4, [("a", 5.0)])]),
    ],
)
@pytest.mark.parametrize(
    "options", [{}, {"stateful_metrics": ["a"]}, {"stateless_metrics": ["a"]}, {"unit_name": "file"}]
)
def test_bar_looks_as_keras(keras, monkeypatch, target, calls, options):
    def run(make):
        def action():
            bar = make(target, interval=0, **options)
            for current, values in calls:
                bar.update(current, values)

        return normal(on_terminal(monkeypatch, action))

    keras.config.enable_interactive_logging()
    try:
        theirs = run(keras.utils.Progbar)
    finally:
        keras.config.disable_interactive_logging()
    assert run(Progbar) == theirs


def test_time_left_and_time_taken(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])

    def action():
        bar = Progbar(100)
        for done, at in ((1, 100.0), (2, 101.0), (50, 149.0), (100, 7300.0)):
            clock[0] = at
            bar.update(done)

    shown = re.findall(r"\x1b\[1m([\d:s]+)\x1b\[0m ?([\d.]+m?s/step)", on_terminal(monkeypatch, action))
    assert shown == [("2:45:00", "100s/step"), ("1:38", "1s/step"), ("50s", "1s/step"), ("2:01:40", "73s/step")]


def test_bar_is_redrawn_at_most_every_interval(monkeypatch):
    def action():
        bar = Progbar(10_000)
        start = time.perf_counter()
        for step in range(10_000):
            bar.update(step + 1, [("loss", 1.0)])
        durations.append(time.perf_counter() - start)

    durations: list[float] = []
    text = on_terminal(monkeypatch, action)
    assert text.count("\r") <= durations[0] / 0.05 + 2


def test_fit_reads_its_metrics_at_most_ten_times_a_second(monkeypatch):
    class Counting(lamina.metrics.MeanAbsoluteError):
        reads = 0

        def result(self):
            Counting.reads += 1
            return super().result()

    def action():
        model = lamina.Sequential([lamina.layers.Dense(1)])
        model.compile("sgd", "mse", metrics=[Counting()])
        start = time.perf_counter()
        model.fit(np.ones((5000, 4)), np.ones((5000, 1)), batch_size=1, verbose=1)
        durations.append(time.perf_counter() - start)

    durations: list[float] = []
    text = on_terminal(monkeypatch, action)
    allowed = durations[0] / 0.1 + 3  # the first step's, and those of the epoch's end
    assert 1 < Counting.reads <= allowed
    assert text.count("\r") <= allowed


@pytest.mark.parametrize("columns", [20, 40, 60, 90])
def test_redrawn_line_fits_the_terminal(monkeypatch, columns):
    def action():
        bar = Progbar(1000, interval=0)
        for step in (1, 500, 999):
            bar.update(step, [("accuracy", 0.5), ("a_very_long_name_of_a_metric", 1.0)])

    for line in on_terminal(monkeypatch, action, columns).split("\r"):
        assert len(re.sub(r"\x1b\[\d+m", "", line)) < columns


def test_shorter_line_covers_the_longer_one(monkeypatch):
    def action():
        bar = Progbar(10, interval=0, stateless_metrics=())
        bar.update(1, [("loss", 12345.0)])
        bar.update(2, [("loss", 1.0)])

    first, second = (len(re.sub(r"\x1b\[\d+m", "", line)) for line in on_terminal(monkeypatch, action).split("\r")[1:])
    assert second >= first - 6


def test_terminal_without_line_characters(monkeypatch):
    class Narrow(Terminal):
        def write(self, text):
            return super().write(text.encode("ascii").decode())

    terminal = Narrow()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", terminal)
        Progbar(2).update(2)
    assert "====" in terminal.getvalue()


def test_on_a_real_terminal():
    """The width comes from the terminal itself, and the whole of a run is drawn in place."""
    pid, descriptor = pty.fork()
    if pid == 0:
        os.environ.pop("COLUMNS", None)
        time.sleep(0.2)  # until the parent has set the size
        program = "import sys; sys.path.insert(0, sys.argv[1]); import test_callbacks as t; t.fake_fit(1, pause=0.12)"
        os.execv(sys.executable, [sys.executable, "-c", program, os.path.dirname(__file__)])
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 70, 0, 0))
    output = b""
    try:
        while chunk := os.read(descriptor, 65536):
            output += chunk
    except OSError:  # the other end is closed
        pass
    os.close(descriptor)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    lines = output.decode().split("\r\n")
    assert [line for line in lines if line.startswith("Epoch")] == ["Epoch 1/2", "Epoch 2/2"]
    drawings = lines[1].split("\r")[1:]
    assert len(drawings) == 4
    assert all(len(re.sub(r"\x1b\[\d+m", "", drawing)) < 70 for drawing in drawings[:-1])
    assert "━" in drawings[-1]
    assert drawings[-1].rstrip().endswith("acc: 0.2500 - loss: 1.0000e-05 - val_loss: 1.5000")
