"""The means of losses as metrics, and of what is much like a loss.

Shapes and formulas stand with the functions (`losses.functions`); every metric takes targets and outputs of a batch,
weights that fit them from the left, and gives ().
"""

from __future__ import annotations

from typing import Any

import torch

from lamina.base.config import epsilon
from lamina.base.registry import public
from lamina.engine.dtypes import torch_dtype
from lamina.losses import functions
from lamina.losses.base import aligned
from lamina.losses.functions import Tensor, compares, unit_length
from lamina.metrics.reduction import Mean, MeanMetricWrapper
from lamina.ops.convert import as_tensor


@compares
def cosine_similarity(y_true: Tensor, y_pred: Tensor, axis: int = -1) -> Tensor:
    """cos of the angle between targets and outputs; the loss of the same name is its negative."""
    return (unit_length(y_true, axis) * unit_length(y_pred, axis)).sum(axis)


@public("metrics")
@compares
def pearson_correlation(y_true: Tensor, y_pred: Tensor, axis: int = -1) -> Tensor:
    """Covariance over the product of the standard deviations along `axis`: (batch, ..., n) to (batch, ...), −1 to 1.

    >>> round(pearson_correlation([[0.0, 1.0, 2.0]], [[1.0, 3.0, 5.0]]).item(), 4)
    1.0
    """
    return (_standardized(y_true, axis) * _standardized(y_pred, axis)).mean(axis)


def _standardized(x: Tensor, axis: int) -> Tensor:
    centred = x - x.mean(axis, keepdim=True)
    return centred / centred.std(axis, correction=0, keepdim=True)


@public("metrics")
@compares
def concordance_correlation(y_true: Tensor, y_pred: Tensor, axis: int = -1) -> Tensor:
    """2·cov / (var(y_true) + var(y_pred) + (difference of means)² + ε): (batch, ..., n) to (batch, ...).

    Source: L. Lin, A Concordance Correlation Coefficient to Evaluate Reproducibility, 1989.

    >>> round(concordance_correlation([[0.0, 1.0, 2.0]], [[0.0, 1.0, 2.0]]).item(), 4)
    1.0
    """
    mean_true, mean_pred = y_true.mean(axis, keepdim=True), y_pred.mean(axis, keepdim=True)
    variances = [x.var(axis, correction=0, keepdim=True) for x in (y_true, y_pred)]
    covariance = (y_true - mean_pred) * (y_pred - mean_pred)
    norm = variances[0] + variances[1] + (mean_true - mean_pred).square()
    return (2 * covariance / (norm + epsilon())).mean(axis)


@public("metrics", "mse", "MSE")
class MeanSquaredError(MeanMetricWrapper):
    """The mean of (y_true − y_pred)².

    >>> MeanSquaredError()([[0.0, 1.0]], [[2.0, 1.0]]).item()
    2.0
    """

    def __init__(self, name: str | None = "mean_squared_error", dtype: Any = None):
        super().__init__(functions.mean_squared_error, name, dtype)


@public("metrics", "mae", "MAE")
class MeanAbsoluteError(MeanMetricWrapper):
    """The mean of |y_true − y_pred|.

    >>> MeanAbsoluteError()([[0.0, 1.0]], [[2.0, 1.0]]).item()
    1.0
    """

    def __init__(self, name: str | None = "mean_absolute_error", dtype: Any = None):
        super().__init__(functions.mean_absolute_error, name, dtype)


@public("metrics", "mape", "MAPE")
class MeanAbsolutePercentageError(MeanMetricWrapper):
    """100 · the mean of |y_true − y_pred| / max(|y_true|, ε).

    >>> MeanAbsolutePercentageError()([[2.0, 4.0]], [[1.0, 4.0]]).item()
    25.0
    """

    def __init__(self, name: str | None = "mean_absolute_percentage_error", dtype: Any = None):
        super().__init__(functions.mean_absolute_percentage_error, name, dtype)


@public("metrics", "msle", "MSLE")
class MeanSquaredLogarithmicError(MeanMetricWrapper):
    """The mean of (log(1 + y_true) − log(1 + y_pred))².

    >>> round(MeanSquaredLogarithmicError()([[0.0]], [[1.0]]).item(), 4)
    0.4805
    """

    def __init__(self, name: str | None = "mean_squared_logarithmic_error", dtype: Any = None):
        super().__init__(functions.mean_squared_logarithmic_error, name, dtype)


@public("metrics")
class LogCoshError(MeanMetricWrapper):
    """The mean of log(cosh(y_pred − y_true)).

    >>> round(LogCoshError()([[0.0]], [[1.0]]).item(), 4)
    0.4338
    """

    def __init__(self, name: str | None = "logcosh", dtype: Any = None):
        super().__init__(functions.log_cosh, name, dtype)


@public("metrics")
class CosineSimilarity(MeanMetricWrapper):
    """The mean cosine of the angle between targets and outputs along `axis`: 1 for the same direction.

    >>> CosineSimilarity()([[0.0, 2.0]], [[0.0, 1.0]]).item()
    1.0
    """

    _unwritten = {"axis": -1}

    def __init__(self, name: str | None = "cosine_similarity", dtype: Any = None, axis: int = -1):
        super().__init__(cosine_similarity, name, dtype, axis=axis)


@public("metrics")
class PearsonCorrelation(MeanMetricWrapper):
    """The mean of Pearson's correlation along `axis`.

    >>> round(PearsonCorrelation()([[0.0, 1.0, 2.0]], [[1.0, 3.0, 5.0]]).item(), 4)
    1.0
    """

    def __init__(self, name: str | None = "pearson_correlation", dtype: Any = None, axis: int = -1):
        super().__init__(pearson_correlation, name, dtype, axis=axis)


@public("metrics")
class ConcordanceCorrelation(MeanMetricWrapper):
    """The mean of the concordance correlation along `axis`.

    >>> round(ConcordanceCorrelation()([[0.0, 1.0, 2.0]], [[0.0, 1.0, 2.0]]).item(), 4)
    1.0
    """

    def __init__(self, name: str | None = "concordance_correlation", dtype: Any = None, axis: int = -1):
        super().__init__(concordance_correlation, name, dtype, axis=axis)


@public("metrics")
class Hinge(MeanMetricWrapper):
    """The mean of max(1 − y_true · y_pred, 0), labels −1 and 1 or 0 and 1.

    >>> Hinge()([[1.0, 0.0]], [[0.5, -2.0]]).item()
    0.25
    """

    def __init__(self, name: str | None = "hinge", dtype: Any = None):
        super().__init__(functions.hinge, name, dtype)


@public("metrics")
class SquaredHinge(MeanMetricWrapper):
    """The mean of max(1 − y_true · y_pred, 0)².

    >>> SquaredHinge()([[1.0, 0.0]], [[0.5, -2.0]]).item()
    0.125
    """

    def __init__(self, name: str | None = "squared_hinge", dtype: Any = None):
        super().__init__(functions.squared_hinge, name, dtype)


@public("metrics")
class CategoricalHinge(MeanMetricWrapper):
    """The mean of max(1 + max((1 − y_true)·y_pred) − Σ y_true·y_pred, 0).

    >>> CategoricalHinge()([[0.0, 1.0]], [[0.5, 1.0]]).item()
    0.5
    """

    def __init__(self, name: str | None = "categorical_hinge", dtype: Any = None):
        super().__init__(functions.categorical_hinge, name, dtype)


@public("metrics", "kld", "KLD")
class KLDivergence(MeanMetricWrapper):
    """The mean of Σ y_true · log(y_true / y_pred).

    >>> round(KLDivergence()([[0.5, 0.5]], [[0.25, 0.75]]).item(), 4)
    0.1438
    """

    def __init__(self, name: str | None = "kl_divergence", dtype: Any = None):
        super().__init__(functions.kl_divergence, name, dtype)


@public("metrics")
class Poisson(MeanMetricWrapper):
    """The mean of y_pred − y_true · log(y_pred + ε).

    >>> round(Poisson()([[1.0, 0.0]], [[1.0, 1.0]]).item(), 4)
    1.0
    """

    def __init__(self, name: str | None = "poisson", dtype: Any = None):
        super().__init__(functions.poisson, name, dtype)


@public("metrics", "bce", "BCE")
class BinaryCrossentropy(MeanMetricWrapper):
    """The mean of −y·log p − (1−y)·log(1−p).

    >>> round(BinaryCrossentropy()([[1.0], [0.0]], [[0.5], [0.5]]).item(), 4)
    0.6931
    """

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ):
        super().__init__(
            functions.binary_crossentropy, name, dtype, from_logits=from_logits, label_smoothing=label_smoothing
        )


@public("metrics")
class CategoricalCrossentropy(MeanMetricWrapper):
    """The mean of −Σ y_true · log p.

    >>> round(CategoricalCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]]).item(), 4)
    0.6931
    """

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ):
        super().__init__(
            functions.categorical_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


@public("metrics")
class SparseCategoricalCrossentropy(MeanMetricWrapper):
    """The mean of −log p of the true class, targets class numbers.

    >>> round(SparseCategoricalCrossentropy()([1], [[0.5, 0.5]]).item(), 4)
    0.6931
    """

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ):
        super().__init__(
            functions.sparse_categorical_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
        )


@public("metrics")
class RootMeanSquaredError(Mean):
    """√(the mean of (y_true − y_pred)²) over all batches: (batch, ..., features) to ().

    >>> RootMeanSquaredError()([[0.0, 0.0]], [[3.0, 3.0]]).item()
    3.0
    """

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        y_true, y_pred = aligned(y_true, as_tensor(y_pred).to(torch_dtype(self.dtype)), self.name)
        super().update_state((y_pred - y_true).square(), sample_weight=sample_weight)

    def result(self) -> torch.Tensor:
        return super().result().sqrt()
