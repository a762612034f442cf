"""What every format promises of its files: whole or not there, the same bytes, exactly the values, little memory."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import lamina
from lamina import layers, saving
from lamina.base.errors import LaminaError
from lamina.saving.files import written_whole
from lamina.saving.safetensors_files import StoredTensor
from lamina.saving.sections import Section

NAMES = ["m.keras", "m.weights.h5", "m.h5", "weights.h5", "m.safetensors"]
WHOLE = ["m.keras", "m.h5", "m.safetensors"]
HERE = Path(__file__).parent
linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="processes and memory as Linux has them")


def in_process(*arguments: str, **environment: str):
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env={**os.environ, **environment}, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def process(what: str, folder: Path, name: str, **environment: str):
    return in_process(str(HERE / "writing_processes.py"), what, str(folder), name, **environment)


def small():
    return lamina.Sequential([lamina.Input((4,)), layers.Dense(3, name="first"), layers.Dense(2, name="last")])


def save(model, path):
    (model.save_weights if ".weights." in path.name or path.name.startswith("weights") else model.save)(path)


# Whole or not there.


@linux
@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.h5", "m.safetensors"])
def test_a_killed_process_leaves_the_old_file_or_the_whole_new_one(tmp_path, name):
    result = process("killed", tmp_path, name)
    for look in result["found"]:
        assert look["stands"] in ("old", "new"), look
        assert len(look["others"]) <= 1, f"what was left of an earlier saving is still there: {look}"
    at_points = [look for look in result["found"] if not isinstance(look["point"], float)]
    *before, after, last = at_points
    assert len(before) >= 8
    assert {look["signal"] for look in [*before, after]} == {9}
    assert {look["stands"] for look in before} == {"old"}
    assert all(look["others"] for look in before), "it was killed before it wrote anything"
    assert after["stands"] == "new"
    assert not after["others"]
    assert last["stands"] == "new"
    assert not last["others"]


@linux
@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.h5", "m.safetensors"])
def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path, name):
    result = process("full", tmp_path, name)
    for found in result["found"]:
        assert (found["raised"], found["whole"], found["others"]) == ("EFBIG", True, []), found
        assert f"{name} was not written, and what stood there before is as it was" in found["message"]
    assert result["saved again"]


def test_what_another_process_is_writing_is_no_leftover(tmp_path):
    path = tmp_path / "m.keras"
    left = tmp_path / ".m.keras.0123abcd.part"
    foreign = [tmp_path / ".m.keras.part", tmp_path / ".m.keras.notes.part", tmp_path / ".n.keras.0123abcd.part"]
    for file in (left, *foreign):
        file.write_bytes(b"")
    with written_whole(path) as first:
        first.write(b"first")
        assert not left.exists()
        with written_whole(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert all(file.exists() for file in foreign)
    assert len(list(tmp_path.iterdir())) == 1 + len(foreign)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interruption_leaves_the_old_file_alone(tmp_path, monkeypatch, error):
    path = tmp_path / "m.keras"
    small().save(path)
    before = path.read_bytes()

    def interrupted(self, store):
        raise error("here")

    monkeypatch.setattr(layers.Dense, "save_own_variables", interrupted)
    with pytest.raises(error, match="here"):
        small().save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_links_and_permissions_stay(tmp_path):
    path, link = tmp_path / "m.keras", tmp_path / "latest.keras"
    small().save(path)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    path.chmod(0o640)
    link.symlink_to(path)
    before = path.read_bytes()
    small().save(link)
    assert link.is_symlink()
    assert path.read_bytes() != before
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_names_under_which_nothing_can_be_saved(tmp_path, monkeypatch):
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(OSError, match=r"folder\.keras is no file"):
        small().save(tmp_path / "folder.keras")
    path = tmp_path / "m.keras"
    small().save(path)
    path.chmod(0o444)
    if os.geteuid() == 0:  # the superuser may write anything
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="permissions protect it"):
        small().save(path)
    long = tmp_path / ("ü" * 120 + ".keras")  # the temporary name is no longer than the file system allows
    small().save(long)
    assert long.exists()
    assert len(list(tmp_path.iterdir())) == 3


# The same bytes.


@linux
def test_two_processes_write_the_same_bytes(tmp_path):
    found = []
    for number in ("1", "2"):
        folder = tmp_path / number
        folder.mkdir()
        found.append(process("hashes", folder, ",".join(NAMES), PYTHONHASHSEED=number))
    assert found[0] == found[1]
    assert list(found[0]) == NAMES


def test_an_archive_is_a_plain_zip(tmp_path):
    model = small()
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert archive.testzip() is None
        assert [one.compress_type for one in archive.infolist()] == [zipfile.ZIP_STORED] * 3
        assert {one.date_time for one in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        inner = archive.read("model.weights.h5")
    with zipfile.ZipFile(tmp_path / "m.keras", "a") as archive:
        archive.writestr("notes.txt", "added later")
    loaded = lamina.models.load_model(tmp_path / "m.keras")
    assert all(map(np.array_equal, loaded.get_weights(), model.get_weights()))
    (tmp_path / "inner.weights.h5").write_bytes(inner)
    with h5py.File(tmp_path / "inner.weights.h5") as one, h5py.File(tmp_path / "m.weights.h5") as other:
        names: list[str] = []
        one.visit(names.append)
        assert [name for name in names if isinstance(one[name], h5py.Dataset)]
        for name in names:
            if isinstance(one[name], h5py.Dataset):
                assert np.array_equal(one[name], other[name])


def test_a_compressed_archive_is_read_too(tmp_path):
    model = small()
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as plain:
        with zipfile.ZipFile(tmp_path / "packed.keras", "w", zipfile.ZIP_DEFLATED) as packed:
            for name in plain.namelist():
                packed.writestr(name, plain.read(name))
    loaded = lamina.models.load_model(tmp_path / "packed.keras")
    assert all(map(np.array_equal, loaded.get_weights(), model.get_weights()))


# Exactly the values.


@saving.register_keras_serializable("test_writing")
class Counted(layers.Layer):
    """A layer with weights of the types that no gradient flows through."""

    def build(self, input_shape):
        for dtype in ("int8", "int32", "int64", "uint8", "bool", "float64", "float16", "bfloat16"):
            weight = self.add_weight((3, 5), "zeros", dtype=dtype, trainable=False, name=f"of_{dtype}")
            weight.assign(torch.randint(0, 2 if dtype == "bool" else 100, (3, 5)).to(weight.dtype))

    def call(self, x):
        return x + sum(torch.sum(weight).to(x.dtype) for weight in self.weights)


def of_dtype(dtype):
    return lamina.Sequential(
        [
            lamina.Input((9, 9, 3), dtype=dtype.removeprefix("mixed_")),
            layers.Conv2D(70, 3, dtype=dtype),
            layers.BatchNormalization(dtype=dtype),
            layers.DepthwiseConv2D(3, dtype=dtype),
            layers.Conv2DTranspose(8, 3, dtype=dtype),
            layers.Flatten(),
            layers.Dense(7, dtype=dtype),
            Counted(dtype=dtype),
        ]
    )


def bits(tensor):
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_a_model_predicts_the_same_bits(tmp_path, name, dtype):
    model = of_dtype(dtype)
    for weight in model.weights:
        if weight.is_floating_point():
            weight.assign(torch.randn(weight.shape).abs().to(weight.dtype))
    x = np.random.default_rng(0).normal(size=(4, 9, 9, 3))
    before = [weight.detach().clone() for weight in model.weights]
    expected = model.predict(x, verbose=0)
    save(model, tmp_path / name)
    if name in WHOLE:
        loaded = lamina.models.load_model(tmp_path / name)
    else:
        loaded = of_dtype(dtype)
        loaded.load_weights(tmp_path / name)
    for old, saved, new in zip(before, model.weights, loaded.weights, strict=True):
        assert (new.dtype, new.stride()) == (old.dtype, saved.stride()), new
        assert torch.equal(bits(old), bits(new)), new
        assert torch.equal(bits(old), bits(saved)), saved
    got = loaded.predict(x, verbose=0)
    assert got.dtype == expected.dtype
    assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_special_numbers_and_the_optimizer_come_back_as_they_were(tmp_path, name):
    model = small()
    model.compile(lamina.optimizers.Adam(0.01), loss="mse")
    model.fit(np.ones((8, 4)), np.ones((8, 2)), verbose=0)
    odd = np.array([[np.nan, np.inf, -np.inf], [-0.0, 1e-45, 3.4e38], [1, 2, 3], [4, 5, 6]], "float32")
    model.layers[0].kernel.assign(odd)
    save(model, tmp_path / name)
    loaded = lamina.models.load_model(tmp_path / name)
    assert loaded.layers[0].kernel.numpy().tobytes() == odd.tobytes()
    for old, new in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        assert torch.equal(bits(old), bits(new)), new


def test_arrays_that_are_turned_one_after_the_other_are_those_of_the_weights(tmp_path):
    kernels = [layers.Conv2D(filters, size, name=f"c{filters}") for filters, size in ((4, 3), (32, 3), (2, 1), (33, 2))]
    model = lamina.Sequential([lamina.Input((16, 16, 3)), *kernels, layers.Flatten(), layers.Dense(2, name="dense")])
    model.compile("adam", "mse")
    model.fit(np.ones((2, 16, 16, 3), "float32"), np.ones((2, 2), "float32"), verbose=0)
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive, h5py.File(archive.open("model.weights.h5"), "r") as file:
        for index, layer in enumerate(kernels):
            group = file[f"layers/conv2d_{index}/vars" if index else "layers/conv2d/vars"]
            assert all(np.array_equal(group[str(key)], array) for key, array in enumerate(layer.get_weights()))
        for index, variable in enumerate(model.optimizer.variables):
            assert np.array_equal(file[f"optimizer/vars/{index}"], variable.numpy())


@pytest.mark.parametrize("place", ["class", "instance"])
def test_what_saves_by_a_method_of_its_own_is_left_to_do_so(tmp_path, monkeypatch, place):
    model = small()
    model.compile("adam", "mse")
    for thing in (model.layers[0], model.optimizer):  # a method is given the thing itself before the store
        owner = type(thing) if place == "class" else thing
        monkeypatch.setattr(owner, "save_own_variables", lambda *given: given[-1].update({"own": np.ones(2)}))
    model.save_weights(tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5", "r") as file:
        assert list(file["layers/dense/vars"]) == list(file["optimizer/vars"]) == ["own"]


# Little memory, and nothing half changed.


@linux
def test_saving_and_loading_takes_little_memory(tmp_path):
    """Beside the weights: `benchmarks/files.py` measures ResNet50 the same way, and the time beside Keras."""
    steady = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    names = ["m.keras", "m.weights.h5", "m.h5", "m.safetensors", "m.weights.json"]
    found = process("memory", tmp_path, ",".join(names), **steady)
    assert len(found) == 3 * len(names) - 2
    for what, parts in found.items():
        assert parts < (0.3 if what.startswith("save") else 1.3), f"{what} takes {parts:.2f} times the weights"
        assert parts > 0.9 or what.startswith("save"), "what was loaded is not seen"


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_cannot_be_read_to_its_end_changes_nothing(tmp_path, monkeypatch, name):
    model, other = small(), small()
    save(model, tmp_path / name)
    before = other.get_weights()
    left = iter([False] * 3 + [True] * 100)

    def failing(read):
        def fail(*arguments):
            if next(left):
                raise OSError("the disk does not answer")
            return read(*arguments)

        return fail

    monkeypatch.setattr(StoredTensor, "read", failing(StoredTensor.read))
    monkeypatch.setattr(h5py.Dataset, "__getitem__", failing(h5py.Dataset.__getitem__))
    with pytest.raises(LaminaError, match="the disk does not answer"):
        other.load_weights(tmp_path / name)
    assert all(map(np.array_equal, other.get_weights(), before))


def test_a_section_that_became_shorter_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    with open(tmp_path / "file", "rb") as file:
        assert Section(file, 2, 8).read(8) == b"23456789"
        assert Section(file, 2, 8).checksum() == zlib.crc32(b"23456789")
        with pytest.raises(OSError, match="8 bytes at 0 are not there"):
            Section(file, 5, 8).read(8)
        with pytest.raises(OSError, match="6 bytes at 0 are not there"):
            Section(file, 2, 5).read(6)
