"""Every model of `lamina.applications` against Keras's.

Structure (names, order, every shape, parameters, configs, the published weights file) of all models, without memory.
Numbers, with Keras's random weights carried over, of the feature maps of all models. What is the same in all models of
a family (the top, data formats, poolings, arguments of its own) is compared on its smallest.
"""

from __future__ import annotations

import importlib
import inspect
import json
import time

import h5py
import numpy as np
import pytest
import torch

import lamina
from golden import check_golden
from lamina.applications import imagenet_utils
from lamina.base.errors import LaminaError, ShapeError
from zoo_parity import (
    AMPLIFYING,
    LAST_ONLY,
    MODELS,
    SMALLEST,
    assert_close,
    assert_same_outputs,
    assert_same_structure,
    images,
    keras_model,
    lamina_model,
    on_meta,
    pairs,
    smallest_size,
    with_random_weights,
)

CHANNELS_FIRST = [name for name in SMALLEST if not name.startswith(LAST_ONLY)]
# Arguments that only some families have.
OWN_ARGUMENTS = {
    "ConvNeXtTiny": [{"include_preprocessing": False}],
    "EfficientNetV2B0": [{"include_preprocessing": False}],
    "EfficientNetV2S": [{"include_preprocessing": False}],
    "MobileNet": [{"alpha": 0.5, "depth_multiplier": 2, "dropout": 0.3}, {"alpha": 0.25, "include_top": False}],
    "MobileNetV2": [{"alpha": 1.4}, {"alpha": 0.35, "include_top": False}],
    "MobileNetV3Large": [{"alpha": 0.75, "dropout_rate": 0.4}, {"minimalistic": True, "include_preprocessing": False}],
    "MobileNetV3Small": [{"alpha": 0.75, "include_top": False}, {"minimalistic": True}],
}
pytestmark = pytest.mark.filterwarnings(
    "ignore:`input_shape` is undefined or non-square",
    "ignore:This model usually",
    "ignore:The structure of `inputs` doesn't match",  # of a Keras model that was built on an `input_tensor`
)


class TestStructureWithTop:
    @pytest.mark.parametrize("name", MODELS)
    def test_pretrained(self, keras, name):
        mine, theirs, asked = on_meta(keras, name)
        assert_same_structure(mine, theirs)
        assert asked["lamina"] == asked["keras"]

    @pytest.mark.parametrize("name", MODELS)
    def test_arguments(self, keras, name):
        mine = inspect.signature(getattr(lamina.applications, name)).parameters
        theirs = inspect.signature(getattr(keras.applications, name)).parameters
        expected = {key: one.default for key, one in theirs.items()} | {"min_size": "stated", "adapt_channels": "error"}
        assert [(key, one.default) for key, one in mine.items()] == list(expected.items())


class TestStructureWithoutTop:
    @pytest.mark.parametrize("name", MODELS)
    def test_pretrained_on_another_size(self, keras, name):
        size = smallest_size(name)
        request = {"include_top": False, "input_shape": (size + 13, size + 40, 3), "pooling": "avg"}
        mine, theirs, asked = on_meta(keras, name, **request)
        assert_same_structure(mine, theirs)
        assert asked["lamina"] == asked["keras"]


class TestVariants:
    @pytest.mark.parametrize("pooling", [None, "max"])
    @pytest.mark.parametrize("name", SMALLEST)
    def test_open_size(self, keras, name, pooling):
        assert_same_structure(*on_meta(keras, name, weights=None, include_top=False, pooling=pooling)[:2])

    @pytest.mark.parametrize("name", SMALLEST)
    def test_classes_activation_name_and_channels(self, keras, name):
        size = smallest_size(name)
        request = {"classes": 7, "classifier_activation": None, "name": "mine", "input_shape": (size, size + 33, 1)}
        if name.startswith("EfficientNetV2"):
            del request["name"]  # Keras looks its table up by the name, and fails
        assert_same_structure(*on_meta(keras, name, weights=None, **request)[:2])

    @pytest.mark.parametrize("name", CHANNELS_FIRST)
    def test_channels_first(self, keras, name):
        lamina.config.set_image_data_format("channels_first")
        keras.config.set_image_data_format("channels_first")
        try:
            assert_same_structure(*on_meta(keras, name, weights=None)[:2])
        finally:
            keras.config.set_image_data_format("channels_last")

    @pytest.mark.parametrize(
        ("name", "request_"),
        [(name, one) for name, requests in OWN_ARGUMENTS.items() for one in requests],
    )
    def test_own_arguments(self, keras, name, request_):
        request = {"input_shape": (96, 96, 3), "weights": None} | request_
        assert_same_structure(*on_meta(keras, name, **request)[:2])


class TestNumbersWithTop:
    @pytest.mark.parametrize("name", SMALLEST)
    def test_logits_at_two_sizes(self, keras, name):
        size = smallest_size(name)
        request = {"classes": 5, "classifier_activation": None}
        for mine, theirs, shape in pairs(keras, name, [(size + 1, size, 3), (96, 81, 3)], **request):
            assert_same_outputs(mine, theirs, images(2, *shape))


class TestNumbersWithoutTop:
    @pytest.mark.parametrize("name", MODELS)
    def test_feature_maps_at_two_sizes(self, keras, name):
        size = smallest_size(name)
        larger = (48, 40, 3) if name in AMPLIFYING else (96, 81, 3)
        for mine, theirs, shape in pairs(keras, name, [(size, size + 5, 3), larger], include_top=False):
            assert_same_outputs(mine, theirs, images(1, *shape))


class TestNumbersOfVariants:
    @pytest.mark.parametrize("name", CHANNELS_FIRST)
    def test_channels_first(self, keras, name):
        lamina.config.set_image_data_format("channels_first")
        keras.config.set_image_data_format("channels_first")
        try:
            mine, theirs = with_random_weights(keras, name, include_top=False, pooling="max")
            assert_same_outputs(mine, theirs, images(1, 3, 80, 83))
        finally:
            keras.config.set_image_data_format("channels_last")

    @pytest.mark.parametrize("top", [False, True])
    @pytest.mark.parametrize("name", ["DenseNet121", "NASNetMobile"])
    def test_channels_first_where_keras_refuses_it(self, name, top):
        """It is the model with the channels last, transposed: every shape, and the numbers with the same weights."""
        request = {"weights": None, "include_top": top, "classes": 5, "classifier_activation": None}
        last = lamina_model(name)(input_shape=(80, 83, 3), **request)
        lamina.config.set_image_data_format("channels_first")
        first = lamina_model(name)(input_shape=(3, 80, 83), **request)
        for one, other in zip(first.layers, last.layers, strict=True):
            batch, *sizes, channels = other.output.shape
            assert (one.name, one.output.shape) == (other.name, (batch, channels, *sizes))
        rng = np.random.default_rng(0)
        weights = [value + rng.uniform(0, 0.1, value.shape) * (value.ndim == 1) for value in last.get_weights()]
        first.set_weights(weights)
        last.set_weights(weights)
        x = images(1, 80, 83, 3)
        with torch.no_grad():
            found, expected = first(x.transpose(0, 3, 1, 2)).numpy(), last(x).numpy()
        assert_close(found if top else found.transpose(0, 2, 3, 1), expected)

    def test_channels_first_that_a_family_refuses(self):
        lamina.config.set_image_data_format("channels_first")
        with pytest.raises(
            ValueError, match=r'last axis only\. Call lamina\.config\.set_image_data_format\("channels_last'
        ):
            lamina.applications.ConvNeXtTiny(weights=None)

    @pytest.mark.parametrize(
        ("name", "pooling"),
        [(name, "avg") for name in SMALLEST] + [(name, "max") for name in SMALLEST if name not in CHANNELS_FIRST],
    )
    def test_each_pooling(self, keras, name, pooling):
        request = {"include_top": False, "pooling": pooling, "input_shape": (80, 83, 3)}
        mine, theirs = with_random_weights(keras, name, **request)
        assert_same_outputs(mine, theirs, images(1, 80, 83, 3))

    @pytest.mark.parametrize(
        ("name", "request_"),
        [(name, one) for name, requests in OWN_ARGUMENTS.items() for one in requests],
    )
    def test_own_arguments(self, keras, name, request_):
        # softmax would hide the numbers
        request = {"input_shape": (64, 64, 3), "classifier_activation": None} | request_
        mine, theirs = with_random_weights(keras, name, **request)
        pixels = images(1, 64, 64, 3)
        raw = request.get("include_preprocessing", True)
        assert_same_outputs(mine, theirs, pixels if raw else pixels / 127.5 - 1)  # as the body expects them


def legacy_file(keras, model, path):
    """A weights file of the layout in which Keras's published files are, written by Keras."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        keras.src.legacy.saving.legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path


class TestWeights:
    SMALL = {"alpha": 0.25, "include_top": False}  # half a million parameters

    @pytest.fixture
    def small(self, keras):
        with keras_model(keras, "MobileNet") as build:
            return build(weights=None, input_shape=(64, 64, 3), **self.SMALL)

    @pytest.mark.parametrize("suffix", [".weights.h5", ".keras", ".h5"])
    def test_files_that_keras_wrote(self, keras, small, tmp_path, suffix):
        path = tmp_path / f"model{suffix}"
        if suffix == ".h5":
            legacy_file(keras, small, path)
        elif suffix == ".keras":
            small.save(path)
        else:
            small.save_weights(path)
        mine = lamina.applications.MobileNet(weights=path, input_shape=(64, 64, 3), **self.SMALL)
        assert_same_outputs(mine, small, images(1, 64, 64, 3))

    def test_safetensors(self, small, tmp_path):
        first = lamina.applications.MobileNet(weights=None, input_shape=(64, 64, 3), **self.SMALL)
        first.set_weights(small.get_weights())
        first.save_weights(tmp_path / "model.safetensors")
        again = lamina.applications.MobileNet(weights=str(tmp_path / "model.safetensors"), **self.SMALL)
        assert_same_outputs(again, small, images(1, 64, 64, 3))

    @pytest.mark.parametrize("variable", ["LAMINA_HOME", "KERAS_HOME"])
    def test_a_published_file_that_keras_fetched_is_found(self, keras, small, tmp_path, monkeypatch, variable):
        monkeypatch.delenv("LAMINA_HOME", raising=False)
        monkeypatch.setenv(variable, str(tmp_path))
        legacy_file(keras, small, tmp_path / "models" / "mobilenet_2_5_224_tf_no_top.h5")
        mine = lamina.applications.MobileNet(**self.SMALL)
        assert_same_outputs(mine, small, images(1, 64, 64, 3))

    @pytest.mark.parametrize("name", [name for name in SMALLEST if not name.startswith(("VGG", "MobileNetV3"))])
    def test_a_pretrained_top_that_takes_a_mean_reads_images_of_another_size(self, keras, name, monkeypatch):
        """Keras asks for the usual size there (not of MobileNetV3); lamina reads the same weights."""
        shape = (smallest_size(name) + 13, smallest_size(name) + 40, 3)
        with keras_model(keras, name) as build, pytest.raises(ValueError, match="`input_shape` should be"):
            build(input_shape=shape)
        asked = []
        monkeypatch.setattr("lamina.applications.ending.get_file", lambda *where, **_: asked.append(where))
        monkeypatch.setattr("lamina.models.Model.load_weights", lambda *_, **__: None)
        with lamina.device("meta"):
            usual, other = getattr(lamina.applications, name)(), getattr(lamina.applications, name)(input_shape=shape)
        assert asked[0] == asked[1]
        assert [weight.shape for weight in usual.weights] == [weight.shape for weight in other.weights]
        assert (other.input_shape, other.output_shape) == ((None, *shape), (None, 1000))

    def test_the_numbers_of_a_pretrained_top_on_another_size(self, keras, tmp_path, monkeypatch):
        monkeypatch.setenv("LAMINA_HOME", str(tmp_path))
        with keras_model(keras, "MobileNet") as build:
            theirs = build(weights=None, alpha=0.25, input_shape=(70, 96, 3))
        legacy_file(keras, theirs, tmp_path / "models" / "mobilenet_2_5_224_tf.h5")
        mine = lamina.applications.MobileNet(alpha=0.25, input_shape=(70, 96, 3))
        assert_same_outputs(mine, theirs, images(1, 70, 96, 3))

    def test_without_a_network_it_ends_at_once_and_says_what_to_do(self, tmp_path, monkeypatch):
        monkeypatch.setenv("LAMINA_HOME", str(tmp_path))
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nobody listens there
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        start = time.monotonic()
        with lamina.device("meta"), pytest.raises(LaminaError) as error:
            lamina.applications.ResNet50()
        assert time.monotonic() - start < 5
        file = "resnet50_weights_tf_dim_ordering_tf_kernels.h5"
        assert f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{file}" in str(error.value)
        assert f"put it at {tmp_path / 'models' / file}" in str(error.value)

    @pytest.mark.parametrize(
        ("request_", "message"),
        [
            ({"weights": "imagenet2"}, "there is no file 'imagenet2'"),
            ({"weights": "imagenet", "classes": 10}, "The pretrained top has 1000 classes"),
            ({"weights": 3}, "the path of a weights file; got 3"),
            ({"weights": None, "min_size": "none"}, "min_size is 'stated', a number of pixels, or None"),
            ({"weights": None, "pooling": "mean"}, "pooling is None, 'avg' or 'max'; got 'mean'"),
            ({"weights": None, "adapt_channels": "copy"}, "adapt_channels is 'error', 'repeat', 'mean', 'zero'"),
            ({"weights": "imagenet", "input_shape": (224, 224, 4)}, "adapt_channels says what becomes of them"),
            ({"weights": None, "input_shape": (224, 224)}, "input_shape has three entries"),
        ],
    )
    def test_arguments_that_do_not_go_together(self, request_, message):
        with pytest.raises(ValueError, match=message):
            lamina.applications.ResNet50(**request_)

    def test_an_unknown_argument_is_answered_with_the_signature(self):
        with pytest.raises(TypeError, match=r"^ResNet50: got an unexpected .*'size'. Its arguments are \(include_top"):
            lamina.applications.ResNet50(size=3)


# With preprocessing inside the model (a number for each channel) and without.
ADAPTED = ["ResNet50", "MobileNet", "EfficientNetB0", "EfficientNetV2B0"]


class TestAdaptedChannels:
    @staticmethod
    def trained(name, path, **request):
        """A model of three channels whose Normalization, if it has one, has seen data, and its weights file."""
        model = lamina_model(name)(weights=None, include_top=False, **request)
        for layer in model.layers:
            if type(layer).__name__ == "Normalization" and layer.weights:
                layer.adapt(images(64, 4, 4, 3) * [1.0, 0.5, 2.0] / 255)
        model.save_weights(path)
        return model

    @pytest.mark.parametrize("channels", [3, 4, 7])
    @pytest.mark.parametrize("name", ADAPTED)
    def test_repeated_weights_see_a_grey_image_as_before(self, tmp_path, name, channels):
        trained = self.trained(name, tmp_path / "rgb.weights.h5")
        adapted = lamina_model(name)(
            weights=tmp_path / "rgb.weights.h5",
            include_top=False,
            input_shape=(64, 64, channels),
            adapt_channels="repeat",
        )
        grey = images(1, 64, 64, 1)
        assert_same_outputs(adapted, trained, np.repeat(grey, channels, -1), np.repeat(grey, 3, -1))

    @pytest.mark.parametrize(("how", "channels"), [("repeat", 1), ("mean", 1), ("mean", 5)])
    @pytest.mark.parametrize("name", ["ResNet50", "MobileNet"])
    def test_grey_without_preprocessing_inside(self, tmp_path, name, how, channels):
        trained = self.trained(name, tmp_path / "rgb.weights.h5")
        adapted = lamina_model(name)(
            weights=tmp_path / "rgb.weights.h5", include_top=False, input_shape=(64, 64, channels), adapt_channels=how
        )
        grey = images(1, 64, 64, 1)
        assert_same_outputs(adapted, trained, np.repeat(grey, channels, -1), np.repeat(grey, 3, -1))

    @pytest.mark.parametrize("name", ADAPTED)
    def test_new_channels_at_zero_change_nothing(self, tmp_path, name):
        trained = self.trained(name, tmp_path / "rgb.weights.h5")
        adapted = lamina_model(name)(
            weights=tmp_path / "rgb.weights.h5", include_top=False, input_shape=(64, 64, 4), adapt_channels="zero"
        )
        x = images(1, 64, 64, 4)
        assert_same_outputs(adapted, trained, x, x[..., :3])

    def test_by_default_it_says_which_ways_there_are(self, tmp_path):
        self.trained("ResNet50", tmp_path / "rgb.weights.h5")
        with pytest.raises(ShapeError, match='adapt_channels="repeat", "mean" or "zero"'):
            lamina.applications.ResNet50(
                weights=tmp_path / "rgb.weights.h5", include_top=False, input_shape=(64, 64, 4)
            )


class TestSmallestSize:
    @pytest.mark.parametrize("name", MODELS)
    def test_as_keras(self, keras, name):
        """One pixel below Keras's minimum both refuse; lamina says why, and builds it on request where it can be."""
        size = smallest_size(name)
        request = {"weights": None, "include_top": False, "input_shape": (size + 9, size - 1, 3)}
        with keras_model(keras, name) as build, pytest.raises(ValueError, match=f"at least {size}"):
            build(**request)
        with pytest.raises(ShapeError, match=f"images of {size}×{size} or more and got {size + 9}×{size - 1}") as error:
            lamina_model(name)(**request)
        with lamina.device("meta"):
            if "min_size=None" in str(error.value):
                assert lamina_model(name)(**request, min_size=None).count_params() > 0
            else:
                with pytest.raises(ShapeError):
                    lamina_model(name)(**request, min_size=None)

    @pytest.mark.parametrize(
        ("name", "size", "options"),
        [
            ("VGG16", 31, {}),
            ("VGG16", 10, {"include_top": False}),
            ("InceptionV3", 74, {"include_top": False}),
            ("Xception", 60, {"include_top": False}),
            ("ResNet50", 63, {"include_top": False, "min_size": 64}),
        ],
    )
    def test_messages(self, name, size, options):
        with pytest.raises(ShapeError) as error:
            lamina_model(name)(weights=None, input_shape=(size, size + 9, 3), **options)
        check_golden(f"smallest_size_{name.lower()}_{size}", str(error.value))

    @pytest.mark.parametrize(
        ("case", "request_"),
        {
            "open_size": {"input_shape": (None, None, 3)},
            "pretrained_size": {"input_shape": (64, 64, 3), "weights": "imagenet"},
        }.items(),
    )
    def test_a_flattened_top_needs_its_size(self, case, request_):
        with pytest.raises(ShapeError) as error:
            lamina.applications.VGG16(**{"weights": None, **request_})
        check_golden(f"vgg_{case}", str(error.value))

    def test_an_open_size_in_front_of_a_flattened_top_with_channels_first(self):
        lamina.config.set_image_data_format("channels_first")
        with pytest.raises(ShapeError, match="needs a height and a width"):
            lamina.applications.VGG16(weights=None, input_shape=(3, None, None))

    def test_an_input_tensor_is_read_as_a_shape(self):
        with pytest.raises(ShapeError, match="needs a height and a width"):
            lamina.applications.VGG16(weights=None, input_tensor=lamina.Input((None, None, 3)))
        with lamina.device("meta"):
            inputs = lamina.Input((64, 96, 3))
            model = lamina.applications.ResNet50(weights=None, input_tensor=inputs * 2, include_top=False)
        assert model.output_shape == (None, 2, 3, 2048)


class TestImageNet:
    MODULES = [name for name in dir(lamina.applications) if name[0].islower()]

    @pytest.mark.parametrize("name", MODULES)
    def test_the_modules_of_keras(self, keras, name):
        mine = importlib.import_module(f"lamina.applications.{name}")
        theirs = getattr(keras.applications, name)
        assert mine is getattr(lamina.applications, name)
        for public in (key for key in dir(theirs) if not key.startswith("_")):
            assert hasattr(mine, public), public
            assert public[0].islower() or getattr(mine, public) is getattr(lamina.applications, public)
        assert mine.decode_predictions is imagenet_utils.decode_predictions

    @pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "torch"])
    @pytest.mark.parametrize("name", MODULES)
    def test_preprocessing(self, keras, name, dtype):
        mine, theirs = (importlib.import_module(f"{one}.applications.{name}") for one in ("lamina", "keras"))
        modes = [{"mode": one} for one in ("caffe", "tf", "torch")] if name == "imagenet_utils" else [{}]
        x = images(2, 5, 4, 3)
        for data_format, batch in (("channels_last", x), ("channels_first", x.transpose(0, 3, 1, 2))):
            given = torch.from_numpy(batch.copy()) if dtype == "torch" else batch.astype(dtype)
            before = np.array(given)
            for mode in modes:
                for one, copy in ((given, before), (given[0], before[0])):
                    found = mine.preprocess_input(one, data_format=data_format, **mode)
                    expected = theirs.preprocess_input(copy.copy(), data_format=data_format, **mode)
                    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
                    if dtype != "torch":
                        assert found.dtype == expected.dtype
            np.testing.assert_array_equal(given, before)

    def test_an_unknown_mode_or_format(self):
        with pytest.raises(ValueError, match="mode is 'caffe', 'tf', 'torch'; got 'rgb'"):
            imagenet_utils.preprocess_input(images(1, 2, 2, 3), mode="rgb")
        for mode in ("caffe", "tf", "torch"):
            with pytest.raises(ValueError, match="channels_last"):
                imagenet_utils.preprocess_input(images(1, 2, 2, 3), data_format="NHWC", mode=mode)

    def test_decode_predictions(self, keras, tmp_path, monkeypatch):
        """Both read a list of classes that lies where the download would lie; its hash is taken for the right one."""
        index = {str(position): [f"n{position:08}", f"class_{position}"] for position in range(1000)}
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "imagenet_class_index.json").write_text(json.dumps(index))
        monkeypatch.setenv("LAMINA_HOME", str(tmp_path))
        monkeypatch.setattr("lamina.data.download.hash_of", lambda *_: "c2c37ea517e94d9795004a39431a14cb")
        monkeypatch.setattr(keras.src.applications.imagenet_utils, "CLASS_INDEX", index)
        preds = np.random.default_rng(0).uniform(size=(3, 1000)).astype("float32")
        for top in (1, 5, 1000):
            expected = keras.applications.vgg16.decode_predictions(preds, top=top)
            assert lamina.applications.vgg16.decode_predictions(preds, top=top) == expected
            assert lamina.applications.vgg16.decode_predictions(torch.from_numpy(preds), top=top) == expected

    def test_decode_predictions_refuses_other_classes(self):
        with pytest.raises(ShapeError) as error:
            imagenet_utils.decode_predictions(np.zeros(1000))
        check_golden("decode_predictions", str(error.value))
        with pytest.raises(ShapeError, match=r"got shape \(2, 10\)"):
            imagenet_utils.decode_predictions(np.zeros((2, 10)))
        with pytest.raises(ValueError, match="1 or more; got 0"):
            imagenet_utils.decode_predictions(np.zeros((1, 1000)), top=0)

    def test_decode_predictions_without_a_network(self, tmp_path, monkeypatch):
        monkeypatch.setenv("LAMINA_HOME", str(tmp_path))
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(LaminaError) as error:
            imagenet_utils.decode_predictions(np.zeros((1, 1000)))
        assert "download.tensorflow.org/data/imagenet_class_index.json" in str(error.value)
        assert f"put it at {tmp_path / 'models' / 'imagenet_class_index.json'}" in str(error.value)
