"""What tests of `lamina.applications` share: models built by both libraries, and the comparison of all about them."""

from __future__ import annotations

import contextlib
import gc
from unittest import mock

import numpy as np
import torch

import lamina
from lamina.base import names

MODELS = [name for name in dir(lamina.applications) if name[0].isupper()]
# Of each family the smallest, for what is the same in all its models.
SMALLEST = (
    "ConvNeXtTiny DenseNet121 EfficientNetB0 EfficientNetV2B0 EfficientNetV2S InceptionResNetV2 InceptionV3 "
    "MobileNet MobileNetV2 MobileNetV3Large MobileNetV3Small NASNetMobile ResNet50 ResNet50V2 VGG16 Xception"
).split()
# Keras refuses channels_first in these.
LAST_ONLY = ("ConvNeXt", "DenseNet", "NASNet")
# So deep that with the moments of new layers, 0 and 1, a rounding error of 1e-7 grows to 1 on its way through, and with
# those of training still grows a hundredfold, more on larger images.
AMPLIFYING = ("EfficientNetV2M", "EfficientNetV2L")
# Neither the classes' modules nor the seeds belong to what a layer does.
_LEFT_OUT = ("seed", "module", "registered_name", "build_config", "shared_object_id", "dtype")


class _AnyBackend:
    """Keras's module `backend`, but it does not tell its name: NASNetMobile runs on torch if it is not asked."""

    def __init__(self, backend):
        self._backend = backend

    def __getattr__(self, name):
        return (lambda: "any") if name == "backend" else getattr(self._backend, name)


@contextlib.contextmanager
def keras_model(keras, name):
    """The function of Keras that builds a model, on automatic names that start at zero."""
    keras.backend.clear_session()
    nasnet = keras.src.applications.nasnet
    with mock.patch.object(nasnet, "backend", _AnyBackend(keras.src.backend)):
        yield getattr(keras.applications, name)
    gc.collect()


def lamina_model(name):
    names.reset_names()
    return getattr(lamina.applications, name)


def on_meta(keras, name, /, **request):
    """(lamina's model, Keras's model, the requests of both for a weights file), without memory for weights."""
    asked = {"lamina": [], "keras": []}

    def recorder(library):
        def get_file(file, origin, cache_subdir, file_hash=None):
            asked[library].append((file, origin, cache_subdir, file_hash))
            return file

        return get_file

    with contextlib.ExitStack() as stack:
        for target, replacement in {
            "lamina.applications.ending.get_file": recorder("lamina"),
            "lamina.models.Model.load_weights": lambda *_, **__: None,
            "keras.src.utils.file_utils.get_file": recorder("keras"),
            "keras.Model.load_weights": lambda *_, **__: None,
        }.items():
            stack.enter_context(mock.patch(target, replacement))
        with lamina.device("meta"):
            mine = lamina_model(name)(**request)
        with keras_model(keras, name) as theirs, keras.device("meta"), torch.device("meta"):
            return mine, theirs(**request), asked


def flattened(model):
    """All layers without the inputs, those of layers inside layers too."""
    for layer in model.layers:
        if type(layer).__name__ != "InputLayer":
            yield layer
            if hasattr(layer, "layers"):
                yield from flattened(layer)


def _plain(value):
    """A config as plain values: objects as their class and config, no settings that are None."""
    if isinstance(value, dict) and "class_name" in value:
        return value["class_name"], _plain(value.get("config"))
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if one is not None and key not in _LEFT_OUT}
    if isinstance(value, list | tuple):
        return tuple(_plain(one) for one in value)
    if isinstance(value, np.ndarray | torch.Tensor):
        return tuple(np.asarray(value).ravel().tolist())
    return value


def config_of(layer):
    if hasattr(layer, "layers"):
        return layer.name, type(layer).__name__
    return _plain(layer.get_config()) | {"dtype policy": layer.dtype_policy.name}


def assert_same_structure(mine, theirs):
    assert (mine.name, mine.input_shape, mine.output_shape) == (theirs.name, theirs.input_shape, theirs.output_shape)
    assert mine.count_params() == theirs.count_params()
    assert [layer.name for layer in mine.layers] == [layer.name for layer in theirs.layers]
    for one, other in zip(flattened(mine), flattened(theirs), strict=True):
        assert (one.name, type(one).__name__) == (other.name, type(other).__name__)
        assert tuple(one.output.shape) == tuple(other.output.shape), one.name
        assert [tuple(weight.shape) for weight in one.weights] == [tuple(weight.shape) for weight in other.weights]
        assert config_of(one) == config_of(other)


def with_random_weights(keras, name, /, **request):
    """A model by both libraries with equal weights: Keras's own random ones, but no vector of equal numbers.

    Biases, offsets and moving means, at first all 0, could otherwise be exchanged unseen. An `input_tensor` is given as
    its shape.
    """
    shape = request.pop("input_tensor", None)
    keras.utils.set_random_seed(1)
    with keras_model(keras, name) as build:
        theirs = build(weights=None, input_tensor=shape and keras.Input(shape), **request)
    rng = np.random.default_rng(0)
    for weight in theirs.weights:
        # A Normalization of Keras has read its mean and variance already.
        if weight.ndim == 1 and weight.name not in ("mean", "variance"):
            weight.assign(np.asarray(weight) + rng.uniform(0, 0.1, weight.shape))
    if name in AMPLIFYING:
        settle_statistics(theirs)
    mine = lamina_model(name)(weights=None, input_tensor=shape and lamina.Input(shape), **request)
    mine.set_weights(theirs.get_weights())
    return mine, theirs


def pairs(keras, name, shapes, /, **request):
    """(lamina's model, Keras's model, shape) for each shape: the same two of an open size, where the model has one.

    The paddings of NASNet depend on the size, and so does the top of VGG.
    """
    if name.startswith("NASNet") or (name.startswith("VGG") and request.get("include_top", True)):
        for shape in shapes:
            yield *with_random_weights(keras, name, input_shape=shape, **request), shape
        return
    # As an `input_shape` Keras refuses it with the top.
    pair = with_random_weights(keras, name, input_tensor=(None, None, 3), **request)
    for shape in shapes:
        yield *pair, shape


def settle_statistics(model):
    """Give each BatchNormalization of a Keras model the moments of what it sees, as training would; nothing drops."""
    settings = {"BatchNormalization": "momentum", "Dropout": "rate"}
    kept = [(layer, settings.get(type(layer).__name__)) for layer in model.layers]
    kept = [(layer, name, getattr(layer, name)) for layer, name in kept if name]
    for layer, name, _ in kept:
        setattr(layer, name, 0.0)
    with torch.no_grad():
        model(images(4, 96, 81, 3), training=True)
    for layer, name, value in kept:
        setattr(layer, name, value)


def assert_same_outputs(mine, theirs, x, x_of_theirs=None):
    with torch.no_grad():
        expected = theirs(x if x_of_theirs is None else x_of_theirs, training=False).numpy()
        found = mine(x, training=False).numpy()
        folded = mine.infer(x).numpy()
    assert_close(found, expected)
    assert mine.graph._folded is not None
    assert_close(folded, found)


def assert_close(found, expected):
    """Equal to 1e-4 relative; values near 0 to 1e-5 of the greatest."""
    assert np.isfinite(expected).all()
    assert expected.std() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def images(*shape):
    return np.random.default_rng(1).uniform(0, 255, size=shape).astype("float32")


def smallest_size(name):
    """The smallest height and width that Keras builds."""
    return {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}.get(name, 32)
