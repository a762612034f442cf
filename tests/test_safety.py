"""A model file is data: each malicious file of `malicious.py` ends in a clear error, and nothing happened."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.testing  # here, since the watched code is to import nothing
import pytest

import lamina
import malicious
from lamina import layers, saving
from lamina.base.errors import LaminaError, UnsafeFileError
from lamina.base.registry import PACKAGES, known_names
from lamina.base.serialization import deserialize_keras_object
from lamina.engine.budget import current_budget
from lamina.models import clone_model, load_model, model_from_json
from lamina.saving import KerasFileEditor
from lamina.saving.converting import convert
from lamina.saving.inspecting import inspect_file
from malicious import archive, dense, entry, sequential
from watching import watched


@pytest.fixture(scope="module", autouse=True)
def _everything_imported(tmp_path_factory):
    """What lamina imports when it first needs it is no doing of the files."""
    folder = tmp_path_factory.mktemp("good")
    model = lamina.Sequential([lamina.Input((3,)), layers.Dense(2, name="dense")])
    model.compile("adam", "mse", metrics=["mae"])
    for name in ("m.keras", "m.h5", "m.safetensors"):
        model.save(folder / name)
        load_model(folder / name)
    for package in PACKAGES:
        known_names(package)


@pytest.fixture(autouse=True)
def _nothing_ran():
    yield
    assert not os.path.exists(malicious.SENTINEL)
    assert current_budget() is None


def refused(path: Path, error: type[Exception] = UnsafeFileError, load=load_model, match: str = ".") -> None:
    with watched(path), pytest.raises(error, match=match):
        load(path)


def small() -> lamina.Sequential:
    return lamina.Sequential([lamina.Input((3,)), layers.Dense(2, name="dense")], name="net")


def into_small(path: Path) -> None:
    """`load_weights` into a model that stays as it is."""
    model = small()
    before = model.get_weights()
    try:
        model.load_weights(path)
    finally:
        for one, other in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


# ---------------------------------------------------------------------------------------------------- names in configs


@pytest.mark.parametrize("place", malicious.PLACES)
def test_a_name_outside_lamina_is_never_imported(tmp_path, place):
    for module, name in malicious.CALLABLES:
        config = malicious.PLACES[place](module, name)
        refused(archive(tmp_path, config), match=r"neither lamina's nor registered|none that a config")
        with pytest.raises(UnsafeFileError):
            model_from_json(json.dumps(config))
        with pytest.raises(UnsafeFileError):
            deserialize_keras_object(copy.deepcopy(config))


@pytest.mark.parametrize("place", malicious.TEXTS)
@pytest.mark.parametrize("name", ["os.system", "get_file", "builtins.eval"])
def test_a_plain_name_outside_lamina_is_never_imported(tmp_path, place, name):
    refused(archive(tmp_path, malicious.TEXTS[place](name)), match="neither lamina's nor registered")


@pytest.mark.parametrize("wrapper", malicious.WRAPPERS)
def test_inside_a_wrapper_too(tmp_path, wrapper):
    config = sequential(malicious.WRAPPERS[wrapper](entry("system", {}, "os")))
    refused(archive(tmp_path, config), error=LaminaError)


@pytest.mark.parametrize("name", malicious.CONFIGS)
def test_configs_that_do_harm(tmp_path, name):
    config = malicious.CONFIGS[name]()
    refused(archive(tmp_path, config))
    if "Lambda" in name or "bytecode" in name:
        refused(malicious.legacy(tmp_path, config))


@pytest.mark.parametrize("name", malicious.SENSELESS)
def test_configs_that_describe_no_model(tmp_path, name):
    config = malicious.SENSELESS[name]()
    refused(archive(tmp_path, config), error=LaminaError)
    refused_as_config(config, LaminaError)


def refused_as_config(config, error: type[Exception] = UnsafeFileError) -> None:
    """By what makes objects of a config that no file holds."""
    models = {"Sequential": lamina.Sequential, "Functional": lamina.models.Functional}
    for read in (deserialize_keras_object, layers.deserialize):
        with watched(memory=400 * 2**20), pytest.raises(error):
            read(copy.deepcopy(config))
    if "compile_config" not in config:
        with watched(memory=400 * 2**20), pytest.raises(error):
            models[config["class_name"]].from_config(copy.deepcopy(config["config"]))


@pytest.fixture
def little_memory(monkeypatch):
    """Of which there is so little that a test may use it up."""
    monkeypatch.setattr("lamina.engine.budget.free_memory", lambda: 2**27)


@pytest.mark.parametrize("name", malicious.CONFIGS)
def test_configs_that_do_harm_outside_a_file(little_memory, name):
    refused_as_config(malicious.CONFIGS[name]())


@pytest.mark.parametrize("place", [*malicious.PLACES, *malicious.WRAPPERS])
def test_names_outside_lamina_outside_a_file(place):
    for module, name in malicious.CALLABLES:
        if place in malicious.PLACES:
            refused_as_config(malicious.PLACES[place](module, name))
        else:
            refused_as_config(sequential(malicious.WRAPPERS[place](entry(name, {}, module))))


def test_memory_of_configs_outside_a_file(little_memory):
    model = lamina.Sequential([lamina.Input((2**10,)), layers.Dense(2**14)])  # 64 MiB
    assert clone_model(model).count_params() == model.count_params()
    again = layers.Dense(2**14, name="again")
    model = lamina.Sequential([lamina.Input((2**10,)), layers.Dense(2**14), layers.Dense(2**10), again])
    with watched(memory=300 * 2**20), pytest.raises(UnsafeFileError, match=r"all that is free.*meta"):
        clone_model(model)
    with lamina.device("meta"):
        assert clone_model(model).count_params() == model.count_params()


def test_from_config_and_clone_model_fail_closed():
    config = malicious.CONFIGS["Lambda with bytecode"]()["config"]
    with pytest.raises(UnsafeFileError, match="bytecode"):
        lamina.Sequential.from_config(config)
    with pytest.raises(UnsafeFileError, match="bytecode"):
        layers.Lambda.from_config(config["layers"][1]["config"])
    with pytest.raises(UnsafeFileError, match="bytecode"):
        layers.deserialize(config["layers"][1])
    with pytest.raises(UnsafeFileError, match="bytecode"):
        lamina.activations.get({"class_name": "__lambda__", "config": {}})

    class Sly(layers.Layer):
        def get_config(self):
            return {**super().get_config(), "inner": config["layers"][1]}

        @classmethod
        def from_config(cls, config):
            deserialize_keras_object(config.pop("inner"))
            return cls(**config)

        def call(self, x):
            return x

    with pytest.raises(UnsafeFileError, match="bytecode"):
        clone_model(lamina.Sequential([lamina.Input((3,)), Sly()]))


# ---------------------------------------------------------------------------------------------------------- safe_mode


@pytest.mark.parametrize("value", [None, 0, 1, "no", "False", [], 2.0])
def test_safe_mode_has_two_values(tmp_path, value):
    path = archive(tmp_path, sequential(dense()))
    with pytest.raises(TypeError, match="True or False"):
        load_model(path, safe_mode=value)
    with pytest.raises(TypeError, match="True or False"):
        deserialize_keras_object(dense(), safe_mode=value)


def test_an_outer_safe_mode_cannot_be_lifted_inside(tmp_path):
    @saving.register_keras_serializable("sly")
    class Lifts(layers.Layer):
        @classmethod
        def from_config(cls, config):
            return deserialize_keras_object(config["inner"], safe_mode=False)

    config = sequential(entry("Lifts", {"inner": malicious.CONFIGS["Lambda with bytecode"]()["config"]["layers"][1]}))
    config["config"]["layers"][1]["registered_name"] = "sly>Lifts"
    refused(archive(tmp_path, config), match="bytecode")


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_without_safe_mode_a_lambda_of_keras_runs_and_nothing_else_changes(keras, tmp_path, name):
    scale = keras.layers.Lambda(lambda x, k=2.0: x * k, name="scale")
    theirs = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), scale])
    theirs.save(tmp_path / name)
    refused(tmp_path / name, match="safe_mode=False")
    x = np.ones((2, 3), "float32")
    mine = load_model(tmp_path / name, safe_mode=False)
    np.testing.assert_allclose(mine.predict(x, verbose=0), theirs.predict(x, verbose=0), rtol=1e-6)
    path = archive(tmp_path, malicious.named_as_layer("os", "system"), name="other.keras")
    with watched(path), pytest.raises(UnsafeFileError, match="neither lamina's nor registered"):
        load_model(path, safe_mode=False)


# -------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("build", malicious.ARCHIVES, ids=lambda build: build.__name__)
def test_archives_that_do_harm(tmp_path, build):
    path = build(tmp_path)
    refused(path)
    if build not in (malicious.text_nested, malicious.text_of_parts):
        refused(path, load=into_small)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_member_that_unpacks_to_more_than_it_says(tmp_path):
    path = malicious.zip_bomb(tmp_path)
    content = path.read_bytes()
    place = content.rindex(b"PK\x01\x02")
    lying = content[: place + 24] + (1000).to_bytes(4, "little") + content[place + 28 :]
    path.write_bytes(lying)
    refused(path, error=LaminaError)


@pytest.mark.parametrize("name", malicious.HDF5)
def test_hdf5_that_does_harm(tmp_path, name):
    stored = malicious.hdf5(name)
    refused(archive(tmp_path, sequential(dense()), stored))
    (tmp_path / "m.weights.h5").write_bytes(stored)
    refused(tmp_path / "m.weights.h5", load=into_small)
    (tmp_path / "m.h5").write_bytes(stored)
    refused(tmp_path / "m.h5")


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "..\\x"])
def test_legacy_layer_names_that_lead_out(tmp_path, name):
    path = malicious.legacy(tmp_path, sequential(dense()), layer_name=name)
    refused(path)
    refused(path, load=into_small)


def test_legacy_compile_settings(tmp_path):
    for name in ("os.system", {"class_name": "system", "config": {}, "module": "os"}):
        training = {"optimizer_config": {"class_name": "SGD", "config": {}}, "loss": name, "metrics": []}
        refused(malicious.legacy(tmp_path, sequential(dense()), training))


@pytest.mark.parametrize("name", malicious.SAFETENSORS)
def test_safetensors_that_do_harm(tmp_path, name):
    refused(malicious.SAFETENSORS[name](tmp_path), load=into_small)
    refused(tmp_path / "m.safetensors")


@pytest.mark.parametrize("name", malicious.DAMAGED_SAFETENSORS)
def test_safetensors_that_are_none(tmp_path, name):
    refused(malicious.DAMAGED_SAFETENSORS[name](tmp_path), error=LaminaError, load=into_small)


def inspected(path: Path) -> None:
    """What `inspect_file` may do with a file that does harm: say so, or refuse it."""
    with watched(path), suppress(LaminaError):
        assert inspect_file(path).remarks


def test_inspect_does_no_harm_and_says_what_it_saw(tmp_path):
    for build in malicious.ARCHIVES:
        inspected(build(tmp_path))
    for name in malicious.HDF5:
        inspected(archive(tmp_path, sequential(dense()), malicious.hdf5(name)))
        (tmp_path / "m.weights.h5").write_bytes(malicious.hdf5(name))
        inspected(tmp_path / "m.weights.h5")
    for build in (*malicious.SAFETENSORS.values(), *malicious.DAMAGED_SAFETENSORS.values()):
        inspected(build(tmp_path))
    for place in malicious.PLACES.values():
        inspected(archive(tmp_path, place("os", "system")))
    for config in malicious.CONFIGS.values():
        with watched(archive(tmp_path, config()), memory=400 * 2**20):
            inspect_file(tmp_path / "m.keras")


@pytest.mark.parametrize("name", malicious.SHARDS)
def test_shards_that_do_harm(tmp_path, name):
    path = malicious.SHARDS[name](tmp_path)
    files = sorted(tmp_path.iterdir())
    with watched(*files), pytest.raises(UnsafeFileError):
        into_small(path)
    with watched(*files), pytest.raises(UnsafeFileError):
        KerasFileEditor(path)
    with watched(*files), suppress(UnsafeFileError):  # it says what it is, or refuses it too
        assert inspect_file(path).remarks
    assert sorted(tmp_path.iterdir()) == files


@pytest.mark.parametrize("name", malicious.DAMAGED_SHARDS)
def test_shards_that_are_none(tmp_path, name):
    path = malicious.DAMAGED_SHARDS[name](tmp_path)
    with watched(path, *tmp_path.iterdir()), pytest.raises((LaminaError, FileNotFoundError)):
        into_small(path)


def test_a_shard_twice_is_an_error_of_the_editor_too(tmp_path):
    with pytest.raises(LaminaError, match="two of its shards hold layers/dense/vars/0"):
        KerasFileEditor(malicious.DAMAGED_SHARDS["a shard twice"](tmp_path))


@pytest.mark.parametrize("build", malicious.PICKLES, ids=lambda build: build.__name__)
def test_pickles_are_not_opened(tmp_path, build):
    path = build(tmp_path)
    refused(path, match="pickles")
    refused(path, load=into_small, match="pickles")


# ------------------------------------------------------------------------------------------------ memory and materials


def test_the_limit_counts_weights_and_the_optimizer(tmp_path):
    model = lamina.Sequential([lamina.Input((100,)), layers.Dense(1000)])
    model.compile("adam", "mse")
    model.fit(np.ones((1, 100)), np.ones((1, 1000)), verbose=0)
    model.save(tmp_path / "m.keras")
    size = 4 * (100 * 1000 + 1000)
    with pytest.raises(UnsafeFileError, match="memory_limit"):
        load_model(tmp_path / "m.keras", memory_limit=size // 2)
    with pytest.raises(UnsafeFileError, match="memory_limit"):
        load_model(tmp_path / "m.keras", memory_limit=2 * size)  # weights, and no room for two slots
    loaded = load_model(tmp_path / "m.keras", memory_limit=4 * size)
    for mine, other in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), other.numpy())
    for wrong in (-1, True, "2 GB", 1.5):
        with pytest.raises(ValueError, match="memory_limit"):
            load_model(tmp_path / "m.keras", memory_limit=wrong)


def packed_weights(shape: tuple[int, ...]) -> bytes:
    """A kernel of zeros that the file holds in a thousandth of its size, every byte of it there."""

    def fill(file):
        file.create_dataset("layers/dense/vars/0", shape, "float32", compression="gzip", chunks=(1, *shape[1:]))
        for row in range(shape[0]):
            file["layers/dense/vars/0"][row] = 0
        file["layers/dense/vars/1"] = np.ones(2, "float32")

    return malicious.weights(fill)


def test_what_does_not_fit_is_not_unpacked(tmp_path):
    """400 MiB in a file of half a megabyte: `load_weights` compares the shapes and reads nothing."""
    (tmp_path / "m.weights.h5").write_bytes(packed_weights((100, 2**20)))
    assert (tmp_path / "m.weights.h5").stat().st_size < 2**20
    refused(tmp_path / "m.weights.h5", LaminaError, load=into_small)
    with watched(tmp_path / "m.weights.h5"), pytest.warns(UserWarning, match="Skipped"):
        small().load_weights(tmp_path / "m.weights.h5", skip_mismatch=True)
    with watched(tmp_path / "m.weights.h5"):
        inspect_file(tmp_path / "m.weights.h5")


def test_outside_a_model_too_no_more_is_read_than_a_share_of_what_is_free(tmp_path, little_memory):
    stored = packed_weights((200, 2**18))  # 200 MiB, of which the limit is 96
    path = tmp_path / "m.weights.h5"
    path.write_bytes(stored)
    for read in (into_small, KerasFileEditor):
        with watched(path, memory=2**26), pytest.raises(UnsafeFileError, match=r"takes 200 MiB, and the limit is 96"):
            read(path)
    path.write_bytes(malicious.weights(lambda file: [fill_with_zeros(file, f"a{number}/vars/0") for number in "12"]))
    with watched(path, memory=2**27), pytest.raises(UnsafeFileError, match="its arrays take more than 96 MiB"):
        KerasFileEditor(path)  # which reads all of them
    path = malicious.zip_bomb(tmp_path, 2**27)
    for read in (load_model, into_small, KerasFileEditor):
        with watched(path, memory=2**26), pytest.raises(UnsafeFileError):
            read(path)


def fill_with_zeros(file, name: str) -> None:
    file.create_dataset(name, data=np.zeros(2**24, "float32"), compression="gzip", chunks=(2**20,))


def test_a_conversion_has_the_same_limit(tmp_path, monkeypatch):
    small().save(tmp_path / "m.keras")
    with pytest.raises(UnsafeFileError, match="memory_limit"):
        convert(tmp_path / "m.keras", tmp_path / "n.keras", memory_limit=10)
    monkeypatch.setattr("lamina.engine.budget.free_memory", lambda: 10)
    with pytest.raises(UnsafeFileError, match="75% of what is free"):
        convert(tmp_path / "m.keras", tmp_path / "n.keras")
    assert not (tmp_path / "n.keras").exists()


def test_weights_get_memory_only_when_all_fit(tmp_path, monkeypatch):
    """The last array is of another shape: no variable before it has got memory."""
    given = []
    monkeypatch.setattr(lamina.Variable, "allocate", lambda self, fill=False: given.append(self))
    stored = malicious.weights(
        lambda file: [
            malicious.put(file, "layers/dense/vars/0", np.ones((3, 2), "float32")),
            malicious.put(file, "layers/dense/vars/1", np.ones(3, "float32")),
        ]
    )
    with pytest.raises(LaminaError, match="do not fit"):
        load_model(archive(tmp_path, sequential(dense()), stored))
    assert not given


def test_numbers_of_another_kind_are_not_read(tmp_path):
    stored = malicious.weights(
        lambda file: [
            malicious.put(file, "layers/dense/vars/0", np.ones((3, 2), "int32")),
            malicious.put(file, "layers/dense/vars/1", np.ones(2, "float32")),
        ]
    )
    refused(archive(tmp_path, sequential(dense()), stored), error=LaminaError, match=r"dense/kernel: whole numbers")


def test_a_group_in_the_place_of_an_array(tmp_path):
    stored = malicious.weights(lambda file: [file.create_group(f"layers/dense/vars/{number}") for number in (0, 1)])
    refused(archive(tmp_path, sequential(dense()), stored), error=LaminaError, match="no numbers")


def test_a_loaded_model_has_memory_for_everything(tmp_path):
    class Counts(layers.Layer):
        """A layer that stores nothing, whose weight starts anew."""

        def build(self, input_shape):
            self.count = self.add_weight((2,), "ones", trainable=False, name="count")

        def save_own_variables(self, store):
            pass

        def load_own_variables(self, store):
            pass

        def call(self, x):
            return x * self.count

    lamina.Sequential([lamina.Input((3,)), layers.Dense(2), Counts()]).save(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras", custom_objects={"Counts": Counts})
    assert {weight.device.type for weight in loaded.weights} == {"cpu"}
    np.testing.assert_array_equal(loaded.layers[1].count.numpy(), [1, 1])


def test_the_same_weight_in_two_places_stays_one(tmp_path):
    x = lamina.Input((3,))
    shared = layers.Dense(3, name="shared")
    model = lamina.Model(x, layers.Dense(2)(shared(shared(x))))
    model.compile("sgd", "mse")
    model.save(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras")
    assert len({id(weight) for weight in loaded.weights}) == len(loaded.weights) == 4
    data = np.ones((4, 3), "float32")
    np.testing.assert_array_equal(model.predict(data, verbose=0), loaded.predict(data, verbose=0))
    losses = [one.fit(data, np.ones((4, 2)), verbose=0, epochs=2).history["loss"] for one in (model, loaded)]
    assert losses[0] == losses[1]


def test_a_model_of_a_description_is_compiled_and_trains():
    model = small()
    model.compile("adam", "mse")
    twin = model_from_json(model.to_json())
    twin.fit(np.ones((2, 3)), np.ones((2, 2)), verbose=0)
    assert {one.device.type for one in twin.optimizer.variables} == {"cpu"}


def test_on_meta_a_file_is_read_for_its_shapes_only(tmp_path):
    small().save(tmp_path / "m.keras")
    with lamina.device("meta"):
        loaded = load_model(tmp_path / "m.keras")
    assert {weight.device.type for weight in loaded.weights} == {"meta"}


# ------------------------------------------------------------------------------------------------------------- pickles


def test_a_model_can_be_pickled_between_trusted_processes(tmp_path):
    model = small()
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    model.fit(x, np.ones((4, 2)), verbose=0)
    (tmp_path / "m.pickle").write_bytes(pickle.dumps(model))
    code = (
        "import pickle, sys, numpy as np\n"
        f"model = pickle.load(open({str(tmp_path / 'm.pickle')!r}, 'rb'))\n"
        "x = np.random.default_rng(0).normal(size=(4, 3)).astype('float32')\n"
        "np.save(sys.argv[1], model.predict(x, verbose=0))\n"
        "model.fit(x, np.ones((4, 2)), verbose=0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "out.npy")], check=True, timeout=120)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), model.predict(x, verbose=0))
