"""The programs of `examples/`, unmodified under `lamina run`, and what each of them stands for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import lamina
from lamina import layers
from lamina.applications import DenseNet121, ResNet50
from lamina.base.errors import ShapeError, ShapeWarning

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run_example(name, folder):
    command = [sys.executable, "-W", "always", "-m", "lamina", "run", str(EXAMPLES / f"{name}.py")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_parameter_count(tmp_path):
    out, _ = run_example("parameter_count", tmp_path)
    for text in ("7,033,282", "6,949,634", "83,648", "(None, 1024)", "7,031,232"):
        assert out.count(text) >= 2, text
    assert "No height, width or length of the input occurs in any parameter formula" in out
    assert "height        ⌊(518 − 7)/2⌋ + 1 = 256" in out
    assert "1024 channels, whatever the" in out
    assert "made with lamina" in out


def test_where_is_the_image(tmp_path):
    out, err = run_example("where_is_the_image", tmp_path)
    assert "channels_last gives (None, 1, 32, 10)" in out
    assert "channels_first gives (None, 10, 32, 32) with 650 parameters" in out
    assert err.count("ShapeWarning") == 1
    assert "reads its input as a 1×32 image of 32 channels" in err
    assert 'Input((32, 32, 1)), or Conv2D(..., data_format="channels_first")' in err
    assert err.count("DeprecationWarning") == 2


def test_first_layers(tmp_path):
    out, err = run_example("first_layers", tmp_path)
    assert "output 0, input_layer: three joined have the shape (2, 100, 100, 9)" in out
    assert "output 14, conv2_block1_3_conv: three joined have the shape (2, 25, 25, 768)" in out
    assert "84608 parameters" in out
    assert "ends inside a residual block: the cut at layer 15, 'conv2_block1_3_conv'" in err
    assert "before 'conv2_block1_add' joins the branches" in " ".join(err.split())
    assert (tmp_path / "first_layers.svg").read_text().startswith("<svg")
    assert (tmp_path / "first_layers.png").read_bytes().startswith(b"\x89PNG")


def test_contradictory_shapes(tmp_path):
    out, err = run_example("contradictory_shapes", tmp_path)
    assert "18,842" in out
    for name in ("conv2d_1", "max_pooling2d", "conv2d_2", "conv2d_3", "global_max_pooling2d", "dense", "dense_2"):
        assert err.count(f" '{name}' declares input_shape=") == 1, name
    assert err.count("ShapeWarning: ") == 7
    assert "declares input_shape=(44,) and gets (32,)" in err


def test_small_images(tmp_path):
    out, _ = run_example("small_images", tmp_path)
    assert "32 is the total stride 2⁵" in out
    assert "An image of 10×10 has shrunk to 1×1 at stage conv4" in " ".join(out.split())
    assert "(1, 1, 1, 2048)" in out
    assert "(1, 2048) with lamina" in out


def test_the_demo(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import demo

    measured = demo.main(str(tmp_path), epochs=1)
    out = capsys.readouterr().out
    assert measured["parameters"] == 18842
    assert measured["difference"] == 0
    assert measured["accuracy"] > 0.3
    assert "⌊(24 − 3)/3⌋ + 1 = 8" in out
    assert "3·3·16·32 + 32 = 4,640" in out
    assert {"fashion.keras", "fashion.svg", "fashion.png"} <= {path.name for path in tmp_path.iterdir()}


def test_the_network_learns_as_keras_does(keras, bundled_images):
    """Program 3b on real images: the same start, the same batches, the same losses as Keras."""
    (x, y), _ = bundled_images
    x, y = x[:1024], y[:1024]

    def build(k):
        net = [
            k.Input((28, 28, 1)),
            k.layers.Conv2D(16, 3, activation="relu"),
            k.layers.Conv2D(32, 3, activation="relu"),
        ]
        net += [k.layers.MaxPooling2D(3), k.layers.Conv2D(32, 3, activation="relu")]
        net += [k.layers.Conv2D(16, 3, activation="relu"), k.layers.GlobalMaxPooling2D()]
        model = k.Sequential([*net, k.layers.Dense(10, activation="softmax")])
        loss, metric = k.losses.CategoricalCrossentropy(), k.metrics.CategoricalAccuracy()
        model.compile(k.optimizers.Adam(), loss, metrics=[metric])
        return model

    theirs, mine = build(keras), build(lamina)
    mine.set_weights(theirs.get_weights())
    histories = [m.fit(x, y, batch_size=256, epochs=2, shuffle=False, verbose=0).history for m in (theirs, mine)]
    assert list(histories[1]) == list(histories[0])
    for key, values in histories[0].items():
        np.testing.assert_allclose(histories[1][key], values, rtol=1e-3, atol=2e-3)


def test_targets_that_only_broadcast():
    model = lamina.Sequential([lamina.Input((4,)), layers.Dense(32), layers.Dense(16, activation="sigmoid")])
    assert model.predict(np.zeros((10, 4), "float32"), verbose=0).shape == (10, 16)
    model.compile("adam", "binary_crossentropy")
    x, y = np.zeros((10, 4), "float32"), np.zeros((10,), "float32")
    before = model.get_weights()
    with pytest.raises(ShapeError) as error:
        model.fit(x, y, verbose=0)
    assert "(10,)" in str(error.value)
    assert "(10, 16)" in str(error.value)
    assert error.value.mend
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    lamina.config.set_shape_policy("legacy")
    with pytest.warns(ShapeWarning):
        history = model.fit(x, y, verbose=0)
    assert np.isfinite(history.history["loss"][0])


@pytest.mark.parametrize("channels", [1, 3])
def test_densenet_is_keras_densenet(keras, channels):
    with lamina.device("meta"):
        mine = DenseNet121(include_top=False, weights=None, input_shape=(64, 64, channels), pooling="avg")
    theirs = keras.applications.DenseNet121(
        include_top=False, weights=None, input_shape=(64, 64, channels), pooling="avg"
    )
    numbered = ("input_layer", "zero_padding2d")  # counted per process
    names = [[l.name for l in m.layers if not l.name.startswith(numbered)] for m in (mine, theirs)]  # noqa: E741
    assert names[0] == names[1]
    assert [layer.output.shape for layer in mine.layers] == [layer.output.shape for layer in theirs.layers]
    assert mine.count_params() == theirs.count_params() == 7_037_504 - (3 - channels) * 3136
    if channels == 3:
        return
    mine.materialize()
    mine.set_weights(theirs.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 64, 64, channels)).astype("float32")
    np.testing.assert_allclose(mine(x).detach(), theirs(x).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [32, 75])
def test_resnet_is_keras_resnet(keras, size):
    mine = ResNet50(weights=None, input_shape=(size, size, 3), classes=7)
    theirs = keras.applications.ResNet50(weights=None, input_shape=(size, size, 3), classes=7)
    mine.set_weights(theirs.get_weights())
    x = np.random.default_rng(0).normal(size=(1, size, size, 3)).astype("float32")
    np.testing.assert_allclose(mine(x).detach(), theirs(x).detach(), rtol=1e-4, atol=1e-5)
    assert mine.count_params() == theirs.count_params()


def test_weights_of_keras_1_by_name_into_seven_channels(tmp_path):
    """A hand-made file as Keras 1 wrote it, and the three ways to more channels."""
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(7, 7, 3, 8)).astype("float32"), rng.normal(size=8).astype("float32")
    path = tmp_path / "old.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv1", b"gone"]
        group = file.create_group("conv1")
        group.attrs["weight_names"] = [b"conv1_W_1:0", b"conv1_b_1:0"]
        group["conv1_W_1:0"], group["conv1_b_1:0"] = kernel, bias
        file.create_group("gone").attrs["weight_names"] = np.array([], dtype="S1")

    def net(channels):
        x = lamina.Input((16, 16, channels))
        return lamina.Model(x, layers.Conv2D(8, 7, name="conv1")(x))

    rgb = net(3)
    rgb.load_weights(path, by_name=True)
    np.testing.assert_array_equal(rgb.get_layer("conv1").get_weights()[0], kernel)
    seven = net(7)
    before = seven.get_weights()
    with pytest.raises(ShapeError, match="adapt_channels"):
        seven.load_weights(path, by_name=True)
    np.testing.assert_array_equal(seven.get_weights()[0], before[0])
    grey = rng.normal(size=(2, 16, 16, 1)).astype("float32")
    expected = rgb(np.repeat(grey, 3, axis=-1)).detach()
    for way in ("repeat", "mean"):
        seven.load_weights(path, by_name=True, adapt_channels=way)
        np.testing.assert_allclose(seven(np.repeat(grey, 7, axis=-1)).detach(), expected, rtol=1e-3, atol=1e-4)
    seven.load_weights(path, by_name=True, adapt_channels="zero")
    image = rng.normal(size=(2, 16, 16, 7)).astype("float32")
    np.testing.assert_allclose(seven(image).detach(), rgb(image[..., :3]).detach(), rtol=1e-4, atol=1e-5)


def test_a_small_image_is_refused_with_the_reason():
    with pytest.raises(ShapeError) as error:
        ResNet50(input_shape=(10, 10, 3), include_top=False, weights=None)
    assert isinstance(error.value, ValueError)
    assert "32 is the total stride 2⁵" in str(error.value)
    assert "'conv4_block1_1_conv'" in str(error.value)
    model = ResNet50(input_shape=(10, 10, 3), include_top=False, weights=None, min_size=None)
    assert model.output_shape == (None, 1, 1, 2048)
    assert torch.isfinite(model(torch.zeros(1, 10, 10, 3))).all()


def test_what_is_unfinished_says_so():
    with pytest.raises(lamina.UnfinishedError, match="ConvLSTM2D"):
        _ = lamina.layers.ConvLSTM2D
    with pytest.raises(AttributeError, match="no 'Nonsense'"):
        _ = lamina.Nonsense
