"""Configs: every layer from its own config, equal to Keras's; users' classes; graphs with functions; clones."""

from __future__ import annotations

import json

import numpy as np
import pytest

import lamina
from lamina import layers, saving
from lamina.base.errors import LaminaError
from lamina.base.registry import public_name

CONV = {"filters": 4, "kernel_size": 3, "padding": "same", "activation": "relu", "kernel_regularizer": "l2"}
DEPTHWISE = {"kernel_size": 3, "depth_multiplier": 2, "activation": "tanh"}
SEPARABLE = {"filters": 4, "kernel_size": 3, "use_bias": False}
ARGUMENTS = {
    "Activation": {"activation": "relu"},
    "ActivityRegularization": {"l1": 0.1, "l2": 0.2},
    "AlphaDropout": {"rate": 0.3, "seed": 1},
    "BatchNormalization": {"axis": 1, "momentum": 0.9, "gamma_regularizer": "l1", "beta_constraint": "non_neg"},
    "CenterCrop": {"height": 3, "width": 4},
    "Dense": {"units": 3, "activation": "gelu", "kernel_initializer": "he_normal", "kernel_constraint": "max_norm"},
    "Dot": {"axes": (1, 2), "normalize": True},
    "Dropout": {"rate": 0.3, "noise_shape": (None, 1), "seed": 3},
    "EinsumDense": {"equation": "ab,bc->ac", "output_shape": 3, "bias_axes": "c"},
    "Embedding": {"input_dim": 5, "output_dim": 3, "mask_zero": True},
    "GaussianDropout": {"rate": 0.2},
    "GaussianNoise": {"stddev": 0.2},
    "GroupQueryAttention": {"head_dim": 4, "num_query_heads": 4, "num_key_value_heads": 2, "use_gate": True},
    "MultiHeadAttention": {"num_heads": 2, "key_dim": 4, "output_shape": 3, "dropout": 0.1, "kernel_regularizer": "l2"},
    "GRU": {"units": 3, "reset_after": False, "dropout": 0.2, "seed": 1},
    "GRUCell": {"units": 3, "recurrent_activation": "hard_sigmoid"},
    "GroupNormalization": {"groups": 2, "epsilon": 1e-4},
    "InputLayer": {"shape": (3, None), "dtype": "int32"},
    "LSTM": {"units": 3, "return_sequences": True, "go_backwards": True, "recurrent_dropout": 0.1},
    "LSTMCell": {"units": 3, "unit_forget_bias": False, "recurrent_constraint": "non_neg"},
    "LayerNormalization": {"axis": (1, 2), "center": False},
    "LeakyReLU": {"negative_slope": 0.1},
    "Normalization": {"axis": -1, "mean": (1.0, 2.0), "variance": (1.0, 3.0)},
    "PReLU": {"shared_axes": [1]},
    "Permute": {"dims": (2, 1)},
    "ReLU": {"max_value": 6.0},
    "RepeatVector": {"n": 3},
    "Rescaling": {"scale": 2.0, "offset": 1.0},
    "Reshape": {"target_shape": (2, -1)},
    "Resizing": {"height": 3, "width": 4, "interpolation": "nearest"},
    "SimpleRNN": {"units": 3, "stateful": True, "recurrent_initializer": "he_normal"},
    "SimpleRNNCell": {"units": 3, "activation": "relu", "seed": 2},
    "Softmax": {"axis": 1},
    **{f"Conv{n}D{kind}": CONV for n in (1, 2, 3) for kind in ("", "Transpose")},
    **{f"DepthwiseConv{n}D": DEPTHWISE for n in (1, 2)},
    **{f"SeparableConv{n}D": SEPARABLE for n in (1, 2)},
    **{f"SpatialDropout{n}D": {"rate": 0.2} for n in (1, 2, 3)},
    **{f"{kind}Pooling{n}D": {"pool_size": 3, "strides": 2} for n in (1, 2, 3) for kind in ("Max", "Average")},
    **{f"Global{kind}Pooling{n}D": {"keepdims": True} for n in (1, 2, 3) for kind in ("Max", "Average")},
    **{f"ZeroPadding{n}D": {"padding": 2} for n in (1, 2, 3)},
    **{f"Cropping{n}D": {"cropping": 1} for n in (1, 2, 3)},
    **{f"UpSampling{n}D": {"size": 3} for n in (1, 2, 3)},
}
AROUND_LAYERS = {"RNN", "StackedRNNCells", "Bidirectional", "TimeDistributed", "Wrapper"}  # see test_recurrent.py
WITHOUT_CONFIG = {"Layer", "Lambda"} | AROUND_LAYERS  # a base class; one that needs a registered function
NAMES = sorted(
    {
        public_name(thing)[1]
        for thing in vars(layers).values()
        if isinstance(thing, type) and issubclass(thing, layers.Layer)
    }
    - WITHOUT_CONFIG
)
# Keys that only Keras writes: for things that lamina does not have, and an activity_regularizer of None.
ONLY_KERAS = {
    "activity_regularizer",
    "quantization_config",
    "lora_rank",
    "lora_alpha",
    "gptq_unpacked_column_size",
    "synchronized",
    "renorm",
    "renorm_clipping",
    "renorm_momentum",
}


def as_json(value):
    """Through JSON and back; Keras keeps some numbers as float32."""
    return json.loads(json.dumps(value), parse_float=lambda text: float(np.float32(text)))


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_is_made_again_from_its_config(keras, name):
    arguments = ARGUMENTS.get(name, {})
    cls = getattr(layers, name)
    layer = cls(**arguments, name="mine")
    config = layer.get_config()
    assert as_json(cls.from_config(config).get_config()) == as_json(config)
    described = as_json(saving.serialize_keras_object(layer))
    twin = saving.deserialize_keras_object(described)
    assert type(twin) is cls
    assert as_json(saving.serialize_keras_object(twin)) == described
    theirs = as_json(getattr(keras.layers, name)(**arguments, name="mine").get_config())
    mine = as_json(config)
    for key in ONLY_KERAS - set(mine):
        theirs.pop(key, None)
    assert mine == theirs


@saving.register_keras_serializable("test_configs")
def halve(x):
    return x / 2


@saving.register_keras_serializable("test_configs")
class WithConfig(layers.Layer):
    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size * 2

    def call(self, x):
        return x * self.size

    def get_config(self):
        return {**super().get_config(), "size": self.size // 2}


@saving.register_keras_serializable("test_configs")
class WithoutConfig(layers.Dense):
    def __init__(self, units, extra=1, **kwargs):
        super().__init__(units * extra, **kwargs)


@pytest.mark.parametrize("make", [lambda: WithConfig(3, name="a"), lambda: WithoutConfig(2, extra=3, name="a")])
def test_a_users_layer(make):
    layer = make()
    described = as_json(saving.serialize_keras_object(layer))
    twin = saving.deserialize_keras_object(described)
    assert type(twin) is type(layer)
    assert twin.get_config() == layer.get_config()
    assert getattr(twin, "units", None) == getattr(layer, "units", None)


@pytest.mark.parametrize(
    "given",
    [
        {"activation": "relu", "kernel_initializer": "he_normal", "kernel_regularizer": "l2"},
        {
            "activation": lamina.activations.relu,
            "kernel_initializer": lamina.initializers.HeNormal(),
            "kernel_regularizer": lamina.regularizers.L2(),
        },
        {"activation": lamina.activations.relu, "kernel_initializer": lamina.initializers.HeNormal},
    ],
)
def test_parts_may_be_names_objects_or_functions(given):
    config = as_json(layers.Dense(2, **given, name="d").get_config())
    assert config["activation"] == "relu"
    assert config["kernel_initializer"]["class_name"] == "HeNormal"
    assert as_json(layers.Dense.from_config(config).get_config()) == config


def test_a_registered_function():
    described = as_json(saving.serialize_keras_object(layers.Dense(2, activation=halve)))
    assert saving.deserialize_keras_object(described).activation is halve
    described = as_json(saving.serialize_keras_object(layers.Lambda(halve)))
    assert saving.deserialize_keras_object(described).function is halve
    with pytest.raises(LaminaError, match="lambda"):
        saving.serialize_keras_object(layers.Lambda(lambda x: x))
    with pytest.raises(LaminaError, match="custom_objects"):
        saving.deserialize_keras_object({"module": None, "class_name": "Nobody", "config": {}, "registered_name": "N"})


def graph_with_functions(list_as_index=True):
    ops = lamina.ops
    x = lamina.Input((4, 6))
    y = (2 * x + 1) / 3 - x**2
    y = ops.concatenate([y[:, 1:3], ops.transpose(y, (0, 1, 2))[:, ::2]], axis=1)
    picked = y[:, [0, 0, 1]] if list_as_index else ops.take(y, [0, 0, 1], axis=1)  # Keras takes no list
    summed = ops.sum(ops.clip(picked, -1, 1), axis=(1, 2), keepdims=True) + ops.max(y, axis=[1, 2], keepdims=True)
    mixed = ops.einsum("bij,bkj->bik", picked, y) + ops.where(summed > 0, summed, -1.0)
    parts = ops.split(mixed, 2, axis=2)
    return lamina.Model(x, [ops.squeeze(summed, axis=-1), ops.pad(parts[0], ((0, 0), (1, 0), (0, 1)))])


def test_functions_in_a_graph():
    model = graph_with_functions()
    x = np.random.default_rng(0).normal(size=(2, 4, 6)).astype("float32")
    for twin in (
        lamina.models.model_from_json(model.to_json()),
        lamina.models.clone_model(model),
        lamina.models.clone_model(model, input_tensors=lamina.Input((4, 6))),
    ):
        for mine, other in zip(model(x), twin(x), strict=True):
            np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-6)
    assert as_json(lamina.models.model_from_json(model.to_json()).get_config()) == as_json(model.get_config())


def test_keras_reads_the_functions_of_a_graph(keras):
    model = graph_with_functions(list_as_index=False)
    theirs = keras.models.model_from_json(json.dumps(saving.dialect.to_keras(json.loads(model.to_json()))))
    x = np.random.default_rng(0).normal(size=(2, 4, 6)).astype("float32")
    for mine, other in zip(model(x), theirs(x), strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)


def test_a_function_of_ones_own_cannot_be_named():
    from lamina.graph.record import op

    x = lamina.Input((3,))
    model = lamina.Model(x, op(halve)(x))
    with pytest.raises(LaminaError, match=r"not one of lamina\.ops"):
        model.get_config()


def shared_and_nested():
    x, z = lamina.Input((4,), name="x"), lamina.Input((4,), name="z")
    dense = layers.Dense(4, name="shared")
    inner = lamina.Sequential([layers.Dense(4)], name="inner")
    y = layers.Add(name="sum")([dense(x), dense(inner(z))])
    return lamina.Model({"x": x, "z": z}, {"out": layers.Dense(2, name="out")(y), "y": y})


def test_clone_model_with_a_clone_function(keras):
    model = shared_and_nested()
    seen = []

    def clone(layer):
        seen.append(layer.name)
        config = layer.get_config()
        if layer.name == "shared":
            config["activation"] = "relu"
        return type(layer).from_config(config)

    twin = lamina.models.clone_model(model, clone_function=clone)
    assert sorted(seen) == ["inner", "out", "shared", "sum"]
    assert [layer.name for layer in twin.layers] == [layer.name for layer in model.layers]
    assert twin.get_layer("shared").activation is lamina.activations.relu
    assert twin.get_layer("shared") is not model.get_layer("shared")
    assert len(twin.weights) == len(model.weights)
    assert sorted(twin(dict.fromkeys("xz", np.ones((1, 4), "float32")))) == ["out", "y"]
    with pytest.raises(LaminaError, match="returns a layer"):
        lamina.models.clone_model(model, clone_function=lambda layer: None)


def test_clone_model_on_other_inputs():
    model = lamina.Sequential([lamina.Input((4,)), layers.Dense(3, name="a"), layers.Dense(2)], name="stack")
    twin = lamina.models.clone_model(model, input_tensors=lamina.Input((4,), batch_size=5, name="five"))
    assert twin.inputs[0].shape == (5, 4)
    assert [layer.name for layer in twin.layers] == [layer.name for layer in model.layers]
    assert twin.name == "stack"
    middle = lamina.Model(model.layers[0].output, model.output)
    assert lamina.models.clone_model(
        middle, clone_function=lambda one: type(one).from_config(one.get_config())
    ).count_params()
    with pytest.raises(ValueError, match="input_tensors has 2"):
        lamina.models.clone_model(model, input_tensors=[lamina.Input((4,)), lamina.Input((4,))])
