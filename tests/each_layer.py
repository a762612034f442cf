"""A small model around each layer of lamina, for tests that something holds for all of them."""

from __future__ import annotations

from functools import partial

import torch

import lamina
from lamina import layers, saving
from test_configs import ARGUMENTS, NAMES


@saving.register_keras_serializable("each_layer")
def doubled(x):
    return x * 2


# Layers that need another one, or a function.
WRAPPERS = {
    "RNN": lambda: layers.RNN(layers.GRUCell(3), return_sequences=True),
    "StackedRNNCells": lambda: layers.RNN(layers.StackedRNNCells([layers.GRUCell(3), layers.LSTMCell(2)])),
    "Bidirectional": lambda: layers.Bidirectional(layers.LSTM(3)),
    "TimeDistributed": lambda: layers.TimeDistributed(layers.Dense(3)),
    "Lambda": lambda: layers.Lambda(doubled),
}
# Every model begins with an InputLayer; a stateful layer needs batches of one size.
EACH_LAYER = sorted({*NAMES, *WRAPPERS} - {"InputLayer"})
OTHER_ARGUMENTS = {"SimpleRNN": {"units": 3, "recurrent_initializer": "he_normal"}}

SHAPES = [(8,), (6, 8), (8, 8, 4), (6, 6, 6, 3)]
# The shapes of inputs, and the call, where a layer takes no list of one to three of the shapes above.
CALLS = {
    "Dot": ([(5, 6), (4, 5)], lambda layer, one, other: layer([one, other])),
    "Embedding": ([(6,)], lambda layer, x: layers.GRU(3)(layer(x))),
    "GRUCell": ([(6, 8)], lambda cell, x: layers.RNN(cell)(x)),
    "GroupQueryAttention": ([(6, 8), (5, 8)], lambda layer, query, value: layer(query, value)),
    "LSTMCell": ([(6, 8)], lambda cell, x: layers.RNN(cell)(x)),
    "Masking": ([(6, 8)], lambda layer, x: layers.GRU(3)(layer(x))),
    "MultiHeadAttention": ([(6, 8), (5, 8)], lambda layer, query, value: layer(query, value)),
    "Normalization": ([(6, 2)], lambda layer, x: layer(x)),
    "SimpleRNNCell": ([(6, 8)], lambda cell, x: layers.RNN(cell)(x)),
}
WHOLE_NUMBERS = {"Embedding": 5}  # how many there are


def _made(name):
    if name in WRAPPERS:
        return WRAPPERS[name]()
    return getattr(layers, name)(**OTHER_ARGUMENTS.get(name, ARGUMENTS.get(name, {})))


def _model(name, shapes, call):
    lamina.utils.set_random_seed(1)
    whole = name in WHOLE_NUMBERS
    inputs = [layers.Input(shape, dtype="int32" if whole else "float32") for shape in shapes]
    before = inputs if whole else [layers.Dense(shape[-1])(one) for shape, one in zip(shapes, inputs, strict=True)]
    outputs = call(_made(name), *before)
    outputs = outputs[0] if isinstance(outputs, list | tuple) else outputs
    return lamina.Model(inputs, layers.Dense(1)(layers.Flatten()(outputs)))


def _ways(name):
    if name in CALLS:
        return [CALLS[name]]
    alone, together = (lambda layer, x: layer(x)), (lambda layer, *several: layer(list(several)))
    return [([shape] * count, alone if count == 1 else together) for shape in SHAPES for count in (1, 2, 3)]


def _numbers(name, samples, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    if name in WHOLE_NUMBERS:
        return torch.randint(0, WHOLE_NUMBERS[name], (samples, *shape), generator=generator)
    return torch.randn(samples, *shape, generator=generator)


def model_around(name, samples):
    """A function that makes a model with the layer in it, on the first inputs that it takes, and such inputs."""
    for shapes, call in _ways(name):
        x = [_numbers(name, samples, shape, seed) for seed, shape in enumerate(shapes)]
        try:
            model = _model(name, shapes, call)
            y = model([one[:2] for one in x] if len(x) > 1 else x[0][:2], training=True)
        except Exception:  # not an input for this layer
            if name in CALLS:
                raise
            continue
        if len(y) != 2:  # the layer took the batch for the height of one image
            continue
        return partial(lamina.models.clone_model, model), x if len(x) > 1 else x[0]
    raise AssertionError(f"no input for {name}: give it a line in CALLS")
