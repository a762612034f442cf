"""Random and preprocessing layers against Keras: statistics, seeds, adaptation, images."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import lamina
from lamina import layers
from lamina.base.errors import UnfinishedError
from layer_parity import check_layer

RANDOM = {
    "Dropout": {"rate": 0.3},
    "AlphaDropout": {"rate": 0.3},
    "GaussianDropout": {"rate": 0.3},
    "GaussianNoise": {"stddev": 0.3},
    "SpatialDropout1D": {"rate": 0.3},
}

STEPS, IMAGE = (2, 3, 4), (2, 5, 6, 3)
OPEN = {"open_axes": (0, 1, 2)}
PARITY = [
    *[(name, STEPS, {**options, "training": False}) for name, options in RANDOM.items()],
    ("Dropout", STEPS, {"rate": 0.3, "noise_shape": (None, 1, None), "seed": 3}),
    ("SpatialDropout2D", IMAGE, {"rate": 0.3}),
    ("SpatialDropout3D", (2, 1, 2, 3, 4), {"rate": 0.3, "data_format": "channels_first"}),
    ("ActivityRegularization", STEPS, {"l1": 0.1}),
    ("Rescaling", STEPS, {"scale": 2.0, "offset": 1.0}),
    ("Rescaling", STEPS, {"scale": [1.0, 2.0, 3.0, 4.0]}),
    ("Rescaling", STEPS, {"scale": 0.1, "dtype": "int32"}),
    ("Normalization", STEPS, {}),
    ("Normalization", STEPS, {"axis": (1, 2)}),
    ("Normalization", STEPS, {"axis": None, "mean": 2.0, "variance": 3.0}),
    *[
        ("Resizing", IMAGE, {"height": height, "width": width, "interpolation": interpolation, **options, **OPEN})
        for interpolation, height, width in (("bilinear", 3, 4), ("nearest", 9, 13), ("bicubic", 11, 4))
        for options in (
            {},
            {"antialias": True},
            {"crop_to_aspect_ratio": True},
            {"pad_to_aspect_ratio": True, "fill_value": 0.5},
        )
    ],
    ("Resizing", (2, 3, 5, 6), {"height": 4, "width": 4, "data_format": "channels_first"}),
    *[("CenterCrop", IMAGE, {"height": h, "width": w}) for h, w in ((3, 4), (2, 3), (5, 6), (7, 9), (9, 4), (4, 8))],
    ("CenterCrop", (2, 3, 5, 6), {"height": 4, "width": 4, "data_format": "channels_first"}),
    ("CenterCrop", IMAGE, {"height": 3, "width": 4, "dtype": "int32"}),
]


@pytest.mark.parametrize(("name", "shape", "options"), PARITY)
def test_as_keras_has_it(name, shape, options):
    check_layer(name, shape, **options)


# --- random layers


@pytest.mark.parametrize("seed", [None, 7])
@pytest.mark.parametrize("name", RANDOM)
def test_the_statistics_of_chance_are_those_of_keras(keras, name, seed):
    lamina.utils.set_random_seed(3)
    x = torch.randn(200, 25, 40)
    ours = getattr(layers, name)(**RANDOM[name], seed=seed)(x, training=True)
    theirs = getattr(keras.layers, name)(**RANDOM[name], seed=1)(x, training=True)
    assert ours.dtype == theirs.dtype
    assert ours.mean().item() == pytest.approx(theirs.mean().item(), abs=0.02)
    assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.02)
    least, most = ours.aminmax()
    if name in ("Dropout", "SpatialDropout1D"):
        assert (ours == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
        torch.testing.assert_close(ours[ours != 0], (x / 0.7)[ours != 0])
    if name == "AlphaDropout":
        dropped = ours.flatten().mode().values
        torch.testing.assert_close(dropped, theirs.flatten().mode().values)
        assert (ours - dropped).abs().lt(1e-6).float().mean().item() == pytest.approx(0.3, abs=0.02)
        assert ours.std().item() == pytest.approx(1, abs=0.02)
    assert least < most


@pytest.mark.parametrize("name", RANDOM)
def test_equal_seeds_give_equal_chance(name):
    x = torch.randn(4, 5, 6)
    one, two = (getattr(layers, name)(**RANDOM[name], seed=3) for _ in range(2))
    first = one(x, training=True)
    assert torch.equal(first, two(x, training=True))
    assert not torch.equal(first, one(x, training=True))  # the stream goes on
    again = type(one).from_config(one.get_config())
    assert torch.equal(first, again(x, training=True))
    twin = copy.deepcopy(one)
    assert torch.equal(one(x, training=True), twin(x, training=True))
    free = getattr(layers, name)(**RANDOM[name])
    assert not torch.equal(free(x, training=True), free(x, training=True))


@pytest.mark.parametrize("name", RANDOM)
def test_the_global_seed_repeats_a_run(name):
    x, layer = torch.randn(4, 5, 6), getattr(layers, name)(**RANDOM[name])
    runs = []
    for _ in range(2):
        lamina.utils.set_random_seed(5)
        runs.append(layer(x, training=True))
    assert torch.equal(*runs)


@pytest.mark.parametrize(
    ("layer", "shape", "shared"),
    [
        (layers.Dropout(0.5, noise_shape=(None, 1, None), seed=1), (8, 5, 9), (1,)),
        (layers.AlphaDropout(0.5, noise_shape=(None, 1, None)), (8, 5, 9), (1,)),
        (layers.SpatialDropout1D(0.5), (8, 5, 9), (1,)),
        (layers.SpatialDropout2D(0.5), (8, 3, 4, 9), (1, 2)),
        (layers.SpatialDropout2D(0.5, data_format="channels_first"), (8, 9, 3, 4), (2, 3)),
        (layers.SpatialDropout3D(0.5), (8, 2, 3, 4, 9), (1, 2, 3)),
    ],
)
def test_shared_zeros(layer, shape, shared):
    out = layer(torch.ones(shape), training=True)
    assert (out.amax(shared) == out.amin(shared)).all()
    assert 2 <= len(out.unique()) <= 2
    torch.testing.assert_close(layer(torch.ones(shape), training=False), torch.ones(shape))


def test_all_dropped_and_nothing_dropped():
    x = torch.ones(3, 4)
    for seed in (None, 3):
        assert layers.Dropout(1.0, seed=seed)(x, training=True).unique().tolist() == [0.0]
        assert torch.equal(layers.Dropout(0, seed=seed)(x, training=True), x)


def test_training_reaches_dropout_in_a_model():
    x = lamina.Input((50,))
    model = lamina.Model(x, layers.Dropout(0.5)(x))
    ones = torch.ones(2, 50)
    assert (model(ones, training=True) == 0).any()
    assert torch.equal(model(ones), ones)


def test_activity_regularization_adds_to_the_loss(keras):
    x = torch.full((2, 3), 2.0)
    ours, theirs = layers.ActivityRegularization(0.1, 0.2), keras.layers.ActivityRegularization(0.1, 0.2)
    assert torch.equal(ours(x), x)
    theirs(x)
    assert float(ours.losses[0]) == pytest.approx(float(theirs.losses[0]))


# --- preprocessing


@pytest.mark.parametrize("options", [{}, {"axis": 1}, {"axis": (2, 1)}, {"axis": None}, {"invert": True}])
def test_normalization_adapts_as_keras_does(keras, options):
    x = np.random.default_rng(0).normal(3, 2, size=(20, 3, 4)).astype("float32")
    ours, theirs = layers.Normalization(**options), keras.layers.Normalization(**options)
    for layer in (ours, theirs):
        layer.adapt(x + 1)
        layer.adapt(x)  # forgets the first
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


def test_normalization_adapts_to_anything_that_holds_examples():
    x = np.random.default_rng(0).normal(3, 2, size=(21, 4)).astype("float32")
    y = np.zeros(21)
    wanted = layers.Normalization()
    wanted.adapt(x)
    pairs = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
    for data in (
        torch.tensor(x),
        x.tolist(),
        [x[:10], x[10:]],
        (batch for batch in np.array_split(x, 4)),
        torch.utils.data.DataLoader(pairs, batch_size=6),
    ):
        layer = layers.Normalization()
        layer.adapt(data)
        for mine, other in zip(layer.get_weights(), wanted.get_weights(), strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


def test_normalization_with_given_statistics(keras):
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    options = {"mean": [1.0, 2.0, 3.0], "variance": np.array([1.0, 4.0, 0.0])}
    ours, theirs = layers.Normalization(**options), keras.layers.Normalization(**options)
    torch.testing.assert_close(ours(x), theirs(x))
    assert ours.weights == theirs.weights == []
    assert ours.mean.tolist() == [1.0, 2.0, 3.0]
    assert ours.get_config()["variance"] == [1.0, 4.0, 0.0]
    torch.testing.assert_close(layers.Normalization.from_config(ours.get_config())(x), ours(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Normalization(mean=1.0), "mean and variance go together"),
        (lambda: layers.Normalization(mean=[1.0, 2.0], variance=1.0), "have one shape"),
        (lambda: layers.Normalization(mean=1.0, variance=1.0).adapt(np.ones((2, 2))), "adapts to no data"),
        (lambda: layers.Normalization().adapt(np.ones((0, 2))), "the data holds no example"),
        (lambda: layers.Normalization()(lamina.Input((None,))), "their number is open"),
        (lambda: layers.Resizing(3, 4, interpolation="cubic"), "interpolation is one of"),
        (lambda: layers.Resizing(3, 0), "width is a whole number above 0"),
        (lambda: layers.Resizing(3, 3, crop_to_aspect_ratio=True, pad_to_aspect_ratio=True), "exclude each other"),
        (lambda: layers.Resizing(3, 3, fill_mode="reflect"), "fill_mode is 'constant'"),
        (lambda: layers.Resizing(3, 3)(torch.ones(3, 3)), "reads inputs of 4 or 3 axes and got 2"),
        (lambda: layers.Dropout(1.2), "rate is a number from 0 to 1; got 1.2"),
        (lambda: layers.GaussianDropout(1.0), "from 0 to below 1"),
        (lambda: layers.GaussianNoise(3), "stddev is a number from 0 to 1"),
        (lambda: layers.Dropout(0.5, noise_shape=(-1, 1)), "noise_shape holds sizes and None"),
        (lambda: layers.Dropout(0.5, noise_shape=(None, 3))(lamina.Input((4,))), "cannot lay its noise_shape"),
        (lambda: layers.SpatialDropout2D(0.5)(torch.ones(1, 3, 4), training=True), "reads inputs of 4 axes and got 3"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_not_there_yet():
    with pytest.raises(UnfinishedError, match="lanczos3"):
        layers.Resizing(3, 3, interpolation="lanczos3")


def test_one_image_without_a_batch(keras):
    image = np.random.default_rng(0).normal(size=(5, 6, 3)).astype("float32")
    for name in ("Resizing", "CenterCrop"):
        torch.testing.assert_close(getattr(layers, name)(3, 4)(image), getattr(keras.layers, name)(3, 4)(image))


def test_bytes_in_bytes_out():
    image = torch.randint(0, 255, (1, 6, 6, 3), dtype=torch.uint8)
    out = layers.Resizing(9, 4, interpolation="bicubic")(image)
    assert out.dtype is torch.uint8
    assert layers.Resizing(9, 4)(lamina.Input((6, 6, 3), dtype="uint8")).dtype == "uint8"
    assert layers.CenterCrop(3, 3)(image).dtype is torch.float32
    assert layers.Rescaling(1 / 255)(image).dtype is torch.float32
