"""lamina's stand-in for `tensorflow`: `tf.keras`, and the few tensor functions that Keras scripts use around it."""

from __future__ import annotations

import importlib
import importlib.machinery
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from lamina.base.late import late
from lamina.base.registry import nearest
from lamina.engine import random
from lamina.engine.device import current_device
from lamina.engine.dtypes import TORCH_DTYPES, standardize_dtype, torch_dtype

VERSION = "2.16.0+lamina"  # the first TensorFlow whose tf.keras is Keras 3


class DType(str):
    """A dtype as TensorFlow names it: equal to its name, to torch's dtype and to NumPy's."""

    @property
    def name(self) -> str:
        return str(self)

    @property
    def as_numpy_dtype(self) -> type:
        return np.dtype(str(self)).type

    def __eq__(self, other: object) -> bool:
        try:
            return str(self) == standardize_dtype(other) if other is not None else False
        except (TypeError, ValueError):
            return False

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return str.__hash__(self)

    def __repr__(self) -> str:
        return f"tf.{self}"


class StandIn(types.ModuleType):
    """A module with a fixed set of names; any other is an AttributeError that lists what there is."""

    def __init__(self, name: str, doc: str, contents: dict[str, Any]):
        super().__init__(name, doc)
        self.__path__: list[str] = []
        self.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        self.__dict__.update(contents)
        self.__all__ = sorted(contents)

    def __getattr__(self, name: str) -> Any:
        if name == "keras" and self.__name__ == "tensorflow":
            return importlib.import_module("lamina")
        if name.startswith("__"):
            raise AttributeError(name)
        short = self.__name__.replace("tensorflow", "tf", 1)
        known = self.__all__
        raise AttributeError(
            f"{short}.{name} is not there: this `tensorflow` is lamina's stand-in, which has tf.keras and a few tensor "
            f"functions.{nearest(name, known)} {short} has: {', '.join(known)}."
        )

    def __dir__(self) -> list[str]:
        return self.__all__


def _op(name: str) -> Callable[..., Any]:
    """The function of `lamina.ops` of this name, looked up when called: the stand-in is made without importing ops."""

    def function(*args: Any, **kwargs: Any) -> Any:
        return getattr(late("ops"), name)(*args, **kwargs)

    function.__name__ = name
    return function


def _constant(value: Any, dtype: Any = None, shape: Sequence[int] | None = None, name: str | None = None) -> Any:
    tensor = late("ops").convert_to_tensor(value, dtype=dtype)
    if shape is None or tuple(tensor.shape) == tuple(shape):
        return tensor
    return late("ops").broadcast_to(tensor, shape) if tensor.ndim == 0 else late("ops").reshape(tensor, shape)


def _convert(value: Any, dtype: Any = None, dtype_hint: Any = None, name: str | None = None) -> Any:
    return late("ops").convert_to_tensor(value, dtype=dtype)


def _filled(name: str) -> Callable[..., Any]:
    def function(shape: Any, dtype: Any = "float32", name: str | None = None) -> Any:
        return make(shape, dtype=dtype)

    make = _op(name)
    function.__name__ = name
    return function


def _reduced(op_name: str) -> Callable[..., Any]:
    def function(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
        return _op(op_name)(input_tensor, axis=axis, keepdims=keepdims)

    function.__name__ = f"reduce_{op_name}"
    return function


def _elementwise(op_name: str, argument: str = "x") -> Callable[..., Any]:
    """A function of one tensor, whose name TensorFlow lets one give too."""

    def function(*args: Any, name: str | None = None, **kwargs: Any) -> Any:
        if argument in kwargs:
            args = (kwargs.pop(argument), *args)
        return _op(op_name)(*args, **kwargs)

    function.__name__ = op_name
    return function


def _pairwise(op_name: str) -> Callable[..., Any]:
    def function(x: Any, y: Any, name: str | None = None) -> Any:
        return _op(op_name)(x, y)

    function.__name__ = op_name
    return function


def _cast(x: Any, dtype: Any, name: str | None = None) -> Any:
    return late("ops").cast(x, standardize_dtype(dtype))


def _shape(input: Any, out_type: Any = None, name: str | None = None) -> Any:
    return late("ops").shape(input)


def _reshape(tensor: Any, shape: Any, name: str | None = None) -> Any:
    return late("ops").reshape(tensor, shape)


def _concat(values: Any, axis: int, name: str | None = None) -> Any:
    return late("ops").concatenate(values, axis=axis)


def _expand_dims(input: Any, axis: int, name: str | None = None) -> Any:
    return late("ops").expand_dims(input, axis)


def _squeeze(input: Any, axis: Any = None, name: str | None = None) -> Any:
    return late("ops").squeeze(input, axis=axis)


def _argmax(input: Any, axis: int | None = None, output_type: Any = "int64", name: str | None = None) -> Any:
    found = late("ops").argmax(input, axis=0 if axis is None else axis)  # TensorFlow's None is the first axis
    return late("ops").cast(found, standardize_dtype(output_type))


def _matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, name: str | None = None) -> Any:
    ops = late("ops")
    return ops.matmul(ops.swapaxes(a, -1, -2) if transpose_a else a, ops.swapaxes(b, -1, -2) if transpose_b else b)


def _range(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str | None = None) -> Any:
    start, limit = (0, start) if limit is None else (start, limit)
    return late("ops").arange(start, limit, delta, dtype=dtype)


def _set_seed(seed: int) -> None:
    random.set_random_seed(seed)


def _normal(
    shape: Any,
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = "float32",
    seed: Any = None,
    name: str | None = None,
) -> Any:
    return random.normal(shape, mean, stddev, dtype, seed)


def _uniform(
    shape: Any,
    minval: float = 0,
    maxval: float | None = None,
    dtype: Any = "float32",
    seed: Any = None,
    name: str | None = None,
) -> Any:
    wanted = torch_dtype(dtype)
    if wanted.is_floating_point:
        return random.uniform(shape, minval, 1.0 if maxval is None else maxval, dtype, seed)
    if maxval is None:
        raise ValueError("tf.random.uniform needs maxval= for whole numbers.")
    device = current_device()
    generator = random.as_seed_generator(seed).generator(device)
    return torch.randint(int(minval), int(maxval), tuple(shape), generator=generator, dtype=wanted, device=device)


# Functions of tf.nn, and what TensorFlow calls their argument.
_NETWORK_FUNCTIONS = {"relu": "features", "sigmoid": "x", "softmax": "logits"}


def make_tensorflow() -> StandIn:
    """A fresh `tensorflow` module: `tf.keras` is lamina, and nothing is there but the listed names.

    >>> tf = make_tensorflow()
    >>> tf.reduce_sum(tf.ones((2, 3)), axis=0)
    tensor([2., 2., 2.])
    """
    relu, softmax, sigmoid = (
        _elementwise("relu", "features"),
        _elementwise("softmax", "logits"),
        _elementwise("sigmoid"),
    )
    streams = {"normal": _normal, "set_seed": _set_seed, "uniform": _uniform}
    networks = {"relu": relu, "sigmoid": sigmoid, "softmax": softmax}
    contents: dict[str, Any] = {
        "__version__": VERSION,
        "argmax": _argmax,
        "cast": _cast,
        "concat": _concat,
        "constant": _constant,
        "convert_to_tensor": _convert,
        "expand_dims": _expand_dims,
        "matmul": _matmul,
        "newaxis": None,
        "nn": StandIn("tensorflow.nn", "The functions of tf.nn that lamina stands in for.", networks),
        "random": StandIn("tensorflow.random", "The functions of tf.random that lamina stands in for.", streams),
        "range": _range,
        "reshape": _reshape,
        "shape": _shape,
        "squeeze": _squeeze,
    }
    contents.update({name: _filled(name) for name in ("ones", "zeros")})
    contents.update({f"reduce_{name}": _reduced(name) for name in ("mean", "sum")})
    contents.update({name: _elementwise(name) for name in ("abs", "exp", "sqrt", "square")})
    contents.update({name: _pairwise(name) for name in ("maximum", "minimum")})
    contents.update({name: DType(name) for name in TORCH_DTYPES})
    module = StandIn("tensorflow", "lamina's stand-in for tensorflow.", contents)
    module.__all__ = sorted({*module.__all__, "keras"} - {"__version__"})
    return module
