"""A weight: a `torch.nn.Parameter` that knows its name, its axes and how it was initialised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from lamina.base import names
from lamina.engine import changes
from lamina.engine.budget import current_budget
from lamina.engine.device import current_device
from lamina.engine.dtypes import standardize_dtype, torch_dtype
from lamina.engine.layout import array_of, copy_into

Initializer = Callable[..., Any]

_DATA: Any = torch.Tensor.data


class Variable(torch.nn.Parameter):
    """A tensor that a layer owns. It *is* the tensor: `.value` is itself, `.assign` copies in place.

    Parameters: `initializer`, a tensor, array, number, or a callable `(shape, dtype)`; `shape`, needed with a callable;
    `trainable`, whether gradients are kept (`requires_grad`); `axes`, the meaning of each axis, from which the
    parameter formula follows; `memory_order`, the axes in the order in which they lie in memory, outermost first: a
    convolution's kernel has Keras's shape (height, width, in, out) and torch's layout (out, height, width, in).

    >>> v = Variable([1.0, 2.0], name="scale")
    >>> v.assign([3.0, 4.0]).numpy()
    array([3., 4.], dtype=float32)
    """

    path: str
    _own_name: str
    _regularizer: Any
    any_regularized = False  # whether any variable of the process is: until then no step needs to look for them
    axes: tuple[str, ...] | None
    constraint: Any
    autocast: bool
    overwrite_with_gradient: bool
    declared_trainable: bool
    aggregation: str
    initializer: Initializer | None
    memory_order: tuple[int, ...] | None

    def __new__(
        cls,
        initializer: Any,
        shape: Sequence[int] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        aggregation: str = "none",
        name: str | None = None,
        *,
        axes: Sequence[str] | None = None,
        memory_order: Sequence[int] | None = None,
        path: str | None = None,
    ) -> Variable:
        make = initializer if callable(initializer) and not isinstance(initializer, torch.Tensor) else None
        if make is not None:
            if shape is None:
                raise ValueError("A Variable with an initializer function needs a shape.")
            data = _planned(make, tuple(shape), standardize_dtype(dtype), memory_order, path or name)
        else:
            data = _as_data(initializer, dtype)
            if shape is not None and tuple(shape) != tuple(data.shape):
                raise ValueError(
                    f"A Variable of shape {tuple(shape)} cannot start from a value of {tuple(data.shape)}."
                )
        floating = data.dtype.is_floating_point or data.dtype.is_complex
        self = torch.Tensor._make_subclass(cls, data, bool(trainable) and floating)
        self._own_name = name or names.auto_name("variable")
        self.path = path or self.name
        self.axes = tuple(axes) if axes is not None else None
        self.autocast = autocast
        self.aggregation = aggregation
        self._regularizer = None
        self.constraint = None
        self.overwrite_with_gradient = False
        self.declared_trainable = bool(trainable)
        self.initializer = make
        self.memory_order = tuple(memory_order) if memory_order is not None else None
        budget = current_budget()
        if budget is not None and data.device.type == "meta":
            budget.waiting.append(self)
        return self

    def __init__(self, *args: Any, **kwargs: Any):  # everything is done in __new__, where the tensor is made
        pass

    @property
    def name(self) -> str:  # type: ignore[override]  # torch's own `name` is read-only and always None
        return self._own_name

    @property
    def value(self) -> Variable:
        return self

    @property
    def regularizer(self) -> Any:
        """The loss on the variable's values that training adds, or None."""
        return self._regularizer

    @regularizer.setter
    def regularizer(self, regularizer: Any) -> None:
        self._regularizer = regularizer
        if regularizer is not None:
            Variable.any_regularized = True

    @property
    def trainable(self) -> bool:
        return self.requires_grad if self.dtype.is_floating_point else self.declared_trainable

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        self.requires_grad_(bool(trainable) and self.declared_trainable and self.dtype.is_floating_point)

    def assign(self, value: Any) -> Variable:
        """Copies a value of the same shape in place. Errors: another shape is a ValueError; nothing changes."""
        value = torch.as_tensor(value if isinstance(value, torch.Tensor) else np.asarray(value))
        if tuple(value.shape) != tuple(self.shape):
            raise ValueError(
                f"Variable {self.path!r} is {tuple(self.shape)}; a value of {tuple(value.shape)} cannot be assigned."
            )
        with torch.no_grad():
            self.copy_(value)
        return self

    def assign_add(self, value: Any) -> Variable:
        with torch.no_grad():
            self.add_(torch.as_tensor(value, device=self.device).to(self.dtype))
        return self

    def assign_sub(self, value: Any) -> Variable:
        with torch.no_grad():
            self.sub_(torch.as_tensor(value, device=self.device).to(self.dtype))
        return self

    def numpy(self, *args: Any, **kwargs: Any) -> np.ndarray[Any, Any]:
        """A copy as a NumPy array in the logical shape (bfloat16, which NumPy lacks, as float32)."""
        array = array_of(self)
        return array if array.ctypes.data != self.data_ptr() else array.copy()

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        array = self.numpy()  # always a copy
        return array if dtype is None else array.astype(dtype)

    def reinitialize(self) -> None:
        """Runs the initializer again, in place. Errors: a variable made from a value has none."""
        if self.initializer is None:
            raise ValueError(f"Variable {self.path!r} was made from a value and has no initializer to run again.")
        fresh = _make(self.initializer, tuple(self.shape), standardize_dtype(self.dtype), self.memory_order)
        if self.device.type == "meta":
            raise ValueError(f"Variable {self.path!r} has no memory; materialize() the model first.")
        self.assign(fresh)

    def like(self, data: torch.Tensor) -> Variable:
        """A variable over another tensor with everything else of this one (another device or dtype)."""
        twin = torch.Tensor._make_subclass(type(self), data, self.requires_grad and data.dtype.is_floating_point)
        twin.__dict__.update(self.__dict__)
        return twin

    def materialized(self) -> Variable:
        """A variable with memory and fresh initial values, for one that was made on the meta device."""
        if self.initializer is None:
            raise ValueError(f"Variable {self.path!r} was made from a value and has no initializer.")
        return self.like(_make(self.initializer, tuple(self.shape), standardize_dtype(self.dtype), self.memory_order))

    def allocate(self, fill: bool = False) -> None:
        """Gives memory to a variable that was made on the meta device, in place: whoever holds it sees the values.

        With `fill` they are fresh initial values, else what happens to lie there. Does nothing where there is memory
        already, or inside `lamina.device("meta")`.
        """
        if self.device.type != "meta" or current_device().type == "meta":
            return
        if fill:
            twin = self.materialized()
        else:
            twin = self.like(_empty(tuple(self.shape), self.dtype, self.memory_order, current_device()))
        torch.utils.swap_tensors(self, twin)

    @property
    def data(self) -> torch.Tensor:
        """The numbers without their history, as of any tensor; another tensor may be put in their place."""
        return _DATA.__get__(self)  # type: ignore[no-any-return]

    @data.setter
    def data(self, value: torch.Tensor) -> None:
        _DATA.__set__(self, value)
        changes.note()

    def __deepcopy__(self, memo: dict[int, Any]) -> Variable:
        if id(self) not in memo:
            memo[id(self)] = self.like(self.detach().clone(memory_format=torch.preserve_format))
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        state = {key: value for key, value in self.__dict__.items() if key != "initializer"}
        return _rebuild, (type(self), self.detach(), self.requires_grad, state)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"<Variable path={self.path}, shape={tuple(self.shape)}, dtype={standardize_dtype(self.dtype)}>"


def _rebuild(cls: type[Variable], data: torch.Tensor, requires_grad: bool, state: dict[str, Any]) -> Variable:
    variable = torch.Tensor._make_subclass(cls, data, requires_grad)
    variable.__dict__.update(state)
    variable.__dict__.setdefault("initializer", None)
    return variable


def _as_data(value: Any, dtype: Any) -> torch.Tensor:
    wanted = None if dtype is None else torch_dtype(dtype)
    if isinstance(value, torch.Tensor):
        return value.detach().clone().to(device=current_device(), dtype=wanted)
    array = np.asarray(value)
    if wanted is None:
        wanted = torch_dtype(None) if array.dtype.kind == "f" else torch_dtype(array.dtype)
    return torch.as_tensor(array.copy()).to(device=current_device(), dtype=wanted)


def _planned(
    make: Initializer, shape: tuple[int, ...], dtype: str, memory_order: Sequence[int] | None, name: str | None
) -> torch.Tensor:
    """Fresh values; for a model that is built under a budget only their shape, once they are counted."""
    budget = current_budget()
    if budget is None or current_device().type == "meta":
        return _make(make, shape, dtype, memory_order)
    budget.charge(shape, torch_dtype(dtype), name or "a variable")
    if not budget.building:
        return _make(make, shape, dtype, memory_order)
    return _empty(shape, torch_dtype(dtype), memory_order, torch.device("meta"))


def _empty(
    shape: tuple[int, ...], dtype: torch.dtype, memory_order: Sequence[int] | None, device: torch.device
) -> torch.Tensor:
    """Memory of a shape, laid out in an order of its axes."""
    if memory_order is None:
        return torch.empty(shape, dtype=dtype, device=device)
    inverse = [list(memory_order).index(axis) for axis in range(len(shape))]
    return torch.empty([shape[axis] for axis in memory_order], dtype=dtype, device=device).permute(inverse)


def _make(make: Initializer, shape: tuple[int, ...], dtype: str, memory_order: Sequence[int] | None) -> torch.Tensor:
    """Fresh values in the wanted memory layout; on meta only the shape, with no call of the initializer."""
    laid = _empty(shape, torch_dtype(dtype), memory_order, current_device())
    if laid.device.type == "meta":
        return laid
    values = make(shape, dtype=dtype)
    values = torch.as_tensor(values if isinstance(values, torch.Tensor) else np.asarray(values))
    if tuple(values.shape) != shape:
        raise ValueError(f"An initializer asked for shape {shape} gave {tuple(values.shape)}.")
    with torch.no_grad():
        return copy_into(laid, values)
