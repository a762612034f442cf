"""Sources of data in training, steps of one's own, callbacks in a real fit, errors and what they leave untouched."""

from __future__ import annotations

import csv
import warnings

import numpy as np
import pandas
import pytest
import torch

import lamina

RNG = np.random.default_rng(1)
X = RNG.normal(size=(22, 4)).astype("float32")
Y = RNG.normal(size=(22, 1)).astype("float32")
CLASSES = RNG.integers(0, 3, 22)
START = [RNG.normal(size=shape).astype("float32") * 0.5 for shape in ((4, 5), (5,), (5, 1), (1,))]


def perceptron(k=lamina, compiled=True, **arguments):
    model = k.Sequential([k.Input((4,)), k.layers.Dense(5, "tanh"), k.layers.Dense(1)])
    model.set_weights(START)
    if compiled:
        model.compile(**{"optimizer": k.optimizers.SGD(0.1), "loss": "mse", "metrics": ["mae"], **arguments})
    return model


def fitted(k=lamina, *data, model=None, **arguments):
    model = perceptron(k) if model is None else model
    history = model.fit(*data, **{"epochs": 2, "shuffle": False, "verbose": 0, **arguments})
    return model, history.history


def same(ours, theirs, tolerance=2e-4):
    (model, history), (other, wanted) = ours, theirs
    assert sorted(history) == sorted(wanted)
    for name, values in wanted.items():
        np.testing.assert_allclose(history[name], values, rtol=tolerance, atol=tolerance, err_msg=name)
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance)


def batches(size=8, repeat=1):
    for _ in range(repeat):
        for start in range(0, len(X), size):
            yield X[start : start + size], Y[start : start + size]


def dataset_of(k):
    class Batches(k.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return X[index * 8 : index * 8 + 8], Y[index * 8 : index * 8 + 8]

    return Batches()


def torch_loader():
    pairs = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    return torch.utils.data.DataLoader(pairs, batch_size=8)


SOURCES = {
    "generator": lambda k: ((batches(repeat=2),), {"steps_per_epoch": 3}),
    "DataLoader": lambda k: ((torch_loader(),), {"validation_data": torch_loader()}),
    "PyDataset": lambda k: ((dataset_of(k),), {"validation_data": dataset_of(k)}),
    "pandas": lambda k: ((pandas.DataFrame(X), pandas.DataFrame(Y)), {"batch_size": 8}),
    "series": lambda k: ((pandas.DataFrame(X), pandas.Series(Y[:, 0])), {"batch_size": 8}),
    "tensors": lambda k: ((torch.from_numpy(X), torch.from_numpy(Y)), {"batch_size": 8}),
    "doubles": lambda k: ((X.astype("float64"), Y.astype("float64")), {"batch_size": 8}),
}


@pytest.mark.parametrize("name", SOURCES)
def test_sources_beside_keras(keras, name):
    found = []
    for k in (lamina, keras):
        data, arguments = SOURCES[name](k)
        found.append(fitted(k, *data, **arguments))
    same(*found)


def test_lists_of_numbers_and_torch_datasets_equal_arrays():
    wanted = fitted(lamina, X, Y, batch_size=8)
    same(fitted(lamina, X.tolist(), Y.tolist(), batch_size=8), wanted)
    same(fitted(lamina, torch_loader().dataset, batch_size=8), wanted)


def test_dict_inputs_beside_keras(keras):
    def run(k):
        a, b = k.Input((2,), name="a"), k.Input((2,), name="b")
        h = k.layers.Dense(5, "tanh")(k.layers.concatenate([a, b]))
        model = k.Model({"a": a, "b": b}, k.layers.Dense(1)(h))
        model.set_weights(START)
        model.compile(k.optimizers.SGD(0.1), "mse", metrics=["mae"])
        x = {"a": X[:, :2], "b": X[:, 2:]}
        return fitted(k, x, Y, model=model, batch_size=8, validation_data=(x, Y))

    same(run(lamina), run(keras))


# Steps of one's own.


def subclass(k, guide_loop):
    class Own(k.Model):
        def __init__(self):
            super().__init__()
            self.hidden, self.out = k.layers.Dense(5, "tanh"), k.layers.Dense(1)

        def call(self, x, training=None):
            return self.out(self.hidden(x))

        def train_step(self, data):
            x, y = data
            self.zero_grad()
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
            loss.backward()
            weights = list(self.trainable_weights)
            gradients = [getattr(weight, "value", weight).grad for weight in weights]
            with torch.no_grad():
                self.optimizer.apply(gradients, weights)
            for metric in self.metrics:
                metric.update_state(loss.detach()) if metric.name == "loss" else metric.update_state(y, y_pred.detach())
            return {metric.name: metric.result() for metric in self.metrics}

    class WithSuper(Own):
        def train_step(self, data):
            return {**k.Model.train_step(self, data), "more": 2.0}

    model = (Own if guide_loop else WithSuper)()
    model(X)
    model.set_weights(START)
    model.compile(k.optimizers.SGD(0.1), "mse", metrics=["mae"])
    return model


@pytest.mark.parametrize("guide_loop", [True, False])
def test_own_train_step_beside_keras(keras, guide_loop):
    def run(k):
        return fitted(k, X, Y, model=subclass(k, guide_loop), batch_size=8, validation_data=(X, Y))

    same(run(lamina), run(keras))


def test_own_metrics_and_test_step(keras):
    def run(k):
        class Own(k.Model):
            def __init__(self):
                super().__init__()
                self.dense = k.layers.Dense(1)
                self.gap = k.metrics.Mean(name="gap")

            def call(self, x):
                return self.dense(x)

            def train_step(self, data):
                logs = super().train_step(data)
                self.gap.update_state(logs["loss"])
                return {**logs, "gap": self.gap.result()}

            def test_step(self, data):
                x, y = data
                self.gap.update_state(k.ops.mean(abs(self(x) - y)))
                return {"gap": self.gap.result()}

        model = Own()
        model(X)
        model.set_weights([START[0][:, :1], START[3]])
        model.compile(k.optimizers.SGD(0.1), "mse")
        return fitted(k, X, Y, model=model, batch_size=8, validation_data=(X, Y))

    same(run(lamina), run(keras))


def test_on_batch_methods_beside_keras(keras):
    ours, theirs = perceptron(lamina), perceptron(keras)
    for _ in range(3):
        for method in ("train_on_batch", "test_on_batch"):
            mine = getattr(ours, method)(X[:8], Y[:8])
            np.testing.assert_allclose(mine, getattr(theirs, method)(X[:8], Y[:8]), rtol=1e-4)
    logs = ours.train_on_batch(X, Y, sample_weight=np.ones(22), return_dict=True)
    assert list(logs) == ["loss", "mae"]
    np.testing.assert_allclose(ours.predict_on_batch(X), ours.predict(X, verbose=0), rtol=1e-5)


def test_predict_and_evaluate_structures():
    x = lamina.Input((4,))
    a, b = lamina.layers.Dense(1, name="a")(x), lamina.layers.Dense(2, name="b")(x)
    as_list, as_dict = lamina.Model(x, [a, b]), lamina.Model(x, {"one": a, "two": b})
    found, by_name = as_list.predict(X, batch_size=8, verbose=0), as_dict.predict(X, batch_size=8, verbose=0)
    assert isinstance(found, list)
    assert [part.shape for part in found] == [(22, 1), (22, 2)]
    assert {name: part.shape for name, part in by_name.items()} == {"one": (22, 1), "two": (22, 2)}
    np.testing.assert_array_equal(found[1], by_name["two"])
    as_list.compile("sgd", ["mse", "mae"])
    values = as_list.evaluate(X, [Y, X[:, :2]], verbose=0)
    named = as_list.evaluate(X, [Y, X[:, :2]], verbose=0, return_dict=True)
    assert values == [named[name] for name in ("loss", "a_loss", "b_loss")]
    assert as_list.metrics_names == ["loss", "a_loss", "b_loss"]


def test_steps_per_execution_groups_batches():
    seen = []
    watch = lamina.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    grouped = fitted(lamina, X, Y, model=perceptron(steps_per_execution=2), batch_size=8, epochs=1, callbacks=[watch])
    assert seen == [1, 2]
    same(grouped, fitted(lamina, X, Y, batch_size=8, epochs=1))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float64"])
def test_dtype_policies_train(policy):
    lamina.config.set_dtype_policy(policy)
    model = lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(16, "tanh"), lamina.layers.Dense(1)])
    model.compile(lamina.optimizers.Adam(0.03), "mse", metrics=["mae"])
    assert isinstance(model.optimizer, lamina.optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
    losses = model.fit(X, X.sum(1, keepdims=True), epochs=40, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    assert model.weights[0].dtype is {"bfloat16": torch.bfloat16, "float64": torch.float64}.get(policy, torch.float32)


def test_dropout_and_noise_only_train():
    layers = [lamina.Input((4,)), lamina.layers.Dropout(0.5), lamina.layers.GaussianNoise(1.0), lamina.layers.Dense(1)]
    model = lamina.Sequential(layers)
    model.compile("sgd", "mse")
    model.fit(X, Y, epochs=2, verbose=0)
    np.testing.assert_array_equal(model.predict(X, verbose=0), model.predict(X, verbose=0))
    assert model.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)


# Callbacks.


def test_callbacks_beside_keras(keras):
    def run(k):
        chain = [
            k.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=0, min_delta=10.0),
            k.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True, mode="max"),
        ]
        return fitted(k, X, Y, batch_size=8, epochs=6, validation_data=(X, Y), callbacks=chain)

    same(run(lamina), run(keras))


def test_schedules_beside_keras(keras):
    def run(k):
        chain = [k.callbacks.LearningRateScheduler(lambda epoch, rate: rate / (epoch + 1))]
        return fitted(k, X, Y, batch_size=8, epochs=3, callbacks=chain)

    same(run(lamina), run(keras))


def test_checkpoints_and_logs_of_a_fit(tmp_path):
    chain = [
        lamina.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="loss", save_best_only=True),
        lamina.callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True),
        lamina.callbacks.CSVLogger(tmp_path / "log.csv"),
    ]
    model, history = fitted(lamina, X, Y, callbacks=chain, epochs=3)
    loaded = lamina.models.load_model(tmp_path / "best.keras")
    np.testing.assert_allclose(loaded.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-5)
    assert loaded.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    assert int(loaded.optimizer.iterations) == 3
    fresh = perceptron()
    fresh.load_weights(tmp_path / "3.weights.h5")
    np.testing.assert_array_equal(fresh.get_weights()[0], model.get_weights()[0])
    with (tmp_path / "log.csv").open() as file:
        assert [float(row["loss"]) for row in csv.DictReader(file)] == pytest.approx(history["loss"])


def test_a_loss_of_nan_warns_once_and_terminates_on_demand():
    x = np.full_like(X, np.nan)
    with pytest.warns(UserWarning, match=r"loss is nan since epoch 1.*TerminateOnNaN") as seen:
        _, history = fitted(lamina, x, Y, epochs=3)
    assert len(seen) == 1
    assert len(history["loss"]) == 3
    _, history = fitted(lamina, x, Y, epochs=3, callbacks=[lamina.callbacks.TerminateOnNaN()])
    assert len(history["loss"]) == 1


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("fast", [True, False])
def test_bfloat16_that_is_slow_here_says_so(monkeypatch, policy, fast):
    monkeypatch.setattr(lamina.training.steps, "multiplies_bfloat16", lambda: fast)
    model = lamina.Sequential([lamina.layers.Dense(1, dtype=policy)])
    model.compile("sgd", "mse")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model.fit(X, Y, verbose=0)
    told = [str(one.message) for one in seen if one.filename == __file__]
    assert told == ([] if fast or policy == "float32" else [SLOW])


SLOW = (
    "1 of the layers compute in bfloat16, which this processor does not multiply (it has neither avx512_bf16 nor amx): "
    'training is slower than with the dtype policy "float32".'
)


# Errors, and what they leave as it was.


def state(model):
    weights = [weight.detach().clone() for weight in model.weights]
    return weights, int(model.optimizer.iterations), [module.training for module in model.modules()]


def unchanged(model, before):
    after = state(model)
    assert after[1:] == before[1:]
    for one, other in zip(after[0], before[0], strict=True):
        assert torch.equal(one, other)


def normalized(functional=True, **arguments):
    layers = [lamina.layers.Dense(4), lamina.layers.BatchNormalization(), lamina.layers.Dense(16, "sigmoid")]

    class Own(lamina.Model):
        def __init__(self):
            super().__init__()
            self.stack = layers

        def call(self, x, training=None):
            for layer in self.stack:
                x = layer(x, training=training)
            return x

    model = lamina.Sequential([lamina.Input((4,)), *layers]) if functional else Own()
    model.build((None, 4))
    model.compile(**{"optimizer": "adam", "loss": "binary_crossentropy", **arguments})
    return model


@pytest.mark.parametrize("functional", [True, False])
def test_targets_of_a_wrong_shape_change_nothing(functional):
    model = normalized(functional)
    before = state(model)
    for call in (model.fit, model.evaluate):
        with pytest.raises(lamina.ShapeError, match=r"targets \(10,\) for outputs \(10, 16\)") as caught:
            call(X[:10], np.zeros(10), verbose=0)
        assert "legacy" in str(caught.value)
        unchanged(model, before)
    with pytest.raises(lamina.ShapeError):
        model.train_on_batch(X[:10], np.zeros((10, 3)))
    unchanged(model, before)


def test_a_model_built_by_the_failing_step_keeps_fresh_statistics():
    model = lamina.Sequential([lamina.layers.BatchNormalization(), lamina.layers.Dense(16)])
    model.compile("sgd", "mse")
    with pytest.raises(lamina.ShapeError):
        model.fit(X, np.zeros((22, 3)), verbose=0)
    assert float(model.layers[0].moving_mean.abs().sum()) == 0.0
    assert model.layers[0].moving_variance.tolist() == [1.0] * 4


@pytest.mark.parametrize("functional", [True, False])
def test_a_metric_that_fails_changes_nothing(functional):
    def fails(y_true, y_pred):
        raise ValueError("no such thing")

    model = normalized(functional, metrics=[fails])
    before = state(model)
    with pytest.raises(ValueError, match="no such thing"):
        model.fit(X, np.zeros((22, 16)), verbose=0)
    unchanged(model, before)


def test_wrong_validation_targets_are_found_before_training():
    model = normalized()
    before = state(model)
    with pytest.raises(lamina.ShapeError):
        model.fit(X, np.zeros((22, 16)), validation_data=(X, np.zeros(22)), verbose=0)
    unchanged(model, before)


def test_legacy_policy_repeats_targets():
    lamina.config.set_shape_policy("legacy")
    with pytest.warns(lamina.ShapeWarning, match=r"targets \(10,\) for outputs \(10, 16\)"):
        history = normalized().fit(X[:10], np.zeros(10), verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_mistakes_are_told_and_change_nothing():
    uncompiled = perceptron(compiled=False)
    for method in ("fit", "evaluate", "train_on_batch", "test_on_batch"):
        with pytest.raises(ValueError, match=r"compile"):
            getattr(uncompiled, method)(X, Y)
    model = perceptron()
    before = state(model)
    with pytest.raises(ValueError, match=r"x has 22, y has 21"):
        model.fit(X, Y[:21], verbose=0)
    with pytest.raises(ValueError, match=r"no samples"):
        model.fit(X[:0], Y[:0], verbose=0)
    with pytest.raises(ValueError, match=r"nothing to minimise"):
        model.fit(X, verbose=0)
    with pytest.raises(TypeError, match=r"epohcs"):
        model.fit(X, Y, epohcs=3, verbose=0)
    unchanged(model, before)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": ["mse"]}, "loss has 1 entries and the model 2 outputs"),
        ({"loss": ["mse", "mse", "mse"]}, "loss has 3 entries"),
        ({"loss": {"a": "mse", "c": "mse"}}, "loss names the output 'c'"),
        ({"loss": "mse", "metrics": ["mae"]}, "metrics has 1 entries"),
        ({"loss": "mse", "metrics": {"bb": "mae"}}, "metrics names the output 'bb'"),
        ({"loss": "mse", "loss_weights": [1.0]}, "loss_weights has 1 entries"),
        ({"loss": "mse", "loss_weights": {"x": 1.0}}, "loss_weights names the output 'x'"),
        ({"loss": "mze"}, "mse"),
    ],
)
def test_what_compile_got_must_fit_the_outputs(given, message):
    x = lamina.Input((4,))
    model = lamina.Model(x, [lamina.layers.Dense(1, name="a")(x), lamina.layers.Dense(1, name="b")(x)])
    before = [weight.detach().clone() for weight in model.weights]

    def train():
        model.compile("sgd", **given)
        model.fit(X, [Y, Y], verbose=0)

    with pytest.raises(ValueError, match=message):
        train()
    assert all(torch.equal(one, other) for one, other in zip(before, model.weights, strict=True))


def test_nb_epoch_is_epochs():
    with pytest.warns(DeprecationWarning, match="epochs") as seen:
        history = perceptron().fit(X, Y, nb_epoch=2, verbose=0)
    assert len(seen) == 1
    assert history.epoch == [0, 1]


# What stays behind.


class Stop(Exception):
    pass


def raise_stop(*_):
    raise Stop


def test_modes_are_restored():
    model = normalized()
    assert not model.training
    seen = []
    watch = lamina.callbacks.LambdaCallback(on_train_batch_end=lambda *_: seen.append(model.training))
    model.fit(X, np.zeros((22, 16)), verbose=0, callbacks=[watch])
    assert seen == [True]
    assert not any(module.training for module in model.modules())
    model.train()
    model.layers[1].eval()
    model.fit(X, np.zeros((22, 16)), verbose=0)
    assert [layer.training for layer in model.layers] == [True, False, True]


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_epoch_end"])
def test_an_interrupted_fit_leaves_no_stale_state(hook):
    model = perceptron()
    with pytest.raises(Stop):
        model.fit(X, Y, verbose=0, callbacks=[lamina.callbacks.LambdaCallback(**{hook: raise_stop})])
    assert not any(module.training for module in model.modules())
    model.set_weights(START)
    model.compile(lamina.optimizers.SGD(0.1), "mse", metrics=["mae"])
    same(fitted(lamina, X, Y, model=model), fitted(lamina, X, Y))


def test_freezing_between_two_fits_holds():
    model = perceptron()
    model.fit(X, Y, verbose=0)
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    kept, moved = model.weights[0].detach().clone(), model.weights[2].detach().clone()
    model.fit(X, Y, verbose=0)
    assert torch.equal(kept, model.weights[0])
    assert not torch.equal(moved, model.weights[2])


def test_a_progress_bar_and_batch_logs_change_no_result(capsys):
    quiet, logs = fitted(lamina, X, Y, batch_size=8), []
    watch = lamina.callbacks.LambdaCallback(on_train_batch_end=lambda batch, values: logs.append(dict(values)))
    same(fitted(lamina, X, Y, batch_size=8, verbose=1, callbacks=[watch]), quiet)
    assert "Epoch 2/2" in capsys.readouterr().out
    assert all(isinstance(values["loss"], float) and "mae" in values for values in logs)
    assert logs[-1]["loss"] == pytest.approx(quiet[1]["loss"][-1])


def test_a_nested_model_counts_only_the_outer_training():
    inner = perceptron()
    model = lamina.Sequential([lamina.Input((4,)), inner])
    model.compile("sgd", "mse", metrics=["mae"])
    history = model.fit(X, Y, verbose=0).history
    assert list(history) == ["loss", "mae"]
    assert history["loss"][0] > 0
    assert [metric.name for metric in model.metrics] == ["loss", "compile_metrics"]


def test_crossentropy_as_a_metric_follows_the_shapes():
    model = lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(3, "softmax")])
    model.compile("sgd", "crossentropy", metrics=["ce", "crossentropy"])
    logs = model.evaluate(X, CLASSES, verbose=0, return_dict=True)
    assert logs["ce"] == pytest.approx(logs["loss"], rel=1e-5)
    assert logs["crossentropy"] == pytest.approx(logs["loss"], rel=1e-5)


def test_weightless_models_say_so():
    model = lamina.Sequential([lamina.Input((1,)), lamina.layers.Rescaling(2.0)])
    model.compile("sgd", "mse")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model.fit(Y, Y, verbose=0)
    assert any("nothing is learned" in str(one.message) for one in seen)
