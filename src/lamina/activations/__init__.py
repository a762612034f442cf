"""The activation functions, by name (`"relu"`) or as functions over tensors and symbolic tensors.

Each takes a tensor of any shape and gives one of the same shape and dtype; `glu` halves its axis.

>>> from lamina import activations
>>> activations.get("relu")(torch.tensor([-1.0, 2.0]))
tensor([0., 2.])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lamina.base.registry import public
from lamina.base.serialization import deserialize_keras_object, get_object, serialize_value
from lamina.graph.record import op

Axis = int | Sequence[int]


def activation(*aliases: str) -> Callable[[Callable[..., Tensor]], Callable[..., Any]]:
    """Decorator: the function is public, takes lists and arrays as well as tensors, and records symbolic arguments."""

    def add(function: Callable[..., Tensor]) -> Callable[..., Any]:
        @wraps(function)
        def call(x: Any, *args: Any, **kwargs: Any) -> Tensor:
            return function(x if isinstance(x, Tensor) else torch.as_tensor(x), *args, **kwargs)

        return public("activations", *aliases)(op(call))

    return add


@activation()
def linear(x: Tensor) -> Tensor:
    """`x`.

    >>> linear([1.0, -2.0])
    tensor([ 1., -2.])
    """
    return x


@activation()
def relu(x: Tensor, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Tensor:
    """`max(x, 0)`; in general `x` above the threshold, at most `max_value`, and
    `negative_slope * (x - threshold)` below.

    >>> relu([-4.0, 0.5, 9.0], negative_slope=0.1, max_value=6.0)
    tensor([-0.4000,  0.5000,  6.0000])
    """
    if max_value is None and threshold == 0:
        return functional.relu(x) if negative_slope == 0 else functional.leaky_relu(x, negative_slope)
    if max_value is not None and negative_slope == 0 and threshold == 0 and x.is_floating_point():
        return functional.hardtanh(x, 0.0, max_value)  # one pass, and one back
    above = x if max_value is None else x.clamp(0, max_value)
    below = negative_slope * (x - threshold) if negative_slope else torch.zeros_like(x)
    return torch.where(x > threshold, above, below)


@activation()
def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    """`x` above 0, `negative_slope * x` below.

    >>> leaky_relu([-1.0, 2.0])
    tensor([-0.2000,  2.0000])
    """
    return functional.leaky_relu(x, negative_slope)


@activation()
def relu6(x: Tensor) -> Tensor:
    """`min(max(x, 0), 6)`.

    >>> relu6([-1.0, 7.0])
    tensor([0., 6.])
    """
    return functional.relu6(x)


@activation()
def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """`x` above 0, `alpha * (exp(x) - 1)` below. Clevert et al. 2016.

    >>> elu([-1.0, 2.0])
    tensor([-0.6321,  2.0000])
    """
    return functional.elu(x, alpha)


@activation()
def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """`x` above 0, `alpha * (exp(x / alpha) - 1)` below. Barron 2017.

    >>> celu([-1.0, 2.0], alpha=2.0)
    tensor([-0.7869,  2.0000])
    """
    return functional.celu(x, alpha)


@activation()
def selu(x: Tensor) -> Tensor:
    """`1.0507 * elu(x, 1.6733)`, which keeps mean 0 and variance 1. Klambauer et al. 2017.

    >>> selu([-1.0, 2.0])
    tensor([-1.1113,  2.1014])
    """
    return functional.selu(x)


@activation()
def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """`x * P(X <= x)` for a standard normal X, or its tanh approximation. Hendrycks and Gimpel 2016.

    >>> gelu([-1.0, 2.0])
    tensor([-0.1587,  1.9545])
    """
    return functional.gelu(x, approximate="tanh" if approximate else "none")


@activation("swish")
def silu(x: Tensor) -> Tensor:
    """`x * sigmoid(x)`. Ramachandran et al. 2017.

    >>> silu([-1.0, 2.0])
    tensor([-0.2689,  1.7616])
    """
    return functional.silu(x)


@activation("hard_swish")
def hard_silu(x: Tensor) -> Tensor:
    """`x * hard_sigmoid(x)`. Howard et al. 2019.

    >>> hard_silu([-4.0, 0.0, 4.0])
    tensor([-0., 0., 4.])
    """
    return functional.hardswish(x)


@activation()
def mish(x: Tensor) -> Tensor:
    """`x * tanh(softplus(x))`. Misra 2019.

    >>> mish([-1.0, 2.0])
    tensor([-0.3034,  1.9440])
    """
    return functional.mish(x)


@activation()
def sigmoid(x: Tensor) -> Tensor:
    """`1 / (1 + exp(-x))`.

    >>> sigmoid([0.0, 2.0])
    tensor([0.5000, 0.8808])
    """
    return torch.sigmoid(x)


@activation()
def hard_sigmoid(x: Tensor) -> Tensor:
    """`x / 6 + 0.5`, cut off at 0 and 1.

    >>> hard_sigmoid([-4.0, 0.0, 1.5])
    tensor([0.0000, 0.5000, 0.7500])
    """
    return functional.hardsigmoid(x)


@activation()
def sparse_sigmoid(x: Tensor) -> Tensor:
    """`(x + 1) / 2`, cut off at 0 and 1. Blondel et al. 2019.

    >>> sparse_sigmoid([-2.0, 0.0, 0.5])
    tensor([0.0000, 0.5000, 0.7500])
    """
    return ((x + 1) / 2).clamp(0, 1)


@activation()
def log_sigmoid(x: Tensor) -> Tensor:
    """`log(sigmoid(x))`, without overflow.

    >>> log_sigmoid([0.0, 2.0])
    tensor([-0.6931, -0.1269])
    """
    return functional.logsigmoid(x)


@activation()
def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent.

    >>> tanh([0.0, 1.0])
    tensor([0.0000, 0.7616])
    """
    return torch.tanh(x)


@activation()
def hard_tanh(x: Tensor) -> Tensor:
    """`x`, cut off at -1 and 1.

    >>> hard_tanh([-2.0, 0.5])
    tensor([-1.0000,  0.5000])
    """
    return functional.hardtanh(x)


@activation()
def tanh_shrink(x: Tensor) -> Tensor:
    """`x - tanh(x)`.

    >>> tanh_shrink([0.0, 1.0])
    tensor([0.0000, 0.2384])
    """
    return functional.tanhshrink(x)


@activation()
def hard_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """`x` where `|x| > threshold`, else 0.

    >>> hard_shrink([-1.0, 0.3])
    tensor([-1.,  0.])
    """
    return functional.hardshrink(x, threshold)


@activation()
def soft_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """`x` moved towards 0 by the threshold, and 0 within it.

    >>> soft_shrink([-1.0, 0.3])
    tensor([-0.5000,  0.0000])
    """
    return functional.softshrink(x, threshold)


@activation()
def threshold(x: Tensor, threshold: float, default_value: float) -> Tensor:
    """`x` above the threshold, else the default value.

    >>> threshold([-1.0, 2.0], 1.0, 0.5)
    tensor([0.5000, 2.0000])
    """
    return functional.threshold(x, threshold, default_value)


@activation()
def softplus(x: Tensor) -> Tensor:
    """`log(1 + exp(x))`.

    >>> softplus([0.0, 2.0])
    tensor([0.6931, 2.1269])
    """
    return functional.softplus(x)


@activation()
def squareplus(x: Tensor, b: float = 4) -> Tensor:
    """`(x + sqrt(x² + b)) / 2`. Barron 2021.

    >>> squareplus([0.0, 2.0])
    tensor([1.0000, 2.4142])
    """
    return (x + (x.square() + b).sqrt()) / 2


@activation()
def sparse_plus(x: Tensor) -> Tensor:
    """0 below -1, `(x + 1)² / 4` between -1 and 1, `x` above.

    >>> sparse_plus([-2.0, 0.0, 2.0])
    tensor([0.0000, 0.2500, 2.0000])
    """
    return torch.where(x >= 1, x, (x.clamp(-1, 1) + 1).square() / 4)


@activation()
def softsign(x: Tensor) -> Tensor:
    """`x / (1 + |x|)`.

    >>> softsign([-1.0, 3.0])
    tensor([-0.5000,  0.7500])
    """
    return functional.softsign(x)


@activation()
def exponential(x: Tensor) -> Tensor:
    """`exp(x)`.

    >>> exponential([0.0, 1.0])
    tensor([1.0000, 2.7183])
    """
    return torch.exp(x)


@activation()
def glu(x: Tensor, axis: int = -1) -> Tensor:
    """The first half of an axis times the sigmoid of the second half. Dauphin et al. 2017.

    Shapes: (..., 2n) in, (..., n) out.

    >>> glu([1.0, 2.0, 0.0, 0.0])
    tensor([0.5000, 1.0000])
    """
    return functional.glu(x, dim=axis)


@activation()
def softmax(x: Tensor, axis: Axis = -1) -> Tensor:
    """`exp(x) / sum(exp(x))` over one axis or several together.

    >>> softmax([0.0, 0.0, 0.0, 0.0])
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    return _over_axes(torch.softmax, x, axis)


@activation()
def log_softmax(x: Tensor, axis: Axis = -1) -> Tensor:
    """`log(softmax(x))`, without overflow.

    >>> log_softmax([0.0, 0.0])
    tensor([-0.6931, -0.6931])
    """
    return _over_axes(torch.log_softmax, x, axis)


@activation()
def sparsemax(x: Tensor, axis: int = -1) -> Tensor:
    """The nearest point of the probability simplex: `max(x - tau, 0)` with the `tau` for which the sum along the axis
    is 1. Martins and Astudillo 2016.

    >>> sparsemax([2.0, 1.5, -1.0])
    tensor([0.7500, 0.2500, 0.0000])
    """
    descending = x.sort(dim=axis, descending=True).values
    excess = descending.cumsum(axis) - 1
    counts = torch.arange(1, x.shape[axis] + 1, dtype=x.dtype, device=x.device)
    counts = counts.reshape([-1 if dim == axis % x.dim() else 1 for dim in range(x.dim())])
    support = (counts * descending > excess).sum(dim=axis, keepdim=True)
    return (x - excess.gather(axis, support - 1) / support).clamp_min(0)


swish, hard_swish = silu, hard_silu


def _over_axes(function: Callable[..., Tensor], x: Tensor, axis: Axis) -> Tensor:
    if isinstance(axis, int):
        return function(x, dim=axis)
    dims = [dim % x.dim() for dim in axis]
    ends = list(range(-len(dims), 0))
    moved = x.movedim(dims, ends)
    return function(moved.flatten(-len(dims)), dim=-1).reshape(moved.shape).movedim(ends, dims)


def get(identifier: Any) -> Any:
    """The activation behind a name, config, layer class, layer or function; None is `linear`.

    Errors: an unknown name is a ValueError that shows the nearest.

    >>> get("swish").__name__
    'silu'
    """
    return linear if identifier is None else get_object("activations", identifier, "activation function")


def serialize(activation: Any) -> Any:
    """The bare name of a function of this module, else the config of a registered function or a layer.

    >>> serialize(relu)
    'relu'
    """
    return serialize_value(activation)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The activation of a name or a config.

    >>> deserialize("relu") is relu
    True
    """
    if isinstance(config, str):
        found = (custom_objects or {}).get(config)
        return get(config) if found is None else found
    return deserialize_keras_object(config, custom_objects)
