"""VGG16 and VGG19 against Keras's."""

from __future__ import annotations

import importlib
import inspect

import numpy as np
import pytest
import torch

import lamina
from golden import check_golden
from lamina.applications import vgg
from lamina.base import names
from lamina.base.errors import ShapeError

MODELS = ["VGG16", "VGG19"]
REQUESTS = {
    "top": {},
    "seven classes": {
        "classes": 7, "classifier_activation": None, "input_shape": (32, 64, 3), "name": "mine",
    },
    "no top": {"include_top": False},
    "average": {"include_top": False, "pooling": "avg"},
    "maximum": {"include_top": False, "pooling": "max", "input_shape": (40, 48, 1)},
}  # fmt: skip


def without_input(model):
    return [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]


def config_of(layer):
    """A config in which objects are their class's name; settings that are None may be left out."""
    config = {key: value for key, value in layer.get_config().items() if value is not None}
    config["dtype"] = layer.dtype_policy.name
    config |= {key: value["class_name"] for key, value in config.items() if isinstance(value, dict)}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}


@pytest.fixture(scope="module")
def pairs(keras):
    """Every request built once by lamina and by Keras on automatic names that start at zero; no weights in memory."""

    def pair(name, request):
        names.reset_names()
        keras.backend.clear_session()
        with lamina.device("meta"):
            mine = getattr(lamina.applications, name)(weights=None, **request)
        with keras.device("meta"), torch.device("meta"):
            theirs = getattr(keras.applications, name)(weights=None, **request)
        return mine, theirs

    return {(name, key): pair(name, request) for name in MODELS for key, request in REQUESTS.items()}


@pytest.mark.parametrize("request_name", REQUESTS)
@pytest.mark.parametrize("name", MODELS)
def test_names_shapes_counts_and_configs_are_keras(pairs, name, request_name):
    mine, theirs = pairs[name, request_name]
    assert (mine.name, mine.input_shape, mine.output_shape) == (theirs.name, theirs.input_shape, theirs.output_shape)
    assert mine.count_params() == theirs.count_params()
    assert [layer.name for layer in mine.layers] == [layer.name for layer in theirs.layers]
    for one, other in zip(without_input(mine), without_input(theirs), strict=True):
        assert one.output.shape == other.output.shape
        assert [tuple(weight.shape) for weight in one.weights] == [tuple(weight.shape) for weight in other.weights]
        assert config_of(one) == config_of(other)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_arguments_as_keras(keras, name):
    mine = inspect.signature(getattr(lamina.applications, name)).parameters
    theirs = inspect.signature(getattr(keras.applications, name)).parameters
    assert {key: mine[key].default for key in theirs} == {key: one.default for key, one in theirs.items()}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("include_top", [True, False])
def test_equal_weights_give_equal_results(keras, name, include_top):
    request = {"include_top": include_top, "weights": None, "input_shape": (32, 48, 3), "classes": 5}
    mine = getattr(lamina.applications, name)(**request)
    theirs = getattr(keras.applications, name)(**request)
    mine.set_weights(theirs.get_weights())
    x = np.random.default_rng(0).uniform(0, 255, size=(2, 32, 48, 3)).astype("float32")
    x = lamina.applications.vgg16.preprocess_input(x)
    np.testing.assert_allclose(mine(x).detach(), theirs(x).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_the_modules_of_keras(keras, name):
    mine = importlib.import_module(f"lamina.applications.{name}")
    assert mine is getattr(lamina.applications, name)
    theirs = getattr(keras.applications, name)
    x = np.random.default_rng(0).uniform(0, 255, size=(2, 5, 4, 3)).astype("float32")
    for data_format, batch in (("channels_last", x), ("channels_first", x.transpose(0, 3, 1, 2))):
        expected = theirs.preprocess_input(batch.copy(), data_format=data_format)
        np.testing.assert_allclose(
            mine.preprocess_input(batch, data_format=data_format), expected, rtol=1e-5, atol=1e-4
        )
    assert getattr(mine, name.upper()) is getattr(lamina.applications, name.upper())
    assert importlib.import_module("lamina.applications.resnet50").ResNet50 is lamina.applications.ResNet50


@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
@pytest.mark.parametrize("include_top", [True, False])
def test_the_published_files_are_those_that_keras_asks_for(keras, monkeypatch, tmp_path, name, include_top):
    """Both libraries are asked for pretrained weights, and their requests for the file are compared."""
    asked = []

    class AskedError(Exception):
        pass

    def mine(file, origin, cache_subdir, file_hash):
        asked.append((file, origin, cache_subdir, file_hash))
        raise AskedError

    monkeypatch.setattr("lamina.applications.ending.get_file", mine)
    monkeypatch.setattr(f"keras.src.applications.{name}.file_utils.get_file", mine)
    for library in (lamina, keras):
        with pytest.raises(AskedError), lamina.device("meta"), keras.device("meta"), torch.device("meta"):
            getattr(library.applications, name.upper())(include_top=include_top)
    assert asked[0] == asked[1]
    top = 0 if include_top else 1
    assert asked[0][3] == vgg.ARCHITECTURES[name].hashes[top]


@pytest.mark.parametrize(
    ("case", "request_"),
    {
        "too_small": {"input_shape": (31, 40, 3)},
        "too_small_without_top": {"input_shape": (10, 10, 3), "include_top": False},
        "open_size": {"input_shape": (None, None, 3)},
        "pretrained_size": {"input_shape": (64, 64, 3), "weights": "imagenet"},
    }.items(),
)
def test_messages(case, request_):
    with pytest.raises(ShapeError) as error:
        lamina.applications.VGG16(**{"weights": None, **request_})
    check_golden(f"vgg_{case}", str(error.value))


def test_an_input_tensor_of_open_size_is_refused_with_the_top():
    with pytest.raises(ShapeError, match="needs a height and a width"):
        lamina.applications.VGG16(weights=None, input_tensor=lamina.Input((None, None, 3)))


def test_channels_first_has_the_same_parameters():
    lamina.config.set_image_data_format("channels_first")
    with lamina.device("meta"):
        model = lamina.applications.VGG16(weights=None)
        assert model.input_shape == (None, 3, 224, 224)
        assert model.count_params() == 138_357_544
        with pytest.raises(ShapeError, match="needs a height and a width"):
            lamina.applications.VGG16(weights=None, input_shape=(3, None, None))
