"""How often outputs name the right class: five functions, and a metric for each."""

from __future__ import annotations

from typing import Any

from lamina.base.registry import public
from lamina.engine.dtypes import torch_dtype
from lamina.losses.base import with_one_shape
from lamina.losses.functions import Tensor, compares, compares_class_numbers
from lamina.metrics.reduction import MeanMetricWrapper
from lamina.ops.convert import as_tensor


def _as_float(matches: Tensor) -> Tensor:
    return matches.to(torch_dtype(None))


def accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """1 where targets equal outputs, 0 elsewhere: two tensors of one shape to the same shape.

    >>> accuracy([1, 2], [1, 3]).tolist()
    [1.0, 0.0]
    """
    y_pred = as_tensor(y_pred)
    y_true = as_tensor(y_true).to(device=y_pred.device, dtype=y_pred.dtype)
    y_true, y_pred = with_one_shape(y_true, y_pred, "accuracy")
    return _as_float(y_true == y_pred)


accuracy.checks_targets = True  # type: ignore[attr-defined]


@public("metrics")
@compares
def binary_accuracy(y_true: Tensor, y_pred: Tensor, threshold: float = 0.5) -> Tensor:
    """1 where (y_pred > threshold) equals the label 0 or 1: two tensors of one shape to the same shape.

    >>> binary_accuracy([[1], [1]], [[0.9], [0.2]]).tolist()
    [[1.0], [0.0]]
    """
    return _as_float(y_true == (y_pred > threshold))


@public("metrics")
@compares
def categorical_accuracy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """1 where the largest output is the class of the one-hot target: (batch, ..., classes) to (batch, ...).

    >>> categorical_accuracy([[0, 1], [1, 0]], [[0.1, 0.9], [0.4, 0.6]]).tolist()
    [1.0, 0.0]
    """
    return _as_float(y_true.argmax(-1) == y_pred.argmax(-1))


@public("metrics")
@compares_class_numbers
def sparse_categorical_accuracy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """1 where the largest output is the class: numbers (batch, ...) and outputs (batch, ..., classes) to (batch, ...).

    >>> sparse_categorical_accuracy([1, 0], [[0.1, 0.9], [0.4, 0.6]]).tolist()
    [1.0, 0.0]
    """
    return _as_float(y_true == y_pred.argmax(-1))


@public("metrics")
@compares
def top_k_categorical_accuracy(y_true: Tensor, y_pred: Tensor, k: int = 5) -> Tensor:
    """1 where the class of the one-hot target is among the k largest outputs: (batch, ..., classes) to (batch, ...).

    >>> top_k_categorical_accuracy([[0, 0, 1]], [[0.1, 0.5, 0.4]], k=2).tolist()
    [1.0]
    """
    return _in_top_k(y_true.argmax(-1), y_pred, k)


@public("metrics")
@compares_class_numbers
def sparse_top_k_categorical_accuracy(
    y_true: Tensor, y_pred: Tensor, k: int = 5, from_sorted_ids: bool = False
) -> Tensor:
    """1 where the class is among the k largest outputs: (batch, ...) and (batch, ..., classes) to (batch, ...).

    Parameters: `from_sorted_ids`: the outputs are class numbers, the best first.

    >>> sparse_top_k_categorical_accuracy([2], [[0.1, 0.5, 0.4]], k=2).tolist()
    [1.0]
    """
    if from_sorted_ids:
        return _as_float((y_true.unsqueeze(-1) == y_pred[..., :k]).any(-1))
    return _in_top_k(y_true, y_pred, k)


def _in_top_k(classes: Tensor, y_pred: Tensor, k: int) -> Tensor:
    own = y_pred.gather(-1, classes.unsqueeze(-1))
    return _as_float(own >= y_pred.topk(min(k, y_pred.shape[-1])).values[..., -1:]).squeeze(-1)


@public("metrics")
class Accuracy(MeanMetricWrapper):
    """The share of outputs that equal their targets: two tensors of one shape to ().

    >>> Accuracy()([1, 2, 3, 4], [1, 2, 0, 4]).item()
    0.75
    """

    def __init__(self, name: str | None = "accuracy", dtype: Any = None):
        super().__init__(accuracy, name, dtype)


@public("metrics")
class BinaryAccuracy(MeanMetricWrapper):
    """The share of labels 0 and 1 that (y_pred > threshold) meets: (batch, ...) to ().

    >>> BinaryAccuracy()([[1], [1]], [[0.9], [0.2]]).item()
    0.5
    """

    def __init__(self, name: str | None = "binary_accuracy", dtype: Any = None, threshold: float = 0.5):
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)


@public("metrics")
class CategoricalAccuracy(MeanMetricWrapper):
    """The share of samples whose largest output is the class of the one-hot target: (batch, ..., classes) to ().

    >>> CategoricalAccuracy()([[0, 1], [1, 0]], [[0.1, 0.9], [0.4, 0.6]]).item()
    0.5
    """

    def __init__(self, name: str | None = "categorical_accuracy", dtype: Any = None):
        super().__init__(categorical_accuracy, name, dtype)


@public("metrics")
class SparseCategoricalAccuracy(MeanMetricWrapper):
    """The share of samples whose largest output is the class: (batch, ...) and (batch, ..., classes) to ().

    >>> SparseCategoricalAccuracy()([1, 0], [[0.1, 0.9], [0.4, 0.6]]).item()
    0.5
    """

    def __init__(self, name: str | None = "sparse_categorical_accuracy", dtype: Any = None):
        super().__init__(sparse_categorical_accuracy, name, dtype)


@public("metrics")
class TopKCategoricalAccuracy(MeanMetricWrapper):
    """The share of samples whose one-hot class is among the k largest outputs: (batch, ..., classes) to ().

    >>> TopKCategoricalAccuracy(k=2)([[0, 0, 1], [1, 0, 0]], [[0.1, 0.5, 0.4], [0.1, 0.5, 0.4]]).item()
    0.5
    """

    def __init__(self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: Any = None):
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)


@public("metrics")
class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """The share of samples whose class is among the k largest outputs: (batch, ...), (batch, ..., classes) to ().

    >>> SparseTopKCategoricalAccuracy(k=2)([2, 0], [[0.1, 0.5, 0.4], [0.1, 0.5, 0.4]]).item()
    0.5
    """

    _unwritten = {"from_sorted_ids": False}

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ):
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype, k=k, from_sorted_ids=from_sorted_ids)
