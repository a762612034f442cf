"""Functions of two tensors, element by element: arithmetic, comparisons, logic and bits. The shapes broadcast."""

from __future__ import annotations

import math
from typing import Any

import torch

from lamina.base.registry import public
from lamina.engine.dtypes import TORCH_DTYPES
from lamina.engine.forms import Affine, Form, Product, Sum
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.record import op, with_forms
from lamina.ops.convert import Tensor, as_arithmetic, as_tensor, promote


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x)


def _affine(result: KerasTensor, scale: float, shift: float) -> list[Form] | None:
    """The form of `x * scale + shift`."""
    if result.shape[-1] is None:
        return None
    kind = torch.promote_types(TORCH_DTYPES[result.dtype], torch.float32)
    row = torch.ones(result.shape[-1], dtype=kind, device="cpu")
    return [Affine(row * scale, row * shift, axis=-1)]


def _form_of_two(form: Form, x1: Any, x2: Any) -> list[Form] | None:
    both = isinstance(x1, KerasTensor) and isinstance(x2, KerasTensor)
    return [form] if both and x1 is not x2 and x1.shape == x2.shape else None


def _forms_of_sum(x1: Any, x2: Any, result: KerasTensor) -> list[Form] | None:
    numbers = [x for x in (x1, x2) if _is_number(x)]
    return _affine(result, 1.0, numbers[0]) if numbers else _form_of_two(Sum(), x1, x2)


def _forms_of_product(x1: Any, x2: Any, result: KerasTensor) -> list[Form] | None:
    numbers = [x for x in (x1, x2) if _is_number(x)]
    return _affine(result, numbers[0], 0.0) if numbers else _form_of_two(Product(), x1, x2)


def _forms_of_difference(x1: Any, x2: Any, result: KerasTensor) -> list[Form] | None:
    if _is_number(x2):
        return _affine(result, 1.0, -x2)
    return _affine(result, -1.0, x1) if _is_number(x1) else None


def _forms_of_quotient(x1: Any, x2: Any, result: KerasTensor) -> list[Form] | None:
    return _affine(result, 1 / x2, 0.0) if _is_number(x2) and x2 and math.isfinite(1 / x2) else None


@public("ops")
@op
@with_forms(_forms_of_sum)
def add(x1: Any, x2: Any) -> Tensor:
    """`x1 + x2`.

    >>> add([1, 2], 3).tolist()
    [4, 5]
    """
    return torch.add(*promote(x1, x2))


@public("ops")
@op
@with_forms(_forms_of_difference)
def subtract(x1: Any, x2: Any) -> Tensor:
    """`x1 - x2`.

    >>> subtract([1, 2], 3).tolist()
    [-2, -1]
    """
    return torch.sub(*promote(x1, x2))


@public("ops")
@op
@with_forms(_forms_of_product)
def multiply(x1: Any, x2: Any) -> Tensor:
    """`x1 * x2`.

    >>> multiply([1, 2], 3).tolist()
    [3, 6]
    """
    return torch.mul(*promote(x1, x2))


@public("ops", "true_divide")
@op
@with_forms(_forms_of_quotient)
def divide(x1: Any, x2: Any) -> Tensor:
    """`x1 / x2`; integers give floats.

    >>> divide([1, 2], 4).tolist()
    [0.25, 0.5]
    """
    return torch.div(*promote(x1, x2, floating=True))


@public("ops")
@op
def divide_no_nan(x1: Any, x2: Any) -> Tensor:
    """`x1 / x2`, and 0 where `x2` is 0.

    >>> divide_no_nan([1.0, 2.0], [0.0, 4.0]).tolist()
    [0.0, 0.5]
    """
    x1, x2 = promote(x1, x2, floating=True)
    zero = x2 == 0
    # The divisor is replaced too: a gradient of 0 * inf would be nan.
    return torch.where(zero, torch.zeros_like(x2), x1 / torch.where(zero, torch.ones_like(x2), x2))


@public("ops")
@op
def floor_divide(x1: Any, x2: Any) -> Tensor:
    """The largest integer not above `x1 / x2`.

    >>> floor_divide([7, -7], 2).tolist()
    [3, -4]
    """
    return torch.floor_divide(*as_arithmetic(x1, x2))


@public("ops")
@op
def mod(x1: Any, x2: Any) -> Tensor:
    """The remainder of `floor_divide`, with the sign of `x2`.

    >>> mod([7, -7], 3).tolist()
    [1, 2]
    """
    return torch.remainder(*as_arithmetic(x1, x2))


@public("ops")
@op
def fmod(x1: Any, x2: Any) -> Tensor:
    """The remainder of the division towards zero, with the sign of `x1`.

    >>> fmod([7, -7], 3).tolist()
    [1, -1]
    """
    return torch.fmod(*as_arithmetic(x1, x2))


@public("ops")
@op
def power(x1: Any, x2: Any) -> Tensor:
    """`x1 ** x2`.

    >>> power([2, 3], 2).tolist()
    [4, 9]
    """
    return torch.pow(*promote(x1, x2))


@public("ops")
@op
def maximum(x1: Any, x2: Any) -> Tensor:
    """The larger of the two.

    >>> maximum([1, 5], 3).tolist()
    [3, 5]
    """
    return torch.maximum(*promote(x1, x2))


@public("ops")
@op
def minimum(x1: Any, x2: Any) -> Tensor:
    """The smaller of the two.

    >>> minimum([1, 5], 3).tolist()
    [1, 3]
    """
    return torch.minimum(*promote(x1, x2))


@public("ops")
@op
def fmax(x1: Any, x2: Any) -> Tensor:
    """The larger of the two; a nan gives way.

    >>> fmax([1.0, float("nan")], 0.5).tolist()
    [1.0, 0.5]
    """
    return torch.fmax(*promote(x1, x2))


@public("ops")
@op
def fmin(x1: Any, x2: Any) -> Tensor:
    """The smaller of the two; a nan gives way.

    >>> fmin([1.0, float("nan")], 0.5).tolist()
    [0.5, 0.5]
    """
    return torch.fmin(*promote(x1, x2))


@public("ops")
@op
def arctan2(x1: Any, x2: Any) -> Tensor:
    """The angle of the point (x2, x1), between -pi and pi.

    >>> arctan2(0.0, 1.0).tolist()
    0.0
    """
    return torch.arctan2(*promote(x1, x2, floating=True))


@public("ops")
@op
def hypot(x1: Any, x2: Any) -> Tensor:
    """`sqrt(x1**2 + x2**2)`.

    >>> hypot(3.0, 4.0).tolist()
    5.0
    """
    return torch.hypot(*promote(x1, x2, floating=True))


@public("ops")
@op
def heaviside(x1: Any, x2: Any) -> Tensor:
    """0 where `x1` is negative, 1 where it is positive, `x2` where it is 0.

    >>> heaviside([-1.0, 0.0, 2.0], 0.5).tolist()
    [0.0, 0.5, 1.0]
    """
    return torch.heaviside(*(side.contiguous() for side in promote(x1, x2, floating=True)))


@public("ops")
@op
def logaddexp(x1: Any, x2: Any) -> Tensor:
    """`log(exp(x1) + exp(x2))`, without overflow.

    >>> logaddexp(1000.0, 0.0).tolist()
    1000.0
    """
    return torch.logaddexp(*promote(x1, x2, floating=True))


@public("ops")
@op
def logaddexp2(x1: Any, x2: Any) -> Tensor:
    """`log2(2**x1 + 2**x2)`, without overflow.

    >>> logaddexp2(3.0, 3.0).tolist()
    4.0
    """
    return torch.logaddexp2(*promote(x1, x2, floating=True))


@public("ops")
@op
def ldexp(x1: Any, x2: Any) -> Tensor:
    """`x1 * 2**x2`, for integers `x2`.

    >>> ldexp([1.0, 3.0], 2).tolist()
    [4.0, 12.0]
    """
    x1, x2 = promote(x1, x2, floating=True)
    return x1 * torch.exp2(x2)


@public("ops")
@op
def nextafter(x1: Any, x2: Any) -> Tensor:
    """The next float after `x1` in the direction of `x2`.

    >>> nextafter(1.0, 1.0).tolist()
    1.0
    """
    return torch.nextafter(*promote(x1, x2, floating=True))


@public("ops")
@op
def gcd(x1: Any, x2: Any) -> Tensor:
    """The greatest common divisor of integers.

    >>> gcd(12, 18).tolist()
    6
    """
    return torch.gcd(*promote(x1, x2))


@public("ops")
@op
def lcm(x1: Any, x2: Any) -> Tensor:
    """The least common multiple of integers.

    >>> lcm(4, 6).tolist()
    12
    """
    return torch.lcm(*promote(x1, x2))


@public("ops")
@op
def equal(x1: Any, x2: Any) -> Tensor:
    """Whether `x1 == x2`.

    >>> equal([1, 2], [1, 3]).tolist()
    [True, False]
    """
    return torch.eq(*promote(x1, x2))


@public("ops")
@op
def not_equal(x1: Any, x2: Any) -> Tensor:
    """Whether `x1 != x2`.

    >>> not_equal([1, 2], [1, 3]).tolist()
    [False, True]
    """
    return torch.ne(*promote(x1, x2))


@public("ops")
@op
def less(x1: Any, x2: Any) -> Tensor:
    """Whether `x1 < x2`.

    >>> less([1, 2], 2).tolist()
    [True, False]
    """
    return torch.lt(*promote(x1, x2))


@public("ops")
@op
def less_equal(x1: Any, x2: Any) -> Tensor:
    """Whether `x1 <= x2`.

    >>> less_equal([1, 2], 2).tolist()
    [True, True]
    """
    return torch.le(*promote(x1, x2))


@public("ops")
@op
def greater(x1: Any, x2: Any) -> Tensor:
    """Whether `x1 > x2`.

    >>> greater([1, 2], 1).tolist()
    [False, True]
    """
    return torch.gt(*promote(x1, x2))


@public("ops")
@op
def greater_equal(x1: Any, x2: Any) -> Tensor:
    """Whether `x1 >= x2`.

    >>> greater_equal([1, 2], 2).tolist()
    [False, True]
    """
    return torch.ge(*promote(x1, x2))


@public("ops")
@op
def isclose(x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether `|x1 - x2| <= atol + rtol * |x2|`.

    >>> isclose(1.0, 1.000001).tolist()
    True
    """
    x1, x2 = promote(x1, x2, floating=True, one_device=True)
    return torch.isclose(x1, x2, rtol, atol, equal_nan)


@public("ops")
@op
def allclose(x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether `isclose` holds everywhere, as a scalar tensor.

    >>> bool(allclose([1.0, 2.0], [1.0, 2.5]))
    False
    """
    return torch.all(isclose(x1, x2, rtol, atol, equal_nan))


@public("ops")
@op
def isin(x1: Any, x2: Any, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each element of `x1` occurs in `x2`; the shape of `x1`.

    >>> isin([1, 2, 3], [2, 5]).tolist()
    [False, True, False]
    """
    x1, x2 = promote(x1, x2, one_device=True)
    return torch.isin(x1, x2, assume_unique=assume_unique, invert=invert)


def _as_bool(x: Any) -> Tensor:
    return as_tensor(x).to(torch.bool)


@public("ops")
@op
def logical_and(x1: Any, x2: Any) -> Tensor:
    """Whether both are true (not 0).

    >>> logical_and([True, False], True).tolist()
    [True, False]
    """
    return torch.logical_and(_as_bool(x1), _as_bool(x2))


@public("ops")
@op
def logical_or(x1: Any, x2: Any) -> Tensor:
    """Whether one of them is true.

    >>> logical_or([True, False], False).tolist()
    [True, False]
    """
    return torch.logical_or(_as_bool(x1), _as_bool(x2))


@public("ops")
@op
def logical_xor(x1: Any, x2: Any) -> Tensor:
    """Whether just one of them is true.

    >>> logical_xor([True, False], True).tolist()
    [False, True]
    """
    return torch.logical_xor(_as_bool(x1), _as_bool(x2))


@public("ops")
@op
def logical_not(x: Any) -> Tensor:
    """Whether it is false.

    >>> logical_not([True, False]).tolist()
    [False, True]
    """
    return torch.logical_not(_as_bool(x))


@public("ops")
@op
def bitwise_and(x: Any, y: Any) -> Tensor:
    """The bits set in both integers.

    >>> bitwise_and(6, 3).tolist()
    2
    """
    return torch.bitwise_and(*promote(x, y))


@public("ops")
@op
def bitwise_or(x: Any, y: Any) -> Tensor:
    """The bits set in one of the integers.

    >>> bitwise_or(6, 3).tolist()
    7
    """
    return torch.bitwise_or(*promote(x, y))


@public("ops")
@op
def bitwise_xor(x: Any, y: Any) -> Tensor:
    """The bits set in just one of the integers.

    >>> bitwise_xor(6, 3).tolist()
    5
    """
    return torch.bitwise_xor(*promote(x, y))


@public("ops", "bitwise_invert")
@op
def bitwise_not(x: Any) -> Tensor:
    """Every bit turned over.

    >>> bitwise_not(6).tolist()
    -7
    """
    return torch.bitwise_not(as_tensor(x))


@public("ops", "bitwise_left_shift")
@op
def left_shift(x: Any, y: Any) -> Tensor:
    """`x * 2**y` on integers.

    >>> left_shift(3, 2).tolist()
    12
    """
    return torch.bitwise_left_shift(*promote(x, y))


@public("ops", "bitwise_right_shift")
@op
def right_shift(x: Any, y: Any) -> Tensor:
    """`x // 2**y` on integers.

    >>> right_shift(12, 2).tolist()
    3
    """
    return torch.bitwise_right_shift(*promote(x, y))


@public("ops")
@op
def where(condition: Any, x1: Any = None, x2: Any = None) -> Tensor:
    """`x1` where the condition holds, else `x2`. With the condition alone: the indices where it holds, one a column.

    >>> where([True, False], [1, 2], 0).tolist()
    [1, 0]
    """
    condition = _as_bool(condition)
    if (x1 is None) != (x2 is None):
        raise ValueError("where() takes both x1 and x2, or neither.")
    if x1 is None:
        return torch.stack(torch.where(condition))
    x1, x2 = promote(x1, x2)
    return torch.where(condition, x1, x2)


@public("ops")
@op
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Tensor:
    """The choice of the first condition that holds, else the default.

    >>> select([[True, False], [True, True]], [[1, 2], [3, 4]]).tolist()
    [1, 4]
    """
    *choices, chosen = promote(*choicelist, default)
    for condition, choice in reversed(list(zip(condlist, choices, strict=True))):
        chosen = torch.where(_as_bool(condition), choice, chosen)
    return chosen
