"""Functions of one tensor, element by element. The shape stays; integers become floats where a result needs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lamina.base.registry import public
from lamina.graph.record import op
from lamina.ops.convert import Tensor, as_arithmetic, as_float, as_tensor, is_float, promote


def _absolute(x: Tensor) -> Tensor:
    return x if x.dtype is torch.bool else torch.abs(x)


def _cube_root(x: Tensor) -> Tensor:
    return torch.sign(x) * torch.pow(torch.abs(x), 1 / 3)


def _imaginary(x: Tensor) -> Tensor:
    return torch.imag(x) if x.dtype.is_complex else torch.zeros_like(x)


def _keep_integers(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return function(x) if is_float(x.dtype) else x


@public("ops")
@op
def negative(x: Any) -> Tensor:
    """`-x`.

    >>> negative([1, -2]).tolist()
    [-1, 2]
    """
    return torch.neg(as_tensor(x))


@public("ops", "abs")
@op
def absolute(x: Any) -> Tensor:
    """The distance from 0.

    >>> absolute([1, -2]).tolist()
    [1, 2]
    """
    return _absolute(as_tensor(x))


@public("ops")
@op
def fabs(x: Any) -> Tensor:
    """The distance from 0, as a float.

    >>> fabs([1, -2]).tolist()
    [1.0, 2.0]
    """
    return torch.abs(as_float(x))


@public("ops")
@op
def sign(x: Any) -> Tensor:
    """-1, 0 or 1.

    >>> sign([3.0, -2.0]).tolist()
    [1.0, -1.0]
    """
    return torch.sign(as_tensor(x))


@public("ops")
@op
def square(x: Any) -> Tensor:
    """`x * x`.

    >>> square([3, -2]).tolist()
    [9, 4]
    """
    return torch.square(*as_arithmetic(x))


@public("ops")
@op
def sqrt(x: Any) -> Tensor:
    """The square root.

    >>> sqrt([4, 9]).tolist()
    [2.0, 3.0]
    """
    return torch.sqrt(as_float(x))


@public("ops")
@op
def cbrt(x: Any) -> Tensor:
    """The cube root, of negative numbers too.

    >>> cbrt(0.0).tolist()
    0.0
    """
    return _cube_root(as_float(x))


@public("ops")
@op
def rsqrt(x: Any) -> Tensor:
    """`1 / sqrt(x)`.

    >>> rsqrt([4.0, 1.0]).tolist()
    [0.5, 1.0]
    """
    return torch.rsqrt(as_float(x))


@public("ops")
@op
def reciprocal(x: Any) -> Tensor:
    """`1 / x`.

    >>> reciprocal([4, 2]).tolist()
    [0.25, 0.5]
    """
    return torch.reciprocal(as_float(x))


@public("ops")
@op
def exp(x: Any) -> Tensor:
    """e to the power of x.

    >>> exp(0).tolist()
    1.0
    """
    return torch.exp(as_float(x))


@public("ops")
@op
def exp2(x: Any) -> Tensor:
    """2 to the power of x.

    >>> exp2([0, 3]).tolist()
    [1.0, 8.0]
    """
    return torch.exp2(as_float(x))


@public("ops")
@op
def expm1(x: Any) -> Tensor:
    """`exp(x) - 1`, exact near 0.

    >>> expm1(0).tolist()
    0.0
    """
    return torch.expm1(as_float(x))


@public("ops")
@op
def log(x: Any) -> Tensor:
    """The natural logarithm.

    >>> log(1).tolist()
    0.0
    """
    return torch.log(as_float(x))


@public("ops")
@op
def log10(x: Any) -> Tensor:
    """The logarithm to base 10.

    >>> log10(100.0).tolist()
    2.0
    """
    return torch.log10(as_float(x))


@public("ops")
@op
def log1p(x: Any) -> Tensor:
    """`log(1 + x)`, exact near 0.

    >>> log1p(0).tolist()
    0.0
    """
    return torch.log1p(as_float(x))


@public("ops")
@op
def log2(x: Any) -> Tensor:
    """The logarithm to base 2.

    >>> log2(8).tolist()
    3.0
    """
    return torch.log2(as_float(x))


@public("ops")
@op
def sin(x: Any) -> Tensor:
    """The sine.

    >>> sin(0).tolist()
    0.0
    """
    return torch.sin(as_float(x))


@public("ops")
@op
def cos(x: Any) -> Tensor:
    """The cosine.

    >>> cos(0).tolist()
    1.0
    """
    return torch.cos(as_float(x))


@public("ops")
@op
def tan(x: Any) -> Tensor:
    """The tangent.

    >>> tan(0).tolist()
    0.0
    """
    return torch.tan(as_float(x))


@public("ops")
@op
def arcsin(x: Any) -> Tensor:
    """The angle with this sine.

    >>> arcsin(0).tolist()
    0.0
    """
    return torch.arcsin(as_float(x))


@public("ops")
@op
def arccos(x: Any) -> Tensor:
    """The angle with this cosine.

    >>> arccos(1).tolist()
    0.0
    """
    return torch.arccos(as_float(x))


@public("ops")
@op
def arctan(x: Any) -> Tensor:
    """The angle with this tangent.

    >>> arctan(0).tolist()
    0.0
    """
    return torch.arctan(as_float(x))


@public("ops")
@op
def sinh(x: Any) -> Tensor:
    """The hyperbolic sine.

    >>> sinh(0).tolist()
    0.0
    """
    return torch.sinh(as_float(x))


@public("ops")
@op
def cosh(x: Any) -> Tensor:
    """The hyperbolic cosine.

    >>> cosh(0).tolist()
    1.0
    """
    return torch.cosh(as_float(x))


@public("ops")
@op
def tanh(x: Any) -> Tensor:
    """The hyperbolic tangent.

    >>> tanh(0).tolist()
    0.0
    """
    return torch.tanh(as_float(x))


@public("ops")
@op
def arcsinh(x: Any) -> Tensor:
    """The number with this hyperbolic sine.

    >>> arcsinh(0).tolist()
    0.0
    """
    return torch.arcsinh(as_float(x))


@public("ops")
@op
def arccosh(x: Any) -> Tensor:
    """The number with this hyperbolic cosine.

    >>> arccosh(1).tolist()
    0.0
    """
    return torch.arccosh(as_float(x))


@public("ops")
@op
def arctanh(x: Any) -> Tensor:
    """The number with this hyperbolic tangent.

    >>> arctanh(0).tolist()
    0.0
    """
    return torch.arctanh(as_float(x))


@public("ops")
@op
def sinc(x: Any) -> Tensor:
    """`sin(pi x) / (pi x)`, 1 at 0.

    >>> sinc(0).tolist()
    1.0
    """
    return torch.sinc(as_float(x))


@public("ops")
@op
def deg2rad(x: Any) -> Tensor:
    """Degrees as radians.

    >>> deg2rad(0.0).tolist()
    0.0
    """
    return torch.deg2rad(as_float(x))


@public("ops")
@op
def rad2deg(x: Any) -> Tensor:
    """Radians as degrees.

    >>> rad2deg(0.0).tolist()
    0.0
    """
    return torch.rad2deg(as_float(x))


@public("ops")
@op
def floor(x: Any) -> Tensor:
    """The largest integer not above, as a float.

    >>> floor([1.5, -1.5]).tolist()
    [1.0, -2.0]
    """
    return torch.floor(as_float(x))


@public("ops")
@op
def ceil(x: Any) -> Tensor:
    """The smallest integer not below, as a float.

    >>> ceil([1.5, -1.5]).tolist()
    [2.0, -1.0]
    """
    return torch.ceil(as_float(x))


@public("ops")
@op
def trunc(x: Any) -> Tensor:
    """The integer part.

    >>> trunc([1.5, -1.5]).tolist()
    [1.0, -1.0]
    """
    return _keep_integers(torch.trunc, as_tensor(x))


@public("ops")
@op
def erf(x: Any) -> Tensor:
    """The error function.

    >>> erf(0).tolist()
    0.0
    """
    return torch.erf(as_float(x))


@public("ops")
@op
def erfc(x: Any) -> Tensor:
    """`1 - erf(x)`.

    >>> erfc(0).tolist()
    1.0
    """
    return torch.erfc(as_float(x))


@public("ops")
@op
def erfinv(x: Any) -> Tensor:
    """The number whose `erf` this is.

    >>> erfinv(0).tolist()
    0.0
    """
    return torch.erfinv(as_float(x))


@public("ops")
@op
def i0(x: Any) -> Tensor:
    """The modified Bessel function of order 0.

    >>> round(i0(0), 3).tolist()
    1.0
    """
    return torch.i0(as_float(x))


@public("ops")
@op
def isnan(x: Any) -> Tensor:
    """Whether it is not a number.

    >>> isnan([1.0, float("nan")]).tolist()
    [False, True]
    """
    return torch.isnan(as_tensor(x))


@public("ops")
@op
def isinf(x: Any) -> Tensor:
    """Whether it is infinite.

    >>> isinf([1.0, float("inf")]).tolist()
    [False, True]
    """
    return torch.isinf(as_tensor(x))


@public("ops")
@op
def isposinf(x: Any) -> Tensor:
    """Whether it is plus infinity.

    >>> isposinf([1.0, float("inf")]).tolist()
    [False, True]
    """
    return torch.isposinf(as_tensor(x))


@public("ops")
@op
def isneginf(x: Any) -> Tensor:
    """Whether it is minus infinity.

    >>> isneginf([1.0, -float("inf")]).tolist()
    [False, True]
    """
    return torch.isneginf(as_tensor(x))


@public("ops")
@op
def isfinite(x: Any) -> Tensor:
    """Whether it is a number and not infinite.

    >>> isfinite([1.0, float("inf")]).tolist()
    [True, False]
    """
    return torch.isfinite(as_tensor(x))


@public("ops")
@op
def isreal(x: Any) -> Tensor:
    """Whether the imaginary part is 0.

    >>> isreal([1.0]).tolist()
    [True]
    """
    return torch.isreal(as_tensor(x))


@public("ops")
@op
def signbit(x: Any) -> Tensor:
    """Whether the sign is a minus; that of -0.0 is.

    >>> signbit([1.0, -0.0]).tolist()
    [False, True]
    """
    return torch.signbit(as_tensor(x))


@public("ops", "conj")
@op
def conjugate(x: Any) -> Tensor:
    """The complex conjugate.

    >>> conjugate([1.0, 2.0]).tolist()
    [1.0, 2.0]
    """
    return torch.conj(as_tensor(x)).resolve_conj()


@public("ops")
@op
def real(x: Any) -> Tensor:
    """The real part.

    >>> real([1 + 2j]).tolist()
    [1.0]
    """
    return torch.real(as_tensor(x))


@public("ops")
@op
def imag(x: Any) -> Tensor:
    """The imaginary part; 0 for real numbers.

    >>> imag([1 + 2j]).tolist()
    [2.0]
    """
    return _imaginary(as_tensor(x))


@public("ops")
@op
def angle(x: Any) -> Tensor:
    """The angle of a complex number; of a real one 0 or pi.

    >>> angle([1.0, 2.0]).tolist()
    [0.0, 0.0]
    """
    return torch.angle(as_float(x))


@public("ops")
@op
def view_as_complex(x: Any) -> Tensor:
    """Complex numbers from a last axis of two: real and imaginary part.

    >>> view_as_complex([[1.0, 2.0]]).tolist()
    [(1+2j)]
    """
    return torch.view_as_complex(as_float(x).contiguous())


@public("ops")
@op
def view_as_real(x: Any) -> Tensor:
    """A new last axis of two with the real and the imaginary part.

    >>> view_as_real([1 + 2j]).tolist()
    [[1.0, 2.0]]
    """
    return torch.view_as_real(as_tensor(x).resolve_conj())


@public("ops")
@op
def round(x: Any, decimals: int = 0) -> Tensor:
    """The nearest number with so many decimals; halves go to the even neighbour.

    >>> round([1.5, 2.5, -0.4]).tolist()
    [2.0, 2.0, -0.0]
    """
    x = as_tensor(x)
    if is_float(x.dtype):
        return torch.round(x, decimals=decimals)
    return x if decimals >= 0 else torch.round(x.to(torch.float64), decimals=decimals).to(x.dtype)


@public("ops")
@op
def clip(x: Any, x_min: Any, x_max: Any) -> Tensor:
    """Values below `x_min` become `x_min`, values above `x_max` become `x_max`.

    >>> clip([1, 5, 9], 2, 8).tolist()
    [2, 5, 8]
    """
    x, low, high = as_arithmetic(x, x_min, x_max)
    return torch.clip(x, low, high)


@public("ops")
@op
def nan_to_num(x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """Numbers in place of nan and the infinities (None: the largest and the smallest of the type).

    >>> nan_to_num([float("nan"), 2.0]).tolist()
    [0.0, 2.0]
    """
    return torch.nan_to_num(as_tensor(x), nan, posinf, neginf)


@public("ops")
@op
def polar(abs_: Any, angle: Any) -> Tensor:
    """Complex numbers from length and angle.

    >>> polar(2.0, 0.0).tolist()
    (2+0j)
    """
    length, angle = promote(abs_, angle, floating=True)
    return torch.polar(length, angle)
