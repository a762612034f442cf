"""From anything to a torch tensor and back: what `ops` functions do with their arguments before they compute.

The rules are Keras's: a Python float is a `floatx()`, an int an int32, and neither ever widens a tensor it meets. One
difference is meant: 64-bit types stay 64 bits wide, where Keras narrows them in some functions and not in others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
import torch

from lamina.base import tree
from lamina.base.errors import UnfinishedError
from lamina.base.registry import nearest, public
from lamina.engine.device import current_device
from lamina.engine.dtypes import standardize_dtype, torch_dtype
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.record import op

Tensor: TypeAlias = torch.Tensor
Axis: TypeAlias = int | Sequence[int] | None

_SCALARS = (bool, int, float, complex)
# torch has next to no arithmetic for these two.
_WIDER = {"uint16": "int32", "uint32": "int64"}


def no_such_name(module: str, name: str, unfinished: Iterable[str], known: Iterable[str]) -> Exception:
    """The error for a name that a module of functions lacks: one of Keras's still to come, or a slip."""
    if name in unfinished:
        return UnfinishedError(f"{module}.{name} is part of Keras and not in lamina yet.")
    return AttributeError(f"lamina.{module} has no {name!r}.{nearest(name, [one for one in known if one[0] != '_'])}")


def as_tensor(x: Any, dtype: Any = None, device: torch.device | None = None) -> Tensor:
    """The tensor behind a tensor, array, number or nested list; a tensor stays the same object where it can."""
    wanted = None if dtype is None else torch_dtype(dtype)
    if isinstance(x, torch.Tensor):
        return x if wanted is None or x.dtype is wanted else x.to(wanted)
    device = device or current_device()
    if isinstance(x, _SCALARS):
        return torch.tensor(x, dtype=wanted or _scalar_dtype(x), device=device)
    if isinstance(x, list | tuple) and any(isinstance(leaf, torch.Tensor) for leaf in tree.flatten(x)):
        stacked = torch.stack(promote(*x))
        return stacked if wanted is None else stacked.to(wanted)
    array = np.asarray(x)
    if array.dtype.kind not in "biufc" and array.dtype.name != "bfloat16":
        raise ValueError(f"{type(x).__name__} {str(x)[:60]!r} is no tensor, array, number or list of numbers.")
    if array.dtype.name == "bfloat16":  # of the ml_dtypes package; torch reads it through its bits
        return torch.as_tensor(array.view(np.int16), device=device).view(torch.bfloat16).to(wanted)
    wanted = wanted or _array_dtype(array, listed=isinstance(x, list | tuple))
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    return torch.as_tensor(array, device=device).to(wanted)


def _scalar_dtype(x: Any) -> torch.dtype:
    if isinstance(x, bool):
        return torch.bool
    if isinstance(x, int):
        return torch.int32 if -(2**31) <= x < 2**31 else torch.int64
    return torch_dtype(None) if isinstance(x, float) else torch.complex64


def _array_dtype(array: np.ndarray[Any, Any], listed: bool) -> torch.dtype:
    name = array.dtype.name
    if listed and name == "float64":
        return torch_dtype(None)
    if listed and name == "int64" and (array.size == 0 or np.abs(array).max() < 2**31):
        return torch.int32
    return torch_dtype(_WIDER.get(name, name))


def result_dtype(*values: Any) -> torch.dtype:
    """The common type of an operation's arguments: Python numbers give way to tensors and arrays."""
    strong = [value.dtype if isinstance(value, torch.Tensor) else None for value in values]
    weak = [value for value in values if isinstance(value, _SCALARS)]
    for index, value in enumerate(values):
        if strong[index] is None and not isinstance(value, _SCALARS):
            strong[index] = as_tensor(value).dtype
    known = [dtype for dtype in strong if dtype is not None]
    if not known:
        return reduce(torch.promote_types, [_scalar_dtype(value) for value in weak])
    dtype = reduce(torch.promote_types, known)
    for value in weak:
        scalar = _scalar_dtype(value)
        if _category(scalar) > _category(dtype):
            dtype = scalar
    return dtype


def _category(dtype: torch.dtype) -> int:
    if dtype is torch.bool:
        return 0
    return 3 if dtype.is_complex else 2 if dtype.is_floating_point else 1


def is_float(dtype: torch.dtype) -> bool:
    return dtype.is_floating_point or dtype.is_complex


def promote(*values: Any, floating: bool = False, one_device: bool = False) -> list[Tensor]:
    """The arguments as tensors of one type; `floating` makes integers `floatx()`.

    A number beside a tensor stays on the CPU, because elementwise functions take it to any device without a copy; for
    other functions `one_device` moves it to the tensor's.
    """
    dtype = result_dtype(*values)
    if floating and not is_float(dtype):
        dtype = torch_dtype(None)
    device = next((value.device for value in values if isinstance(value, torch.Tensor)), None)
    scalar_device = device if one_device or device is None else torch.device("cpu")
    return [as_tensor(value, dtype, scalar_device if isinstance(value, _SCALARS) else device) for value in values]


def as_float(x: Any) -> Tensor:
    """The argument as a tensor of floats: integers and bools become `floatx()`."""
    x = as_tensor(x)
    return x if is_float(x.dtype) else x.to(torch_dtype(None))


def as_arithmetic(*values: Any) -> list[Tensor]:
    """Like `promote`, with bools as int32."""
    tensors = promote(*values)
    return [tensor.to(torch.int32) for tensor in tensors] if tensors[0].dtype is torch.bool else tensors


def as_index(indices: Any, size: int, device: torch.device) -> Tensor:
    """Indices as int64, with the negative ones counted from the end."""
    index = as_tensor(indices, device=device).to(torch.int64)
    return torch.where(index < 0, index + size, index)


def as_axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """An axis argument as sorted non-negative axes; None stands for all."""
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if isinstance(axis, int | np.integer) else tuple(axis)
    for one in axes:
        if not -ndim <= one < max(ndim, 1):
            raise ValueError(f"axis {one} lies outside a tensor of {ndim} axes.")
    return tuple(sorted(int(one) % max(ndim, 1) for one in axes))


def as_sizes(shape: Any) -> list[int]:
    """A shape argument, which may be an int, a sequence of ints or a tensor, as ints."""
    if isinstance(shape, int | np.integer):
        return [int(shape)]
    return [int(size) for size in shape]


@public("ops")
@op
def convert_to_tensor(x: Any, dtype: Any = None, sparse: bool | None = None, ragged: bool | None = None) -> Tensor:
    """A torch tensor of the same shape from a tensor, NumPy array, number or nested list.

    Parameters: `dtype`, a name; None keeps the type of tensors and arrays, Python floats become `floatx()` and ints
    int32. Errors: anything without numbers is a ValueError; `sparse` and `ragged` are not there yet.

    >>> convert_to_tensor([[1, 2], [3, 4]]).dtype
    torch.int32
    """
    if sparse or ragged:
        raise UnfinishedError("convert_to_tensor(sparse=True) and (ragged=True) are not in lamina yet.")
    return as_tensor(x, dtype)


@public("ops")
@op
def array(x: Any, dtype: Any = None) -> Tensor:
    """`convert_to_tensor` by NumPy's name.

    >>> array([1, 2], "float32").tolist()
    [1.0, 2.0]
    """
    return as_tensor(x, dtype)


@public("ops")
def convert_to_numpy(x: Any) -> np.ndarray[Any, Any]:
    """A NumPy array of the same shape (bfloat16, which NumPy lacks, as float32).

    >>> convert_to_numpy([1.5, 2.5])
    array([1.5, 2.5], dtype=float32)
    """
    if isinstance(x, KerasTensor):
        return np.asarray(x)  # raises its own explanation
    tensor = as_tensor(x).detach().cpu().resolve_conj().resolve_neg()
    return np.array((tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy())


@public("ops")
@op
def cast(x: Any, dtype: Any) -> Tensor:
    """The same shape in another type.

    >>> cast([1.7, -1.7], "int32").tolist()
    [1, -1]
    """
    return as_tensor(x, dtype)


@public("ops")
@op
def saturate_cast(x: Any, dtype: Any) -> Tensor:
    """Like `cast`, with values beyond the new type's range moved to its ends.

    >>> saturate_cast([-5.0, 300.0], "uint8").tolist()
    [0, 255]
    """
    x, wanted = as_tensor(x), torch_dtype(dtype)
    if wanted is torch.bool or x.dtype is torch.bool or wanted.is_complex:
        return x.to(wanted)
    span = torch.finfo(wanted) if wanted.is_floating_point else torch.iinfo(wanted)
    own = torch.finfo(x.dtype) if x.dtype.is_floating_point else torch.iinfo(x.dtype)
    return torch.clip(x, max(span.min, own.min), min(span.max, own.max)).to(wanted)


@public("ops")
@op
def view(x: Any, dtype: Any = None) -> Tensor:
    """The same bits read as another type; the last axis grows or shrinks with the ratio of the widths.

    >>> view(convert_to_tensor([1.0]), "int32").tolist()
    [1065353216]
    """
    return as_tensor(x).view(torch_dtype(dtype))


@public("ops")
@op
def stop_gradient(variable: Any) -> Tensor:
    """The same values, through which no gradient flows.

    >>> stop_gradient(torch.ones(2, requires_grad=True)).requires_grad
    False
    """
    return as_tensor(variable).detach()


@public("ops")
@op
def copy(x: Any) -> Tensor:
    """The same values in memory of their own.

    >>> copy([1, 2]).tolist()
    [1, 2]
    """
    return as_tensor(x).clone()


@public("ops")
def dtype(x: Any) -> str:
    """The name of a tensor's type.

    >>> dtype(2.5)
    'float32'
    """
    return x.dtype if isinstance(x, KerasTensor) else standardize_dtype(as_tensor(x).dtype)


@public("ops")
def shape(x: Any) -> tuple[Any, ...]:
    """The shape as a tuple; of a symbolic tensor with None where a size is open.

    >>> shape([[1, 2, 3]])
    (1, 3)
    """
    return tuple(x.shape) if isinstance(x, KerasTensor) else tuple(as_tensor(x).shape)


@public("ops")
def ndim(x: Any) -> int:
    """The number of axes.

    >>> ndim([[1, 2, 3]])
    2
    """
    return len(shape(x))


@public("ops")
@op
def size(x: Any) -> Tensor:
    """The number of elements, as a scalar tensor.

    >>> int(size([[1, 2, 3]]))
    3
    """
    x = as_tensor(x)
    return torch.tensor(x.numel(), dtype=torch.int64, device=x.device)


@public("ops")
def is_tensor(x: Any) -> bool:
    """Whether a value is a tensor, real or symbolic.

    >>> is_tensor([1, 2]), is_tensor(convert_to_tensor([1, 2]))
    (False, True)
    """
    return isinstance(x, torch.Tensor | KerasTensor)
