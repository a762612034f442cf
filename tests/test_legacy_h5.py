"""Weights files of Keras 1 and 2, and kernels for another number of channels."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

import lamina
from exchange_models import write_layers
from lamina import layers, saving
from lamina.base.errors import LaminaError, ShapeError

LAYERS = {
    "conv1": {"conv1_W_1:0": (3, 3, 3, 4), "conv1_b_1:0": (4,)},
    "pool": {},
    "bn": {f"bn_{name}_1:0": (4,) for name in ("gamma", "beta", "running_mean", "running_std")},
    "head": {"head_W_1:0": (4, 2), "head_b_1:0": (2,)},
}


@pytest.fixture
def old_file(tmp_path):
    """A file as Keras 1 wrote it, and its arrays by layer."""
    rng = np.random.default_rng(0)
    arrays = {
        name: {weight: rng.uniform(0.1, 1, shape).astype("float32") for weight, shape in weights.items()}
        for name, weights in LAYERS.items()
    }
    with h5py.File(tmp_path / "old.h5", "w") as file:
        write_layers(file, arrays)
    return tmp_path / "old.h5", {name: list(weights.values()) for name, weights in arrays.items()}


def model(channels=3, classes=2, names=("conv1", "bn", "head")):
    conv, bn, head = names
    return lamina.Sequential(
        [
            lamina.Input((6, 6, channels)),
            layers.Conv2D(4, 3, name=conv),
            layers.MaxPooling2D(name="pool"),
            layers.BatchNormalization(name=bn),
            layers.GlobalAveragePooling2D(),
            layers.Dense(classes, name=head),
        ]
    )


def assert_weights(layer, arrays):
    for weight, array in zip(layer.get_weights(), arrays, strict=True):
        np.testing.assert_array_equal(weight, array)


def test_by_order_and_by_name(old_file):
    path, arrays = old_file
    ordered = model(names=("a", "b", "c"))
    ordered.load_weights(path)
    assert_weights(ordered.get_layer("a"), arrays["conv1"])
    assert_weights(ordered.get_layer("b"), arrays["bn"])
    named = model(classes=7, names=("conv1", "bn", "other"))
    before = named.get_layer("other").get_weights()
    with pytest.warns(
        UserWarning, match=r"(?s)names agree.*missing in the file \(1 layer\)\n    other: \(4, 7\), \(7,\)"
    ):
        named.load_weights(path, by_name=True)
    assert_weights(named.get_layer("conv1"), arrays["conv1"])
    assert_weights(named.get_layer("other"), before)


def test_what_does_not_fit_changes_nothing(old_file):
    path, arrays = old_file
    shorter = lamina.Sequential([lamina.Input((4,)), layers.Dense(2, name="heat")])
    wider = model(classes=7)
    few = lamina.Sequential([lamina.Input((6, 6, 3)), layers.Conv2D(4, 3, use_bias=False, name="conv1")])
    for one, options, message in (
        (shorter, {}, r"(?s)1 layers with weights, the file 3; no weight.*not in the model.*by_name=True"),
        (
            shorter,
            {"by_name": True},
            r"(?s)No layer.*heat: \(4, 2\), \(2,\)\n      nearest in the file: head, of the same shapes",
        ),
        (wider, {}, r"head/kernel: \(4, 2\) in the file, \(4, 7\) in the model"),
        (few, {"by_name": True}, r"another number of weights \(1 layer\)\n    Conv2D 'conv1' has 1, and 2 in the file"),
    ):
        before = one.get_weights()
        with pytest.raises(LaminaError, match=message):
            one.load_weights(path, **options)
        assert_weights(one, before)
    with pytest.warns(UserWarning, match=r"(?s)Skipped 2 weights.*head/kernel.*head/bias"):
        wider.load_weights(path, skip_mismatch=True)
    assert_weights(wider.get_layer("conv1"), arrays["conv1"])
    with pytest.warns(UserWarning, match=r"(?s)Skipped 1 weights or layers.*Conv2D 'conv1' has 1"):
        few.load_weights(path, by_name=True, skip_mismatch=True)


def test_by_name_is_for_old_files(tmp_path):
    one = model()
    one.save_weights(tmp_path / "new.weights.h5")
    with pytest.raises(ValueError, match="Keras 3"):
        one.load_weights(tmp_path / "new.weights.h5", by_name=True)


def test_a_file_that_lost_an_array(old_file):
    path, _ = old_file
    with h5py.File(path, "a") as file:
        del file["head/head_b_1:0"]
    with pytest.raises(LaminaError, match="damaged"):
        model().load_weights(path)


@pytest.mark.parametrize("channels", [7, 4, 1])
@pytest.mark.parametrize("how", ["repeat", "mean"])
def test_a_grey_image_gives_the_same_activations(old_file, channels, how):
    path, _ = old_file
    rgb, other = model(), model(channels)
    rgb.load_weights(path)
    with pytest.raises(ShapeError, match="adapt_channels"):
        other.load_weights(path)
    other.load_weights(path, adapt_channels=how)
    grey = np.random.default_rng(1).normal(size=(2, 6, 6, 1)).astype("float32")
    expected = rgb(np.repeat(grey, 3, -1)).detach().numpy()
    np.testing.assert_allclose(other(np.repeat(grey, channels, -1)).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_zero_ignores_the_new_channels(old_file):
    path, arrays = old_file
    rgb, seven = model(), model(7)
    rgb.load_weights(path)
    seven.load_weights(path, adapt_channels="zero", by_name=True)
    x = np.random.default_rng(1).normal(size=(2, 6, 6, 7)).astype("float32")
    np.testing.assert_allclose(seven(x).detach().numpy(), rgb(x[..., :3]).detach().numpy(), rtol=1e-4, atol=1e-5)
    one = model(1)
    before = one.get_weights()
    with pytest.raises(ValueError, match='"repeat" or "mean"'):
        one.load_weights(path, adapt_channels="zero")
    assert_weights(one, before)
    np.testing.assert_array_equal(saving.adapt_kernel(arrays["conv1"][0], 3, "mean").shape, (3, 3, 3, 4))


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.safetensors"])
def test_new_files_adapt_too(tmp_path, name):
    rgb, seven = model(), model(7)
    (rgb.save if name == "m.keras" else rgb.save_weights)(tmp_path / name)
    with pytest.raises(ShapeError, match="adapt_channels"):
        seven.load_weights(tmp_path / name)
    seven.load_weights(tmp_path / name, adapt_channels="repeat")
    total = seven.get_weights()[0].sum(-2)
    np.testing.assert_allclose(total, rgb.get_weights()[0].sum(-2), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("frozen", [False, True])
def test_h5_files_of_keras_3(keras, tmp_path, frozen):
    def make(k):
        inner = k.Sequential([k.Input((4,)), k.layers.BatchNormalization(), k.layers.Dense(4)], name="inner")
        inner.trainable = not frozen
        return k.Sequential([k.Input((4,)), k.layers.Dense(4, name="d"), inner, k.layers.Dense(2, name="e")])

    mine, theirs = make(lamina), make(keras)
    theirs.set_weights([np.random.default_rng(i).uniform(0.5, 1, w.shape) for i, w in enumerate(theirs.get_weights())])
    theirs.save(tmp_path / "m.h5")
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    mine.load_weights(tmp_path / "m.h5")
    np.testing.assert_allclose(mine(x).detach().numpy(), theirs(x).detach().numpy(), rtol=1e-4, atol=1e-5)
    lamina.models.load_model(tmp_path / "m.h5").save_weights(tmp_path / "again.h5")
    other = make(lamina)
    other.load_weights(tmp_path / "again.h5")
    assert_weights(other, mine.get_weights())
