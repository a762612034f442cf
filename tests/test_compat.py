"""Old spellings, old names, `keras.backend`, the `tensorflow` stand-in, and `install()`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import lamina
from lamina import compat
from lamina.compat import backend, calls, old_layers
from lamina.compat.rows import words
from lamina.compat.spellings import SPELLINGS
from lamina.compat.tensorflow import make_tensorflow

KERAS_1_CONV = {
    "init": "normal",
    "border_mode": "half",
    "W_regularizer": "l2",
    "W_constraint": "max_norm",
    "b_regularizer": "l1",
    "b_constraint": "non_neg",
    "bias": False,
}
TODAY_CONV = {
    "kernel_initializer": "random_normal",
    "padding": "same",
    "kernel_regularizer": "l2",
    "kernel_constraint": "max_norm",
    "bias_regularizer": "l1",
    "bias_constraint": "non_neg",
    "use_bias": False,
}
PLANE = {"nb_row": 8, "nb_col": 4, "subsample": (2, 1), "dim_ordering": "th", "atrous_rate": (1, 2)}
TODAY_PLANE = {"kernel_size": (8, 4), "strides": (2, 1), "data_format": "channels_first", "dilation_rate": (1, 2)}
VOLUME = {"kernel_dim1": 1, "kernel_dim2": 2, "kernel_dim3": 3, "subsample": (2, 2, 2), "dim_ordering": "tf"}
TODAY_VOLUME = {"kernel_size": (1, 2, 3), "strides": (2, 2, 2), "data_format": "channels_last"}
LINE = {"filter_length": 3, "subsample_length": 2, "input_length": 10, "input_dim": 4, "atrous_rate": 2}
TODAY_LINE = {"kernel_size": 3, "strides": 2, "input_shape": (10, 4), "dilation_rate": 2}
SEPARABLE = {"init": "one", "b_regularizer": "l1", "b_constraint": "non_neg", "bias": True, "border_mode": "valid"}
TODAY_SEPARABLE = {
    "depthwise_initializer": "ones",
    "pointwise_initializer": "ones",
    "bias_regularizer": "l1",
    "bias_constraint": "non_neg",
    "use_bias": True,
    "padding": "valid",
}
DENSE_1 = {key: value for key, value in KERAS_1_CONV.items() if key != "border_mode"}
DENSE = {key: value for key, value in TODAY_CONV.items() if key != "padding"}
RECURRENT = {
    "output_dim": 3,
    **DENSE_1,
    "inner_init": "one",
    "U_regularizer": "l1",
    "dropout_W": 0.1,
    "dropout_U": 0.2,
    "consume_less": "gpu",
    "implementation": 2,
    "input_length": 10,
    "input_dim": 4,
}
TODAY_RECURRENT = {
    "units": 3,
    **DENSE,
    "recurrent_initializer": "ones",
    "recurrent_regularizer": "l1",
    "dropout": 0.1,
    "recurrent_dropout": 0.2,
    "input_shape": (10, 4),
}
WORKERS = dict.fromkeys(words("workers use_multiprocessing max_queue_size max_q_size nb_worker pickle_safe"), 1)


class Rows(list):
    """Data that knows the size of its batches."""

    batch_size = 10


ROWS = Rows()
# What is called, the old keywords, today's. Every row of every table is in here once (see the test below).
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("Convolution1D", {"nb_filter": 5, **LINE, **KERAS_1_CONV}, {"filters": 5, **TODAY_LINE, **TODAY_CONV}),
    ("AtrousConvolution1D", {"nb_filter": 5, **LINE, **KERAS_1_CONV}, {"filters": 5, **TODAY_LINE, **TODAY_CONV}),
    ("Convolution2D", {"nb_filter": 5, **PLANE, **KERAS_1_CONV}, {"filters": 5, **TODAY_PLANE, **TODAY_CONV}),
    ("AtrousConvolution2D", {"nb_filter": 5, **PLANE, **KERAS_1_CONV}, {"filters": 5, **TODAY_PLANE, **TODAY_CONV}),
    (
        "Convolution3D",
        {"nb_filter": 5, **VOLUME, "atrous_rate": 1, **KERAS_1_CONV},
        {"filters": 5, **TODAY_VOLUME, "dilation_rate": 1, **TODAY_CONV},
    ),
    (
        "Deconvolution2D",
        {"nb_filter": 5, **PLANE, "output_shape": (None, 8, 8, 5), **KERAS_1_CONV},
        {"filters": 5, **TODAY_PLANE, **TODAY_CONV},
    ),
    (
        "Deconvolution3D",
        {"nb_filter": 5, **VOLUME, "atrous_rate": 1, "output_shape": (), **KERAS_1_CONV},
        {"filters": 5, **TODAY_VOLUME, "dilation_rate": 1, **TODAY_CONV},
    ),
    (
        "SeparableConvolution2D",
        {"nb_filter": 5, **PLANE, **SEPARABLE},
        {"filters": 5, **TODAY_PLANE, **TODAY_SEPARABLE},
    ),
    (
        "MaxPooling1D",
        {"pool_length": 2, "stride": 3, "border_mode": "same"},
        {"pool_size": 2, "strides": 3, "padding": "same"},
    ),
    (
        "AveragePooling3D",
        {"border_mode": "valid", "dim_ordering": "default"},
        {"padding": "valid", "data_format": None},
    ),
    ("UpSampling2D", {"dim_ordering": "th"}, {"data_format": "channels_first"}),
    ("UpSampling1D", {"length": 3}, {"size": 3}),
    ("Dropout", {"p": 0.5}, {"rate": 0.5}),
    ("SpatialDropout2D", {"p": 0.5, "dim_ordering": "tf"}, {"rate": 0.5, "data_format": "channels_last"}),
    ("GaussianNoise", {"sigma": 0.1}, {"stddev": 0.1}),
    ("PReLU", {"init": "zero"}, {"alpha_initializer": "zeros"}),
    ("LeakyReLU", {"alpha": 0.1}, {"negative_slope": 0.1}),
    ("ThresholdedReLU", {"theta": 2.0}, {"threshold": 2.0}),
    ("ThresholdedReLU", {}, {"threshold": 1.0}),
    ("Dense", {"output_dim": 3, **DENSE_1, "input_dim": 7}, {"units": 3, **DENSE, "input_dim": 7}),
    ("SimpleRNN", RECURRENT, TODAY_RECURRENT),
    ("GRU", {**RECURRENT, "inner_activation": "tanh"}, {**TODAY_RECURRENT, "recurrent_activation": "tanh"}),
    (
        "LSTM",
        {**RECURRENT, "inner_activation": "tanh", "forget_bias_init": "zero"},
        {**TODAY_RECURRENT, "recurrent_activation": "tanh", "unit_forget_bias": False},
    ),
    (
        "Embedding",
        {"init": "uniform", "W_regularizer": "l2", "W_constraint": "non_neg", "input_length": 9, "dropout": 0.0},
        {
            "embeddings_initializer": "random_uniform",
            "embeddings_regularizer": "l2",
            "embeddings_constraint": "non_neg",
        },
    ),
    (
        "BatchNormalization",
        {"mode": 0, "axis": 1, "beta_init": "zero", "gamma_init": "one", "fused": True},
        {"axis": 1, "beta_initializer": "zeros", "gamma_initializer": "ones"},
    ),
    ("SGD", {"lr": 0.1, "decay": 0.0}, {"learning_rate": 0.1}),
    ("Nadam", {"lr": 0.1, "decay": 0.0, "schedule_decay": 0.004}, {"learning_rate": 0.1}),
    ("RMSprop", {"lr": 0.1, "decay": 0.0, "schedule_decay": 0}, {"learning_rate": 0.1}),
    ("Adagrad", {"lr": 0.1, "decay": 0.0, "schedule_decay": 0}, {"learning_rate": 0.1}),
    ("Adam", {"lr": 0.1, "decay": 0.0, "schedule_decay": 0, "amsgrad": True}, {"learning_rate": 0.1, "amsgrad": True}),
    ("Model", {"input": "a", "output": "b"}, {"inputs": "a", "outputs": "b"}),
    (
        "Model.fit",
        {"x": ROWS, "nb_epoch": 3, "samples_per_epoch": 25, "show_accuracy": True, **WORKERS},
        {"x": ROWS, "epochs": 3, "steps_per_epoch": 3},
    ),
    (
        "Model.fit_generator",
        {
            "generator": ROWS,
            "nb_epoch": 3,
            "samples_per_epoch": 25,
            "show_accuracy": True,
            "validation_data": ROWS,
            "nb_val_samples": 30,
            **WORKERS,
        },
        {"x": ROWS, "epochs": 3, "steps_per_epoch": 3, "validation_data": ROWS, "validation_steps": 3},
    ),
    ("Model.predict", {"x": 1, **WORKERS}, {"x": 1}),
    ("Model.evaluate_generator", {"generator": ROWS, "val_samples": 30, **WORKERS}, {"x": ROWS, "steps": 3}),
    ("Model.predict_generator", {"generator": ROWS, "val_samples": 30, **WORKERS}, {"x": ROWS, "steps": 3}),
    (
        "Model.compile",
        {"loss": "mse", "sample_weight_mode": "temporal", "class_mode": "binary", "theano_mode": None},
        {"loss": "mse"},
    ),
    ("ModelCheckpoint", {"period": 1}, {}),
    ("ReduceLROnPlateau", {"epsilon": 0.1}, {"min_delta": 0.1}),
    ("maxnorm", {"m": 3}, {"max_value": 3}),
]
# Today's keywords in the cases above that no single row makes.
PLAIN = words("x loss axis amsgrad input_dim validation_data steps steps_per_epoch validation_steps")


@pytest.mark.parametrize(("owner", "old", "today"), CASES, ids=[case[0] for case in CASES])
def test_keywords(owner: str, old: dict[str, Any], today: dict[str, Any]) -> None:
    with pytest.warns(DeprecationWarning, match="; today: ") as caught:
        args, kwargs = calls.translate(owner, (), old, known=PLAIN)
    assert (args, kwargs) == ((), today)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert text.startswith(f"{owner}(")
    assert f"; today: {SPELLINGS[owner].today or owner}(" in text
    for name in today:
        assert f"{name}=" in text.split("today: ")[1]


def test_every_row_is_tested() -> None:
    tested: dict[int, set[str]] = {}
    for owner, old, _ in CASES:
        tested.setdefault(id(SPELLINGS[owner]), set()).update(old)
    rows: dict[Any, set[str]] = {}
    for spelling in SPELLINGS.values():
        for row in spelling.rows:
            rows.setdefault(row, set()).update(tested.get(id(spelling), ()))
    assert [row for row, names in rows.items() if not names >= set(row.old_names)] == []


@pytest.mark.parametrize(
    ("owner", "args", "kwargs", "today"),
    [
        ("Convolution2D", (10, 8, 4), {}, {"filters": 10, "kernel_size": (8, 4)}),
        ("Convolution2D", (10, 8), {"nb_col": 4}, {"filters": 10, "kernel_size": (8, 4)}),
        (
            "Convolution2D",
            (10, 8, 4, "uniform", "relu"),
            {"border_mode": "same"},
            {
                "filters": 10,
                "kernel_size": (8, 4),
                "kernel_initializer": "random_uniform",
                "activation": "relu",
                "padding": "same",
            },
        ),
        (
            "Convolution1D",
            (10, 3, "uniform"),
            {},
            {"filters": 10, "kernel_size": 3, "kernel_initializer": "random_uniform"},
        ),
        ("Convolution3D", (10, 1, 2, 3), {}, {"filters": 10, "kernel_size": (1, 2, 3)}),
        ("Deconvolution2D", (3, 4, 4, (None, 8, 8, 3)), {}, {"filters": 3, "kernel_size": (4, 4)}),
        ("Conv2D", (10, 8, 4), {"border_mode": "same"}, {"filters": 10, "kernel_size": (8, 4), "padding": "same"}),
        (
            "Dense",
            (3, "uniform"),
            {"bias": False},
            {"units": 3, "kernel_initializer": "random_uniform", "use_bias": False},
        ),
        ("Model", ("a",), {"output": "b"}, {"inputs": "a", "outputs": "b"}),
    ],
)
def test_positions(owner: str, args: Any, kwargs: dict[str, Any], today: dict[str, Any]) -> None:
    with pytest.warns(DeprecationWarning, match="; today: "):
        assert calls.translate(owner, args, kwargs, known=("activation",)) == ((), today)


@pytest.mark.parametrize(
    ("owner", "args", "kwargs"),
    [
        ("Convolution2D", (10, (8, 8)), {}),
        ("Convolution2D", (10, 8), {"padding": "same"}),
        ("Convolution2D", (10, 8, 2), {"padding": "same"}),
        ("Convolution2D", (10, (8, 8), (2, 2)), {}),
        ("Convolution1D", (10, 3, 2), {}),
        ("Convolution3D", (10, 3, 2), {}),
    ],
)
def test_todays_calls_by_an_old_name_are_left(owner: str, args: Any, kwargs: dict[str, Any]) -> None:
    assert not calls.is_old(owner, args, kwargs)


def test_a_kernel_of_one_position_stays_in_todays_order() -> None:
    with pytest.warns(DeprecationWarning, match="; today: "):
        args, kwargs = calls.translate("Conv2D", (10, (3, 3)), {"border_mode": "same"}, known=())
    assert (args, kwargs) == ((10, (3, 3)), {"padding": "same"})


def test_the_warning_shows_both_spellings_and_the_line() -> None:
    with pytest.warns(DeprecationWarning, match="; today: ") as caught:
        calls.translate("Convolution2D", (), {"nb_filter": 10, "nb_row": 8, "nb_col": 8, "border_mode": "same"})
    assert str(caught[0].message) == (
        "Convolution2D(nb_filter=10, nb_row=8, nb_col=8, border_mode='same') is Keras 1; "
        "today: Conv2D(filters=10, kernel_size=(8, 8), padding='same')"
    )
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("owner", "args", "kwargs", "error", "text"),
    [
        (
            "Dense",
            (),
            {"output_dim": 3, "inti": "zero"},
            TypeError,
            "Dense has no argument 'inti'. Did you mean 'init'?",
        ),
        ("Dense", (), {"unit": 3}, TypeError, "Dense has no argument 'unit'. Did you mean 'units'?"),
        ("Dense", (), {"units": 3, "output_dim": 3}, TypeError, "'units' twice"),
        ("Dense", (3,), {"output_dim": 3}, TypeError, "'output_dim' twice"),
        ("Conv2D", (10,), {"nb_row": 3}, TypeError, "nb_row without nb_col"),
        ("Conv2D", (10, 3), {"border_mode": "full"}, ValueError, "ZeroPadding"),
        ("Conv2D", (10, 3), {"dim_ordering": "theano"}, ValueError, "'tf' or 'th'"),
        ("Conv1D", (10, 3), {"input_length": 3}, ValueError, "input_dim"),
        ("BatchNormalization", (), {"mode": 1}, ValueError, "only mode=0"),
        ("Embedding", (), {"dropout": 0.2}, ValueError, "SpatialDropout1D"),
        ("ModelCheckpoint", (), {"period": 2}, ValueError, "save_freq"),
        ("Model.fit", (), {"samples_per_epoch": 2, "x": 3}, TypeError, "counts samples of a generator"),
    ],
)
def test_refusals(owner: str, args: Any, kwargs: dict[str, Any], error: type[Exception], text: str) -> None:
    known = lamina.base.serialization.constructor_names(lamina.layers.Dense)
    with pytest.raises(error) as caught:
        calls.translate(owner, args, kwargs, known=(*known, "x"))
    assert text in str(caught.value)


def test_todays_keywords_alone_are_left_in_silence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given = {"units": 3, "input_shape": (4,), "dtype": "float32", "name": "d", "activity_regularizer": None}
        assert calls.translate("Dense", (), given) == ((), given)
        assert calls.translate("Sequential", (), {"dtype": "float32"}) == ((), {"dtype": "float32"})


def test_decay_is_a_schedule() -> None:
    with pytest.warns(DeprecationWarning, match=r"InverseTimeDecay\(initial_learning_rate=0.1, decay_steps=1"):
        args, kwargs = calls.translate("SGD", (0.1,), {"decay": 0.5})
    assert args == ()
    assert [round(float(kwargs["learning_rate"](step)), 6) for step in (0, 2)] == [0.1, 0.05]
    with pytest.warns(DeprecationWarning, match="; today: "):
        _, kwargs = calls.translate("Adam", (), {"decay": 1.0})
    assert float(kwargs["learning_rate"](0)) == pytest.approx(0.001)


def test_constructors_and_models_ask_the_tables() -> None:
    with pytest.warns(DeprecationWarning, match=r"today: Dense\(units=3, use_bias=False\)"):
        assert lamina.layers.Dense(output_dim=3, bias=False).units == 3
    inputs = lamina.Input((4,))
    with pytest.warns(
        DeprecationWarning, match=r"^Model\(input=<KerasTensor>, output=<KerasTensor>\) is Keras 1; today"
    ):
        model = lamina.Model(input=inputs, output=lamina.layers.Dense(2)(inputs))
    assert model.output_shape == (None, 2)


def test_optimizers_ask_the_tables() -> None:
    with pytest.warns(DeprecationWarning, match=r"SGD\(lr=0.5\) is Keras 2; today: SGD\(learning_rate=0.5\)"):
        assert float(lamina.optimizers.SGD(lr=0.5).learning_rate) == 0.5


def test_samples_are_counted_from_the_first_batch_which_is_put_back() -> None:
    batches = ((np.full((4, 2), number), np.zeros(4)) for number in range(3))
    with pytest.warns(DeprecationWarning, match="; today: "):
        _, kwargs = calls.translate("Model.fit", (batches,), {"samples_per_epoch": 10})
    assert kwargs["steps_per_epoch"] == 3
    assert [x[0, 0] for x, _ in kwargs["x"]] == [0, 1, 2]


# Old names.


def test_convolution2d_makes_a_conv2d() -> None:
    convolution = compat.old_name("layers", "Convolution2D")
    with pytest.warns(DeprecationWarning, match="; today: "):
        layer = convolution(10, 8, 8, border_mode="same", name="c")
    assert type(layer) is lamina.layers.Conv2D
    assert isinstance(layer, convolution)
    assert not isinstance(lamina.layers.Dense(1), convolution)
    assert layer.get_config()["kernel_size"] == (8, 8)
    assert lamina.saving.serialize_keras_object(layer)["class_name"] == "Conv2D"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert convolution(10, 8, padding="same").kernel_size == (8, 8)


def test_a_subclass_of_an_old_name_keeps_its_class() -> None:
    class Mine(compat.old_name("layers", "Convolution2D")):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(10, 3, 5)

    with pytest.warns(DeprecationWarning, match="; today: "):
        layer = Mine()
    assert type(layer) is Mine
    assert isinstance(layer, lamina.layers.Conv2D)
    assert layer.kernel_size == (3, 5)


@pytest.mark.parametrize("name", old_layers.OLD_LAYERS)
def test_old_layers_have_a_layer_of_today(name: str) -> None:
    today = SPELLINGS[name].today
    assert issubclass(getattr(lamina.layers, today), old_layers.old_layer(name))


def test_thresholded_relu() -> None:
    with pytest.warns(DeprecationWarning, match=r"today: ReLU\(threshold=2.0\)"):
        layer = compat.old_name("layers", "ThresholdedReLU")(2.0)
    assert layer(np.array([[1.0, 3.0]], "float32")).tolist() == [[0.0, 3.0]]


def test_unknown_old_names_show_the_nearest() -> None:
    with pytest.raises(AttributeError, match="Did you mean 'Convolution2D'"):
        compat.old_name("layers", "Convolutio2D")
    with pytest.raises(AttributeError, match="has no 'zzz'"):
        compat.old_name("constraints", "zzz")


def test_renamed_functions() -> None:
    with pytest.warns(DeprecationWarning, match=r"maxnorm\(m=3\) is Keras 1; today: MaxNorm\(max_value=3\)"):
        assert compat.old_name("constraints", "maxnorm")(m=3).max_value == 3
    with pytest.warns(DeprecationWarning, match=r"today: L2\(0.5\)"):
        assert compat.old_name("regularizers", "activity_l2")(0.5).l2 == 0.5


A, B = np.array([[1.0, 2.0]], "float32"), np.array([[3.0, 0.0]], "float32")


@pytest.mark.parametrize(
    ("options", "today", "value"),
    [
        ({}, "add([...])", [[4.0, 2.0]]),
        ({"mode": "mul"}, "multiply([...])", [[3.0, 0.0]]),
        ({"mode": "concat", "concat_axis": 1}, "concatenate([...], axis=1)", [[1.0, 2.0, 3.0, 0.0]]),
        ({"mode": "ave"}, "average([...])", [[2.0, 1.0]]),
        ({"mode": "max"}, "maximum([...])", [[3.0, 2.0]]),
        ({"mode": "dot", "dot_axes": ([1], [1])}, "dot([...], axes=(1, 1))", [[3.0]]),
        ({"mode": "cos"}, "dot([...], axes=-1, normalize=True)", [[1 / 5**0.5]]),
        ({"mode": lambda tensors: tensors[0] - tensors[1]}, "Lambda(<lambda>)", [[-2.0, 2.0]]),
    ],
)
def test_merge(options: dict[str, Any], today: str, value: Any) -> None:
    tensors = [torch.tensor(A), torch.tensor(B)]
    with pytest.warns(DeprecationWarning, match="; today: ") as caught:
        result = compat.old_name("layers", "merge")(tensors, **options)
    np.testing.assert_allclose(np.asarray(result), value, rtol=1e-6)
    assert len(caught) == 1
    assert str(caught[0].message).endswith(f"today: {today}")


def test_merge_of_an_unknown_mode() -> None:
    with pytest.raises(ValueError, match="'sum', 'mul'"):
        old_layers.merge([], mode="plus")


def test_the_merge_layer_joins_two_models() -> None:
    left = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)])
    right = lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(5)])
    with pytest.warns(
        DeprecationWarning, match=r"Merge\(\[...\], mode='concat'\) is Keras 1; today: Concatenate\(axis=-1\)"
    ):
        model = compat.old_name("layers", "Merge")([left, right], mode="concat")
    assert model.output_shape == (None, 7)


# keras.backend


def test_backend_functions_are_those_of_ops() -> None:
    for name, target in backend._OPS.items():
        assert getattr(backend, name) is getattr(lamina.ops, target), name


X = np.arange(12, dtype="float32").reshape(2, 3, 2) / 10


@pytest.mark.parametrize(
    ("name", "args", "value"),
    [
        ("mean", (X, 1), X.mean(1)),
        ("std", (X,), X.std()),
        ("sum", (X, (0, 1), True), X.sum((0, 1), keepdims=True)),
        ("clip", (X, 0.2, 0.5), X.clip(0.2, 0.5)),
        ("dot", (X[0], X[0].T), X[0] @ X[0].T),
        ("concatenate", ([X, X], 1), np.concatenate([X, X], 1)),
        ("permute_dimensions", (X, (2, 0, 1)), X.transpose(2, 0, 1)),
        ("gather", (X[0], np.array([2, 0])), X[0][[2, 0]]),
        ("pow", (X, 2), X**2),
        ("argmax", (X,), X.argmax(-1)),
        ("argmin", (X, 1), X.argmin(1)),
        ("cumsum", (X,), X.cumsum(0)),
        ("cumprod", (X, 1), X.cumprod(1)),
        ("expand_dims", (X,), X[..., None]),
        ("relu", (X - 0.5, 0.1, 0.3), np.where(X > 0.5, np.minimum(X - 0.5, 0.3), 0.1 * (X - 0.5))),
        ("equal", (X, X), np.ones_like(X, bool)),
        ("cast", (X, "int32"), X.astype("int32")),
        ("repeat_elements", (X, 2, 1), X.repeat(2, 1)),
        ("reverse", (X, 1), X[:, ::-1]),
        ("switch", (X > 0.5, X, -X), np.where(X > 0.5, X, -X)),
        ("flatten", (X,), X.ravel()),
        ("batch_flatten", (X,), X.reshape(2, 6)),
        ("repeat", (X[0], 4), X[0][:, None].repeat(4, 1)),
        ("l2_normalize", (X + 1, -1), (X + 1) / np.linalg.norm(X + 1, axis=-1, keepdims=True)),
        ("batch_dot", (X, X, 1), np.einsum("bij,bik->bjk", X, X)),
        ("batch_dot", (X, X.transpose(0, 2, 1)), np.einsum("bij,bjk->bik", X, X.transpose(0, 2, 1))),
        ("batch_dot", (X[0], X[0]), (X[0] * X[0]).sum(1, keepdims=True)),
        ("binary_crossentropy", (np.float32([1.0, 0.0]), np.float32([0.9, 0.2])), [-np.log(0.9), -np.log(0.8)]),
        ("constant", (3, "float32", (2, 2)), np.full((2, 2), 3.0)),
        ("zeros", ((2, 3),), np.zeros((2, 3))),
    ],
)
def test_backend_values(name: str, args: Any, value: Any) -> None:
    args = tuple(torch.tensor(arg.copy()) if isinstance(arg, np.ndarray) else arg for arg in args)
    np.testing.assert_allclose(backend.eval(getattr(backend, name)(*args)), value, rtol=1e-5, atol=1e-6)


def test_backend_variables() -> None:
    variable = backend.variable([[1, 2]], name="v")
    backend.set_value(variable, [[3.0, 4.0]])
    assert backend.get_value(variable).tolist() == [[3.0, 4.0]]
    backend.batch_set_value([(variable, [[5.0, 6.0]])])
    assert backend.batch_get_value([variable])[0].tolist() == [[5.0, 6.0]]
    assert (backend.dtype(variable), backend.ndim(variable), backend.int_shape(variable)) == ("float32", 2, (1, 2))
    assert not backend.is_keras_tensor(variable)
    assert backend.is_keras_tensor(lamina.Input((2,)))
    assert backend.int_shape(backend.batch_flatten(lamina.Input((2, 3)))) == (None, 6)
    assert backend.random_normal((2, 3)).shape == backend.random_uniform((2, 3)).shape == (2, 3)


def test_backend_settings() -> None:
    assert backend.backend() == "torch"
    with pytest.warns(DeprecationWarning, match=r"today: set_image_data_format\('channels_first'\)"):
        backend.set_image_dim_ordering("th")
    try:
        assert lamina.config.image_data_format() == "channels_first"
        with pytest.warns(DeprecationWarning, match=r"today: image_data_format\(\)"):
            assert backend.image_dim_ordering() == "th"
    finally:
        backend.set_image_data_format("channels_last")
    with pytest.raises(ValueError, match="'tf' or 'th'"):
        backend.set_image_dim_ordering("theano")
    backend.clear_session()
    assert lamina.layers.Dense(1).name == "dense"
    assert [backend.get_uid("thing"), backend.get_uid("thing")] == [1, 2]


def test_backend_of_graphs_is_gone() -> None:
    for name in backend._GONE:
        with pytest.raises(lamina.LaminaError, match=rf"keras.backend.{name}\(\) is gone"):
            getattr(backend, name)()
    with pytest.raises(AttributeError, match="Did you mean 'concatenate'"):
        backend.concatenat  # noqa: B018
    assert {"mean", "function", "floatx"} <= set(dir(backend))


# tensorflow

tf: Any = make_tensorflow()


@pytest.mark.parametrize(
    ("made", "value"),
    [
        (lambda: tf.ones((2, 3)), np.ones((2, 3), "float32")),
        (lambda: tf.zeros([2], dtype=tf.int32), np.zeros(2, "int32")),
        (lambda: tf.constant([[1.0, 2.0]]), np.float32([[1, 2]])),
        (lambda: tf.constant(2, shape=(2, 2), dtype=tf.float32), np.full((2, 2), 2, "float32")),
        (lambda: tf.constant([1, 2, 3, 4], shape=(2, 2)), np.int32([[1, 2], [3, 4]])),
        (lambda: tf.convert_to_tensor(X, dtype=tf.float64), X.astype("float64")),
        (lambda: tf.cast(X, tf.int32), X.astype("int32")),
        (lambda: tf.reduce_mean(tf.constant(X), axis=[0, 1]), X.mean((0, 1))),
        (lambda: tf.reduce_sum(X, 1, keepdims=True), X.sum(1, keepdims=True)),
        (lambda: tf.ones((2,))[:, tf.newaxis], np.ones((2, 1), "float32")),
        (lambda: tf.reshape(X, (3, -1)), X.reshape(3, -1)),
        (lambda: tf.concat([X, X], axis=1), np.concatenate([X, X], 1)),
        (lambda: tf.squeeze(tf.expand_dims(X, 0), axis=0), X),
        (lambda: tf.matmul(X, X, transpose_a=True), X.transpose(0, 2, 1) @ X),
        (lambda: tf.matmul(X, X, transpose_b=True), X @ X.transpose(0, 2, 1)),
        (lambda: tf.argmax(X), X.argmax(0)),
        (lambda: tf.argmax(X, axis=-1, output_type=tf.int32), X.argmax(-1).astype("int32")),
        (lambda: tf.range(3), np.arange(3, dtype="int32")),
        (lambda: tf.range(1, 7, delta=2), np.arange(1, 7, 2, dtype="int32")),
        (lambda: tf.square(tf.sqrt(tf.exp(tf.abs(x=-X)))), np.exp(X)),
        (lambda: tf.maximum(X, tf.minimum(X, 0.5)), X),
        (lambda: tf.nn.relu(features=X - 0.5), np.maximum(X - 0.5, 0)),
        (lambda: tf.nn.softmax(X, axis=1), np.exp(X) / np.exp(X).sum(1, keepdims=True)),
        (lambda: tf.nn.sigmoid(X), 1 / (1 + np.exp(-X))),
    ],
)
def test_tensorflow_functions(made: Any, value: np.ndarray) -> None:
    result = np.asarray(made())
    assert result.dtype == value.dtype
    np.testing.assert_allclose(result, value, rtol=1e-5)


def test_tensorflow_random() -> None:
    tf.random.set_seed(3)
    first = tf.random.normal((2, 3)), tf.random.uniform((4,), 2, 3), tf.random.uniform((50,), 0, 3, dtype=tf.int32)
    tf.random.set_seed(3)
    assert torch.equal(first[0], tf.random.normal((2, 3)))
    assert ((first[1] >= 2) & (first[1] < 3)).all()
    assert sorted(set(first[2].tolist())) == [0, 1, 2]
    assert first[2].dtype == tf.int32
    with pytest.raises(ValueError, match="maxval"):
        tf.random.uniform((2,), dtype=tf.int64)


def test_tensorflow_dtypes_and_names() -> None:
    assert tf.float32 == torch.float32 == tf.float32
    assert tf.float32 == "float32"
    assert tf.float32 != torch.float64
    assert tf.float32 != None  # noqa: E711
    assert np.zeros(1, dtype=tf.float64).dtype == tf.float64.as_numpy_dtype
    assert (tf.float32.name, repr(tf.int8)) == ("float32", "tf.int8")
    assert tf.shape(np.zeros((2, 3)))[0] == 2
    assert tf.keras is lamina
    assert tf.__version__.startswith("2.")
    assert {"ones", "keras", "nn"} <= set(dir(tf))


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        (lambda: tf.GradientTape, "tf.GradientTape is not there: this `tensorflow` is lamina's stand-in"),
        (lambda: tf.reduce_mea, "Did you mean 'reduce_mean'? tf has: abs, argmax, "),
        (lambda: tf.nn.conv2d, "tf.nn has: relu, sigmoid, softmax."),
    ],
)
def test_tensorflow_has_nothing_else(ask: Any, text: str) -> None:
    with pytest.raises(AttributeError) as caught:
        ask()
    assert text in str(caught.value)


def test_every_method_of_a_model_asks_the_tables() -> None:
    model = lamina.Sequential([lamina.Input((2,)), lamina.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.zeros((2, 2), "float32")
    for call in (
        lambda: model.evaluate(x, x[:, :1], verbose=0, workers=2),
        lambda: model.predict(x, verbose=0, workers=2),
        lambda: model.fit(x, x[:, :1], verbose=0, nb_epoch=1),
    ):
        with pytest.warns(DeprecationWarning, match="today") as caught:
            call()
        assert len(caught) == 1
    with pytest.raises(TypeError, match="optimiser"):
        model.compile(optimiser="sgd")
