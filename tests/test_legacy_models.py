"""Whole models in `.h5`: round trips through Keras, files as Keras 1 and 2 wrote them, and what is refused."""

from __future__ import annotations

import json
import logging

import h5py
import numpy as np
import pytest
import torch

import exchange_models as models
import lamina
from exchange_models import assert_same_outputs, example, scale_class, write_layers
from lamina import layers
from lamina.base.errors import LaminaError, UnsafeFileError
from lamina.saving.legacy_h5 import _write_texts, texts
from lamina.saving.old_configs import compile_arguments_today, model_config_today


@pytest.fixture(autouse=True)
def without_the_advice_of_keras(keras):
    keras.utils.clear_session()
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("absl").setLevel(logging.WARNING)


def sequential(k):
    model = k.Sequential(
        [
            k.Input((8, 8, 3)),
            k.layers.Conv2D(4, 3, activation="relu", padding="same"),
            k.layers.BatchNormalization(),
            k.layers.DepthwiseConv2D(3),
            k.layers.Flatten(),
            k.layers.Dense(2, kernel_regularizer=k.regularizers.L2(0.01)),
        ]
    )
    model.compile(k.optimizers.Adam(0.01), loss="mse", metrics=["mae", k.metrics.MeanSquaredError(name="again")])
    return model


def shared(k):
    a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
    dense = k.layers.Dense(3)
    both = k.layers.Concatenate()([dense(a), dense(b)])
    model = k.Model([a, b], [k.layers.Dense(2, name="left")(both), k.layers.Dense(1, name="right")(dense(a))])
    loss = {"left": "mse", "right": k.losses.MeanAbsoluteError()}
    model.compile(k.optimizers.SGD(0.01, momentum=0.9), loss=loss, loss_weights=[1.0, 2.0])
    return model


def nested(k):
    x = k.Input((6,), name="x")
    inner = k.Sequential([k.layers.Dense(5, activation="tanh"), k.layers.BatchNormalization(), k.layers.Dense(4)])
    inside = k.Input((4,))
    functional = k.Model(inside, k.layers.Add()([k.layers.Dense(4, name="q")(inside), inside]), name="inside")
    functional.trainable = False
    y = inner(x)
    model = k.Model(x, k.layers.Dense(2)(k.layers.Add()([functional(y), inner(x)])))
    schedule = k.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    model.compile(k.optimizers.AdamW(schedule), loss=k.losses.Huber(reduction="sum"))
    return model


def functions(k):
    x = k.Input((6,), name="x")
    y = k.ops.concatenate([k.ops.relu(x * 2 + 1), 1 - x], axis=-1)
    model = k.Model(x, k.layers.Dense(2)(k.layers.Flatten()(k.ops.reshape(y, (-1, 3, 4)))))
    model.compile("rmsprop", "mean_absolute_error")
    return model


def mixed(k):
    model = k.Sequential(
        [k.Input((5,), dtype="int32"), k.layers.Embedding(10, 4), k.layers.LayerNormalization(dtype="mixed_bfloat16")]
    )
    model.add(k.layers.GlobalAveragePooling1D())
    model.add(k.layers.Dense(2, activation="softmax"))
    model.compile("adagrad", k.losses.CategoricalCrossentropy(label_smoothing=0.1), weighted_metrics=["accuracy"])
    return model


MODELS = [sequential, shared, nested, functions, mixed]


def losses(model, x, y):
    return model.fit(x, y, epochs=2, verbose=0, shuffle=False).history["loss"]


# ------------------------------------------------------------------------------------------------------- with Keras


@pytest.mark.parametrize("build", MODELS)
@pytest.mark.parametrize("source", ["lamina", "keras"])
def test_lamina_goes_on_from_where_a_model_was_saved(keras, tmp_path, build, source):
    framework = {"lamina": lamina, "keras": keras}[source]
    model = build(framework)
    x, y = example(model, framework)
    losses(model, x, y)
    model.save(tmp_path / "m.h5")
    loaded = lamina.models.load_model(tmp_path / "m.h5")
    assert_same_outputs(model, loaded, x)
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    np.testing.assert_allclose(losses(model, x, y), losses(loaded, x, y), rtol=1e-4)
    assert not lamina.models.load_model(tmp_path / "m.h5", compile=False).compiled


@pytest.mark.parametrize("build", MODELS)
def test_keras_opens_what_lamina_saved(keras, tmp_path, build):
    model = build(lamina)
    x, y = example(model, lamina)
    losses(model, x, y)
    model.save(tmp_path / "m.h5")
    loaded = keras.models.load_model(tmp_path / "m.h5")
    assert_same_outputs(model, loaded, x)
    ours, theirs = (one.evaluate(x, y, verbose=0) for one in (model, loaded))
    np.testing.assert_allclose(theirs, ours, rtol=1e-4)
    assert type(loaded.optimizer).__name__ == type(model.optimizer).__name__
    # Keras 3.15 does not train on from any .h5 that holds an optimizer's state, its own included: without the state
    model.save(tmp_path / "n.h5", include_optimizer=False)
    plain = keras.models.load_model(tmp_path / "n.h5", compile=False)
    plain.compile("sgd", "mse")
    assert np.isfinite(losses(plain, x, y)).all()


def test_keras_reads_weights_alone(keras, tmp_path):
    mine, theirs, other = sequential(lamina), sequential(keras), sequential(keras)
    mine.save_weights(tmp_path / "w.h5")
    x, _ = example(mine, lamina)
    theirs.load_weights(tmp_path / "w.h5")
    assert_same_outputs(mine, theirs, x)
    for a, b in zip(mine.layers, other.layers, strict=True):
        b.name = a.name
    other.load_weights(tmp_path / "w.h5", by_name=True)
    assert_same_outputs(mine, other, x)
    assert not any("optimizer" in key or "config" in key for key in h5py.File(tmp_path / "w.h5").attrs)


def test_the_same_model_gives_the_same_bytes(tmp_path):
    model = nested(lamina)
    losses(model, *example(model, lamina))
    for name in ("a.h5", "b.h5"):
        model.save(tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


Scale = lamina.saving.register_keras_serializable("legacy")(scale_class(lamina))


def test_a_registered_class(keras, tmp_path):
    model = lamina.Sequential([lamina.Input((4,)), Scale(3.0)])
    model.layers[0].scale.assign([1.0, 2.0, 3.0, 4.0])
    model.save(tmp_path / "m.h5")
    x = np.ones((2, 4), "float32")
    assert_same_outputs(model, lamina.models.load_model(tmp_path / "m.h5"), x)
    theirs = keras.models.load_model(tmp_path / "m.h5", custom_objects={"legacy>Scale": scale_class(keras)})
    assert_same_outputs(model, theirs, x)


# ------------------------------------------------------------------------------------------------- files of other times


def write_old(path, config, arrays, training=None, state=None, **attributes):
    """A file as Keras 1 and 2 wrote it: `arrays` by layer and name."""
    with h5py.File(path, "w") as file:
        for key, value in {"model_config": config, "training_config": training}.items():
            if value is not None:
                file.attrs[key] = json.dumps(value).encode()
        root = file.create_group("model_weights")
        for key, value in attributes.items():
            file.attrs[key] = root.attrs[key] = value.encode()
        write_layers(root, arrays)
        if state is not None:
            group = file.create_group("optimizer_weights")
            group.attrs["weight_names"] = [name.encode() for name in state]
            for name, array in state.items():
                group[name] = array


def layer_of(class_name, calls, **config):
    named = {"trainable": True, **config}
    return {"class_name": class_name, "name": config["name"], "config": named, "inbound_nodes": calls}


def keras_2_config(tensorflow):
    """A Functional of Keras 2: a model inside that is called twice, and a merging layer. With `tensorflow` as tf.keras
    wrote it, which Keras 3.15 does not read: calls of a model inside count from 1, initializers have a dtype."""
    first = int(tensorflow)
    dense = {"name": "inner_dense", "trainable": True, "dtype": "float32", "units": 4, "activation": "relu"}
    zeros = {"class_name": "Zeros", "config": {"dtype": "float32"} if tensorflow else {}}
    normal = {"class_name": "VarianceScaling", "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "normal"}}
    inner = {
        "name": "inner",
        "layers": [
            layer_of("InputLayer", [], name="i", batch_input_shape=[None, 4], dtype="float32", sparse=False),
            layer_of(
                "Dense", [[["i", 0, 0, {}]]], **{**dense, "kernel_initializer": normal, "bias_initializer": zeros}
            ),
            layer_of("BatchNormalization", [[["inner_dense", 0, 0, {}]]], name="bn", axis=[1], momentum=0.9),
        ],
        "input_layers": [["i", 0, 0]],
        "output_layers": [["bn", 0, 0]],
    }
    entry = {"class_name": "Functional", "name": "inner", "config": inner}
    policy = {"class_name": "Policy", "config": {"name": "float32"}} if tensorflow else "float32"
    outer = {
        "name": "outer",
        "layers": [
            layer_of("InputLayer", [], name="a", batch_input_shape=[None, 4], dtype="float32", ragged=False),
            layer_of("InputLayer", [], name="b", batch_input_shape=[None, 4], dtype="float32"),
            {**entry, "inbound_nodes": [[["a", 0, 0, {}]], [["b", 0, 0, {}]]]},
            layer_of("Concatenate", [[["inner", first, 0, {}], ["inner", first + 1, 0, {}]]], name="both", axis=-1),
            layer_of("Dense", [[["both", 0, 0, {}]]], name="head", units=2, activation="linear", dtype=policy),
        ],
        "input_layers": [["a", 0, 0], ["b", 0, 0]],
        "output_layers": [["head", 0, 0]],
    }
    return {"class_name": "Functional", "config": outer}


def arrays_of(rng, **shapes):
    return {
        layer: {name: rng.uniform(0.2, 1, shape).astype("float32") for name, shape in weights.items()}
        for layer, weights in shapes.items()
    }


def keras_2_arrays():
    inner = {"inner_dense/kernel:0": (4, 4), "inner_dense/bias:0": (4,), "bn/gamma:0": (4,), "bn/beta:0": (4,)}
    inner |= {"bn/moving_mean:0": (4,), "bn/moving_variance:0": (4,)}
    shapes = {"a": {}, "b": {}, "inner": inner, "both": {}, "head": {"head/kernel:0": (8, 2), "head/bias:0": (2,)}}
    return arrays_of(np.random.default_rng(0), **shapes)


def test_a_functional_of_keras_2(keras, tmp_path):
    arrays = keras_2_arrays()
    write_old(tmp_path / "m.h5", keras_2_config(True), arrays, keras_version="2.4.0", backend="tensorflow")
    model = lamina.models.load_model(tmp_path / "m.h5")
    x = [np.random.default_rng(1).normal(size=(3, 4)).astype("float32") for _ in range(2)]
    inner, head = arrays["inner"], arrays["head"]

    def run(a):
        y = np.maximum(a @ inner["inner_dense/kernel:0"] + inner["inner_dense/bias:0"], 0)
        y = (y - inner["bn/moving_mean:0"]) / np.sqrt(inner["bn/moving_variance:0"] + 1e-3)
        return y * inner["bn/gamma:0"] + inner["bn/beta:0"]

    expected = np.concatenate([run(x[0]), run(x[1])], -1) @ head["head/kernel:0"] + head["head/bias:0"]
    assert model.output_shape == (None, 2)
    np.testing.assert_allclose(models.arrays(model(x))[0], expected, rtol=1e-4, atol=1e-5)
    write_old(tmp_path / "k.h5", keras_2_config(False), arrays, keras_version="2.4.0", backend="tensorflow")
    assert_same_outputs(model, keras.models.load_model(tmp_path / "k.h5"), x)
    assert_same_outputs(model, lamina.models.load_model(tmp_path / "k.h5"), x)


def test_compile_settings_and_state_of_keras_2(tmp_path):
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [dense_of_keras_2()]}}
    arrays = arrays_of(np.random.default_rng(0), head={"head/kernel:0": (3, 2), "head/bias:0": (2,)})
    training = {
        "optimizer_config": {"class_name": "Adam", "config": {"lr": 0.5, "beta_1": 0.8, "decay": 0.0, "epsilon": None}},
        "loss": {"class_name": "CategoricalCrossentropy", "config": {"reduction": "auto", "from_logits": True}},
        "metrics": [[{"class_name": "MeanMetricWrapper", "config": {"name": "acc", "fn": "categorical_accuracy"}}]],
        "sample_weight_mode": None,
        "loss_weights": None,
    }
    m, v = ([np.full((3, 2), n, "float32"), np.full((2,), n + 1, "float32")] for n in (1, 5))
    state = {"Adam/iterations:0": np.int64(7)}
    state |= {f"Adam/{n}:0": one for n, one in zip(("km", "bm", "kv", "bv"), [*m, *v], strict=True)}
    unused = {f"Adam/vhat_{n}:0": np.zeros(1, "float32") for n in range(2)}
    for given in (state, state | unused):
        write_old(tmp_path / "m.h5", config, arrays, training, given, keras_version="2.2.4")
        model = lamina.models.load_model(tmp_path / "m.h5")
        assert isinstance(model.optimizer, lamina.optimizers.Adam)
        assert (float(model.optimizer.learning_rate), model.optimizer.beta_1) == (0.5, 0.8)
        assert int(model.optimizer.iterations) == 7
        by_name = {one.path.rpartition("/")[2]: float(one.detach().reshape(-1)[0]) for one in model.optimizer.variables}
        assert [by_name[f"s_head_{n}"] for n in ("kernel_momentum", "kernel_velocity", "bias_momentum")] == [1, 5, 2]
        assert model.loss.from_logits
        x, y = np.ones((2, 3), "float32"), np.eye(2, dtype="float32")
        assert set(model.evaluate(x, y, verbose=0, return_dict=True)) == {"loss", "acc"}
    write_old(tmp_path / "m.h5", config, arrays, training, {"Adam/iterations:0": np.int64(7), "x": np.ones(3)})
    with pytest.warns(UserWarning, match="starts anew: the file's 2 arrays"):
        lamina.models.load_model(tmp_path / "m.h5")


def dense_of_keras_2():
    own = {"name": "head", "trainable": True, "batch_input_shape": [None, 3], "dtype": "float32", "units": 2}
    return {"class_name": "Dense", "config": {**own, "activation": "linear", "use_bias": True}}


def test_an_optimizer_of_tensorflow():
    own = {"name": "Adam", "learning_rate": 0.25, "jit_compile": True, "is_legacy_optimizer": False}
    found = compile_arguments_today({"optimizer_config": {"class_name": "Custom>Adam", "config": own}, "loss": "mse"})
    model = lamina.Sequential([lamina.Input((3,)), layers.Dense(2)])
    model.compile_from_config(found)
    assert (type(model.optimizer).__name__, float(model.optimizer.learning_rate)) == ("Adam", 0.25)


def keras_1_config(ordering):
    shape = [None, 6, 6, 3] if ordering == "tf" else [None, 3, 6, 6]
    regularizer = {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.01}
    conv = {"name": "c", "trainable": True, "batch_input_shape": shape, "input_dtype": "float32", "nb_filter": 4}
    conv |= {"nb_row": 3, "nb_col": 2, "border_mode": "same", "subsample": [1, 1], "dim_ordering": ordering}
    conv |= {"init": "glorot_uniform", "activation": "relu", "W_regularizer": regularizer, "b_regularizer": None}
    conv |= {"activity_regularizer": None, "W_constraint": {"name": "MaxNorm", "m": 2, "axis": 0}, "bias": True}
    pool = {"name": "p", "trainable": True, "pool_size": [2, 2], "strides": [2, 2], "border_mode": "valid"}
    dense = {"name": "d", "trainable": True, "output_dim": 2, "init": "normal", "activation": "linear", "bias": True}
    listed = [
        {"class_name": "Convolution2D", "config": conv},
        {"class_name": "MaxPooling2D", "config": {**pool, "dim_ordering": ordering}},
        {"class_name": "Dropout", "config": {"name": "drop", "trainable": True, "p": 0.25}},
        {"class_name": "Flatten", "config": {"name": "f", "trainable": True}},
        {"class_name": "Dense", "config": dense},
    ]
    return {"class_name": "Sequential", "config": listed}


@pytest.mark.parametrize("ordering", ["tf", "th"])
def test_a_sequential_of_keras_1(tmp_path, ordering):
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(3, 2, 3, 4)).astype("float32"), rng.normal(size=4).astype("float32")
    stored = kernel if ordering == "tf" else kernel.transpose(3, 2, 0, 1)
    arrays = {
        "c": {"c_W": stored, "c_b": bias},
        "d": {"d_W": np.ones((36, 2), "float32"), "d_b": np.zeros(2, "float32")},
    }
    write_old(tmp_path / "m.h5", keras_1_config(ordering), arrays)
    model = lamina.models.load_model(tmp_path / "m.h5")
    np.testing.assert_array_equal(model.get_layer("c").kernel.detach().numpy(), kernel)
    assert (model.get_layer("c").padding, model.get_layer("drop").rate) == ("same", 0.25)
    assert isinstance(model.get_layer("c").kernel_constraint, lamina.constraints.MaxNorm)
    assert model.get_layer("c").kernel_regularizer.l2 == pytest.approx(0.01)
    x = rng.normal(size=(2, 6, 6, 3)).astype("float32")
    image = torch.nn.functional.pad(torch.from_numpy(x).permute(0, 3, 1, 2), (0, 1, 1, 1))
    y = torch.nn.functional.conv2d(image, torch.from_numpy(kernel).permute(3, 2, 0, 1), torch.from_numpy(bias)).relu()
    expected = torch.nn.functional.max_pool2d(y, 2).sum((1, 2, 3)).numpy()
    given = x if ordering == "tf" else x.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(models.arrays(model(given))[0], np.stack([expected] * 2, -1), rtol=1e-4, atol=1e-4)


def test_a_merging_graph_of_keras_1(tmp_path):
    inputs = [
        layer_of("InputLayer", [], name=name, batch_input_shape=[None, 3], input_dtype="float32") for name in "ab"
    ]
    merge = layer_of("Merge", [[["a", 0, 0], ["b", 0, 0]]], name="m", mode="concat", mode_type="raw", concat_axis=-1)
    dense = layer_of("Dense", [[["m", 0, 0]]], name="d", output_dim=2, init="zero", activation="linear")
    config = {"name": "g", "layers": [*inputs, merge, dense], "output_layers": [["d", 0, 0]]}
    config["input_layers"] = [["a", 0, 0], ["b", 0, 0]]
    arrays = arrays_of(np.random.default_rng(0), d={"d_W": (6, 2), "d_b": (2,)})
    write_old(tmp_path / "m.h5", {"class_name": "Model", "config": config}, arrays)
    model = lamina.models.load_model(tmp_path / "m.h5")
    a, b = np.ones((2, 3), "float32"), np.full((2, 3), 2, "float32")
    expected = np.concatenate([a, b], -1) @ arrays["d"]["d_W"] + arrays["d"]["d_b"]
    np.testing.assert_allclose(models.arrays(model([a, b]))[0], expected, rtol=1e-5)


def test_kernels_of_theano_are_mirrored(tmp_path):
    kernel = np.arange(2 * 3, dtype="float32").reshape(2, 3, 1, 1)
    model = lamina.Sequential([lamina.Input((4, 4, 1)), layers.Conv2D(1, (2, 3), use_bias=False, name="c")])
    write_old(tmp_path / "w.h5", None, {"c": {"c/kernel:0": kernel}}, keras_version="2.1.0", backend="theano")
    model.load_weights(tmp_path / "w.h5")
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], kernel[::-1, ::-1])


def test_long_lists_of_names_are_cut(tmp_path):
    names = [f"a_rather_long_name_of_a_layer_{number:05}" for number in range(4000)]
    with h5py.File(tmp_path / "n.h5", "w") as file:
        _write_texts(file, "layer_names", names)
        assert set(file.attrs) == {"layer_names0", "layer_names1", "layer_names2"}
        assert texts(file, "layer_names") == names


# ------------------------------------------------------------------------------------------------------------- refused


def test_what_a_file_cannot_say_is_an_error(tmp_path):
    class Net(lamina.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, x):
            return self.dense(x)

    net = Net()
    net(np.ones((1, 3), "float32"))
    with pytest.raises(LaminaError, match=r"subclassed model.*only graphs"):
        net.save(tmp_path / "m.h5")
    assert not (tmp_path / "m.h5").exists()
    code = {"name": "l", "function": ["4wEAAAA=", None, None], "function_type": "lambda"}
    tensorflow = {"name": "tf.math.add", "function": "math.add"}
    for class_name, own, error, words in (
        ("Lambda", code, UnsafeFileError, "bytecode"),
        ("TFOpLambda", tensorflow, LaminaError, "function of TensorFlow"),
        ("Merge", {"name": "m", "mode": "x", "mode_type": "lambda"}, LaminaError, "Merge 'm' of Keras 1"),
        ("Conv2D", {"name": "c", "nb_filter": 2, "border_mode": "full"}, LaminaError, "'c' cannot be read.*Theano"),
        ("Nowhere", {"name": "n"}, LaminaError, "'Nowhere'"),
    ):
        config = {"class_name": "Sequential", "config": [{"class_name": class_name, "config": own}]}
        write_old(tmp_path / "m.h5", config, {})
        with pytest.raises(error, match=words):
            lamina.models.load_model(tmp_path / "m.h5")
    write_old(tmp_path / "m.h5", None, {})
    with pytest.raises(LaminaError, match=r"m\.h5 holds no model"):
        lamina.models.load_model(tmp_path / "m.h5")
    for config in ([], {"class_name": "Sequential"}, {"class_name": "Sequential", "config": 3}):
        with pytest.raises(LaminaError, match=r"no config|has to be a dict"):
            model_config_today(config)
