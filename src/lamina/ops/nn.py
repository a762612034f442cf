"""Functions of neural networks: activations, normalisations, crossentropies, attention; convolutions and pools.

The activations are torch's own. `lamina.activations` holds them under the names that layers take.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch.nn import functional

from lamina.base import config
from lamina.base.errors import ShapeError, UnfinishedError
from lamina.base.registry import public
from lamina.graph.record import op
from lamina.ops.convert import Axis, Tensor, as_axes, as_float, as_tensor, is_float, no_such_name, promote
from lamina.ops.convolution import (
    adaptive_average_pool as adaptive_average_pool,
)
from lamina.ops.convolution import (
    adaptive_max_pool as adaptive_max_pool,
)
from lamina.ops.convolution import (
    average_pool as average_pool,
)
from lamina.ops.convolution import (
    conv as conv,
)
from lamina.ops.convolution import (
    conv_transpose as conv_transpose,
)
from lamina.ops.convolution import (
    depthwise_conv as depthwise_conv,
)
from lamina.ops.convolution import (
    fold as fold,
)
from lamina.ops.convolution import (
    max_pool as max_pool,
)
from lamina.ops.convolution import (
    separable_conv as separable_conv,
)
from lamina.ops.convolution import (
    unfold as unfold,
)
from lamina.ops.elementwise import polar as polar
from lamina.ops.indexing import multi_hot as multi_hot
from lamina.ops.indexing import one_hot as one_hot
from lamina.ops.structure import depth_to_space as depth_to_space
from lamina.ops.structure import space_to_depth as space_to_depth


def __getattr__(name: str) -> NoReturn:
    raise no_such_name("ops.nn", name, ("ctc_decode", "ctc_loss"), globals())


def _sparse_plus(x: Tensor) -> Tensor:
    return torch.where(x <= -1, 0.0, torch.where(x < 1, torch.square(x + 1) / 4, x))


@public("ops")
@op
def relu(x: Any) -> Tensor:
    """`max(x, 0)`.

    >>> relu([-1.0, 2.0]).tolist()
    [0.0, 2.0]
    """
    return torch.relu(as_tensor(x))


@public("ops")
@op
def relu6(x: Any) -> Tensor:
    """`min(max(x, 0), 6)`.

    >>> relu6([-1.0, 2.0, 8.0]).tolist()
    [0.0, 2.0, 6.0]
    """
    return torch.clip(as_tensor(x), 0, 6)


@public("ops")
@op
def sigmoid(x: Any) -> Tensor:
    """`1 / (1 + exp(-x))`.

    >>> sigmoid(0.0).tolist()
    0.5
    """
    return torch.sigmoid(as_float(x))


@public("ops")
@op
def softplus(x: Any) -> Tensor:
    """`log(1 + exp(x))`.

    >>> softplus(100.0).tolist()
    100.0
    """
    return functional.softplus(as_float(x))


@public("ops")
@op
def softsign(x: Any) -> Tensor:
    """`x / (1 + |x|)`.

    >>> softsign([-1.0, 1.0]).tolist()
    [-0.5, 0.5]
    """
    return functional.softsign(as_float(x))


@public("ops", "swish")
@op
def silu(x: Any) -> Tensor:
    """`x * sigmoid(x)` (Elfwing and others 2017; Ramachandran and others 2017).

    >>> silu(0.0).tolist()
    0.0
    """
    return functional.silu(as_float(x))


@public("ops")
@op
def log_sigmoid(x: Any) -> Tensor:
    """`log(sigmoid(x))`.

    >>> log_sigmoid(float("inf")).tolist()
    0.0
    """
    return functional.logsigmoid(as_float(x))


@public("ops")
@op
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Tensor:
    """`x` where it is positive, else `negative_slope * x`.

    >>> leaky_relu([-1.0, 2.0], 0.5).tolist()
    [-0.5, 2.0]
    """
    return functional.leaky_relu(as_float(x), negative_slope)


@public("ops")
@op
def hard_sigmoid(x: Any) -> Tensor:
    """`relu6(x + 3) / 6`.

    >>> hard_sigmoid([-3.0, 0.0, 3.0]).tolist()
    [0.0, 0.5, 1.0]
    """
    return functional.hardsigmoid(as_float(x))


@public("ops", "hard_swish")
@op
def hard_silu(x: Any) -> Tensor:
    """`x * hard_sigmoid(x)`.

    >>> hard_silu([-3.0, 3.0]).tolist()
    [-0.0, 3.0]
    """
    return functional.hardswish(as_float(x))


swish, hard_swish = silu, hard_silu  # their other names


@public("ops")
@op
def hard_tanh(x: Any) -> Tensor:
    """-1 below -1, 1 above 1, x between.

    >>> hard_tanh([-2.0, 0.5]).tolist()
    [-1.0, 0.5]
    """
    return functional.hardtanh(as_tensor(x))


@public("ops")
@op
def hard_shrink(x: Any, threshold: float = 0.5) -> Tensor:
    """0 within the threshold, x outside.

    >>> hard_shrink([-2.0, 0.25]).tolist()
    [-2.0, 0.0]
    """
    return functional.hardshrink(as_float(x), threshold)


@public("ops")
@op
def soft_shrink(x: Any, threshold: float = 0.5) -> Tensor:
    """0 within the threshold, outside it nearer to 0 by the threshold.

    >>> soft_shrink([-2.0, 0.25]).tolist()
    [-1.5, 0.0]
    """
    return functional.softshrink(as_float(x), threshold)


@public("ops")
@op
def tanh_shrink(x: Any) -> Tensor:
    """`x - tanh(x)`.

    >>> tanh_shrink(0.0).tolist()
    0.0
    """
    return functional.tanhshrink(as_float(x))


@public("ops")
@op
def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """`x` where it is positive, else `alpha * (exp(x) - 1)` (Clevert and others 2015).

    >>> elu([0.0, 2.0]).tolist()
    [0.0, 2.0]
    """
    return functional.elu(as_float(x), alpha)


@public("ops")
@op
def celu(x: Any, alpha: float = 1.0) -> Tensor:
    """`max(x, 0) + min(alpha * (exp(x / alpha) - 1), 0)` (Barron 2017).

    >>> celu([0.0, 2.0]).tolist()
    [0.0, 2.0]
    """
    return functional.celu(as_float(x), alpha)


@public("ops")
@op
def selu(x: Any) -> Tensor:
    """The scaled ELU, which keeps mean 0 and variance 1 (Klambauer and others 2017).

    >>> selu(0.0).tolist()
    0.0
    """
    return functional.selu(as_float(x))


@public("ops")
@op
def gelu(x: Any, approximate: bool = True) -> Tensor:
    """`x` times the normal distribution function, or its tanh approximation (Hendrycks and Gimpel 2016).

    >>> gelu(0.0).tolist()
    0.0
    """
    return functional.gelu(as_float(x), approximate="tanh" if approximate else "none")


@public("ops")
@op
def glu(x: Any, axis: int = -1) -> Tensor:
    """The first half of an axis, times the sigmoid of the second (Dauphin and others 2016).

    >>> glu([2.0, 0.0]).tolist()
    [1.0]
    """
    return functional.glu(as_float(x), axis)


@public("ops")
@op
def squareplus(x: Any, b: float = 4) -> Tensor:
    """`(x + sqrt(x**2 + b)) / 2`.

    >>> squareplus([0.0]).tolist()
    [1.0]
    """
    return (as_float(x) + torch.sqrt(torch.square(as_float(x)) + b)) / 2


@public("ops")
@op
def threshold(x: Any, threshold: float, default_value: float) -> Tensor:
    """x above the threshold, elsewhere the default value.

    >>> threshold([-1.0, 2.0], 0.0, 7.0).tolist()
    [7.0, 2.0]
    """
    return functional.threshold(as_float(x), threshold, default_value)


@public("ops")
@op
def sparse_sigmoid(x: Any) -> Tensor:
    """0 below -1, 1 above 1, a straight line between.

    >>> sparse_sigmoid([-2.0, 0.0, 2.0]).tolist()
    [0.0, 0.5, 1.0]
    """
    return torch.clip((as_float(x) + 1) / 2, 0, 1)


@public("ops")
@op
def sparse_plus(x: Any) -> Tensor:
    """0 below -1, x above 1, `(x + 1)**2 / 4` between.

    >>> sparse_plus([-2.0, 0.0, 2.0]).tolist()
    [0.0, 0.25, 2.0]
    """
    return _sparse_plus(as_float(x))


def _over_axes(function: Callable[[Tensor, int], Tensor], x: Any, axis: Axis) -> Tensor:
    """A function of one axis, over several at once."""
    x = as_float(x)
    if isinstance(axis, int):
        return function(x, axis)
    axes = as_axes(axis, x.ndim)
    order = [one for one in range(x.ndim) if one not in axes] + list(axes)
    moved = x.permute(order)
    result = function(moved.flatten(x.ndim - len(axes)), -1).reshape(moved.shape)
    return result.permute([order.index(one) for one in range(x.ndim)])


@public("ops")
@op
def softmax(x: Any, axis: Axis = -1) -> Tensor:
    """`exp(x) / sum(exp(x))` over an axis, several or (None) all.

    >>> softmax([1.0, 1.0]).tolist()
    [0.5, 0.5]
    """
    return _over_axes(torch.softmax, x, axis)


@public("ops")
@op
def log_softmax(x: Any, axis: Axis = -1) -> Tensor:
    """`log(softmax(x))`, without underflow.

    >>> log_softmax([7.0]).tolist()
    [0.0]
    """
    return _over_axes(torch.log_softmax, x, axis)


@public("ops")
@op
def sparsemax(x: Any, axis: int = -1) -> Tensor:
    """The nearest probabilities to x: like softmax, with zeros (Martins and Astudillo 2016).

    >>> sparsemax([1.0, 3.0, 0.0]).tolist()
    [0.0, 1.0, 0.0]
    """
    x = torch.moveaxis(as_float(x), axis, -1)
    falling = torch.sort(x, descending=True).values
    sums = torch.cumsum(falling, -1) - 1
    ranks = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    count = (falling * ranks > sums).sum(-1, keepdim=True)
    level = torch.take_along_dim(sums, count - 1, -1) / count
    return torch.moveaxis(torch.clip(x - level, min=0), -1, axis)


@public("ops")
@op
def moments(x: Any, axes: Axis, keepdims: bool = False, synchronized: bool = False) -> tuple[Tensor, Tensor]:
    """The mean and the variance (of the population) over axes; 16-bit types are summed in float32.

    >>> [part.tolist() for part in moments([[1.0], [3.0]], [0])]
    [[2.0], [1.0]]
    """
    if synchronized:
        raise UnfinishedError("moments(synchronized=True) is not in lamina yet.")
    x = as_tensor(x)
    wide = x if x.dtype in (torch.float32, torch.float64) else x.to(torch.float32)
    variance, mean = torch.var_mean(wide, as_axes(axes, x.ndim), correction=0, keepdim=keepdims)
    back = x.dtype if is_float(x.dtype) else wide.dtype
    return mean.to(back), variance.to(back)


@public("ops")
@op
def batch_normalization(
    x: Any, mean: Any, variance: Any, axis: int, offset: Any = None, scale: Any = None, epsilon: float = 1e-3
) -> Tensor:
    """`(x - mean) / sqrt(variance + epsilon) * scale + offset`, with a number of each for every place on the axis.

    >>> batch_normalization([[3.0]], [1.0], [4.0], axis=-1, epsilon=0.0).tolist()
    [[1.0]]
    """
    x = as_float(x)
    sizes = [-1 if one == axis % x.ndim else 1 for one in range(x.ndim)]
    mean, variance = (as_tensor(part, device=x.device).reshape(sizes) for part in (mean, variance))
    factor = torch.rsqrt(variance + epsilon)
    if scale is not None:
        factor = factor * as_tensor(scale, device=x.device).reshape(sizes)
    result = (x - mean) * factor
    if offset is not None:
        result = result + as_tensor(offset, device=x.device).reshape(sizes)
    return result.to(x.dtype)


@public("ops")
@op
def layer_normalization(
    x: Any, gamma: Any = None, beta: Any = None, axis: Axis = -1, epsilon: float | None = None, **kwargs: Any
) -> Tensor:
    """`(x - mean) / sqrt(variance + epsilon) * gamma + beta`, with the moments of each sample over `axis`.

    >>> layer_normalization([[1.0, 3.0]], epsilon=0.0).tolist()
    [[-1.0, 1.0]]
    """
    if kwargs:
        raise UnfinishedError(
            f"layer_normalization() has no {sorted(kwargs)}; rms_normalization() scales without mean."
        )
    x = as_float(x)
    axes = as_axes(axis, x.ndim)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    variance, mean = torch.var_mean(wide, axes, correction=0, keepdim=True)
    result = (wide - mean) * torch.rsqrt(variance + (config.epsilon() if epsilon is None else epsilon))
    return _scaled(result, gamma, beta, axes).to(x.dtype)


def _scaled(x: Tensor, gamma: Any, beta: Any, axes: tuple[int, ...]) -> Tensor:
    sizes = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
    for number, join in ((gamma, torch.mul), (beta, torch.add)):
        if number is not None:
            number = as_tensor(number, device=x.device)
            x = join(x, number.reshape(sizes) if number.ndim else number)
    return x


@public("ops")
@op
def rms_normalization(x: Any, scale: Any = None, axis: Axis = -1, epsilon: float | None = None) -> Tensor:
    """`x / sqrt(mean(x**2) + epsilon) * scale`, with the mean of each sample over `axis` (Zhang and Sennrich 2019).

    >>> rms_normalization([[2.0, 2.0]], epsilon=0.0).tolist()
    [[1.0, 1.0]]
    """
    x = as_float(x)
    axes = as_axes(axis, x.ndim)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean_square = torch.mean(torch.square(wide), axes, keepdim=True)
    result = wide * torch.rsqrt(mean_square + (config.epsilon() if epsilon is None else epsilon))
    return _scaled(result, scale, None, axes).to(x.dtype)


@public("ops")
@op
def normalize(x: Any, axis: Axis = -1, order: float = 2, epsilon: float | None = None) -> Tensor:
    """Every vector along the axes divided by its length of the order; no length counts as less than `epsilon`.

    >>> normalize([[3.0, 4.0]], order=1).shape
    torch.Size([1, 2])
    """
    x = as_float(x)
    length = torch.linalg.vector_norm(x, order, as_axes(axis, x.ndim), keepdim=True)
    return x / torch.clip(length, min=config.epsilon() if epsilon is None else epsilon)


def _same_shape(target: Tensor, output: Tensor, what: str) -> None:
    if target.shape != output.shape:
        raise ShapeError(
            f"{what} compares tensors of one shape.",
            layer=f"ops.{what}",
            received=f"target {tuple(target.shape)}, output {tuple(output.shape)}",
            expected=f"a target of {tuple(output.shape)}, one number for each of the output's",
            because="the two are compared number by number",
            mend="reshape the target, or give the output as many units as the target has",
        )


@public("ops")
@op
def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Tensor:
    """`-t * log(o) - (1 - t) * log(1 - o)` for every element.

    Parameters: `from_logits`, whether the output still has to go through a sigmoid. Errors: different shapes are a
    ShapeError.

    >>> binary_crossentropy([1.0], [0.0], from_logits=True).shape
    torch.Size([1])
    """
    output = as_float(output)
    target = as_tensor(target, output.dtype, output.device)
    _same_shape(target, output, "binary_crossentropy")
    if from_logits:
        return functional.binary_cross_entropy_with_logits(output, target, reduction="none")
    output = _inside(output)
    return -(target * torch.log(output) + (1 - target) * torch.log(1 - output))


def _inside(probabilities: Tensor) -> Tensor:
    """Away from 0 and 1, where the logarithm has no end."""
    return torch.clip(probabilities, config.epsilon(), 1 - config.epsilon())


def _log_probabilities(output: Tensor, from_logits: bool, axis: int) -> Tensor:
    if from_logits:
        return torch.log_softmax(output, axis)
    return torch.log(_inside(output / torch.sum(output, axis, keepdim=True)))


@public("ops")
@op
def categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Tensor:
    """`-sum(t * log(o))` over the axis of classes, with o made to sum to 1.

    >>> categorical_crossentropy([[1.0, 0.0]], [[0.5, 0.5]]).shape
    torch.Size([1])
    """
    output = as_float(output)
    target = as_tensor(target, output.dtype, output.device)
    _same_shape(target, output, "categorical_crossentropy")
    return -torch.sum(target * _log_probabilities(output, from_logits, axis), axis)


@public("ops")
@op
def sparse_categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Tensor:
    """`-log(o[t])` for classes t given as integers: (batch,) or (batch, 1) with an output of (batch, classes).

    >>> sparse_categorical_crossentropy([1], [[0.5, 0.5]]).shape
    torch.Size([1])
    """
    output = as_float(output)
    target = as_tensor(target, device=output.device).to(torch.int64)
    if target.ndim == output.ndim and target.shape[-1] == 1:
        target = target.squeeze(-1)
    logarithms = torch.moveaxis(_log_probabilities(output, from_logits, axis), axis, -1)
    _same_shape(target, logarithms[..., 0], "sparse_categorical_crossentropy, but for the axis of classes,")
    return -torch.take_along_dim(logarithms, target.unsqueeze(-1), -1).squeeze(-1)


@public("ops")
@op
def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Tensor:
    """`softmax(q @ k.T * scale + bias) @ v` per head (Vaswani and others 2017): (b, t, heads, size) as the query.

    Parameters: `key`, `value`, (b, s, heads, size), where fewer heads serve several of the query's; `mask`, True where
    a place may be seen, and `bias`, both broadcast to (b, heads, t, s); `scale`, `1 / sqrt(size)` by default;
    `flash_attention` is left to torch, which takes the fastest kernel that fits.

    >>> dot_product_attention(*[torch.ones(1, 2, 1, 4)] * 3).shape
    torch.Size([1, 2, 1, 4])
    """
    if attn_logits_soft_cap is not None:
        raise UnfinishedError("dot_product_attention(attn_logits_soft_cap=) is not in lamina yet.")
    query, key, value = promote(query, key, value, floating=True)
    if query.ndim != 4:
        raise ShapeError(
            "Attention takes (batch, length, heads, size).",
            layer="ops.dot_product_attention",
            received=f"a query of {tuple(query.shape)}",
            expected="query, key and value of four axes",
            because="every head attends by itself, along the axis of lengths",
            mend="for a single head, add its axis: ops.expand_dims(query, 2)",
        )
    shown: Tensor | None = None if mask is None else as_tensor(mask, torch.bool, query.device)
    if is_causal and (shown is not None or bias is not None):
        past = torch.ones(query.shape[1], key.shape[1], dtype=torch.bool, device=query.device).tril()
        shown, is_causal = (past if shown is None else shown & past), False
    if bias is not None:
        bias = as_tensor(bias, query.dtype, query.device)
        shown = bias if shown is None else torch.where(shown, bias, -torch.inf)
    result = functional.scaled_dot_product_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        attn_mask=shown,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=query.shape[2] != key.shape[2],
    )
    return result.transpose(1, 2)


@public("ops")
@op
def psnr(x1: Any, x2: Any, max_val: float) -> Tensor:
    """The peak signal-to-noise ratio in decibels: `20 log10(max_val) - 10 log10(mean((x1 - x2)**2))`.

    >>> psnr([1.0], [0.0], 1.0).tolist()
    0.0
    """
    x1, x2 = promote(x1, x2, floating=True)
    error = torch.mean(torch.square(x1 - x2))
    return 20 * torch.log10(as_tensor(max_val, error.dtype, error.device)) - 10 * torch.log10(error)
