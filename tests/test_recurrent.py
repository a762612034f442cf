"""Recurrent layers against Keras: values, gradients, masks, states, wrappers, training, files."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

import lamina
from lamina import layers
from lamina.base.errors import ShapeError
from lamina.engine import recurrent
from layer_parity import check_layer, sample

SHAPE = (3, 6, 4)
OPEN = {"open_axes": (0, 1)}
KINDS = ("LSTM", "GRU", "SimpleRNN")
OPTIONS = [
    {},
    {"return_sequences": True},
    {"go_backwards": True, "return_sequences": True},
    {"use_bias": False},
    {"unroll": True, "bias_initializer": "ones", "recurrent_initializer": "glorot_normal"},
    {"activation": "relu", "kernel_regularizer": "l2", "recurrent_constraint": "max_norm"},
    {"dropout": 0.3, "recurrent_dropout": 0.2, "bias_regularizer": "l2"},
    {"zero_output_for_mask": True, "dtype": "float64"},
]
OF_ONE = [
    ("LSTM", {"unit_forget_bias": False, "recurrent_activation": "hard_sigmoid"}),
    ("LSTM", {"use_cudnn": False, "return_sequences": True}),
    ("GRU", {"reset_after": False, "return_sequences": True}),
    ("GRU", {"reset_after": False, "use_bias": False}),
    ("GRU", {"use_cudnn": False}),
    ("GRU", {"recurrent_activation": "tanh"}),
]


@pytest.mark.parametrize(("name", "options"), [*[(k, o) for k in KINDS for o in OPTIONS], *OF_ONE])
def test_as_keras_has_it(name, options):
    axes = (0,) if options.get("unroll") else (0, 1)  # Keras does not unroll an open number of steps
    check_layer(name, SHAPE, units=5, open_axes=axes, **options)


def pair(keras, make, *call, **named):
    """The same layer of both frameworks, built and with the same weights."""
    theirs, mine = make(keras.layers), make(layers)
    theirs(*call, **named), mine(*call, **named)
    mine.set_weights(theirs.get_weights())
    for layer in (theirs, mine):
        if getattr(layer, "stateful", False):
            layer.reset_state()
    return mine, theirs


def numbers(outputs):
    return [one.detach().numpy() for one in lamina.tree.flatten(outputs)]


def assert_same(mine, theirs):
    for a, b in zip(numbers(mine), numbers(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


STACKS = {
    "a cell": lambda lib: lib.RNN(lib.GRUCell(5), return_sequences=True),
    "cells": lambda lib: lib.RNN([lib.LSTMCell(5), lib.GRUCell(3)], return_state=True, return_sequences=True),
    "a stack": lambda lib: lib.RNN(lib.StackedRNNCells([lib.SimpleRNNCell(5), lib.LSTMCell(3)]), go_backwards=True),
}


@pytest.mark.parametrize("make", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("masked", [False, True])
def test_cells_and_stacks(keras, make, masked):
    keras.utils.clear_session()
    lamina.utils.clear_session()
    x = torch.from_numpy(sample(SHAPE))
    named = {"mask": torch.from_numpy(MASKS["any"])} if masked else {}
    mine, theirs = pair(keras, make, x)
    assert_same(mine(x, **named), theirs(x, **named))
    assert [w.name for w in mine.weights] == [w.name for w in theirs.weights]
    assert [w.path.partition("/")[2] for w in mine.weights] == [w.path.partition("/")[2] for w in theirs.weights]
    structure = lamina.tree.map_structure(lambda one: tuple(one.shape), mine(x))
    assert structure == keras.tree.map_structure(lambda one: tuple(one.shape), theirs(x))
    twin = type(mine).from_config(mine.get_config())
    twin(x)
    twin.set_weights(mine.get_weights())
    assert_same(twin(x), mine(x))


@pytest.mark.parametrize("name", ["LSTMCell", "GRUCell", "SimpleRNNCell"])
def test_a_cell_by_itself(keras, name):
    x, state = torch.from_numpy(sample((3, 4))), torch.from_numpy(sample((3, 5), seed=1))
    states = [state, state + 1] if name == "LSTMCell" else [state]
    mine, theirs = pair(keras, lambda lib: getattr(lib, name)(5), x, states)
    assert_same(mine(x, states), theirs(x, states))
    assert mine.get_config() | {"name": ""} == theirs.get_config() | {"name": ""}
    symbols = mine(lamina.Input((4,)), [lamina.Input((5,)) for _ in states])
    assert [one.shape for one in lamina.tree.flatten(symbols)] == [(None, 5)] * (1 + len(states))
    zeros = mine.get_initial_state(batch_size=2)
    assert [tuple(one.shape) for one in zeros] == [tuple(one.shape) for one in theirs.get_initial_state(batch_size=2)]


# --- masks

MASKS = {
    "right": np.array([[1, 1, 1, 0, 0, 0], [1] * 6, [1, 0, 0, 0, 0, 0]], bool),
    "left": np.array([[0, 0, 1, 1, 1, 1], [1] * 6, [0, 0, 0, 0, 0, 1]], bool),
    "any": np.array([[0, 1, 1, 0, 1, 0], [0] * 6, [1, 0, 0, 1, 0, 1]], bool),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", MASKS)
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"return_sequences": True}, {"return_state": True, "return_sequences": True, "go_backwards": True}]
)
def test_masks(keras, kind, where, zeros, options):
    x, mask = torch.from_numpy(sample(SHAPE)), torch.from_numpy(MASKS[where])

    def make(lib):
        return getattr(lib, kind)(5, zero_output_for_mask=zeros, use_bias=True, **options)

    first = [torch.from_numpy(sample((3, 5), seed=seed)) for seed in range(2 if kind == "LSTM" else 1)]
    mine, theirs = pair(keras, make, x)
    for given in (None, first):
        assert_same(mine(x, mask=mask, initial_state=given), theirs(x, mask=mask, initial_state=given))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_through_masked_kernels_are_those_of_steps(kind):
    x, mask = torch.from_numpy(sample(SHAPE)), torch.from_numpy(MASKS["any"])
    fused = getattr(layers, kind)(5, return_sequences=True)
    found = []
    for use in ("auto", False):
        fused.use_cudnn = use
        inputs = x.clone().requires_grad_()
        fused.zero_grad()
        outputs = fused(inputs, mask=mask)
        (outputs * torch.from_numpy(sample(tuple(outputs.shape), seed=9))).sum().backward()
        found.append([outputs.detach(), inputs.grad, *[w.grad.clone() for w in fused.weights]])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_mask_comes_from_an_embedding_and_goes_on():
    tokens = torch.tensor([[3, 2, 0, 0], [1, 0, 0, 0]])
    embedded = layers.Embedding(5, 3, mask_zero=True)(tokens)
    outputs = layers.GRU(4, return_sequences=True)(embedded)
    torch.testing.assert_close(outputs._keras_mask, tokens.ne(0))
    torch.testing.assert_close(outputs[:, 1:].diff(dim=1)[0, 1:], torch.zeros(1, 4))  # masked: the output before
    assert getattr(layers.GRU(4)(embedded), "_keras_mask", None) is None


# --- states


@pytest.mark.parametrize("kind", KINDS)
def test_stateful_layers_go_on_where_they_ended(keras, kind):
    x = torch.from_numpy(sample(SHAPE))
    mine, theirs = pair(keras, lambda lib: getattr(lib, kind)(5, stateful=True), x)
    for _ in range(3):
        assert_same(mine(x), theirs(x))
    assert_same(mine.states, [state.value for state in theirs.states])
    mine.reset_state(), theirs.reset_state()
    assert_same(mine(x), theirs(x))
    assert [w.name for w in mine.weights] == ["kernel", "recurrent_kernel", "bias"]
    whole = getattr(layers, kind)(5)
    whole(x)
    whole.set_weights(mine.get_weights())
    mine.reset_state()
    mine(x[:, :2])
    torch.testing.assert_close(mine(x[:, 2:]), whole(x), rtol=1e-4, atol=1e-5)


def test_a_copy_of_a_stateful_layer_goes_on_with_states_of_its_own():
    layer, x = layers.LSTM(5, stateful=True), torch.from_numpy(sample((2, 4, 3)))
    layer(x)
    twins = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    expected = layer(x)
    for twin in twins:
        torch.testing.assert_close(twin(x), expected)


def test_a_stateful_model_built_without_memory_has_states_after_it_got_some():
    def build():
        return lamina.Sequential([lamina.Input((4, 3), batch_size=2), layers.LSTM(5, stateful=True)])

    with lamina.device("meta"):
        bare = build()
    bare.materialize()
    model, x = build(), torch.from_numpy(sample((2, 4, 3)))
    bare.set_weights(model.get_weights())
    for _ in range(2):
        torch.testing.assert_close(bare(x), model(x))


def test_a_mask_goes_where_the_sequences_are(monkeypatch):
    seen = []

    class Seeing(layers.Layer):
        supports_masking = True

        def call(self, inputs, mask=None):
            seen.append(mask.device.type)
            return inputs

    def run_steps(self, sequences, states, mask, training):
        seen.append(mask.device.type)
        return sequences, states

    monkeypatch.setattr(layers.RNN, "_fused_kernel", lambda *_: None)
    monkeypatch.setattr(layers.RNN, "_run_steps", run_steps)
    with lamina.device("meta"):  # stands for a card
        x = torch.empty(2, 4, 3, device="meta")
        layers.GRU(5, return_sequences=True)(x, mask=torch.ones(2, 4, dtype=torch.bool))
        layers.TimeDistributed(Seeing())(x, mask=torch.ones(2, 4, dtype=torch.bool))
    assert seen == ["meta", "meta"]


@pytest.mark.parametrize("kind", KINDS)
def test_states_pass_from_an_encoder_to_a_decoder(keras, kind):
    def build(lib):
        source, target = lib.Input((None, 4)), lib.Input((6, 4))
        _, *states = getattr(lib.layers, kind)(5, return_state=True)(source)
        outputs = getattr(lib.layers, kind)(5, return_sequences=True)(target, initial_state=states)
        return lib.Model([source, target], lib.layers.TimeDistributed(lib.layers.Dense(2))(outputs))

    mine, theirs = build(lamina), build(keras)
    mine.set_weights(theirs.get_weights())
    x = [sample((3, 7, 4)), sample((3, 6, 4), seed=1)]
    assert_same(mine([torch.from_numpy(one) for one in x]), theirs(x))
    again = lamina.Model.from_config(mine.get_config())
    again.set_weights(mine.get_weights())
    assert_same(again([torch.from_numpy(one) for one in x]), theirs(x))
    assert "multiply-adds" in str(lamina.explain(mine))


# --- wrappers


@pytest.mark.parametrize("merge_mode", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("states", [False, True])
def test_both_directions(keras, merge_mode, kind, states):
    x, mask = torch.from_numpy(sample(SHAPE)), torch.from_numpy(MASKS["any"])
    for sequences in (False, True):

        def make(lib, sequences=sequences):
            inner = getattr(lib, kind)(5, return_sequences=sequences, return_state=states)
            return lib.Bidirectional(inner, merge_mode=merge_mode)

        mine, theirs = pair(keras, make, x)
        assert_same(mine(x), theirs(x))
        assert_same(mine(x, mask=mask), theirs(x, mask=mask))
        symbol, other = mine(lamina.Input((None, 4))), theirs(keras.Input((None, 4)))
        shapes = [tuple(one.shape) for one in lamina.tree.flatten(other)]
        assert [one.shape for one in lamina.tree.flatten(symbol)] == shapes
        assert mine.compute_output_shape(SHAPE) == theirs.compute_output_shape(SHAPE)
        assert [w.name for w in mine.weights] == [w.name for w in theirs.weights]
        first = [torch.from_numpy(sample((3, 5), seed=seed)) for seed in range(4 if kind == "LSTM" else 2)]
        assert_same(mine(x, initial_state=first), theirs(x, initial_state=first))


AROUND = {
    "Bidirectional": lambda lib: lib.Bidirectional(lib.LSTM(5, dropout=0.1), merge_mode="sum", name="mine"),
    "both given": lambda lib: lib.Bidirectional(
        lib.GRU(5, name="one"), backward_layer=lib.LSTM(5, go_backwards=True, name="other"), name="mine"
    ),
    "RNN": lambda lib: lib.RNN([lib.LSTMCell(4), lib.GRUCell(5)], return_state=True, name="mine"),
    "StackedRNNCells": lambda lib: lib.StackedRNNCells([lib.SimpleRNNCell(4)], name="mine"),
    "TimeDistributed": lambda lib: lib.TimeDistributed(lib.Conv1D(4, 3), name="mine"),
    "Wrapper": lambda lib: lib.Wrapper(lib.LSTM(4), name="mine"),
}


def without_none(config):
    """Keras writes activity_regularizer and quantization_config as None for some classes, lamina for none."""
    if isinstance(config, dict):
        left_out = ("activity_regularizer", "quantization_config")
        return {key: without_none(value) for key, value in config.items() if value is not None or key not in left_out}
    return [without_none(one) for one in config] if isinstance(config, list | tuple) else config


@pytest.mark.parametrize("make", AROUND.values(), ids=AROUND)
def test_configs_around_layers_are_those_of_keras(keras, make):
    keras.utils.clear_session()
    lamina.utils.clear_session()
    mine, theirs = make(layers), make(keras.layers)
    assert without_none(mine.get_config()) == without_none(theirs.get_config())
    twin = lamina.saving.deserialize_keras_object(keras.saving.serialize_keras_object(theirs))
    assert type(twin) is type(mine)
    assert twin.get_config() == mine.get_config()


def test_a_pair_that_does_not_belong_together_is_refused():
    with pytest.raises(ValueError, match="go_backwards=False"):
        layers.Bidirectional(layers.LSTM(3), backward_layer=layers.LSTM(3))
    with pytest.raises(ValueError, match="differ in return_sequences"):
        layers.Bidirectional(layers.LSTM(3), backward_layer=layers.LSTM(3, go_backwards=True, return_sequences=True))
    with pytest.raises(ValueError, match="recurrent layer"):
        layers.Bidirectional(layers.Dense(3))
    with pytest.raises(ValueError, match="merge_mode is one of"):
        layers.Bidirectional(layers.LSTM(3), merge_mode="max")
    with pytest.raises(ValueError, match="takes cells"):
        layers.RNN(layers.Dense(3))
    with pytest.raises(ValueError, match="from 0 to 1"):
        layers.GRU(3, dropout=1.5)
    with pytest.raises(TypeError, match="takes a layer"):
        layers.TimeDistributed(3)


INNER = {
    "dense": (lambda lib: lib.Dense(3, "relu"), (2, 5, 4)),
    "convolution": (lambda lib: lib.Conv2D(3, 2, strides=2), (2, 3, 6, 6, 2)),
    "recurrent": (lambda lib: lib.LSTM(3), (2, 3, 5, 4)),
    "pooling": (lambda lib: lib.GlobalAveragePooling1D(), (2, 3, 5, 4)),
    "normalization": (lambda lib: lib.BatchNormalization(), (2, 3, 4)),
}


@pytest.mark.parametrize("case", INNER)
@pytest.mark.parametrize("training", [False, True])
def test_each_step_of_a_sequence(keras, case, training):
    inner, shape = INNER[case]
    x = torch.from_numpy(sample(shape))
    mine, theirs = pair(keras, lambda lib: lib.TimeDistributed(inner(lib)), x)
    assert_same(mine(x, training=training), theirs(x, training=training))
    assert_same(mine.weights, [weight.value for weight in theirs.weights])
    symbol = mine(lamina.Input((None, *shape[2:])))
    assert symbol.shape == tuple(theirs(keras.Input((None, *shape[2:]))).shape)
    config = mine.get_config()
    assert layers.TimeDistributed.from_config(config).layer.name == mine.layer.name


# --- dropout


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_shares_its_zeros_over_the_steps(kind):
    x = torch.ones(64, 5, 8)
    layer = getattr(layers, kind)(4, dropout=0.5, seed=3, return_sequences=True)
    layer(x)
    plain = getattr(layers, kind)(4, return_sequences=True)
    plain(x)
    plain.set_weights(layer.get_weights())
    torch.testing.assert_close(layer(x), plain(x))
    one, other = layer(x, training=True), layer(x, training=True)
    assert not torch.equal(one, other)  # each call draws anew
    again = type(layer).from_config({**layer.get_config(), "seed": 3})
    again(x)
    again.set_weights(layer.get_weights())
    torch.testing.assert_close(again(x, training=True), one)
    again = type(layer).from_config({**layer.get_config(), "seed": 3})
    again.use_cudnn = False
    again(x)
    again.set_weights(layer.get_weights())
    torch.testing.assert_close(again(x, training=True), one)


@pytest.mark.parametrize("kind", KINDS)
def test_recurrent_dropout_is_nothing_outside_training(kind):
    x = torch.from_numpy(sample(SHAPE))
    layer = getattr(layers, kind)(4, recurrent_dropout=0.5, seed=3)
    assert torch.equal(layer(x), layer(x))
    assert not torch.equal(layer(x, training=True), layer(x, training=True))
    everything = getattr(layers, kind)(4, recurrent_dropout=1.0, recurrent_initializer="ones")
    plain = getattr(layers, kind)(4, recurrent_initializer="zeros")
    everything(x), plain(x)
    plain.weights[0].assign(everything.weights[0])
    if kind == "SimpleRNN":  # nothing of a state comes through
        torch.testing.assert_close(everything(x, training=True), plain(x))


# --- the kernels


@pytest.mark.parametrize(
    ("loop", "kernel", "gates"),
    [(recurrent.gru, recurrent.torch_gru, 3), (recurrent.simple_rnn, recurrent.torch_simple_rnn, 1)],
)
@pytest.mark.parametrize("with_bias", [True, False])
def test_the_loops_of_the_cpu_compute_what_torch_does(loop, kernel, gates, with_bias):
    generator = torch.Generator().manual_seed(1)
    shapes = [(3, 7, 4), (3, 5), (4, gates * 5), (5, gates * 5), (2, 15) if gates == 3 else (5,)]
    given = [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]
    given = given if with_bias else given[:-1]
    found = []
    for function in (loop, kernel):
        outputs, last = function(*given, *([] if with_bias else [None]))
        found.append([outputs, last, *torch.autograd.grad(outputs.square().sum() + last.sin().sum(), given)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_low_precision(kind, policy):
    x = torch.from_numpy(sample(SHAPE))
    low, plain = getattr(layers, kind)(5, dtype=policy), getattr(layers, kind)(5)
    low(x), plain(x)
    plain.set_weights(low.get_weights())
    outputs = low(x)
    assert str(outputs.dtype).removeprefix("torch.") == low.compute_dtype
    torch.testing.assert_close(outputs.float(), plain(x), rtol=5e-2, atol=5e-2)
    outputs.float().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in low.weights)


# --- a user's cells


class Averaging:
    """A cell that is no layer: its state is the mean so far, its output twice that."""

    state_size = (4, 1)
    output_size = 4

    def __call__(self, inputs, states):
        mean, count = states
        mean = mean + (inputs - mean) / (count + 1)
        return 2 * mean, [mean, count + 1]


def test_any_object_may_be_a_cell():
    x = torch.from_numpy(sample(SHAPE))
    outputs, mean, count = layers.RNN(Averaging(), return_state=True)(x)
    torch.testing.assert_close(outputs, 2 * x.mean(1))
    torch.testing.assert_close(mean, x.mean(1))
    assert count.unique().tolist() == [6.0]


class Halving(layers.LSTMCell):
    def call(self, inputs, states, training=False):
        output, states = super().call(inputs, states, training=training)
        return output / 2, states


def test_a_subclass_of_a_cell_has_its_own_call_run():
    x = torch.from_numpy(sample(SHAPE))
    mine, plain = layers.RNN(Halving(5)), layers.LSTM(5)
    mine(x), plain(x)
    mine.set_weights(plain.get_weights())
    torch.testing.assert_close(mine(x), plain(x) / 2)


# --- training and files


def tagger(lib):
    tokens = lib.Input((8,), dtype="int32")
    x = lib.layers.Embedding(12, 6, mask_zero=True)(tokens)
    x = lib.layers.Bidirectional(lib.layers.LSTM(5, return_sequences=True))(x)
    x = lib.layers.GRU(4, kernel_regularizer="l2", return_sequences=True)(x)
    x = lib.layers.RNN([lib.layers.LSTMCell(4), lib.layers.SimpleRNNCell(3)])(x)
    return lib.Model(tokens, lib.layers.Dense(3, activation="softmax")(x))


def batches():
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 12, (32, 8)).astype("int32")
    tokens[np.arange(8) >= rng.integers(1, 9, 32)[:, None]] = 0
    return tokens, rng.integers(0, 3, 32)


def fit(model, tokens, labels):
    model.compile("adam", "sparse_categorical_crossentropy")
    return model.fit(tokens, labels, epochs=3, batch_size=8, shuffle=False, verbose=0).history["loss"]


def test_fit_has_the_losses_of_keras(keras):
    mine, theirs = tagger(lamina), tagger(keras)
    mine.set_weights(theirs.get_weights())
    tokens, labels = batches()
    np.testing.assert_allclose(fit(mine, tokens, labels), fit(theirs, tokens, labels), rtol=1e-4)
    np.testing.assert_allclose(mine.predict(tokens, verbose=0), theirs.predict(tokens, verbose=0), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
@pytest.mark.parametrize("writer", ["keras", "lamina"])
def test_files_go_both_ways(keras, tmp_path, suffix, writer):
    keras.utils.clear_session()
    lamina.utils.clear_session()
    there, here = (keras, lamina) if writer == "keras" else (lamina, keras)
    tokens, labels = batches()
    written = tagger(there)
    fit(written, tokens, labels)
    path = str(tmp_path / f"model{suffix}")
    if suffix == ".keras":
        written.save(path)
        read = here.saving.load_model(path)
    else:
        written.save_weights(path)
        read = tagger(here)
        read.load_weights(path)
    expected = written.predict(tokens, verbose=0)
    np.testing.assert_allclose(read.predict(tokens, verbose=0), expected, rtol=1e-4, atol=1e-5)


def test_a_stateful_model_goes_through_a_file(tmp_path):
    model = lamina.Sequential([lamina.Input((4, 3), batch_size=2), layers.GRU(5, stateful=True)])
    model.save(tmp_path / "model.keras")
    read = lamina.saving.load_model(tmp_path / "model.keras")
    x = sample((2, 4, 3))
    for _ in range(2):
        torch.testing.assert_close(read(x), model(x))


# --- explanations and errors


def test_explanations():
    model = lamina.Sequential([lamina.Input((100, 64), name="x"), layers.LSTM(128, name="memory"), layers.Dense(2)])
    text = str(model.explain("memory"))
    assert "features·4·units + units·4·units + 4·units" in text
    assert "98,816" in text
    assert model.explain("memory").multiply_accumulates == 100 * 4 * 128 * (64 + 128)
    assert model.check().findings is not None


def test_multiply_accumulates_are_those_that_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    model = lamina.Sequential([lamina.Input((6, 4)), layers.SimpleRNN(5, activation="relu", name="memory")])
    explained = model.explain("memory")
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 6, 4))
    assert counter.get_total_flops() == 2 * explained.multiply_accumulates


def test_another_number_of_features_is_an_error_of_the_layer():
    layer = layers.LSTM(5, name="memory")
    layer(torch.zeros(2, 3, 4))
    with pytest.raises(ShapeError, match="LSTM 'memory' needs 4 features and got 7"):
        layer(torch.zeros(2, 3, 7))
    with pytest.raises(ShapeError, match="reads inputs of 3 axes and got 2"):
        layers.GRU(5)(torch.zeros(2, 3))
