"""Weights alone in `.h5`, beside real Keras: in order, by name, with what does not fit; kernels of other times."""

from __future__ import annotations

import warnings

import h5py
import numpy as np
import pytest

import lamina
from exchange_models import write_layers
from lamina import layers
from lamina.base.errors import LaminaError

WAYS = ["lamina to keras", "keras to lamina", "lamina to lamina"]


@pytest.fixture
def frameworks(keras):
    keras.utils.clear_session()
    return {"lamina": lamina, "keras": keras}


def branches(k, head=2, names=("conv", "inner", "head")):
    conv, inner, last = names
    x = k.Input((6, 6, 3), name="x")
    y = k.layers.Conv2D(4, 3, name=conv)(x)
    parts = [k.layers.Dense(4, name="one"), k.layers.BatchNormalization(name="bn"), k.layers.Dense(4, name="two")]
    y = k.Sequential([k.Input((4, 4, 4)), *parts], name=inner)(y)
    return k.Model(x, k.layers.Dense(head, name=last)(k.layers.GlobalAveragePooling2D()(y)))


def with_random_weights(model, seed=0):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.2, 1, weight.shape).astype("float32") for weight in model.get_weights()])
    return model


def pair(frameworks, way):
    return (frameworks[name] for name in way.split(" to "))


def assert_equal_weights(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def save(model, path):
    """Writes weights alone. Keras 3 does so in code of its own only: `save_weights` takes no such name any more."""
    if isinstance(model, lamina.Model):
        model.save_weights(path)
        return
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def loaded_with_warnings(model, path, **options):
    """The texts of the warnings with which a model reads a file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.load_weights(str(path), **options)
    return [str(one.message) for one in caught if one.category is UserWarning]


# ------------------------------------------------------------------------------------------------------- with Keras


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_all_layers_come_over(frameworks, tmp_path, way, by_name):
    source, target = pair(frameworks, way)
    model, other = with_random_weights(branches(source)), branches(target)
    save(model, tmp_path / "w.h5")
    other.load_weights(str(tmp_path / "w.h5"), by_name=by_name)
    assert_equal_weights(model, other)


@pytest.mark.parametrize("way", WAYS)
def test_by_name_takes_the_layers_whose_names_agree(frameworks, tmp_path, way):
    source, target = pair(frameworks, way)
    model = with_random_weights(branches(source))
    save(model, tmp_path / "w.h5")
    other = branches(target, head=5, names=("conv", "inner", "new_head"))
    before = other.get_layer("new_head").get_weights()
    if target is lamina:
        (text,) = loaded_with_warnings(other, tmp_path / "w.h5", by_name=True)
        assert "missing in the file (1 layer)\n    new_head: (4, 5), (5,)\n" in text
        assert "nearest in the file: head, of other shapes: (4, 2), (2,)" in text
        assert max(map(len, text.splitlines())) <= 80
    else:
        other.load_weights(str(tmp_path / "w.h5"), by_name=True)
    for name in ("conv", "inner"):
        assert_equal_weights(model.get_layer(name), other.get_layer(name))
    for a, b in zip(other.get_layer("new_head").get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_what_has_another_shape_is_skipped(frameworks, tmp_path, way, by_name):
    source, target = pair(frameworks, way)
    model, other = with_random_weights(branches(source)), branches(target, head=5)
    save(model, tmp_path / "w.h5")
    before = other.get_weights()
    with pytest.raises(ValueError, match=r"(?s)\(4, 2\).*\(4, 5\)|\(4, 5\).*\(4, 2\)"):
        other.load_weights(str(tmp_path / "w.h5"), by_name=by_name)
    if target is lamina:  # Keras has changed what comes before it
        for now, then in zip(other.get_weights(), before, strict=True):
            np.testing.assert_array_equal(now, then)
    texts = loaded_with_warnings(other, tmp_path / "w.h5", by_name=by_name, skip_mismatch=True)
    for name in ("conv", "inner"):
        assert_equal_weights(model.get_layer(name), other.get_layer(name))
    for now, then in zip(other.get_weights()[-2:], before[-2:], strict=True):
        np.testing.assert_array_equal(now, then)
    if target is lamina:
        assert texts == [
            "Skipped 2 weights whose shapes differ.\n"
            "  another shape (2 weights)\n"
            "    head/kernel: (4, 2) in the file, (4, 5) in the model\n"
            "    head/bias: (2,) in the file, (5,) in the model"
        ]


@pytest.mark.parametrize("way", WAYS)
def test_another_number_of_weights_is_skipped_by_name(frameworks, tmp_path, way):
    def net(k, bias):
        return k.Sequential(
            [k.Input((4,)), k.layers.Dense(3, use_bias=bias, name="a"), k.layers.Dense(2, name="b")], name="net"
        )

    source, target = pair(frameworks, way)
    model, other = with_random_weights(net(source, True)), net(target, False)
    save(model, tmp_path / "w.h5")
    before = other.get_layer("a").get_weights()
    with pytest.raises((ValueError, LaminaError), match=r"(?s)'a' has 1, and 2 in the file|named a.*1 weight.*2 saved"):
        other.load_weights(str(tmp_path / "w.h5"), by_name=True)
    (text,) = loaded_with_warnings(other, tmp_path / "w.h5", by_name=True, skip_mismatch=True)
    assert_equal_weights(model.get_layer("b"), other.get_layer("b"))
    np.testing.assert_array_equal(other.get_layer("a").get_weights()[0], before[0])
    if target is lamina:
        assert text.endswith("another number of weights (1 layer)\n    Dense 'a' has 1, and 2 in the file")


@pytest.mark.parametrize("way", WAYS)
def test_a_model_with_weights_of_its_own(frameworks, tmp_path, way):
    def net(k):
        class Net(k.Model):
            def __init__(self):
                super().__init__(name="net")
                self.first, self.last = k.layers.Dense(3, name="first"), k.layers.Dense(2, name="last")
                self.scale = self.add_weight(shape=(3,), initializer="ones", name="scale")

            def call(self, x):
                return self.last(self.first(x) * self.scale)

        built = Net()
        built(np.ones((1, 4), "float32"))
        return built

    source, target = pair(frameworks, way)
    model, other = with_random_weights(net(source)), net(target)
    save(model, tmp_path / "w.h5")
    other.load_weights(str(tmp_path / "w.h5"))
    x = np.random.default_rng(1).normal(size=(2, 4)).astype("float32")
    one, two = (k(x).detach().numpy() for k in (model, other))
    np.testing.assert_allclose(one, two, rtol=1e-5)
    if target is lamina:
        with h5py.File(tmp_path / "w.h5", "a") as file:
            del file["top_level_model_weights"]
        with pytest.raises(LaminaError, match="Net 'net' has 1, and 0 in the file"):
            other.load_weights(tmp_path / "w.h5")


@pytest.mark.parametrize("frozen_then", [(), ("one",), ("one", "two"), ("inner",)])
@pytest.mark.parametrize("frozen_now", [(), ("two",), ("inner",)])
@pytest.mark.parametrize("source", ["lamina", "keras"])
def test_what_was_frozen_when_it_was_saved_may_train_now(frameworks, tmp_path, source, frozen_then, frozen_now):
    """A nested model stands in the file with what trained first: Keras 3.15 takes the order of now, and may exchange
    two weights of one shape. The names in the file tell which was which."""

    def frozen(k, names):
        model = with_random_weights(branches(k), seed=len(names))
        inner = model.get_layer("inner")
        for name in names:
            (inner if name == "inner" else inner.get_layer(name)).trainable = False
        return model

    model, other = frozen(frameworks[source], frozen_then), frozen(lamina, frozen_now)
    save(model, tmp_path / "w.h5")
    other.load_weights(tmp_path / "w.h5")
    assert_equal_weights(model, other)


def test_keras_reads_partly_frozen_models_of_lamina(frameworks, tmp_path):
    models = [with_random_weights(branches(k), seed) for seed, k in enumerate(frameworks.values())]
    for model in models:
        model.get_layer("inner").get_layer("one").trainable = False
    models[0].save_weights(tmp_path / "w.h5")
    models[1].load_weights(str(tmp_path / "w.h5"))
    assert_equal_weights(*models)


def test_plain_torch_modules_have_no_place(tmp_path):
    import torch

    class Net(lamina.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.linear = layers.Dense(4), torch.nn.Linear(4, 2)

        def call(self, x):
            return self.linear(self.dense(x))

    net = Net()
    net(np.ones((1, 3), "float32"))
    with pytest.raises(LaminaError, match=r"holds a Linear of torch.*\.safetensors"):
        net.save_weights(tmp_path / "w.h5")
    assert not (tmp_path / "w.h5").exists()


# ------------------------------------------------------------------------------------------------- messages


def dense_net(**units):
    return lamina.Sequential([lamina.Input((4,)), *(layers.Dense(n, name=name) for name, n in units.items())], name="n")


def test_another_number_of_layers_is_shown(tmp_path):
    dense_net(a=4, b=3, c=2).save_weights(tmp_path / "w.h5")
    by_names = dense_net(a=4, c=2)
    by_shapes = dense_net(dense=4, dense_1=3, dense_2=2, dense_3=7)
    for model, shown in (
        (by_names, "  not in the model (1 layer)\n    b: (4, 3), (3,)\n"),
        (by_shapes, "  missing in the file (1 layer)\n    dense_3: (2, 7), (7,)\n"),
    ):
        for skip in (False, True):
            with pytest.raises(LaminaError, match="by_name=True") as error:
                model.load_weights(tmp_path / "w.h5", skip_mismatch=skip)
            assert shown in str(error.value)
            assert str(error.value).count("(1 layer)") == 1


def test_long_names_are_folded_between_shapes(tmp_path):
    name = "block_of_the_encoder_with_a_name_that_is_long_enough_for_a_line_of_its_own"
    small, large = (
        lamina.Sequential([lamina.Input((8, 8, 300)), layers.Conv2D(n, 3, name=name)], name="n") for n in (100, 200)
    )
    small.save_weights(tmp_path / "w.h5")
    (text,) = loaded_with_warnings(large, tmp_path / "w.h5", skip_mismatch=True)
    assert f"    {name}/kernel:\n      (3, 3, 300, 100) in the file, (3, 3, 300, 200) in the model\n" in text


# ------------------------------------------------------------------- kernels of other times, in files made by hand


def written(path, arrays, **attributes):
    """A file made by hand in the layout of Keras 1 and 2: `arrays` by layer and weight."""
    with h5py.File(path, "w") as file:
        for key, value in attributes.items():
            file.attrs[key] = value.encode()
        write_layers(file, arrays)
    return path


def one_layer(k, shape, name, *args, **kwargs):
    return k.Sequential([k.Input(shape), getattr(k.layers, name)(*args, name="layer", **kwargs)], name="one")


KERAS_2 = [
    ((9, 3), "Conv1D", (4, 2), {}, ["kernel", "bias"]),
    ((6, 6, 3), "Conv2D", (4, 3), {}, ["kernel", "bias"]),
    ((6, 6, 4), "Conv2D", (4, 3), {"groups": 2}, ["kernel", "bias"]),
    ((5, 5, 5, 2), "Conv3D", (3, 2), {}, ["kernel", "bias"]),
    ((6, 6, 3), "Conv2DTranspose", (4, 3), {"strides": 2}, ["kernel", "bias"]),
    ((4, 4, 4, 2), "Conv3DTranspose", (3, 2), {"strides": 2}, ["kernel", "bias"]),
    ((6, 6, 3), "DepthwiseConv2D", (3,), {"depth_multiplier": 2}, ["depthwise_kernel", "bias"]),
    ((6, 6, 3), "SeparableConv2D", (4, 3), {}, ["depthwise_kernel", "pointwise_kernel", "bias"]),
]


@pytest.mark.parametrize(("shape", "name", "args", "kwargs", "weights"), KERAS_2)
def test_kernels_of_keras_2_stand_as_today(frameworks, tmp_path, shape, name, args, kwargs, weights):
    mine, theirs = (one_layer(k, shape, name, *args, **kwargs) for k in frameworks.values())
    arrays = with_random_weights(theirs, 3).get_weights()
    named = {f"layer/{weight}:0": array for weight, array in zip(weights, arrays, strict=True)}
    path = written(tmp_path / "w.h5", {"layer": named}, keras_version="2.11.0", backend="tensorflow")
    for model in (with_random_weights(mine, 4), with_random_weights(theirs, 5)):
        model.load_weights(str(path))
        for got, array in zip(model.get_weights(), arrays, strict=True):
            np.testing.assert_array_equal(got, array)


# The layouts of Keras 1 are those that its layers built, and that Keras 2 turned. Keras 3.15 reads them as they stand,
# so that it refuses most of them and takes the rest for what they are not.
KERAS_1 = [
    ((9, 3), "Conv1D", (4, 2), {}, [lambda kernel: kernel[:, None]]),
    ((9, 3), "Conv1D", (4, 2), {}, [lambda kernel: kernel.transpose(2, 1, 0)[..., None]]),
    ((9, 1), "Conv1D", (1, 5), {}, [lambda kernel: kernel.transpose(2, 1, 0)[..., None]]),
    ((6, 6, 3), "Conv2D", (4, 3), {}, [lambda kernel: kernel]),
    ((3, 6, 6), "Conv2D", (4, 3), {"data_format": "channels_first"}, [lambda kernel: kernel.transpose(3, 2, 0, 1)]),
    ((2, 5, 5, 5), "Conv3D", (3, 2), {"data_format": "channels_first"}, [lambda k: k.transpose(4, 3, 0, 1, 2)]),
    ((6, 6, 3), "Conv2DTranspose", (4, 3), {}, [lambda kernel: kernel.transpose(0, 1, 3, 2)]),
    ((3, 6, 6), "Conv2DTranspose", (4, 3), {"data_format": "channels_first"}, [lambda k: k.transpose(2, 3, 0, 1)]),
    (
        (3, 6, 6),
        "SeparableConv2D",
        (4, (3, 2)),
        {"data_format": "channels_first", "depth_multiplier": 2},
        [lambda kernel: kernel.transpose(3, 2, 0, 1)] * 2,
    ),
]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(("shape", "name", "args", "kwargs", "layouts"), KERAS_1)
def test_kernels_of_keras_1_are_turned(tmp_path, shape, name, args, kwargs, layouts, nested):
    model = with_random_weights(one_layer(lamina, shape, name, *args, **kwargs), 3)
    *kernels, bias = model.get_weights()
    stored = {f"layer_W{n}": turn(kernel) for n, (turn, kernel) in enumerate(zip(layouts, kernels, strict=True))}
    expected = model.get_weights()
    group = model.name if nested else "layer"
    path = written(tmp_path / "w.h5", {group: {**stored, "layer_b": bias}}, keras_version="1.2.2")
    other = with_random_weights(one_layer(lamina, shape, name, *args, **kwargs), 4)
    (lamina.Sequential([lamina.Input(shape), other]) if nested else other).load_weights(path)
    for got, array in zip(other.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(got, array)


def test_a_kernel_of_keras_1_with_other_axes_is_compared_as_it_stands(tmp_path):
    model = one_layer(lamina, (3, 6, 6), "Conv2D", 4, 3, data_format="channels_first")
    arrays = {"layer_W": np.zeros((4, 3), "float32"), "layer_b": np.zeros(4, "float32")}
    path = written(tmp_path / "w.h5", {"layer": arrays}, keras_version="1.0.0")
    with pytest.raises(LaminaError, match=r"\(4, 3\) in the file, \(3, 3, 3, 4\) in the model"):
        model.load_weights(path)


@pytest.mark.parametrize(("shape", "name", "mirrored"), [((9, 3), "Conv1D", True), ((6, 6, 3), "Conv2DTranspose", True),
                                                         ((6, 6, 3), "DepthwiseConv2D", False)])  # fmt: skip
def test_kernels_of_theano(tmp_path, shape, name, mirrored):
    """Keras 2 mirrored the kernels of Conv and ConvTranspose for Theano itself, not those of depthwise convolutions."""
    args = (3,) if name == "DepthwiseConv2D" else (4, 3)
    model = with_random_weights(one_layer(lamina, shape, name, *args), 3)
    kernel, bias = model.get_weights()
    window = tuple(range(kernel.ndim - 2))
    stored = {"layer/kernel:0": np.flip(kernel, window) if mirrored else kernel, "layer/bias:0": bias}
    path = written(tmp_path / "w.h5", {"layer": stored}, keras_version="2.1.0", backend="theano")
    other = one_layer(lamina, shape, name, *args)
    other.load_weights(path)
    assert_equal_weights(model, other)


def test_a_layer_that_is_named_and_not_there_is_damage(tmp_path):
    model = dense_net(a=3)
    model.save_weights(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "a") as file:
        del file["a"]
    with pytest.raises(LaminaError, match="damaged: it names the layer 'a'"):
        model.load_weights(tmp_path / "w.h5")
