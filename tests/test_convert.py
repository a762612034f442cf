"""`convert` and `inspect`: every format into every other, and what a file says about itself without being loaded."""

from __future__ import annotations

import json
import sys
import zipfile
from itertools import permutations
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from safetensors.torch import load_model as load_torch_model

import lamina
from lamina import layers
from lamina.base.errors import LaminaError
from lamina.saving.converting import convert
from lamina.saving.inspecting import inspect_file
from test_cli import call, data_of

WHOLE = ["m.keras", "m.h5", "m.safetensors"]
ALONE = ["w.weights.h5", "w.h5", "w.safetensors", "w.weights.json"]


def shared():
    """Two inputs through one layer, a model inside, two outputs."""
    a, b = lamina.Input((4,), name="a"), lamina.Input((4,), name="b")
    inner = lamina.Sequential([lamina.Input((4,)), layers.Dense(3, name="d"), layers.BatchNormalization(name="n")])
    both = layers.Concatenate(name="both")([inner(a), inner(b)])
    model = lamina.Model([a, b], [layers.Dense(2, name="left")(both), layers.Dense(1, name="right")(inner(a))])
    model.compile("adam", {"left": "mse", "right": "mae"})
    return model


@pytest.fixture
def trained():
    lamina.utils.clear_session()
    model = shared()
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(3, 4)).astype("float32") for _ in range(2)]
    model.fit(x, [np.ones((3, 2)), np.ones((3, 1))], verbose=0)
    return model, x


def write(model, path):
    if path.name.startswith("m."):
        model.save(path)
    else:
        model.save_weights(path)


def predictions(model, x):
    return [one.detach().numpy() for one in model(x)]


def assert_equal(one, other, x):
    for a, b in zip(predictions(one, x), predictions(other, x), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("source", "target"), list(permutations([*WHOLE, *ALONE], 2)))
def test_any_to_any(tmp_path, trained, source, target):
    model, x = trained
    write(model, tmp_path / source)
    lamina.utils.clear_session()
    given = None if source in WHOLE else shared()
    done = convert(tmp_path / source, tmp_path / target, given, weights_only=target in ("w.h5", "w.safetensors"))
    assert (done.weights, done.parameters) == (len(model.weights), model.count_params())
    if target in WHOLE:
        loaded = lamina.models.load_model(tmp_path / target)
        assert loaded.compiled is (target != "m.safetensors" and source != "m.safetensors")
    else:
        lamina.utils.clear_session()
        loaded = shared()
        loaded.load_weights(tmp_path / target)
    assert_equal(model, loaded, x)
    said = done.left_out
    assert ("architecture" in said) is (source in WHOLE and target in ALONE)
    with_state = source in ("m.keras", "m.h5")
    loses_state = target in ("m.safetensors", "w.h5", "w.safetensors")
    assert ("optimizer state" in said) is (with_state and loses_state)


def test_the_optimizer_goes_on(tmp_path, trained):
    model, x = trained
    model.save(tmp_path / "a.h5")
    convert(tmp_path / "a.h5", tmp_path / "b.keras")
    convert(tmp_path / "b.keras", tmp_path / "c.h5")
    y = [np.ones((3, 2)), np.ones((3, 1))]
    loaded = lamina.models.load_model(tmp_path / "c.h5")
    expected = model.fit(x, y, epochs=2, verbose=0, shuffle=False).history["loss"]
    assert loaded.fit(x, y, epochs=2, verbose=0, shuffle=False).history["loss"] == expected
    convert(tmp_path / "b.keras", tmp_path / "d.keras", compile=False)
    assert not lamina.models.load_model(tmp_path / "d.keras").compiled


def test_a_conversion_that_makes_no_sense(tmp_path, trained):
    model, _ = trained
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "w.weights.h5")
    for source, target, options, words in (
        ("w.weights.h5", "n.keras", {}, "holds weights of Keras 3 and no architecture"),
        ("m.keras", "n.onnx", {}, "ends in nothing that lamina writes"),
        ("m.keras", "n.keras", {"weights_only": True}, r"weights alone go into n\.weights\.h5"),
        ("m.keras", "m.keras", {"overwrite": True}, "is the file that is read"),
        ("w.weights.h5", "n.keras", {"model": lamina.Sequential([lamina.Input((4,))])}, "not in the model"),
    ):
        with pytest.raises(LaminaError, match=words):
            convert(tmp_path / source, tmp_path / target, **options)
        assert not (tmp_path / target).exists() or target == source
    convert(tmp_path / "m.keras", tmp_path / "n.h5")
    before = (tmp_path / "n.h5").read_bytes()
    with pytest.raises(FileExistsError, match="--overwrite"):
        convert(tmp_path / "m.keras", tmp_path / "n.h5")
    convert(tmp_path / "m.keras", tmp_path / "n.h5", overwrite=True)
    assert (tmp_path / "n.h5").read_bytes() == before


# -------------------------------------------------------------------------------------------------------- safetensors


class Twice(lamina.Model):
    """A layer that is in the model under two names."""

    def __init__(self):
        super().__init__()
        self.first = layers.Dense(4, name="first")
        self.inner = lamina.Sequential([self.first, layers.Dense(2, name="last")])

    def call(self, x):
        return self.inner(self.first(x))


def test_a_shared_weight_is_written_once_and_torch_loads_it(tmp_path):
    model, other = Twice(), Twice()
    x = np.ones((2, 4), "float32")
    model(x), other(x)
    model.save_weights(tmp_path / "m.safetensors")
    names = set(model.state_dict())
    written = load_file(tmp_path / "m.safetensors")
    assert names - set(written) == {"inner.first.kernel", "inner.first.bias"}
    other.load_weights(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(other(x).detach(), model(x).detach())
    # as a plain torch script does it, which knows nothing of lamina
    plain = torch.nn.Module()
    plain.first, plain.inner, last = (torch.nn.Module() for _ in range(3))
    for module, shape in ((plain.first, (4, 4)), (last, (4, 2))):
        module.kernel, module.bias = torch.nn.Parameter(torch.zeros(shape)), torch.nn.Parameter(torch.zeros(shape[1]))
    plain.inner.first, plain.inner.last = plain.first, last
    assert load_torch_model(plain, tmp_path / "m.safetensors") == (set(), [])
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name


def test_a_file_of_the_library_is_read(tmp_path, trained):
    model, x = trained
    save_file({k: v.detach().contiguous() for k, v in model.state_dict().items()}, tmp_path / "w.safetensors")
    lamina.utils.clear_session()
    other = shared()
    other.load_weights(tmp_path / "w.safetensors")
    assert_equal(model, other, x)
    with pytest.raises(LaminaError, match="holds no model, at most its weights"):
        lamina.models.load_model(tmp_path / "w.safetensors")
    wrong = lamina.Sequential([lamina.Input((4,)), layers.Dense(2, name="left")])
    with pytest.raises(LaminaError, match=r"not in the model[^:]*right\.bias: \(1,\)"):
        wrong.load_weights(tmp_path / "w.safetensors")


# ------------------------------------------------------------------------------------------------------------- inspect


@pytest.mark.parametrize("name", [*WHOLE, *ALONE])
def test_a_file_says_what_it_holds(tmp_path, trained, name, monkeypatch):
    model, _ = trained
    write(model, tmp_path / name)
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *a: pytest.fail("a weight was read"))
    monkeypatch.setattr(layers.Dense, "__init__", lambda *a, **k: pytest.fail("a layer was made"))
    found = inspect_file(tmp_path / name)
    assert sorted(one.shape for one in found.weights) == sorted(tuple(w.shape) for w in model.weights)
    assert {one.dtype for one in found.weights} == {"float32"}
    assert found.remarks == []
    assert json.loads(json.dumps(found.to_dict()))["kind"] == found.kind
    assert max(map(len, str(found).split("\n"))) <= 80
    if name not in WHOLE:
        assert (found.model, found.layers) == (None, [])
        return
    inside = [(one.name, one.inside) for one in found.layers]
    assert ("left", "") in inside
    assert ("n", "sequential") in inside
    assert all(one.known for one in found.layers)
    if name != "m.safetensors":
        assert found.compiled["optimizer"] == "Adam"
        assert len(found.optimizer) == len(model.optimizer.variables)


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "w.weights.h5"])
def test_files_of_keras_are_inspected(keras, tmp_path, name):
    class Own(keras.layers.Layer):
        def call(self, x):
            return x

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="gelu"), Own(name="own")])
    model.compile("adam", "mse", metrics=["accuracy"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("absl.logging.warning", lambda *a: None)
        write(model, tmp_path / name)
    found = inspect_file(tmp_path / name)
    assert [one.shape for one in found.weights if one.shape == (4, 2)]
    if name.startswith("m."):
        assert found.facts["keras_version"] == "3.15.1"
        assert [one.class_name.rpartition(">")[2] for one in found.layers if not one.known] == ["Own"]
        assert "Own" in " ".join(found.remarks)
        assert found.compiled["metrics"] == "accuracy"


def archive(path, config, **members):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
        for name, content in members.items():
            file.writestr(name, content)


def config_of(*entries):
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": list(entries)}}


def test_what_one_should_know_is_remarked(tmp_path):
    marker = tmp_path / "ran"
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}
    entries = [
        {"module": "keras.layers", "class_name": "Lambda", "config": {"name": "l", "function": code}},
        {"module": "os", "class_name": "system", "config": {"command": f"touch {marker}"}},
        {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"},
        {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
        {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": "gASVAAAA"}},
    ]
    archive(tmp_path / "m.keras", config_of(*entries), **{"../out": "x"})
    before = set(sys.modules)
    found = inspect_file(tmp_path / "m.keras")
    assert found.members[-1]["name"] == "../out"
    assert "leads out of the file's folder" in found.remarks[0]
    archive(tmp_path / "m.keras", config_of(*entries))
    said = " ".join(inspect_file(tmp_path / "m.keras").remarks)
    for words in ("'l'", "bytecode", "'os.system'", "the function 'eval'", "'/etc/passwd'", "pickled torch module"):
        assert words in said
    assert not marker.exists()
    assert "antigravity" not in set(sys.modules) - before


def test_links_and_declared_sizes_in_hdf5(tmp_path):
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        file["layers/a/vars/0"] = np.ones((2, 3))
        file["layers/b"] = h5py.ExternalLink("/etc/passwd", "/")
    found = inspect_file(tmp_path / "w.weights.h5")
    assert [one.shape for one in found.weights] == [(2, 3)]
    assert "link to another place" in found.remarks[0]
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        file.create_dataset("x", (10**6, 10**6), "f4", chunks=(10, 10))
    found = inspect_file(tmp_path / "w.weights.h5")
    assert found.weights[0].bytes == 4 * 10**12
    assert "declares 3.6 TiB, and the file holds 0 bytes of them" in found.remarks[0]


def test_a_deep_config_is_no_fault_of_the_program(tmp_path):
    archive(tmp_path / "m.keras", "[" * 100_000)
    assert "Not read on" in inspect_file(tmp_path / "m.keras").remarks[0]
    archive(tmp_path / "m.keras", "{")
    assert "is damaged" in inspect_file(tmp_path / "m.keras").remarks[0]
    entry = {"class_name": "Dense", "config": {"name": "d"}}
    for _ in range(60):
        entry = {"class_name": "Sequential", "config": {"name": "s", "layers": [entry]}}
    archive(tmp_path / "m.keras", entry)
    assert len(inspect_file(tmp_path / "m.keras").layers) == 60


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("name", [*WHOLE, *ALONE])
def test_a_damaged_file_has_a_clean_message(tmp_path, trained, name, part):
    model, _ = trained
    write(model, tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * part)])
    result = call("inspect", str(tmp_path / name))
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_what_is_no_model_file(tmp_path):
    (tmp_path / "notes.h5").write_text("no model")
    (tmp_path / "a.pkl").write_bytes(b"\x80\x04.")
    (tmp_path / "b.model").write_bytes(b"\x80\x04.")
    (tmp_path / "c.json").write_text("{}")
    for name, words in (("notes.h5", "damaged"), ("a.pkl", "pickles"), ("b.model", "pickle"), ("c.json", "JSON")):
        with pytest.raises(LaminaError, match=words):
            inspect_file(tmp_path / name)
    with pytest.raises(LaminaError, match="folder"):
        inspect_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        inspect_file(tmp_path / "none.keras")


# ------------------------------------------------------------------------------------------------------- command line


def test_the_commands(tmp_path, trained, monkeypatch):
    model, x = trained
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    model.save("m.h5")
    model.save_weights("w.weights.h5")
    done = call("convert", "m.h5", "m.keras")
    assert (done.exit_code, done.stderr) == (0, "")
    assert_equal(model, lamina.models.load_model("m.keras"), x)
    assert call("convert", "m.h5", "m.keras").exit_code == 1
    assert data_of("convert", "m.h5", "m.keras", "--overwrite")["parameters"] == model.count_params()
    missing = call("convert", "w.weights.h5", "n.keras")
    assert (missing.exit_code, "--model" in missing.stderr) == (1, True)
    for architecture in ("m.keras", "test_convert:shared"):
        lamina.utils.clear_session()
        assert call("convert", "w.weights.h5", "n.keras", "--model", architecture, "--overwrite").exit_code == 0
        assert_equal(model, lamina.models.load_model("n.keras"), x)
    assert call("convert", "m.keras", "v.h5", "--weights-only").exit_code == 0
    assert inspect_file("v.h5").model is None
    assert data_of("inspect", "m.keras") == json.loads(json.dumps(inspect_file("m.keras").to_dict()))
    assert call("inspect", "m.keras").stdout == f"{inspect_file('m.keras')}\n"
    archive("odd.keras", config_of({"module": "os", "class_name": "system", "config": {}}))
    assert data_of("inspect", "odd.keras", code=1)["remarks"]
    assert call("inspect", "nowhere.keras").exit_code == 1
