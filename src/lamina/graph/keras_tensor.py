"""A tensor that is not there yet: a shape, a dtype and the call that will make it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from lamina.base import names
from lamina.base.late import late
from lamina.engine.dtypes import standardize_dtype

Shape = tuple[int | None, ...]

# An unknown size is tried out with two numbers (batch, then axis 1, 2, ...). What differs between the two runs is
# unknown in the result. Multiples of 64 halve six times without a remainder, as the sizes users mean do.
_BATCH_SIZES = (6, 10)


def _trial_sizes(axis: int) -> tuple[int, int]:
    return _BATCH_SIZES if axis == 0 else (256 + 128 * axis, 1088 + 192 * axis)


def _trial_shape(shape: Shape, run: int) -> tuple[int, ...]:
    return tuple(_trial_sizes(axis)[run] if size is None else size for axis, size in enumerate(shape))


class KerasHistory(NamedTuple):
    """Which call made a tensor: the operation, which of its calls, which of that call's results."""

    operation: Any
    node_index: int
    tensor_index: int


class KerasTensor:
    """A symbolic tensor: `shape` (None where a size is open), `dtype` (a name), `name`.

    Operators and `lamina.ops` functions on it record nodes; values come when the model is called.

    >>> import lamina
    >>> x = lamina.Input((4,))
    >>> (x * 2).shape
    (None, 4)
    """

    def __init__(
        self,
        shape: Iterable[int | None],
        dtype: Any = "float32",
        sparse: bool = False,
        name: str | None = None,
        *,
        trial_shapes: tuple[tuple[int, ...], tuple[int, ...]] | None = None,
    ):
        self.shape: Shape = tuple(None if size is None else int(size) for size in shape)
        self.dtype = standardize_dtype(dtype)
        self.sparse = sparse
        self.name = name or names.auto_name("keras_tensor")
        self.trial_shapes = trial_shapes or (_trial_shape(self.shape, 0), _trial_shape(self.shape, 1))
        self._keras_history: KerasHistory | None = None
        self._keras_mask: KerasTensor | None = None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, sparse={self.sparse}, name={self.name}>"

    def __array__(self, *args: Any) -> Any:
        raise ValueError(_no_value(self, "a NumPy array"))

    def __bool__(self) -> bool:
        raise TypeError(_no_value(self, "a bool"))

    def __float__(self) -> float:
        raise TypeError(_no_value(self, "a float"))

    def __int__(self) -> int:
        raise TypeError(_no_value(self, "an int"))

    def __iter__(self) -> Any:
        if not self.shape or self.shape[0] is None:
            raise TypeError(f"{self!r} cannot be iterated: its first size is open.")
        return (late("ops").get_item(self, index) for index in range(self.shape[0]))

    def _lamina_serialize(self) -> dict[str, Any]:
        config: dict[str, Any] = {"shape": self.shape, "dtype": self.dtype}
        if self._keras_history is not None:
            operation, node_index, tensor_index = self._keras_history
            config["keras_history"] = [operation.name, node_index, tensor_index]
        return {"class_name": "__keras_tensor__", "config": config}


def _no_value(tensor: KerasTensor, wanted: str) -> str:
    return (
        f"{tensor!r} has no value, so it cannot become {wanted}: it stands for a tensor that a model will compute. "
        f"Use lamina.ops functions on it, or put the code into a Layer's call()."
    )


def _forward(name: str) -> Callable[..., Any]:
    def operator(self: KerasTensor, *others: Any) -> Any:
        return getattr(late("ops"), name)(self, *others)

    return operator


def _backward(name: str) -> Callable[..., Any]:
    def operator(self: KerasTensor, other: Any) -> Any:
        return getattr(late("ops"), name)(other, self)

    return operator


_OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "floordiv": "floor_divide",
    "mod": "mod",
    "pow": "power",
    "matmul": "matmul",
    "and": "logical_and",
    "or": "logical_or",
    "xor": "logical_xor",
}
for _operator, _name in _OPERATORS.items():
    setattr(KerasTensor, f"__{_operator}__", _forward(_name))
    setattr(KerasTensor, f"__r{_operator}__", _backward(_name))
for _operator, _name in {
    "neg": "negative",
    "abs": "absolute",
    "invert": "logical_not",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "ne": "not_equal",
    "getitem": "get_item",
}.items():
    setattr(KerasTensor, f"__{_operator}__", _forward(_name))


def is_keras_tensor(value: Any) -> bool:
    """Whether a value is a symbolic tensor."""
    return isinstance(value, KerasTensor)


def any_symbolic(*structures: Any) -> bool:
    """Whether a symbolic tensor lies anywhere in nested tuples, lists and dicts."""
    for value in structures:
        if isinstance(value, KerasTensor):
            return True
        if isinstance(value, list | tuple) and any_symbolic(*value):
            return True
        if isinstance(value, dict) and any_symbolic(*value.values()):
            return True
    return False
