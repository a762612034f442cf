"""`.keras`, `.weights.h5` and safetensors: whole, equal, exchanged with Keras, and unchanged models on failure."""

from __future__ import annotations

import json
import time
import zipfile

import h5py
import numpy as np
import pytest
import torch

import lamina
from exchange_models import assert_same_outputs, example, scale_class
from lamina import layers, saving
from lamina.base.errors import LaminaError, ShapeError
from lamina.saving import weight_files


def sequential(k):
    model = k.Sequential(
        [
            k.Input((8, 8, 3)),
            k.layers.Conv2D(4, 3, activation="relu", padding="same"),
            k.layers.BatchNormalization(),
            k.layers.Flatten(),
            k.layers.Dense(2, kernel_regularizer=k.regularizers.L2(0.01)),
        ]
    )
    model.compile(k.optimizers.Adam(0.01), loss="mse", metrics=["mae"])
    return model


def shared(k):
    a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
    dense = k.layers.Dense(3)
    both = k.layers.Concatenate()([dense(a), dense(b)])
    model = k.Model([a, b], [k.layers.Dense(2, name="left")(both), k.layers.Dense(1, name="right")(dense(a))])
    model.compile(k.optimizers.SGD(0.01, momentum=0.9), loss={"left": "mse", "right": "mae"}, loss_weights=[1.0, 2.0])
    return model


def nested(k):
    x = k.Input((6,), name="x")
    inner = k.Sequential([k.layers.Dense(5, activation="tanh"), k.layers.Dense(4)])
    inside = k.Input((4,))
    functional = k.Model(inside, k.layers.Dense(4, name="q")(inside) + inside, name="inside")
    y = inner(x)
    model = k.Model({"x": x}, k.layers.Dense(2)(k.layers.Add()([functional(y), inner(x)])))
    schedule = k.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    model.compile(k.optimizers.AdamW(schedule), loss=k.losses.MeanSquaredError())
    return model


def operators(k):
    x = k.Input((6,), name="x")
    y = k.ops.relu(x * 2 + 1)
    z = k.ops.concatenate([y[:, 1:3], x[..., :2]], axis=-1)
    z = k.layers.Flatten()(k.ops.reshape(z, (-1, 2, 2)))
    model = k.Model(x, k.layers.Dense(2)(1 - z))
    model.compile("rmsprop", "mse")
    return model


def embedded(k):
    x = k.Input((5,), dtype="int32")
    y = k.layers.GlobalAveragePooling1D()(k.layers.Embedding(10, 4, mask_zero=True)(x))
    model = k.Model(x, k.layers.Dense(2)(y))
    model.compile("adam", "mse")
    return model


MODELS = [sequential, shared, nested, operators, embedded]


def fit(model, x, y):
    return model.fit(x, y, epochs=2, verbose=0, shuffle=False).history["loss"]


@pytest.mark.parametrize("build", MODELS)
@pytest.mark.parametrize("way", ["lamina to lamina", "lamina to keras", "keras to lamina"])
def test_a_loaded_model_predicts_and_trains_on_alike(keras, tmp_path, build, way):
    keras.utils.clear_session()
    source, target = ({"lamina": lamina, "keras": keras}[name] for name in way.split(" to "))
    model = build(source)
    x, y = example(model, source)
    fit(model, x, y)
    model.save(tmp_path / "m.keras")
    loaded = target.models.load_model(tmp_path / "m.keras")
    assert_same_outputs(model, loaded, x)
    np.testing.assert_allclose(fit(model, x, y), fit(loaded, x, y), rtol=1e-4)


@pytest.mark.parametrize("build", MODELS)
def test_weights_files_are_exchanged_with_keras(keras, tmp_path, build):
    keras.utils.clear_session()
    mine, theirs = build(lamina), build(keras)
    x, _ = example(mine, lamina)
    mine.save_weights(tmp_path / "mine.weights.h5")
    theirs.load_weights(tmp_path / "mine.weights.h5")
    assert_same_outputs(mine, theirs, x)
    other = build(keras)
    other.save_weights(tmp_path / "theirs.weights.h5")
    mine.load_weights(tmp_path / "theirs.weights.h5")
    assert_same_outputs(mine, other, x)


def test_every_function_has_the_class_that_keras_has(keras):
    import importlib

    from lamina.base.registry import known_names

    modules = [importlib.import_module(f"keras.src.ops.{name}") for name in ("numpy", "nn", "math", "core", "linalg")]
    classes = {
        name.lower(): (module.__name__, name)
        for module in modules
        for name, thing in vars(module).items()
        if isinstance(thing, type) and thing.__module__ == module.__name__
    }
    for name in known_names("ops"):
        if name.replace("_", "") in classes:
            assert saving.dialect.operation_class(name) == classes[name.replace("_", "")]


def small(units=2, **kwargs):
    return lamina.Sequential([lamina.Input((4,)), layers.Dense(3, name="first"), layers.Dense(units, name="last")])


def frozen_copy(model):
    return [weight.copy() for weight in model.get_weights()]


def assert_unchanged(model, before):
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.safetensors"])
def test_the_same_model_gives_the_same_bytes(tmp_path, name):
    model = sequential(lamina)
    x, y = example(model, lamina)
    fit(model, x, y)
    save = model.save if name.endswith(".keras") else model.save_weights
    save(tmp_path / name)
    first = (tmp_path / name).read_bytes()
    time.sleep(1.05)  # HDF5 counts seconds
    save(tmp_path / name)
    assert (tmp_path / name).read_bytes() == first


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5"])
def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch, name):
    model = small()
    save = model.save if name.endswith(".keras") else model.save_weights
    save(tmp_path / name)
    before = (tmp_path / name).read_bytes()

    def fail(*args, **kwargs):
        raise OSError("the disk is full")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", fail)
    monkeypatch.setattr(layers.Dense, "save_own_variables", fail)
    with pytest.raises(OSError, match="disk is full"):
        save(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == before


def test_where_files_cannot_go(tmp_path):
    model = small()
    with pytest.raises(ValueError, match=r"ends in \.keras"):
        model.save(tmp_path / "m.onnx")
    with pytest.raises(FileNotFoundError, match="folder"):
        model.save(tmp_path / "none" / "m.keras")
    model.save(tmp_path / "m.keras")
    with pytest.raises(FileExistsError):
        model.save(tmp_path / "m.keras", overwrite=False)
    with pytest.raises(FileNotFoundError, match=r"no\.keras"):
        lamina.models.load_model(tmp_path / "no.keras")
    with pytest.raises(FileNotFoundError):
        model.load_weights(tmp_path / "no.weights.h5")
    with pytest.raises(TypeError, match="safe_mode"):
        lamina.models.load_model(tmp_path / "m.keras", safe_mode="no")


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.safetensors"])
def test_a_damaged_file_is_named(tmp_path, name, part):
    model = small()
    path = tmp_path / name
    (model.save if name.endswith(".keras") else model.save_weights)(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    before = frozen_copy(model)
    with pytest.raises(LaminaError, match=name):
        model.load_weights(path)
    assert_unchanged(model, before)
    if name == "m.keras":
        with pytest.raises(LaminaError, match=name):
            lamina.models.load_model(path)


def test_a_flipped_bit_in_an_archive_is_found(tmp_path):
    path = tmp_path / "m.keras"
    small().save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(LaminaError, match="damaged"):
        lamina.models.load_model(path)


@pytest.mark.parametrize("name", ["m.weights.h5", "m.safetensors"])
def test_what_does_not_fit_changes_nothing_or_is_skipped_with_a_warning(tmp_path, name):
    small().save_weights(tmp_path / name)
    other = small(units=5)
    before = frozen_copy(other)
    with pytest.raises(ShapeError, match=r"last.kernel: \(3, 2\) in the file, \(3, 5\) in the model"):
        other.load_weights(tmp_path / name)
    assert_unchanged(other, before)
    with pytest.warns(UserWarning, match=r"(?s)Skipped 2 weights.*last.kernel"):
        other.load_weights(tmp_path / name, skip_mismatch=True)
    assert not np.array_equal(other.get_weights()[0], before[0])
    np.testing.assert_array_equal(other.get_weights()[2], before[2])


@pytest.mark.parametrize("name", ["m.weights.h5", "m.safetensors"])
def test_more_or_fewer_layers_are_an_error(tmp_path, name):
    deep = lamina.Sequential([lamina.Input((4,)), layers.Dense(3), layers.Dense(2), layers.Dense(2)])
    flat = small()
    deep.save_weights(tmp_path / f"deep{name}")
    flat.save_weights(tmp_path / f"flat{name}")
    for model, file in ((flat, "deep"), (deep, "flat")):
        before = frozen_copy(model)
        with pytest.raises(LaminaError, match=r"no weight was changed"):
            model.load_weights(tmp_path / f"{file}{name}")
        assert_unchanged(model, before)


class Moody(layers.Dense):
    """A layer whose own loading fails half-way."""

    def load_own_variables(self, store):
        self.kernel.assign(store["0"])
        raise RuntimeError("half-way")


def test_a_loader_that_fails_half_way_changes_nothing(tmp_path):
    model = lamina.Sequential([lamina.Input((4,)), layers.Dense(3), Moody(2)])
    model.save_weights(tmp_path / "m.weights.h5")
    other = lamina.Sequential([lamina.Input((4,)), layers.Dense(3), Moody(2)])
    before = frozen_copy(other)
    with pytest.raises(RuntimeError, match="half-way"):
        other.load_weights(tmp_path / "m.weights.h5")
    assert_unchanged(other, before)


def test_an_unbuilt_model_says_so(tmp_path):
    small().save_weights(tmp_path / "m.weights.h5")
    unbuilt = lamina.Sequential([layers.Dense(3)])
    with pytest.raises(ValueError, match=r"build\(input_shape\)"):
        unbuilt.load_weights(tmp_path / "m.weights.h5")
    with pytest.raises(ValueError, match=r"build\(input_shape\)"):
        unbuilt.save_weights(tmp_path / "n.weights.h5")
    assert not (tmp_path / "n.weights.h5").exists()


def test_safetensors_are_plain(tmp_path):
    from safetensors.torch import load_file

    model = sequential(lamina)
    model.save_weights(tmp_path / "m.safetensors")
    tensors = load_file(tmp_path / "m.safetensors")
    assert {name: tuple(t.shape) for name, t in tensors.items()} == {
        name: tuple(t.shape) for name, t in model.state_dict().items()
    }
    lamina.utils.clear_session()
    twin = sequential(lamina)
    twin.load_weights(tmp_path / "m.safetensors")
    assert_unchanged(twin, model.get_weights())
    plain = torch.nn.Module()
    plain.kernel, plain.bias = (torch.nn.Parameter(torch.zeros(n)) for n in ((256, 2), (2,)))
    plain.load_state_dict({k.removeprefix("dense."): v for k, v in tensors.items() if k.startswith("dense.")})
    assert float(plain.kernel.detach().abs().sum()) > 0


def test_a_layer_with_two_places_goes_into_safetensors(tmp_path):
    x = lamina.Input((4,))
    inner = lamina.Sequential([lamina.Input((4,)), layers.Dense(4, name="twice")])
    model = lamina.Model(x, inner.layers[0](inner(x)))
    model.save_weights(tmp_path / "m.safetensors")
    model.load_weights(tmp_path / "m.safetensors")


Scale = saving.register_keras_serializable("test")(scale_class(lamina))


class Unknown(layers.Dense):
    pass


@saving.register_keras_serializable("test")
class Subclassed(lamina.Model):
    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.blocks = [layers.Dense(width, activation="relu"), layers.Dense(width)]
        self.head = layers.Dense(1)

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)

    def get_config(self):
        return {"width": self.width, "name": self.name}


def test_registered_and_given_classes(tmp_path):
    model = lamina.Sequential([lamina.Input((4,)), Scale(3.0)])
    model.save(tmp_path / "m.keras")
    assert lamina.models.load_model(tmp_path / "m.keras").layers[0].factor == 3.0
    model = lamina.Sequential([lamina.Input((4,)), Unknown(2)])
    model.save(tmp_path / "u.keras")
    with pytest.raises(LaminaError, match=r"'Unknown'.*register"):
        lamina.models.load_model(tmp_path / "u.keras")
    x = np.ones((2, 4), "float32")
    assert_same_outputs(model, lamina.models.load_model(tmp_path / "u.keras", custom_objects={"Unknown": Unknown}), x)
    with saving.custom_object_scope({"Unknown": Unknown}):
        assert_same_outputs(model, lamina.models.load_model(tmp_path / "u.keras"), x)


def test_subclassed_models(tmp_path):
    model = Subclassed(3)
    x, y = np.ones((5, 4), "float32"), np.ones((5, 1), "float32")
    model.compile("adam", "mse")
    fit(model, x, y)
    model.save_weights(tmp_path / "m.weights.h5")
    twin = Subclassed(3)
    twin.build((None, 4))
    twin.load_weights(tmp_path / "m.weights.h5")
    assert_same_outputs(model, twin, x)


def test_files_of_keras_hold_subclassed_models_alike(keras, tmp_path):
    def make(k):
        class Net(k.Model):
            def __init__(self):
                super().__init__()
                self.blocks = [k.layers.Dense(3), k.layers.Dense(3)]
                self.parts = {"b": k.layers.Dense(2), "a": k.layers.BatchNormalization()}
                self.head = k.layers.Dense(1)

            def call(self, x):
                for block in self.blocks:
                    x = block(x)
                return self.head(self.parts["a"](self.parts["b"](x)))

        net = Net()
        net(np.ones((1, 4), "float32"))
        return net

    mine, theirs, x = make(lamina), make(keras), np.ones((2, 4), "float32")
    theirs.save_weights(tmp_path / "t.weights.h5")
    mine.load_weights(tmp_path / "t.weights.h5")
    assert_same_outputs(mine, theirs, x)


def test_bfloat16_weights(keras, tmp_path):
    def make(k):
        return k.Sequential([k.Input((4,)), k.layers.Dense(3, dtype="bfloat16", name="dense")])

    model, theirs = make(lamina), make(keras)
    for name in ("m.weights.h5", "m.safetensors"):
        model.save_weights(tmp_path / name)
        twin = make(lamina)
        twin.load_weights(tmp_path / name)
        assert twin.weights[0].dtype is torch.bfloat16
        assert_unchanged(twin, model.get_weights())
    theirs.save_weights(tmp_path / "t.weights.h5")
    model.load_weights(tmp_path / "t.weights.h5")
    assert torch.equal(model.weights[0].detach(), theirs.weights[0].value.detach())


def test_the_optimizer_may_stay_out(tmp_path):
    model = small()
    model.compile("adam", "mse")
    fit(model, np.ones((3, 4), "float32"), np.ones((3, 2), "float32"))
    model.save(tmp_path / "with.keras")
    model.save(tmp_path / "without.keras", include_optimizer=False)
    iterations = [
        int(lamina.models.load_model(tmp_path / f"{n}.keras").optimizer.iterations) for n in ("with", "without")
    ]
    assert iterations == [2, 0]
    assert not lamina.models.load_model(tmp_path / "with.keras", compile=False).compiled


def test_an_archive_without_its_parts(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", "{")
    with pytest.raises(LaminaError, match=r"no model\.weights\.h5"):
        lamina.models.load_model(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras", "a") as archive:
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(LaminaError, match="no JSON"):
        lamina.models.load_model(tmp_path / "m.keras")


def test_unknown_arguments_are_refused(tmp_path):
    model = small()
    model.save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(TypeError, match="wrong"):
        model.load_weights(tmp_path / "m.weights.h5", wrong=1)
    with pytest.raises(ValueError, match="adapt_channels"):
        model.load_weights(tmp_path / "m.weights.h5", adapt_channels="wrong")
    with pytest.raises(TypeError, match="wrong"):
        model.save(tmp_path / "m.keras", wrong=1)


def test_the_layout_is_that_of_keras(tmp_path):
    small().save_weights(tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5") as file:
        assert file["layers/dense_1/vars/0"].shape == (3, 2)
    small().save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert sorted(archive.namelist()) == ["config.json", "metadata.json", "model.weights.h5"]
        assert json.loads(archive.read("config.json"))["class_name"] == "Sequential"


def test_plain_torch_modules_are_kept(tmp_path):
    class Wrapped(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = torch.nn.Linear(4, 2)

        def call(self, x):
            return self.inner(x)

    model, twin = (lamina.Sequential([lamina.Input((4,)), Wrapped()]) for _ in range(2))
    model.save_weights(tmp_path / "m.weights.h5")
    twin.load_weights(tmp_path / "m.weights.h5")
    assert torch.equal(model.layers[0].inner.weight, twin.layers[0].inner.weight)


def test_one_walk_meets_every_weight_once():
    model = nested(lamina)
    own = [id(w) for _, layer in weight_files.walk(model) for w in layer._own_variables()]
    assert sorted(own) == sorted(id(w) for w in model.weights)
