"""The losses as functions of (y_true, y_pred): one number a sample.

Targets and outputs have one shape, `(batch, ..., features)`, and the result loses its last axis; the sparse losses say
their own. `y_true` takes the dtype of `y_pred`. A trailing axis of size 1 may be missing on either side; any other
difference of shapes is a `ShapeError` (see `check_target_shape`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch.nn import functional as F

from lamina.base.config import epsilon
from lamina.base.errors import warn_shape
from lamina.base.registry import public
from lamina.graph.record import op
from lamina.losses.base import aligned, as_outputs
from lamina.losses.shapes import check_target_shape
from lamina.ops.convert import as_tensor

Tensor = torch.Tensor
LossFunction = Callable[..., Tensor]


def _axis_reader(function: LossFunction) -> Callable[[tuple[Any, ...], dict[str, Any]], int]:
    """Reads the class axis from the arguments behind (y_true, y_pred); -1 where they do not say it."""
    place = [*inspect.signature(function).parameters, "axis"].index("axis") - 2

    def axis_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        axis = args[place] if len(args) > place else kwargs.get("axis", -1)
        return axis if isinstance(axis, int) else -1

    return axis_of


def compares(function: LossFunction) -> LossFunction:
    """Decorator: the function gets targets and outputs as tensors of one shape, dtype and device."""

    axis_of = _axis_reader(function)

    @wraps(function)
    def run(y_true: Any, y_pred: Any, *args: Any, **kwargs: Any) -> Tensor:
        y_true, y_pred = aligned(y_true, y_pred, function.__name__, axis_of(args, kwargs))
        return function(y_true, y_pred, *args, **kwargs)

    run.checks_targets = True  # type: ignore[attr-defined]
    return op(run)


def compares_class_numbers(function: LossFunction) -> LossFunction:
    """Decorator: the function gets targets as int64 class numbers, of the outputs' shape without the class axis."""

    axis_of = _axis_reader(function)

    @wraps(function)
    def run(y_true: Any, y_pred: Any, *args: Any, **kwargs: Any) -> Tensor:
        y_pred = as_outputs(y_pred)
        y_true = as_tensor(y_true).to(device=y_pred.device, dtype=torch.int64)
        axis = axis_of(args, kwargs)
        check_target_shape(y_true.shape, y_pred.shape, function.__name__, axis)
        if y_true.dim() == y_pred.dim():
            y_true = y_true.squeeze(axis)
        return function(y_true, y_pred, *args, **kwargs)

    run.checks_targets = run.takes_class_numbers = True  # type: ignore[attr-defined]
    return op(run)


@public("losses", "mse", "MSE")
@compares
def mean_squared_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """mean((y_true − y_pred)²) over the last axis: (batch, ..., features) to (batch, ...).

    >>> mean_squared_error([[0.0, 1.0]], [[2.0, 1.0]]).tolist()
    [2.0]
    """
    return (y_true - y_pred).square().mean(-1)


@public("losses", "mae", "MAE")
@compares
def mean_absolute_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """mean(|y_true − y_pred|) over the last axis: (batch, ..., features) to (batch, ...).

    >>> mean_absolute_error([[0.0, 1.0]], [[2.0, 1.0]]).tolist()
    [1.0]
    """
    return (y_true - y_pred).abs().mean(-1)


@public("losses", "mape", "MAPE")
@compares
def mean_absolute_percentage_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """100 · mean(|y_true − y_pred| / max(|y_true|, ε)): (batch, ..., features) to (batch, ...).

    >>> mean_absolute_percentage_error([[2.0, 4.0]], [[1.0, 4.0]]).tolist()
    [25.0]
    """
    return 100.0 * ((y_true - y_pred) / y_true.abs().clamp(min=epsilon())).abs().mean(-1)


@public("losses", "msle", "MSLE")
@compares
def mean_squared_logarithmic_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """mean((log(1 + y_true) − log(1 + y_pred))²), both at least ε: (batch, ..., features) to (batch, ...).

    >>> round(mean_squared_logarithmic_error([[0.0]], [[1.0]]).item(), 4)
    0.4805
    """
    low = epsilon()
    return (y_pred.clamp(min=low).log1p() - y_true.clamp(min=low).log1p()).square().mean(-1)


@public("losses")
@compares
def cosine_similarity(y_true: Tensor, y_pred: Tensor, axis: int = -1) -> Tensor:
    """−cos of the angle between targets and outputs: −1 for the same direction, 0 for right angles, 1 for opposite.

    Shapes: (batch, ..., features) to (batch, ...), or without `axis`. A zero vector gives 0.

    >>> cosine_similarity([[0.0, 2.0]], [[0.0, 1.0]]).tolist()
    [-1.0]
    """
    return -(unit_length(y_true, axis) * unit_length(y_pred, axis)).sum(axis)


def unit_length(x: Tensor, axis: int) -> Tensor:
    """x / ‖x‖ along an axis; the norm counts as at least ε."""
    return x * x.square().sum(axis, keepdim=True).rsqrt().clamp(max=1.0 / epsilon())


@public("losses", "huber_loss")
@compares
def huber(y_true: Tensor, y_pred: Tensor, delta: float = 1.0) -> Tensor:
    """mean of e²/2 where |e| ≤ δ and δ(|e| − δ/2) beyond, e = y_pred − y_true: (batch, ..., features) to (batch, ...).

    Source: P. Huber, Robust Estimation of a Location Parameter, 1964.

    >>> huber([[0.0, 0.0]], [[1.0, 3.0]]).tolist()
    [1.5]
    """
    return F.huber_loss(y_pred, y_true, reduction="none", delta=float(delta)).mean(-1)


@public("losses", "logcosh")
@compares
def log_cosh(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """mean(log(cosh(y_pred − y_true))), stable for large errors: (batch, ..., features) to (batch, ...).

    >>> round(log_cosh([[0.0]], [[100.0]]).item(), 4)
    99.3069
    """
    error = y_pred - y_true
    return (error + F.softplus(-2.0 * error) - torch.log(error.new_tensor(2.0))).mean(-1)


def _hinge_labels(y_true: Tensor) -> Tensor:
    """Labels of −1 and 1, from those or from 0 and 1. No branch on values, which would wait for the device."""
    is_binary = ((y_true == 0) | (y_true == 1)).all()
    return torch.where(is_binary, 2.0 * y_true - 1.0, y_true)


@public("losses")
@compares
def hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """mean(max(1 − y_true · y_pred, 0)), labels −1 and 1 (or 0 and 1): (batch, ..., features) to (batch, ...).

    >>> hinge([[1.0, 0.0]], [[0.5, -2.0]]).tolist()
    [0.25]
    """
    return (1.0 - _hinge_labels(y_true) * y_pred).relu().mean(-1)


@public("losses")
@compares
def squared_hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """mean(max(1 − y_true · y_pred, 0)²), labels −1 and 1 (or 0 and 1): (batch, ..., features) to (batch, ...).

    >>> squared_hinge([[1.0, 0.0]], [[0.5, -2.0]]).tolist()
    [0.125]
    """
    return (1.0 - _hinge_labels(y_true) * y_pred).relu().square().mean(-1)


@public("losses")
@compares
def categorical_hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """max(1 + max((1 − y_true)·y_pred) − Σ y_true·y_pred, 0): (batch, ..., classes) to (batch, ...).

    >>> categorical_hinge([[0.0, 1.0]], [[0.5, 1.0]]).tolist()
    [0.5]
    """
    right = (y_true * y_pred).sum(-1)
    wrong = ((1.0 - y_true) * y_pred).amax(-1)
    return (wrong - right + 1.0).relu()


@public("losses", "kld", "KLD", "kullback_leibler_divergence")
@compares
def kl_divergence(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Σ y_true · log(y_true / y_pred), both within [ε, 1]: (batch, ..., classes) to (batch, ...).

    >>> round(kl_divergence([[0.5, 0.5]], [[0.25, 0.75]]).item(), 4)
    0.1438
    """
    y_true, y_pred = y_true.clamp(epsilon(), 1.0), y_pred.clamp(epsilon(), 1.0)
    return (y_true * (y_true / y_pred).log()).sum(-1)


@public("losses")
@compares
def poisson(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """mean(y_pred − y_true · log(y_pred + ε)): (batch, ..., features) to (batch, ...).

    >>> round(poisson([[1.0, 0.0]], [[1.0, 1.0]]).item(), 4)
    1.0
    """
    return (y_pred - y_true * (y_pred + epsilon()).log()).mean(-1)


def _smoothed(y_true: Tensor, label_smoothing: float, parts: int) -> Tensor:
    """y · (1 − s) + s / parts; unchanged for s = 0."""
    return y_true * (1.0 - label_smoothing) + label_smoothing / parts if label_smoothing else y_true


def _clipped(probabilities: Tensor) -> Tensor:
    return probabilities.clamp(epsilon(), 1.0 - epsilon())


@public("losses", "bce", "BCE")
@compares
def binary_crossentropy(
    y_true: Tensor, y_pred: Tensor, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """mean(−y·log p − (1−y)·log(1−p)) over `axis`: (batch, ..., features) to (batch, ...).

    Parameters: `from_logits`: p = sigmoid(y_pred), else y_pred within [ε, 1−ε]; `label_smoothing` s: y(1−s) + s/2.

    >>> round(binary_crossentropy([[1.0, 0.0]], [[0.5, 0.5]]).item(), 4)
    0.6931
    """
    y_true = _smoothed(y_true, label_smoothing, 2)
    if from_logits:
        return F.binary_cross_entropy_with_logits(y_pred, y_true, reduction="none").mean(axis)
    return F.binary_cross_entropy(_clipped(y_pred), y_true, reduction="none").mean(axis)


@public("losses")
@compares
def binary_focal_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """mean((1 − p_t)^γ · BCE), p_t the probability of the true label: (batch, ..., features) to (batch, ...).

    Parameters: `apply_class_balancing` weighs label 1 by α and label 0 by 1 − α; `from_logits`, `label_smoothing` and
    `axis` as for `binary_crossentropy`. Source: Lin et al., Focal Loss for Dense Object Detection, 2017.

    >>> round(binary_focal_crossentropy([[1.0, 0.0]], [[0.5, 0.5]]).item(), 4)
    0.1733
    """
    y_true = _smoothed(y_true, label_smoothing, 2)
    y_pred = y_pred.sigmoid() if from_logits else y_pred
    losses = F.binary_cross_entropy(_clipped(y_pred), y_true, reduction="none")
    right = y_true * y_pred + (1 - y_true) * (1 - y_pred)
    losses = (1.0 - right).pow(gamma) * losses
    if apply_class_balancing:
        losses = (y_true * alpha + (1 - y_true) * (1 - alpha)) * losses
    return losses.mean(axis)


def _check_classes(y_pred: Tensor, axis: Any, name: str) -> None:
    if isinstance(axis, bool):
        raise ValueError(f"axis is the number of an axis; got {axis}.")
    if y_pred.dim() and y_pred.shape[axis] == 1:
        warn_shape(
            f"{name} got outputs of one class, {tuple(y_pred.shape)}.",
            layer=name,
            received=f"outputs {tuple(y_pred.shape)}",
            expected="outputs of two classes or more",
            because="the probabilities of one class are always 1, so there is nothing to learn",
            mend="use binary_crossentropy for two classes told by one output",
        )


def _as_probabilities(y_pred: Tensor, axis: int) -> Tensor:
    return _clipped(y_pred / y_pred.sum(axis, keepdim=True))


@public("losses")
@compares
def categorical_crossentropy(
    y_true: Tensor, y_pred: Tensor, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """−Σ y_true · log p over the classes: (batch, ..., classes) to (batch, ...).

    Parameters: `from_logits`: p = softmax(y_pred), else y_pred / Σ y_pred within [ε, 1−ε]; `label_smoothing` s:
    y(1−s) + s/classes; `axis` of the classes. Errors: class numbers as targets are a ShapeError.

    >>> round(categorical_crossentropy([[0.0, 1.0]], [[0.5, 0.5]]).item(), 4)
    0.6931
    """
    _check_classes(y_pred, axis, "categorical_crossentropy")
    y_true = _smoothed(y_true, label_smoothing, y_true.shape[-1])
    log_p = F.log_softmax(y_pred, axis) if from_logits else _as_probabilities(y_pred, axis).log()
    return -(y_true * log_p).sum(axis)


@public("losses")
@compares
def categorical_focal_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """−Σ α · (1 − p)^γ · y_true · log p over the classes: (batch, ..., classes) to (batch, ...).

    Parameters: as for `categorical_crossentropy`. Source: Lin et al., Focal Loss for Dense Object Detection, 2017.

    >>> round(categorical_focal_crossentropy([[0.0, 1.0]], [[0.5, 0.5]]).item(), 4)
    0.0433
    """
    _check_classes(y_pred, axis, "categorical_focal_crossentropy")
    y_true = _smoothed(y_true, label_smoothing, y_true.shape[-1])
    p = _as_probabilities(y_pred.softmax(axis) if from_logits else y_pred, axis)
    return (alpha * (1.0 - p).pow(gamma) * -y_true * p.log()).sum(axis)


@public("losses")
@compares_class_numbers
def sparse_categorical_crossentropy(
    y_true: Tensor, y_pred: Tensor, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Tensor:
    """−log p of the true class: class numbers (batch, ...) and outputs (batch, ..., classes) to (batch, ...).

    Parameters: `from_logits`: p = softmax(y_pred), else y_pred / Σ y_pred within [ε, 1−ε]; `ignore_class`, a class
    that counts 0 and is masked; `axis` of the classes. Errors: one-hot targets are a ShapeError; a class number that is
    negative or too large is a ValueError (on a GPU, torch's own error).

    >>> round(sparse_categorical_crossentropy([1], [[0.5, 0.5]]).item(), 4)
    0.6931
    """
    valid = None
    if ignore_class is not None:
        valid = y_true != ignore_class
        y_true = torch.where(valid, y_true, 0)
    try:
        losses = _negative_log_likelihood(y_true, y_pred, from_logits, axis)
    except (IndexError, RuntimeError) as error:
        outside = y_true[(y_true < 0) | (y_true >= y_pred.shape[axis])]
        if not outside.numel():
            raise
        raise ValueError(
            f"sparse_categorical_crossentropy got the class number {int(outside[0])}; outputs of "
            f"{y_pred.shape[axis]} classes know 0 to {y_pred.shape[axis] - 1}."
        ) from error
    if valid is not None:
        losses = torch.where(valid, losses, 0.0)
        losses._keras_mask = valid  # type: ignore[attr-defined]  # the mean is then over the valid entries
    return losses


def _negative_log_likelihood(y_true: Tensor, y_pred: Tensor, from_logits: bool, axis: int) -> Tensor:
    if from_logits:
        # The class axis is where F.cross_entropy looks for it. No class number is skipped (torch skips -100).
        y_pred = y_pred.movedim(axis, 1) if y_pred.dim() > 1 else y_pred
        return F.cross_entropy(y_pred, y_true, reduction="none", ignore_index=-(2**31))
    # Only the probability of the true class is clipped and logged: a vocabulary is not walked through four times.
    chosen = y_pred.gather(axis, y_true.unsqueeze(axis)) / y_pred.sum(axis, keepdim=True)
    return -_clipped(chosen).squeeze(axis).log()


@public("losses")
@compares
def dice(y_true: Tensor, y_pred: Tensor, axis: Any = None) -> Tensor:
    """1 − 2·Σ(y_true·y_pred) / (Σ y_true + Σ y_pred + ε) over `axis`, all axes if None: any shape to ().

    >>> round(dice([[0.0, 1.0]], [[0.0, 1.0]]).item(), 4)
    0.0
    """
    both = _sum(y_true * y_pred, axis)
    return 1 - 2.0 * both / (_sum(y_true, axis) + _sum(y_pred, axis) + epsilon())


@public("losses")
@compares
def tversky(y_true: Tensor, y_pred: Tensor, alpha: float = 0.5, beta: float = 0.5, axis: Any = None) -> Tensor:
    """1 − TP / (TP + α·A + β·B + ε), A = Σ y_true(1−y_pred), B = Σ y_pred(1−y_true), over `axis`: any shape to ().

    Source: Salehi et al., Tversky loss function for image segmentation using 3D fully convolutional networks, 2017.

    >>> round(tversky([[0.0, 1.0]], [[0.0, 1.0]]).item(), 4)
    0.0
    """
    both = _sum(y_true * y_pred, axis)
    missed, invented = _sum((1 - y_pred) * y_true, axis), _sum(y_pred * (1 - y_true), axis)
    return 1 - both / (both + missed * alpha + invented * beta + epsilon())


def _sum(x: Tensor, axis: Any) -> Tensor:
    return x.sum() if axis is None else x.sum(axis)


@public("losses")
@compares_class_numbers
def categorical_generalized_cross_entropy(y_true: Tensor, y_pred: Tensor, q: float) -> Tensor:
    """(1 − p^q) / q, p the probability of the true class: class numbers (batch,), outputs (batch, classes) to (batch,).

    Source: Zhang and Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels, 2018.

    >>> categorical_generalized_cross_entropy([1], [[0.75, 0.25]], q=0.5).tolist()
    [1.0]
    """
    return (1 - y_pred.gather(-1, y_true.unsqueeze(-1)).squeeze(-1).pow(q)) / q
