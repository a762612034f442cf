"""Models go to Keras and come back: predictions, weights, optimizer state, compile settings; old versions too."""

from __future__ import annotations

import functools
import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

import exchange_models as models
import lamina
from lamina import layers
from lamina.base.errors import LaminaError, ShapeError, UnsafeFileError
from test_configs import ARGUMENTS, NAMES, as_json

WAYS = ["lamina to lamina", "lamina to keras", "keras to lamina"]
CONFIGS = Path(__file__).parent / "golden" / "configs"
LOW_PRECISION = ("typed", "mixed_float16", "mixed_bfloat16")


def label(build):
    return getattr(build, "__name__", None) or str(build.args[0])


def fit(model, x, y):
    return model.fit(x, y, epochs=2, verbose=0, shuffle=False, batch_size=4).history


def weights(model):
    return models.arrays([getattr(weight, "value", weight) for weight in model.weights])


@pytest.fixture
def both(keras):
    """The two frameworks by name, with fresh names and the same classes of a user's own."""
    keras.utils.clear_session()
    found = {"lamina": lamina, "keras": keras}
    for framework in found.values():
        models.own_classes(framework)
        # Adam makes a whole step of a gradient that is rounding alone: with such weights the two go apart.
        framework.utils.set_random_seed(1)
    return found


def saved_in_training(source, build, path):
    """A model that has made some steps when it is saved, and the data of these."""
    model = build(source)
    x, y = models.example(model, source)
    fit(model, x, y)
    model.save(path)
    return model, x, y


def assert_goes_on_alike(model, other, x, y, rough):
    """Equal predictions; then both train on, with equal losses, metrics and weights."""
    tolerance = 3e-2 if rough else 1e-4
    for a, b in zip(models.arrays(model(x)), models.arrays(other(x)), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    assert len(model.optimizer.variables) == len(other.optimizer.variables)
    mine, theirs = fit(model, x, y), fit(other, x, y)
    assert list(mine) == list(theirs)
    for key, values in mine.items():
        np.testing.assert_allclose(values, theirs[key], rtol=5e-2 if rough else 1e-4, err_msg=key)
    for a, b in zip(weights(model), weights(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=10 * tolerance, atol=tolerance)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("build", models.MODELS, ids=label)
def test_a_model_goes_on_where_it_was(both, tmp_path, build, way):
    source, target = (both[name] for name in way.split(" to "))
    model, x, y = saved_in_training(source, build, tmp_path / "m.keras")
    rough = any(name in str(getattr(build, "args", build)) for name in LOW_PRECISION)
    assert_goes_on_alike(model, target.models.load_model(tmp_path / "m.keras"), x, y, rough)


@pytest.mark.parametrize("way", WAYS[1:])
@pytest.mark.parametrize(
    "build",
    [functools.partial(models.optimized, one) for one in models.OPTIMIZERS]
    + [functools.partial(models.scheduled, one) for one in models.SCHEDULES],
    ids=label,
)
def test_an_optimizer_goes_on_where_it_was(both, tmp_path, build, way):
    source, target = (both[name] for name in way.split(" to "))
    model, x, y = saved_in_training(source, build, tmp_path / "m.keras")
    assert_goes_on_alike(model, target.models.load_model(tmp_path / "m.keras"), x, y, rough=False)


LAYER_ARGUMENTS = {
    **ARGUMENTS,
    "Dropout": {"rate": 0.3, "noise_shape": (None, 1, 6), "seed": 3},
    "InputLayer": {"shape": (3, 2), "dtype": "int32"},
    "SimpleRNN": {**ARGUMENTS["SimpleRNN"], "stateful": False},  # with states: see test_recurrent.py
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", WAYS[1:])
def test_a_layer_comes_back_as_it_was(both, tmp_path, name, way):
    source, target = (both[one] for one in way.split(" to "))
    if not hasattr(source.layers, name) or not hasattr(target.layers, name):
        pytest.fail(f"{name} is in one of the two only")
    model = models.one_layer(source, name, LAYER_ARGUMENTS.get(name, {}))
    x, _ = models.example(model, source)
    model.save(tmp_path / "there.keras")
    other = target.models.load_model(tmp_path / "there.keras")
    other.save(tmp_path / "back.keras")
    back = source.models.load_model(tmp_path / "back.keras")
    for mine, theirs, again in zip(*map(models.arrays, (model(x), other(x), back(x))), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(mine, again)
    assert as_json(back.get_config()) == as_json(model.get_config())


def test_a_model_of_keras_that_drops_goes_on_dropping(both, tmp_path):
    """Keras writes `training: false` into such calls, and overrides it; a call that lamina was told never trains stays
    so."""
    keras, x = both["keras"], np.ones((2, 50), "float32")
    inputs = keras.Input((50,))
    keras.Model(inputs, keras.layers.Dropout(0.5)(inputs)).save(tmp_path / "k.keras")
    loaded = lamina.models.load_model(tmp_path / "k.keras")
    assert (loaded(x, training=True) == 0).any()
    assert not (loaded(x) == 0).any()
    inputs = lamina.Input((50,))
    lamina.Model(inputs, layers.Dropout(0.5)(inputs, training=False)).save(tmp_path / "m.keras")
    still = lamina.models.load_model(tmp_path / "m.keras")
    assert not (still(x, training=True) == 0).any()
    assert keras.models.load_model(tmp_path / "m.keras")(x).shape == (2, 50)


def test_losses_and_metrics_of_every_kind(both, tmp_path):
    for source, target in ((lamina, both["keras"]), (both["keras"], lamina)):
        for name in ("MeanSquaredError", "Huber", "LogCosh", "CosineSimilarity", "Hinge", "Poisson", "KLDivergence"):
            model = models.optimized(("SGD", {}), source)
            wrapped = source.metrics.MeanMetricWrapper(source.losses.mean_squared_error, name="wrapped")
            metrics = [source.metrics.RootMeanSquaredError(name="root"), wrapped]
            model.compile("sgd", getattr(source.losses, name)(reduction="sum"), metrics=metrics)
            x, y = models.example(model, source)
            model.save(tmp_path / "m.keras")
            other = target.models.load_model(tmp_path / "m.keras")
            mine, theirs = (one.evaluate(x, y, verbose=0, return_dict=True) for one in (model, other))
            assert list(mine) == list(theirs)
            np.testing.assert_allclose(list(mine.values()), list(theirs.values()), rtol=1e-4)


def test_subclassed_models_are_built_by_the_file(both, tmp_path):
    @lamina.saving.register_keras_serializable("exchange")
    class Two(lamina.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = layers.Dense(2)

        def call(self, a, b):
            return self.dense(a + b)

    model, x = Two(), np.ones((3, 4), "float32")
    expected = model(x, x)
    model.save(tmp_path / "m.keras")
    again = lamina.models.load_model(tmp_path / "m.keras")(x, x)
    np.testing.assert_array_equal(models.arrays(again)[0], models.arrays(expected)[0])


# ------------------------------------------------------------------------------------------------------------- shards


def wide(k):
    model = k.Sequential([k.Input((64,)), *(k.layers.Dense(64, name=f"d{n}") for n in range(4))], name="wide")
    model.compile("adam", "mse")
    return model


@pytest.mark.parametrize("way", WAYS)
def test_shards(both, tmp_path, way):
    source, target = (both[name] for name in way.split(" to "))
    model, other = wide(source), wide(target)
    x, y = models.example(model, source)
    fit(model, x, y), fit(other, x, y)
    model.save_weights(tmp_path / "m.weights.json", max_shard_size=40 / 2**20)  # 40 kB
    shards = sorted(tmp_path.glob("m_*.weights.h5"))
    assert len(shards) > 4
    assert all(shard.stat().st_size < 80_000 for shard in shards)
    other.load_weights(tmp_path / "m.weights.json")
    for a, b in zip(weights(model), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(*(models.arrays([getattr(one, "value", one)])[0] for one in (a, b)))


def test_saving_shards_again_leaves_none_behind_and_damage_is_found(tmp_path):
    model = wide(lamina)
    index = tmp_path / "m.weights.json"
    model.save_weights(index, max_shard_size=40 / 2**20)
    first = index.read_bytes()
    model.save_weights(index, max_shard_size=40 / 2**20)
    assert index.read_bytes() == first
    model.save_weights(tmp_path / "m.weights.h5", max_shard_size=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.weights.json", "m_00000.weights.h5"]
    with pytest.raises(ValueError, match=r"weight 0 of /layers/dense has 16,384 bytes.*max_shard_size="):
        model.save_weights(index, max_shard_size=1e-6)
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(ValueError, match="above 0"):
        model.save_weights(index, max_shard_size=0)
    with pytest.raises(ValueError, match=r"\.weights\.json"):
        model.save_weights(tmp_path / "m.safetensors", max_shard_size=1)
    model.load_weights(index)
    shard = tmp_path / "m_00000.weights.h5"
    content = bytearray(shard.read_bytes())
    content[-100] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(LaminaError, match="checksum"):
        model.load_weights(index)
    shard.unlink()
    with pytest.raises(FileNotFoundError, match="m_00000"):
        model.load_weights(index)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{", LaminaError),
        ("[]", LaminaError),
        ('{"weight_map": {"/layers/dense/vars": 3}}', LaminaError),
        ('{"weight_map": {"/layers/dense/vars": ["../m_00000.weights.h5"]}}', UnsafeFileError),
        ('{"weight_map": {"/layers/dense/vars": "/etc/m.weights.h5"}}', UnsafeFileError),
        ('{"weight_map": {}, "metadata": []}', LaminaError),
    ],
)
def test_an_index_that_is_none(tmp_path, content, error):
    (tmp_path / "m.weights.json").write_text(content)
    with pytest.raises(error, match=r"m\.weights\.json"):
        wide(lamina).load_weights(tmp_path / "m.weights.json")


# ------------------------------------------------------------------------------------------------------- differences


def net(*sizes, names=None):
    names = names or [f"layer_{n}" for n in range(len(sizes))]
    dense = [layers.Dense(size, name=name) for size, name in zip(sizes, names, strict=True)]
    return lamina.Sequential([lamina.Input((4,)), *dense], name="net")


@pytest.mark.parametrize("ending", [".weights.h5", ".safetensors", ".weights.json"])
def test_one_message_shows_all_that_differs(tmp_path, ending):
    path = tmp_path / f"m{ending}"
    net(3, 2, names=["first", "head"]).save_weights(path)
    model = net(5, 2, 7, names=["first", "top", "more"])
    before = weights(model)
    with pytest.raises(LaminaError) as error:
        model.load_weights(path)
    text = str(error.value)
    assert "no weight was changed" in text
    assert "missing in the file" in text
    assert "(4, 3) in the file, (4, 5) in the model" in text
    if ending == ".safetensors":
        assert "not in the model (2 weights)\n    head.bias: (2,)" in text
        assert "top.bias: (2,)\n      nearest in the file: head.bias, of the same shapes" in text
    else:
        assert "layers/dense_2 'more': (2, 7), (7,)" in text
    with pytest.warns(UserWarning, match=r"(?s)Skipped \d+ weights or layers that do not fit\..*missing.*first.kernel"):
        model.load_weights(path, skip_mismatch=True)
    for a, b in zip(weights(model)[:1], before, strict=False):
        np.testing.assert_array_equal(a, b)


def test_a_layer_with_another_number_of_weights(tmp_path):
    def one(bias):
        return lamina.Sequential([lamina.Input((4,)), layers.Dense(4, use_bias=bias, name="d")])

    one(True).save_weights(tmp_path / "m.weights.h5")
    model = one(False)
    with pytest.raises(LaminaError, match=r"another number of weights \(1 layer\)\n    Dense 'd' .* has 1, and 2 in"):
        model.load_weights(tmp_path / "m.weights.h5")
    with pytest.warns(UserWarning, match="(?s)Skipped 1 .*Dense 'd'"):
        model.load_weights(tmp_path / "m.weights.h5", skip_mismatch=True)


def test_shapes_alone_are_a_shape_error(tmp_path):
    net(3, 2).save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(ShapeError, match="none was changed"):
        net(3, 5).load_weights(tmp_path / "m.weights.h5")


# ------------------------------------------------------------------------------------------------------- old versions


def written_by(version, text, model, path):
    """A `.keras` file as this version writes it: its config, and the weights where tf.keras 2 had them."""
    model.save_weights(path.with_suffix(".weights.h5"))
    with h5py.File(path.with_suffix(".weights.h5"), "a") as file:
        if version.startswith("2."):
            file.move("layers", "_layer_checkpoint_dependencies")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version, "date_saved": "2024-01-01@00:00:00"}))
        archive.writestr("config.json", text)
        archive.write(path.with_suffix(".weights.h5"), "model.weights.h5")


def old_stack():
    conv = [layers.DepthwiseConv2D(3, padding="same", activation="relu", name="dw")]
    conv += [layers.Conv2DTranspose(4, 3, 2, padding="same", name="up"), layers.LeakyReLU(0.3, name="leaky")]
    ends = [layers.GlobalAveragePooling2D(name="pool"), layers.Dense(5, name="head")]
    inputs = lamina.Input((8, 8, 3), name="image")
    model = lamina.Sequential([inputs, layers.BatchNormalization(axis=3, name="bn"), *conv, *ends], name="stack")
    loss = lamina.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(lamina.optimizers.Adam(name="Adam"), loss, metrics=["accuracy"])
    return model


def old_two():
    a, b = lamina.Input((4,), name="a"), lamina.Input((4,), name="b")
    shared = layers.Dense(3, activation="relu", name="shared")
    both = layers.Concatenate(name="both")([shared(a), shared(b)])
    dropped = layers.Dropout(0.5, name="drop")(both, training=True)
    return lamina.Model([a, b], layers.Dense(2, name="out")(dropped), name="two")


def old_mixed():
    mixed = layers.Dense(3, activation="relu", dtype="mixed_bfloat16", name="one")
    return lamina.Sequential([lamina.Input((4,), name="x"), mixed, layers.Dense(2, name="two")], name="mixed")


def keras_3_net():
    x = lamina.Input((4,), name="x")
    one = layers.Dense(3, activation="gelu", name="one")(x)
    model = lamina.Model(x, layers.Add(name="sum")([one, layers.Dropout(0.25, name="drop")(one)]), name="net")
    model.compile("adam", "mse")
    return model


def keras_3_policies():
    dense = layers.Dense(3, dtype="mixed_float16", name="one")
    return lamina.Sequential([lamina.Input((4,), name="x"), dense], name="policies")


OLD = {
    "tf_keras_2_13_mixed_precision": ("2.13.1", old_mixed),
    "tf_keras_2_14_functional": ("2.14.0", old_two),
    "tf_keras_2_15_sequential": ("2.15.0", old_stack),
    "keras_3_0_functional": ("3.0.5", keras_3_net),
    "keras_3_3_float_policy": ("3.3.3", keras_3_policies),
}


def test_every_old_config_is_read():
    assert {path.stem for path in CONFIGS.glob("*.json")} == set(OLD)


@pytest.mark.parametrize("name", OLD)
def test_files_of_older_versions(both, tmp_path, name):
    version, build = OLD[name]
    text = (CONFIGS / f"{name}.json").read_text()
    expected = build()
    if expected.compiled:
        expected.optimizer.build(expected.trainable_weights)
    lamina.utils.clear_session()
    written_by(version, text, expected, tmp_path / "old.keras")
    model = lamina.models.load_model(tmp_path / "old.keras")
    assert as_json(model.get_config()) == as_json(expected.get_config())
    for a, b in zip(weights(model), weights(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.compiled == expected.compiled
    if model.compiled:
        mine, theirs = (as_json(one.optimizer.get_config()) for one in (model, expected))
        assert {**mine, "name": None} == {**theirs, "name": None}  # "adam" gets a number where it is not the first
        assert type(lamina.losses.get(model.loss)) is type(lamina.losses.get(expected.loss))
    if version.startswith("3."):
        theirs = both["keras"].models.load_model(tmp_path / "old.keras")
        assert theirs.output_shape == model.output_shape
        assert [layer.dtype_policy.name for layer in theirs.layers] == [one.dtype_policy.name for one in model.layers]


# ----------------------------------------------------------------------------------------------------------- the rest


def test_a_sequential_of_keras_built_by_its_first_batch_takes_any_batch(both, tmp_path):
    keras = both["keras"]
    model = keras.Sequential([keras.layers.Dense(2)])
    model(np.ones((7, 3), "float32"))
    model.save(tmp_path / "m.keras")
    assert tuple(lamina.models.load_model(tmp_path / "m.keras")(np.ones((2, 3), "float32")).shape) == (2, 2)


def test_a_list_of_one_output_is_that_output_in_files_of_keras(both, tmp_path):
    keras = both["keras"]
    x = keras.Input((3,))
    keras.Model(x, [keras.layers.Dense(2)(x)]).save(tmp_path / "m.keras")
    assert tuple(lamina.models.load_model(tmp_path / "m.keras")(np.ones((2, 3), "float32")).shape) == (2, 2)


def test_the_editor_looks_and_changes_a_copy(both, tmp_path, capsys):
    keras = both["keras"]
    theirs = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")])
    theirs.save(tmp_path / "m.keras")
    before = (tmp_path / "m.keras").read_bytes()
    editor, reference = (one.saving.KerasFileEditor(str(tmp_path / "m.keras")) for one in (lamina, keras))
    for layer, held in reference.weights_dict["layers"].items():
        for key, array in held.items():
            np.testing.assert_array_equal(editor.weights_dict["layers"][layer][key], np.asarray(array))
    editor.summary()
    printed = capsys.readouterr().out
    assert "layers/dense_1 'b'\n  0   (3, 2)" in printed
    assert max(map(len, printed.splitlines())) <= 80
    longer = net(3, 2, 5, names=["a", "b", "c"])
    assert editor.compare(longer) == {"status": "error", "error_count": 1, "match_count": 4}
    assert "missing in the file (1 layer)\n    layers/dense_2 'c': (2, 5), (5,)" in capsys.readouterr().out
    editor.add_object("layers/dense_2", {"0": np.ones((2, 5), "float32")})
    editor.add_weights("dense_2", {"1": np.full(5, 2, "float32"), "2": np.zeros(3)})
    editor.delete_weight("layers/dense_2", "2")
    assert editor.compare(longer)["status"] == "success"
    editor.save(tmp_path / "longer.weights.h5")
    longer.load_weights(tmp_path / "longer.weights.h5")
    np.testing.assert_array_equal(longer.layers[2].bias.numpy(), np.full(5, 2))
    again = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(n) for n in (3, 2, 5))])
    again.load_weights(tmp_path / "longer.weights.h5")
    for a, b in zip(weights(again), weights(longer), strict=True):
        np.testing.assert_array_equal(a, b)
    editor.delete_object("dense_2")
    editor.resave_weights(tmp_path / "m.keras.keras")
    assert lamina.models.load_model(tmp_path / "m.keras.keras").count_params() == theirs.count_params()
    editor.rename_object("layers/dense_1", "other")
    assert sorted(editor.weights_dict["layers"]) == ["dense", "other"]
    assert (tmp_path / "m.keras").read_bytes() == before


def test_the_editor_refuses_what_it_cannot_mean(tmp_path):
    x = lamina.Input((4,))
    inner = lamina.Sequential([lamina.Input((4,)), layers.Dense(4)], name="inner")
    lamina.Model(x, layers.Dense(4)(inner(x))).save_weights(tmp_path / "m.weights.h5")
    editor = lamina.saving.KerasFileEditor(tmp_path / "m.weights.h5")
    for call, message in (
        (lambda: editor.delete_object("dense"), "several objects, layers/dense, layers/sequential/layers/dense"),
        (lambda: editor.delete_object("denze"), r"no object 'denze'"),
        (lambda: editor.rename_object("layers/dense", "a/b"), "without a slash"),
        (lambda: editor.rename_object("layers/dense", "sequential"), "already"),
        (lambda: editor.add_object("../x", {"0": [1.0]}), "like 'layers/dense_1'"),
        (lambda: editor.add_object("layers/dense", {"0": [1.0]}), "already"),
        (lambda: editor.add_object("new", {"0": ["a"]}), "no array of numbers"),
        (lambda: editor.add_object("new", [1.0]), "dict of arrays"),
        (lambda: editor.delete_weight("layers/dense", "7"), "no weight '7'; it has 0, 1"),
        (lambda: editor.save(tmp_path / "m.keras"), r"ends in \.weights\.h5"),
        (lambda: lamina.saving.KerasFileEditor(tmp_path / "m.weights.h5x"), "no weights file"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            call()
