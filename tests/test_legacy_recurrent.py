"""Recurrent layers of Keras 1 and 2 in `.h5`. Every file is made by hand in the layout of its time, but those that say
that Keras 3.15 wrote them: no old Keras is at hand. What the layers compute is computed again in numpy."""

from __future__ import annotations

import json
import warnings

import h5py
import numpy as np
import pytest

import lamina
from exchange_models import write_layers
from lamina import compat, layers
from lamina.base.errors import LaminaError
from lamina.saving.old_configs import model_config_today
from test_legacy_weights import assert_equal_weights, save, with_random_weights

UNITS, FEATURES, STEPS = 3, 2, 5
X = np.random.default_rng(0).normal(size=(4, STEPS, FEATURES)).astype("float32")
COMMON = {"name": "r", "trainable": True, "batch_input_shape": [None, STEPS, FEATURES], "dtype": "float32"}
KERAS_2 = {**COMMON, "units": UNITS, "activation": "tanh", "recurrent_activation": "sigmoid", "implementation": 1}
KERAS_1 = {
    **COMMON,
    "output_dim": UNITS,
    "init": "glorot_uniform",
    "inner_init": "orthogonal",
    "activation": "tanh",
    "inner_activation": "sigmoid",
    "W_regularizer": {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.5},
    "U_regularizer": None,
    "dropout_W": 0.25,
    "dropout_U": 0.0,
    "consume_less": "cpu",
    "input_dim": FEATURES,
    "input_length": None,
}


def inner(config):
    return {key: value for key, value in config.items() if key != "batch_input_shape"}


def entry(class_name, config):
    return {"class_name": class_name, "config": config}


def written(path, layer, arrays, version="2.3.1"):
    """A file of a Sequential with this one layer, or with the weights alone."""
    with h5py.File(path, "w") as file:
        root = file
        if layer is not None:
            model = entry("Sequential", {"name": "s", "layers": [layer]})
            file.attrs["model_config"] = json.dumps(model).encode()
            root = file.create_group("model_weights")
        root.attrs["keras_version"] = version.encode()
        write_layers(root, {"r": arrays})
    return path


def random(*shape, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")


def gates_of(number):
    """Kernel, recurrent kernel and the biases of inputs and states of each gate."""
    return [
        (random(FEATURES, UNITS, seed=4 * n), random(UNITS, UNITS, seed=4 * n + 1), random(UNITS, seed=4 * n + 2),
         random(UNITS, seed=4 * n + 3))
        for n in range(number)
    ]  # fmt: skip


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(gates, x, biases=2):
    """The last state. The gates are those of input, forgetting, candidate and output."""
    h = c = np.zeros((len(x), UNITS))
    for step in x.swapaxes(0, 1):
        i, f, g, o = (step @ w + h @ u + b + (own if biases == 2 else 0) for w, u, b, own in gates)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return h


def gru(gates, x, reset_after):
    """The last state. The gates are update, reset and candidate."""
    h = np.zeros((len(x), UNITS))
    (wz, uz, bz, oz), (wr, ur, br, own), (wh, uh, bh, oh) = gates
    for step in x.swapaxes(0, 1):
        extra = int(reset_after)
        z = sigmoid(step @ wz + h @ uz + bz + extra * oz)
        r = sigmoid(step @ wr + h @ ur + br + extra * own)
        held = r * (h @ uh + oh) if reset_after else (r * h) @ uh
        h = z * h + (1 - z) * np.tanh(step @ wh + bh + held)
    return h


def cudnn_arrays(gates, prefix=""):
    """Each gate's matrices as CuDNN has them, (units, features) row by row, in arrays of today's shapes."""
    kernel = np.concatenate([w.T.reshape(w.shape) for w, _, _, _ in gates], 1)
    recurrent = np.concatenate([u.T for _, u, _, _ in gates], 1)
    bias = np.concatenate([b for _, _, b, _ in gates] + [own for _, _, _, own in gates])
    return {f"{prefix}kernel:0": kernel, f"{prefix}recurrent_kernel:0": recurrent, f"{prefix}bias:0": bias}


def keras_2_arrays(gates, prefix=""):
    kernel, recurrent, bias = (np.concatenate([gate[n] for gate in gates], -1) for n in range(3))
    return {f"{prefix}kernel:0": kernel, f"{prefix}recurrent_kernel:0": recurrent, f"{prefix}bias:0": bias}


def keras_1_arrays(gates, names, prefix="r"):
    """An array for each gate, in the order in which the layers of Keras 1 listed them."""
    return {
        f"{prefix}_{kind}_{name}": gate[number]
        for name, gate in zip(names, gates, strict=True)
        for number, kind in enumerate("WUb")
    }


def in_order_of_keras_1(gates):
    """Its LSTM listed input, candidate, forgetting, output."""
    i, f, c, o = gates
    return [i, c, f, o]


def outputs(path, x=X):
    model = lamina.models.load_model(path)
    return model, model(x).detach().numpy()


# ------------------------------------------------------------------------------------------------------------- Keras 2


def test_an_lstm_of_keras_2(tmp_path):
    gates = gates_of(4)
    config = {**KERAS_2, "time_major": False, "unroll": False, "num_constants": 0}
    model, got = outputs(written(tmp_path / "m.h5", entry("LSTM", config), keras_2_arrays(gates)))
    np.testing.assert_allclose(got, lstm(gates, X, biases=1), rtol=1e-4, atol=1e-6)
    assert type(model.layers[0]) is layers.LSTM
    for other in ({"time_major": True}, {"num_constants": 1}):
        path = written(tmp_path / "m.h5", entry("LSTM", {**config, **other}), keras_2_arrays(gates))
        with pytest.raises(LaminaError, match=rf"LSTM 'r' has {next(iter(other))}=.*no more"):
            lamina.models.load_model(path)


@pytest.mark.parametrize("reset_after", [None, False, True])
def test_a_gru_that_does_not_say_has_its_reset_before(tmp_path, reset_after):
    gates = gates_of(3)
    arrays, config = keras_2_arrays(gates), dict(KERAS_2)
    if reset_after is not None:
        config["reset_after"] = reset_after
    if reset_after:
        biases = [np.concatenate([gate[n] for gate in gates]) for n in (2, 3)]
        arrays["bias:0"] = np.stack(biases)
    model, got = outputs(written(tmp_path / "m.h5", entry("GRU", config), arrays))
    assert model.layers[0].reset_after is bool(reset_after)
    np.testing.assert_allclose(got, gru(gates, X, bool(reset_after)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["CuDNNLSTM", "CuDNNGRU"])
def test_layers_of_cudnn(tmp_path, name):
    gates = gates_of(4 if name == "CuDNNLSTM" else 3)
    config = {**COMMON, "units": UNITS, "return_sequences": False, "go_backwards": False, "stateful": False}
    path = written(tmp_path / "m.h5", entry(name, config), cudnn_arrays(gates))
    expected = lstm(gates, X) if name == "CuDNNLSTM" else gru(gates, X, True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, got = outputs(path)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
    today = getattr(layers, name.removeprefix("CuDNN"))
    assert type(model.layers[0]) is today
    twin = lamina.Sequential([lamina.Input((STEPS, FEATURES)), today(UNITS, name="other")])
    twin.load_weights(written(tmp_path / "w.h5", None, cudnn_arrays(gates)))
    assert_equal_weights(twin, model)


def test_weights_of_cudnn_that_do_not_fit_are_refused(tmp_path):
    path = written(tmp_path / "w.h5", None, cudnn_arrays(gates_of(3)))
    for layer in (layers.GRU(UNITS, reset_after=False), layers.GRU(UNITS + 1), layers.LSTM(UNITS)):
        model = lamina.Sequential([lamina.Input((STEPS, FEATURES)), layer])
        before = model.get_weights()
        with pytest.raises(LaminaError, match=r"\(18,\) in the file|axes in the file|in the file and"):
            model.load_weights(path)
        assert all(map(np.array_equal, before, model.get_weights()))


@pytest.mark.parametrize("name", ["LSTM", "CuDNNLSTM"])
def test_both_directions_forward_first(tmp_path, name):
    there, back = gates_of(4), [tuple(-part for part in gate) for gate in gates_of(4)]
    make = cudnn_arrays if name == "CuDNNLSTM" else keras_2_arrays
    arrays = {**make(there, "r/forward_l/"), **make(back, "r/backward_l/")}
    own = {"name": "l", "trainable": True, "units": UNITS, "recurrent_activation": "sigmoid", "time_major": False}
    if name == "CuDNNLSTM":
        del own["recurrent_activation"], own["time_major"]
    config = {**COMMON, "layer": entry(name, own), "merge_mode": "concat"}
    _, got = outputs(written(tmp_path / "m.h5", entry("Bidirectional", config), arrays))
    biases = 2 if name == "CuDNNLSTM" else 1
    expected = np.concatenate([lstm(there, X, biases), lstm(back, X[:, ::-1], biases)], -1)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_cells_and_wrapped_layers(tmp_path):
    gates = gates_of(4)
    cell = entry("LSTMCell", {**inner(KERAS_2), "name": "c"})
    stack = entry("StackedRNNCells", {"name": "k", "trainable": True, "cells": [cell]})
    for one in (cell, stack):
        config = {**COMMON, "cell": one, "return_sequences": False}
        _, got = outputs(written(tmp_path / "m.h5", entry("RNN", config), keras_2_arrays(gates)))
        np.testing.assert_allclose(got, lstm(gates, X, biases=1), rtol=1e-4, atol=1e-6)
    dense = entry("Dense", {"name": "d", "trainable": True, "units": 3, "activation": "linear"})
    arrays = {"kernel:0": random(FEATURES, 3), "bias:0": random(3)}
    _, got = outputs(written(tmp_path / "m.h5", entry("TimeDistributed", {**COMMON, "layer": dense}), arrays))
    np.testing.assert_allclose(got, X @ arrays["kernel:0"] + arrays["bias:0"], rtol=1e-4, atol=1e-6)


def test_states_among_the_inputs_of_a_graph():
    """Keras 2 wrote `decoder(x, initial_state=[h, c])` as a call on three inputs."""

    def layer(class_name, calls, **config):
        return {"class_name": class_name, "name": config["name"], "config": config, "inbound_nodes": calls}

    shape = [None, STEPS, FEATURES]
    listed = [
        layer("InputLayer", [], name="x", batch_input_shape=shape, dtype="float32"),
        layer("LSTM", [[["x", 0, 0, {}]]], name="encoder", units=UNITS, return_state=True),
        layer("LSTM", [[["x", 0, 0, {}], ["encoder", 0, 1, {}], ["encoder", 0, 2, {}]]], name="decoder", units=UNITS),
    ]
    config = {"name": "g", "layers": listed, "input_layers": [["x", 0, 0]], "output_layers": [["decoder", 0, 0]]}
    model = lamina.saving.deserialize_keras_object(model_config_today(entry("Model", config)))
    x = lamina.Input((STEPS, FEATURES))
    _, *states = layers.LSTM(UNITS, return_state=True)(x)
    twin = lamina.Model(x, layers.LSTM(UNITS)(x, initial_state=states))
    twin.set_weights(with_random_weights(model).get_weights())
    np.testing.assert_allclose(model(X).detach().numpy(), twin(X).detach().numpy(), rtol=1e-5)


# ------------------------------------------------------------------------------------------------------------- Keras 1


@pytest.mark.parametrize("version", ["1.2.2", "1.0.0"])
def test_gates_of_keras_1_are_joined(tmp_path, version):
    gates = gates_of(4)
    arrays = keras_1_arrays(in_order_of_keras_1(gates), "icfo")
    config = {**KERAS_1, "forget_bias_init": "one"}
    model, got = outputs(written(tmp_path / "m.h5", entry("LSTM", config), arrays, version))
    np.testing.assert_allclose(got, lstm(gates, X, biases=1), rtol=1e-4, atol=1e-6)
    layer = model.layers[0]
    assert (layer.dropout, layer.recurrent_dropout, layer.unit_forget_bias) == (0.25, 0.0, True)
    assert layer.kernel_regularizer.l2 == pytest.approx(0.5)
    gates = gates_of(3)
    model, got = outputs(written(tmp_path / "m.h5", entry("GRU", KERAS_1), keras_1_arrays(gates, "zrh"), version))
    np.testing.assert_allclose(got, gru(gates, X, False), rtol=1e-4, atol=1e-6)
    joined = {f"r_{kind}": np.concatenate([gate[n] for gate in gates], -1) for n, kind in enumerate("WUb")}
    again, same = outputs(written(tmp_path / "g.h5", entry("GRU", {**KERAS_1, "consume_less": "gpu"}), joined, version))
    assert_equal_weights(model, again)
    np.testing.assert_array_equal(got, same)


def test_both_directions_of_keras_1(tmp_path):
    there, back = gates_of(4), [tuple(-part for part in gate) for gate in gates_of(4)]
    arrays = {
        name: array
        for gates, way in ((there, "forward_r"), (back, "backward_r"))
        for name, array in keras_1_arrays(in_order_of_keras_1(gates), "icfo", way).items()
    }
    config = {**COMMON, "layer": entry("LSTM", inner(KERAS_1)), "merge_mode": "sum", "input_dtype": "float32"}
    _, got = outputs(written(tmp_path / "m.h5", entry("Bidirectional", config), arrays, "1.2.2"))
    np.testing.assert_allclose(got, lstm(there, X, 1) + lstm(back, X[:, ::-1], 1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dim", [None, FEATURES])
def test_what_the_shape_of_the_batches_says_too(tmp_path, dim):
    own = {**COMMON, "output_dim": 3, "init": "zero", "activation": "linear", "input_dim": dim}
    arrays = {"r_W": random(FEATURES, 3), "r_b": random(3)}
    _, got = outputs(written(tmp_path / "m.h5", entry("Dense", own), arrays, "1.2.2"))
    np.testing.assert_allclose(got, X @ arrays["r_W"] + arrays["r_b"], rtol=1e-4, atol=1e-6)


def test_half_a_set_of_gates_is_not_joined(tmp_path):
    arrays = keras_1_arrays(in_order_of_keras_1(gates_of(4)), "icfo")
    model = lamina.Sequential([lamina.Input((STEPS, FEATURES)), layers.LSTM(UNITS, name="r")])
    for change in ({"r_W_i": None}, {"r_W_i": random(FEATURES + 1, UNITS)}):
        damaged = {name: array for name, array in {**arrays, **change}.items() if array is not None}
        with pytest.raises(LaminaError, match=f"LSTM 'r' has 3, and {len(damaged)} in the file"):
            model.load_weights(written(tmp_path / "w.h5", None, damaged, "1.2.2"))


# ------------------------------------------------------------------------------------------ written by Keras 3.15


def stack(k):
    parts = [
        k.layers.Bidirectional(k.layers.LSTM(4, return_sequences=True), name="both"),
        k.layers.GRU(3, return_sequences=True, name="gru"),
        k.layers.TimeDistributed(k.layers.Dense(2), name="each"),
        k.layers.RNN([k.layers.LSTMCell(3), k.layers.GRUCell(2)], name="cells"),
    ]
    return k.Sequential([k.Input((STEPS, FEATURES)), *parts])


@pytest.mark.parametrize("way", ["keras to lamina", "lamina to keras"])
def test_weights_go_both_ways(keras, tmp_path, way):
    keras.utils.clear_session()
    source, target = (stack({"keras": keras, "lamina": lamina}[name]) for name in way.split(" to "))
    save(with_random_weights(source), tmp_path / "w.h5")
    target.load_weights(str(tmp_path / "w.h5"))
    one, two = (model(X).detach().numpy() for model in (source, target))
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------------------- scripts


def test_old_calls():
    with pytest.warns(DeprecationWarning, match=r"CuDNNLSTM\(3, .*\) is Keras 2; today: LSTM\(units=3, kernel_init"):
        assert compat.old_name("layers", "CuDNNLSTM")(3, "he_normal", return_sequences=True).return_sequences
    with pytest.warns(DeprecationWarning, match="implementation is dropped"):
        assert layers.GRUCell(3, implementation=1).units == 3
    with pytest.raises(ValueError, match="forget gate's bias"):
        layers.LSTM(output_dim=3, forget_bias_init="uniform")
