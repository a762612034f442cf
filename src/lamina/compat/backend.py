"""`keras.backend`: its settings, and its tensor functions as a table onto `lamina.ops`.

>>> from lamina.compat import backend as K
>>> K.image_data_format(), K.int_shape(K.zeros((2, 3)))
('channels_last', (2, 3))
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lamina.base import names
from lamina.base.config import (
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from lamina.base.errors import LaminaError
from lamina.base.late import late
from lamina.base.registry import nearest
from lamina.compat.calls import deprecate
from lamina.compat.rows import words
from lamina.engine import random
from lamina.engine.dtypes import standardize_dtype
from lamina.engine.variable import Variable

# The backend's name and the function of `lamina.ops` that has the same arguments in the same order.
_OPS: dict[str, str] = {
    **{
        name: name
        for name in words(
            "abs all any arange cast clip concatenate cos dot elu equal exp eye greater greater_equal"
            " hard_sigmoid less less_equal log logsumexp max maximum mean min minimum not_equal one_hot ones"
            " ones_like prod reshape round shape sigmoid sign sin softmax softplus softsign sqrt square squeeze"
            " stack std sum tanh tile transpose var zeros zeros_like binary_crossentropy categorical_crossentropy"
            " sparse_categorical_crossentropy"
        )
    },
    "permute_dimensions": "transpose",
    "pow": "power",
    "repeat_elements": "repeat",
    "reverse": "flip",
    "stop_gradient": "stop_gradient",
    "switch": "where",
}

# What a graph of TensorFlow 1 or Theano had and lamina has not, and what to do today.
_GONE: dict[str, str] = {
    "function": "there are no graphs to compile; call keras.Model(inputs, outputs), or its .predict_on_batch(x)",
    "get_session": "there are no sessions; a tensor has its value, and K.eval(x) gives it as a NumPy array",
    "gradients": "use torch: loss.backward() and v.grad, or torch.autograd.grad(loss, variables)",
    "in_train_phase": "a layer's call(x, training=None) is told whether it trains",
    "in_test_phase": "a layer's call(x, training=None) is told whether it trains",
    "learning_phase": "a layer's call(x, training=None) is told whether it trains",
    "placeholder": "use keras.Input(shape)",
    "set_learning_phase": "call the model with training=True or training=False",
    "set_session": "there are no sessions",
}


def __getattr__(name: str) -> Any:
    if name in _OPS:
        return getattr(late("ops"), _OPS[name])
    if name in _GONE:
        return _gone(name)
    if name.startswith("__"):
        raise AttributeError(name)
    raise AttributeError(f"keras.backend has no {name!r} in lamina.{nearest(name, __dir__())}")


def __dir__() -> list[str]:
    return sorted({*_OPS, *_GONE, *__all__})


def _gone(name: str) -> Callable[..., Any]:
    def gone(*args: Any, **kwargs: Any) -> Any:
        raise LaminaError(f"keras.backend.{name}() is gone: {_GONE[name]}.")

    gone.__name__ = name
    return gone


def backend() -> str:
    """The engine under the API, always `"torch"`."""
    return "torch"


def clear_session(free_memory: bool = True) -> None:
    """Starts the automatic names anew: the next Dense is `dense` again. Nothing else is kept in a session."""
    names.reset_names()


def get_uid(prefix: str = "") -> int:
    """How many automatic names of this prefix were given, this one included."""
    name = names.auto_name(prefix or "uid")
    return int(name.rpartition("_")[2]) + 1 if name[-1].isdigit() else 1


def image_dim_ordering() -> str:
    """Keras 1's `image_data_format()`: `"tf"` for channels_last, `"th"` for channels_first."""
    deprecate("image_dim_ordering()", "Keras 1", "image_data_format()")
    return "th" if image_data_format() == "channels_first" else "tf"


def set_image_dim_ordering(dim_ordering: str) -> None:
    """Keras 1's `set_image_data_format`. Errors: anything but `"tf"` and `"th"` is a ValueError."""
    formats = {"tf": "channels_last", "th": "channels_first"}
    if dim_ordering not in formats:
        raise ValueError(f"dim_ordering is 'tf' or 'th'; got {dim_ordering!r}.")
    today = formats[dim_ordering]
    deprecate(f"set_image_dim_ordering({dim_ordering!r})", "Keras 1", f"set_image_data_format({today!r})")
    set_image_data_format(today)


# Values and shapes.


def variable(value: Any, dtype: Any = None, name: str | None = None, constraint: Any = None) -> Variable:
    """A `Variable` that starts from a value; shape: the value's."""
    made = Variable(value, dtype=dtype or floatx(), name=name)
    made.constraint = constraint
    return made


def constant(value: Any, dtype: Any = None, shape: Sequence[int] | None = None, name: str | None = None) -> Any:
    """A tensor of a value, of `shape` if given (a number fills it)."""
    tensor = late("ops").convert_to_tensor(value, dtype=dtype or floatx())
    return tensor if shape is None else late("ops").broadcast_to(tensor, tuple(shape))


def eval(x: Any) -> np.ndarray:
    """A tensor's values as a NumPy array."""
    return np.asarray(late("ops").convert_to_numpy(x))


get_value = eval


def set_value(x: Variable, value: Any) -> None:
    """Copies a value of the same shape into a variable."""
    x.assign(value)


def batch_get_value(tensors: Sequence[Any]) -> list[np.ndarray]:
    """The values of several tensors."""
    return [eval(tensor) for tensor in tensors]


def batch_set_value(pairs: Sequence[tuple[Variable, Any]]) -> None:
    """Copies values into variables: `[(variable, value), ...]`."""
    for target, value in pairs:
        target.assign(value)


def int_shape(x: Any) -> tuple[int | None, ...]:
    """The shape as a tuple; None for an axis that is not known yet."""
    return tuple(x.shape)


def ndim(x: Any) -> int:
    """The number of axes."""
    return len(x.shape)


def dtype(x: Any) -> str:
    """The dtype's name."""
    return standardize_dtype(x.dtype)


def is_keras_tensor(x: Any) -> bool:
    """Whether a value is symbolic: what `Input` and a layer called on it give."""
    from lamina.graph.keras_tensor import KerasTensor

    return isinstance(x, KerasTensor)


# Functions whose arguments, or what they are by default, are not those of lamina.ops.


def argmax(x: Any, axis: int = -1) -> Any:
    """Where the largest value is, along one axis, which leaves the shape."""
    return late("ops").argmax(x, axis=axis)


def argmin(x: Any, axis: int = -1) -> Any:
    """Where the smallest value is, along one axis, which leaves the shape."""
    return late("ops").argmin(x, axis=axis)


def cumsum(x: Any, axis: int = 0) -> Any:
    """The running sum along an axis; same shape."""
    return late("ops").cumsum(x, axis=axis)


def cumprod(x: Any, axis: int = 0) -> Any:
    """The running product along an axis; same shape."""
    return late("ops").cumprod(x, axis=axis)


def expand_dims(x: Any, axis: int = -1) -> Any:
    """A new axis of size 1, the last by default."""
    return late("ops").expand_dims(x, axis)


def gather(reference: Any, indices: Any) -> Any:
    """Rows by number; shape: the indices' shape, then the reference's without its first axis."""
    return late("ops").take(reference, indices, axis=0)


def relu(x: Any, alpha: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Any:
    """min(x, max_value) from `threshold` on, below it alpha * (x - threshold); same shape."""
    return late("activations").relu(x, negative_slope=alpha, max_value=max_value, threshold=threshold)


def flatten(x: Any) -> Any:
    """All elements on one axis; shape: (elements,)."""
    return late("ops").reshape(x, (-1,))


def batch_flatten(x: Any) -> Any:
    """Each row's elements on one axis; shape: (batch, ...) to (batch, elements of a row)."""
    sizes = [-1 if size is None else size for size in int_shape(x)[1:]]
    return late("ops").reshape(x, (-1, -1 if -1 in sizes else math.prod(sizes)))


def repeat(x: Any, n: int) -> Any:
    """Each row n times; shape: (batch, features) to (batch, n, features)."""
    return late("ops").repeat(late("ops").expand_dims(x, 1), n, axis=1)


def l2_normalize(x: Any, axis: int | None = None) -> Any:
    """x / sqrt(max(sum(x²), 1e-12)) along an axis (all axes for None); same shape."""
    ops = late("ops")
    total = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x * ops.rsqrt(ops.maximum(total, 1e-12))


def batch_dot(x: Any, y: Any, axes: Any = None) -> Any:
    """The dot product of each row of x with the same row of y over `axes`: an axis, or one of x and one of y.

    Shape: x's axes but the summed, then y's but the first and the summed; (batch, 1) where nothing else is left.
    By default the last axis of x and the one before the last of y (the last, if y has two axes) are summed.

    >>> from lamina import ops
    >>> batch_dot(ops.ones((4, 2, 3)), ops.ones((4, 3, 5))).shape
    torch.Size([4, 2, 5])
    """
    x_rank, y_rank = ndim(x), ndim(y)
    if x_rank < 2 or y_rank < 2:
        raise ValueError(f"batch_dot needs two axes or more on each side; got {int_shape(x)} and {int_shape(y)}.")
    if axes is None:
        axes = (x_rank - 1, max(y_rank - 2, 1))
    x_axis, y_axis = (axes, axes) if isinstance(axes, int) else axes
    x_letters, y_letters = string.ascii_lowercase[:x_rank], "a" + string.ascii_uppercase[1:y_rank]
    summed = x_letters[x_axis]
    if 0 in (x_axis % x_rank, y_axis % y_rank):
        raise ValueError("batch_dot sums over any axis but 0, the batch.")
    y_letters = y_letters.replace(y_letters[y_axis], summed)
    result = x_letters.replace(summed, "") + y_letters[1:].replace(summed, "")
    product = late("ops").einsum(f"{x_letters},{y_letters}->{result}", x, y)
    return late("ops").expand_dims(product, -1) if len(result) == 1 else product


def random_normal(
    shape: Sequence[int], mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Numbers of the normal distribution, of this shape."""
    return random.normal(shape, mean, stddev, dtype, seed)


def random_uniform(
    shape: Sequence[int], minval: float = 0.0, maxval: float = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Numbers drawn evenly from [minval, maxval), of this shape."""
    return random.uniform(shape, minval, maxval, dtype, seed)


__all__ = [
    "argmax",
    "argmin",
    "backend",
    "batch_dot",
    "batch_flatten",
    "batch_get_value",
    "batch_set_value",
    "clear_session",
    "constant",
    "cumprod",
    "cumsum",
    "dtype",
    "epsilon",
    "eval",
    "expand_dims",
    "flatten",
    "floatx",
    "gather",
    "get_uid",
    "get_value",
    "image_data_format",
    "image_dim_ordering",
    "int_shape",
    "is_keras_tensor",
    "l2_normalize",
    "ndim",
    "random_normal",
    "random_uniform",
    "relu",
    "repeat",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "set_image_dim_ordering",
    "set_value",
    "standardize_dtype",
    "variable",
]
