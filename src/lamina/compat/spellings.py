"""Keras 1's and 2's spellings as tables. `calls.translate` applies them; no layer knows them.

Each table maps the name of a class, function or method to a `Spelling`. Rows are shared: a convolution's `border_mode`
is a pooling's.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from lamina.base import registry
from lamina.base.late import late
from lamina.compat.rows import Row, Spelling, words

# Values -------------------------------------------------------------------------------------------------------------

_DATA_FORMATS = {"tf": "channels_last", "th": "channels_first", "default": None}
_INITIALIZERS = {"zero": "zeros", "one": "ones", "normal": "random_normal", "uniform": "random_uniform"}


def _data_format(value: Any) -> Any:
    if value not in _DATA_FORMATS and value not in _DATA_FORMATS.values():
        raise ValueError(f"dim_ordering is 'tf' or 'th'; got {value!r}")
    return _DATA_FORMATS.get(value, value)


def _initializer(value: Any) -> Any:
    return _INITIALIZERS.get(value, value) if isinstance(value, str) else value


def _padding(value: Any) -> Any:
    if value == "full":
        raise ValueError("border_mode='full' was Theano's only; put a ZeroPadding layer of kernel size - 1 before it")
    return "same" if value == "half" else value


def _join(*values: Any) -> tuple[Any, ...]:
    return values


def _only(allowed: tuple[Any, ...], why: str) -> Callable[[Any], Any]:
    """A value that today's layers cannot follow is refused; one that changes nothing is let go."""

    def check(value: Any) -> Any:
        if value not in allowed:
            raise ValueError(why)
        return value

    return check


# Layers -------------------------------------------------------------------------------------------------------------

_BIAS = (
    Row("b_regularizer", "bias_regularizer"),
    Row("b_constraint", "bias_constraint"),
    Row("bias", "use_bias"),
)
_WEIGHTS = (
    Row("init", "kernel_initializer", _initializer),
    Row("W_regularizer", "kernel_regularizer"),
    Row("W_constraint", "kernel_constraint"),
    *_BIAS,
)
_SEPARABLE_WEIGHTS = (
    Row("init", "depthwise_initializer pointwise_initializer", _initializer),
    *_BIAS,
)
_BORDER = Row("border_mode", "padding", _padding)
_ORDERING = Row("dim_ordering", "data_format", _data_format)
_FILTERS = Row("nb_filter", "filters")
_ATROUS = Row("atrous_rate", "dilation_rate")
_RATE = Row("p", "rate")
_LAST_POSITIONS = words("W_regularizer b_regularizer activity_regularizer W_constraint b_constraint bias")


def _sequence_shape(length: Any, features: Any) -> tuple[Any, Any]:
    if features is None:
        raise ValueError("input_length needs input_dim with it")
    return length, features


def _convolution(
    today: str,
    kernel: str,
    weights: tuple[Row, ...] = _WEIGHTS,
    after_kernel: tuple[Row, ...] = (),
    before_last: str = "",
) -> Spelling:
    """A convolution of Keras 1. `kernel`: the old names of the kernel's sizes. The rest: where positions differ."""
    sizes = kernel.split()
    if len(sizes) == 1:
        size, strides = Row(kernel, "kernel_size"), Row("subsample_length", "strides")
        layout = Row("input_length input_dim", "input_shape", _sequence_shape, partial=True)
    else:
        size, strides, layout = Row(kernel, "kernel_size", _join), Row("subsample", "strides"), _ORDERING
    positions = [_FILTERS.old, *sizes, *(row.old for row in after_kernel), "init", "activation", "weights", _BORDER.old]
    positions += [strides.old, *before_last.split(), *([_ORDERING.old] if layout is _ORDERING else [])]
    positions += _LAST_POSITIONS if weights is _WEIGHTS else []
    rows = (_FILTERS, size, _BORDER, strides, layout, _ATROUS, *weights, *after_kernel)
    return Spelling(rows, tuple(positions), sizes=len(sizes), today=today)


_LINE = "filter_length"
_PLANE = "nb_row nb_col"
_VOLUME = "kernel_dim1 kernel_dim2 kernel_dim3"
_OUTPUT_SHAPE = Row("output_shape", note="output_shape is dropped: it follows from the input; see also output_padding")
_CONVOLUTIONS: dict[tuple[str, ...], Spelling] = {
    ("Conv1D", "Convolution1D"): _convolution("Conv1D", _LINE),
    ("Conv2D", "Convolution2D"): _convolution("Conv2D", _PLANE),
    ("Conv3D", "Convolution3D"): _convolution("Conv3D", _VOLUME),
    ("AtrousConvolution1D",): _convolution("Conv1D", _LINE, before_last=_ATROUS.old),
    ("AtrousConvolution2D",): _convolution("Conv2D", _PLANE, before_last=_ATROUS.old),
    ("Conv2DTranspose", "Deconvolution2D"): _convolution("Conv2DTranspose", _PLANE, after_kernel=(_OUTPUT_SHAPE,)),
    ("Conv3DTranspose", "Deconvolution3D"): _convolution("Conv3DTranspose", _VOLUME, after_kernel=(_OUTPUT_SHAPE,)),
    ("SeparableConv2D", "SeparableConvolution2D"): _convolution(
        "SeparableConv2D", _PLANE, _SEPARABLE_WEIGHTS, before_last="depth_multiplier"
    ),
}

_POOL_1D = Spelling((Row("pool_length", "pool_size"), Row("stride", "strides"), _BORDER))
_POOL = Spelling((_BORDER, _ORDERING))
_LAYOUT = Spelling((_ORDERING,))
_DROP = Spelling((_RATE,))
_IMPLEMENTATION = Row("implementation", note="implementation is dropped: lamina picks the kernel")
_RECURRENT = (
    Row("output_dim", "units"),
    Row("inner_init", "recurrent_initializer", _initializer),
    Row("U_regularizer", "recurrent_regularizer"),
    Row("dropout_W", "dropout"),
    Row("dropout_U", "recurrent_dropout"),
    Row("consume_less", note="consume_less is dropped: lamina picks the kernel"),
    Row("input_length input_dim", "input_shape", _sequence_shape, partial=True),
    _IMPLEMENTATION,
    *_WEIGHTS,
)
_GATED = (*_RECURRENT, Row("inner_activation", "recurrent_activation"))
_LAST_RECURRENT = words("W_regularizer U_regularizer b_regularizer dropout_W dropout_U")


def _forget_bias(initializer: Any) -> bool:
    if initializer not in ("one", "ones", "zero", "zeros"):
        raise ValueError("the forget gate's bias begins with ones or, by unit_forget_bias=False, as the others")
    return initializer in ("one", "ones")


def _of_cudnn(today: str, own: str = "") -> Spelling:
    """A layer of Keras 2 that ran on a GPU only. Today's finds its kernel itself."""
    parts = "kernel recurrent bias".split()
    positions = ["units", *(f"{part}_initializer" for part in parts), *own.split()]
    positions += [f"{part}_regularizer" for part in (*parts, "activity")] + [f"{part}_constraint" for part in parts]
    return Spelling(
        (), (*positions, *words("return_sequences return_state stateful")), today=today, gone=True, era="Keras 2"
    )


_PLAIN: dict[tuple[str, ...], Spelling] = {
    ("MaxPooling1D", "AveragePooling1D"): _POOL_1D,
    ("MaxPooling2D", "MaxPooling3D", "AveragePooling2D", "AveragePooling3D"): _POOL,
    (
        "GlobalMaxPooling2D",
        "GlobalMaxPooling3D",
        "GlobalAveragePooling2D",
        "GlobalAveragePooling3D",
        "UpSampling2D",
        "UpSampling3D",
        "ZeroPadding2D",
        "ZeroPadding3D",
        "Cropping2D",
        "Cropping3D",
    ): _LAYOUT,
    ("UpSampling1D",): Spelling((Row("length", "size"),)),
    ("Dropout", "GaussianDropout", "AlphaDropout", "SpatialDropout1D"): _DROP,
    ("SpatialDropout2D", "SpatialDropout3D"): Spelling((_RATE, _ORDERING)),
    ("GaussianNoise",): Spelling((Row("sigma", "stddev"),)),
    ("PReLU",): Spelling((Row("init", "alpha_initializer", _initializer),)),
    ("LeakyReLU",): Spelling((Row("alpha", "negative_slope"),), era="Keras 2"),
    ("ThresholdedReLU",): Spelling(
        (Row("theta", "threshold"),),
        positions=("theta",),
        today="ReLU",
        gone=True,
        finish=lambda owner, given: {"threshold": 1.0, **given},
        era="Keras 2",
    ),
    ("Dense",): Spelling(
        (Row("output_dim", "units"), *_WEIGHTS),
        positions=("output_dim", "init", "activation", "weights", *_LAST_POSITIONS, "input_dim"),
    ),
    ("LSTM",): Spelling(
        (*_GATED, Row("forget_bias_init", "unit_forget_bias", _forget_bias)),
        (*words("output_dim init inner_init forget_bias_init activation inner_activation"), *_LAST_RECURRENT),
    ),
    ("GRU",): Spelling(_GATED, (*words("output_dim init inner_init activation inner_activation"), *_LAST_RECURRENT)),
    ("SimpleRNN",): Spelling(_RECURRENT, (*words("output_dim init inner_init activation"), *_LAST_RECURRENT)),
    ("LSTMCell", "GRUCell", "SimpleRNNCell"): Spelling((_IMPLEMENTATION,), era="Keras 2"),
    ("CuDNNLSTM",): _of_cudnn("LSTM", "unit_forget_bias"),
    ("CuDNNGRU",): _of_cudnn("GRU"),
    ("Embedding",): Spelling(
        (
            Row("init", "embeddings_initializer", _initializer),
            Row("W_regularizer", "embeddings_regularizer"),
            Row("W_constraint", "embeddings_constraint"),
            Row("input_length", note="input_length is dropped: the layer takes sequences of any length"),
            Row(
                "dropout",
                value=_only((0, None), "Embedding has no dropout today; put a SpatialDropout1D behind it"),
                note="dropout=0 is dropped",
            ),
        ),
        era="Keras 2",
    ),
    ("BatchNormalization",): Spelling(
        (
            Row("beta_init", "beta_initializer", _initializer),
            Row("gamma_init", "gamma_initializer", _initializer),
            Row(
                "mode",
                value=_only((0,), "only mode=0 of BatchNormalization lives on: one mean and variance per feature"),
                note="mode=0 is dropped: it is what the layer does",
            ),
            Row("fused", note="fused is dropped: lamina picks the kernel"),
        ),
        positions=("epsilon", "mode", "axis", "momentum", "weights", "beta_init", "gamma_init"),
    ),
}

# Optimizers ---------------------------------------------------------------------------------------------------------


def _decayed(owner: str, given: dict[str, Any]) -> dict[str, Any]:
    """`decay=d` divided the rate by `1 + d * step`: today that is the schedule InverseTimeDecay."""
    decay = given.pop("decay", None)
    if decay:
        parameter = inspect.signature(registry.lookup("optimizers", owner)).parameters["learning_rate"]
        rate = given.get("learning_rate", parameter.default)
        given["learning_rate"] = late("schedules").InverseTimeDecay(rate, decay_steps=1, decay_rate=decay)
    return given


def _optimizer(positions: str) -> Spelling:
    rows = (
        Row("lr", "learning_rate"),
        Row("schedule_decay", note="schedule_decay is dropped: Nadam has it built in"),
    )
    order = ("lr", *positions.split())
    return Spelling(rows, order, finish=_decayed, finishes=("decay",), era="Keras 2")


_OPTIMIZERS: dict[tuple[str, ...], Spelling] = {
    ("SGD",): _optimizer("momentum decay nesterov"),
    ("RMSprop", "Adadelta"): _optimizer("rho epsilon decay"),
    ("Adagrad",): _optimizer("epsilon decay"),
    ("Adam", "AdamW", "Adamax"): _optimizer("beta_1 beta_2 epsilon decay"),
    ("Nadam",): _optimizer("beta_1 beta_2 epsilon schedule_decay"),
}

# Models -------------------------------------------------------------------------------------------------------------

_WORKERS = tuple(
    Row(name, note=f"{name} is dropped: parallel loading is the data set's own (PyDataset, DataLoader)")
    for name in words("workers use_multiprocessing max_queue_size max_q_size nb_worker pickle_safe")
)
_EPOCHS = Row("nb_epoch", "epochs")


def _batch_rows(batch: Any) -> int:
    first = batch[0] if isinstance(batch, tuple | list) else batch
    while isinstance(first, tuple | list | dict):
        first = next(iter(first.values())) if isinstance(first, dict) else first[0]
    return len(first)


def _chained(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield from itertools.chain([first], rest)


def _steps_of(samples: int, data: Any) -> tuple[int, Any]:
    """Keras 1 counted an epoch in samples: the number of batches that hold so many, and the data to draw them from.

    The size of a batch is the data's `batch_size`, else it is seen from the first batch, which is put back.
    """
    size = getattr(data, "batch_size", None)
    if size is None and hasattr(data, "__getitem__"):
        size = _batch_rows(data[0])
    if size is None:
        data = iter(data)
        first = next(data)
        size, data = _batch_rows(first), _chained(first, data)
    return -(-samples // size), data


def _steps(samples_name: str, steps_name: str, data_name: str) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
    def count(owner: str, given: dict[str, Any]) -> dict[str, Any]:
        samples = given.pop(samples_name, None)
        if samples is not None:
            data = given.get(data_name)
            if not hasattr(data, "__iter__") and not hasattr(data, "__getitem__"):
                raise TypeError(f"{samples_name}={samples} counts samples of a generator, and {data_name}= is none.")
            given[steps_name], given[data_name] = _steps_of(samples, data)
        return given

    return count


def _fit_steps(owner: str, given: dict[str, Any]) -> dict[str, Any]:
    given = _steps("samples_per_epoch", "steps_per_epoch", "x")(owner, given)
    return _steps("nb_val_samples", "validation_steps", "validation_data")(owner, given)


def _generator_method(today: str) -> Spelling:
    return Spelling(
        (Row("generator", "x"), *_WORKERS),
        positions=("generator", "steps"),
        today=today,
        gone=True,
        finish=_steps("val_samples", "steps", "x"),
        finishes=("val_samples",),
        era="Keras 2",
    )


_FIT_SAMPLES = ("samples_per_epoch", "nb_val_samples")
_FIT_ROWS = (_EPOCHS, Row("show_accuracy", note="show_accuracy is dropped: compile(metrics=['accuracy'])"), *_WORKERS)
_FIT_GENERATOR_POSITIONS = words(
    "generator steps_per_epoch epochs verbose callbacks validation_data validation_steps"  # in Keras 2's order
)
_MODELS: dict[tuple[str, ...], Spelling] = {
    ("Model", "Functional"): Spelling(
        (Row("input", "inputs"), Row("output", "outputs")), positions=("input", "output", "name"), today="Model"
    ),
    ("Model.fit",): Spelling(_FIT_ROWS, positions=("x", "y"), finish=_fit_steps, finishes=_FIT_SAMPLES),
    ("Model.fit_generator",): Spelling(
        (Row("generator", "x"), *_FIT_ROWS),
        positions=_FIT_GENERATOR_POSITIONS,
        today="Model.fit",
        gone=True,
        finish=_fit_steps,
        finishes=_FIT_SAMPLES,
        era="Keras 2",
    ),
    ("Model.evaluate", "Model.predict"): Spelling(_WORKERS, era="Keras 2"),
    ("Model.evaluate_generator",): _generator_method("Model.evaluate"),
    ("Model.predict_generator",): _generator_method("Model.predict"),
    ("Model.compile",): Spelling(
        (
            Row("sample_weight_mode", note="sample_weight_mode is dropped: weights of shape (batch, time) just work"),
            Row("class_mode", note="class_mode is dropped: the loss says it"),
            Row("theano_mode", note="theano_mode is dropped"),
        ),
        era="Keras 2",
    ),
}

# Small parts --------------------------------------------------------------------------------------------------------

_PARTS: dict[tuple[str, ...], Spelling] = {
    ("ModelCheckpoint",): Spelling(
        (
            Row(
                "period",
                value=_only((1,), "period=n counted epochs; today: save_freq=n * steps per epoch"),
                note="period=1 is dropped: save_freq='epoch' is the default",
            ),
        ),
        era="Keras 2",
    ),
    ("ReduceLROnPlateau",): Spelling((Row("epsilon", "min_delta"),), era="Keras 2"),
    ("maxnorm",): Spelling((Row("m", "max_value"),), today="MaxNorm", gone=True),
}

SPELLINGS: dict[str, Spelling] = {
    name: spelling
    for table in (_CONVOLUTIONS, _PLAIN, _OPTIMIZERS, _MODELS, _PARTS)
    for names, spelling in table.items()
    for name in names
}
