"""The losses as classes: each holds the arguments of the function of the same name and reduces what it returns.

Shapes, formulas, errors and sources stand with the functions (`losses.functions`); `name`, `reduction`, `dtype`,
`sample_weight` and masks with `losses.Loss`.
"""

from __future__ import annotations

from typing import Any

from lamina.base.registry import public
from lamina.losses import functions
from lamina.losses.base import LossFunctionWrapper

_MEAN = "sum_over_batch_size"


@public("losses")
class MeanSquaredError(LossFunctionWrapper):
    """The mean of (y_true − y_pred)²: (batch, ..., features) to ().

    >>> MeanSquaredError()([[0.0, 1.0]], [[2.0, 1.0]]).item()
    2.0
    """

    def __init__(self, reduction: str | None = _MEAN, name: str | None = "mean_squared_error", dtype: Any = None):
        super().__init__(functions.mean_squared_error, reduction, name, dtype)


@public("losses")
class MeanAbsoluteError(LossFunctionWrapper):
    """The mean of |y_true − y_pred|: (batch, ..., features) to ().

    >>> MeanAbsoluteError()([[0.0, 1.0]], [[2.0, 1.0]]).item()
    1.0
    """

    def __init__(self, reduction: str | None = _MEAN, name: str | None = "mean_absolute_error", dtype: Any = None):
        super().__init__(functions.mean_absolute_error, reduction, name, dtype)


@public("losses")
class MeanAbsolutePercentageError(LossFunctionWrapper):
    """100 · the mean of |y_true − y_pred| / max(|y_true|, ε): (batch, ..., features) to ().

    >>> MeanAbsolutePercentageError()([[2.0, 4.0]], [[1.0, 4.0]]).item()
    25.0
    """

    def __init__(
        self, reduction: str | None = _MEAN, name: str | None = "mean_absolute_percentage_error", dtype: Any = None
    ):
        super().__init__(functions.mean_absolute_percentage_error, reduction, name, dtype)


@public("losses")
class MeanSquaredLogarithmicError(LossFunctionWrapper):
    """The mean of (log(1 + y_true) − log(1 + y_pred))²: (batch, ..., features) to ().

    >>> round(MeanSquaredLogarithmicError()([[0.0]], [[1.0]]).item(), 4)
    0.4805
    """

    def __init__(
        self, reduction: str | None = _MEAN, name: str | None = "mean_squared_logarithmic_error", dtype: Any = None
    ):
        super().__init__(functions.mean_squared_logarithmic_error, reduction, name, dtype)


@public("losses")
class CosineSimilarity(LossFunctionWrapper):
    """The mean of −cos of the angle along `axis`: (batch, ..., features) to (), −1 where all directions agree.

    >>> CosineSimilarity()([[0.0, 2.0]], [[0.0, 1.0]]).item()
    -1.0
    """

    _unwritten = {"axis": -1}

    def __init__(
        self, axis: int = -1, reduction: str | None = _MEAN, name: str | None = "cosine_similarity", dtype: Any = None
    ):
        super().__init__(functions.cosine_similarity, reduction, name, dtype, axis=axis)


@public("losses")
class Huber(LossFunctionWrapper):
    """Quadratic up to an error of `delta` δ, δ(|e| − δ/2) beyond: (batch, ..., features) to ().

    >>> Huber()([[0.0, 0.0]], [[1.0, 3.0]]).item()
    1.5
    """

    _unwritten = {"delta": 1.0}

    def __init__(
        self, delta: float = 1.0, reduction: str | None = _MEAN, name: str | None = "huber_loss", dtype: Any = None
    ):
        super().__init__(functions.huber, reduction, name, dtype, delta=delta)


@public("losses")
class LogCosh(LossFunctionWrapper):
    """The mean of log(cosh(y_pred − y_true)): (batch, ..., features) to ().

    >>> round(LogCosh()([[0.0]], [[1.0]]).item(), 4)
    0.4338
    """

    def __init__(self, reduction: str | None = _MEAN, name: str | None = "log_cosh", dtype: Any = None):
        super().__init__(functions.log_cosh, reduction, name, dtype)


@public("losses")
class Hinge(LossFunctionWrapper):
    """The mean of max(1 − y_true · y_pred, 0), labels −1 and 1 or 0 and 1: (batch, ..., features) to ().

    >>> Hinge()([[1.0, 0.0]], [[0.5, -2.0]]).item()
    0.25
    """

    def __init__(self, reduction: str | None = _MEAN, name: str | None = "hinge", dtype: Any = None):
        super().__init__(functions.hinge, reduction, name, dtype)


@public("losses")
class SquaredHinge(LossFunctionWrapper):
    """The mean of max(1 − y_true · y_pred, 0)²: (batch, ..., features) to ().

    >>> SquaredHinge()([[1.0, 0.0]], [[0.5, -2.0]]).item()
    0.125
    """

    def __init__(self, reduction: str | None = _MEAN, name: str | None = "squared_hinge", dtype: Any = None):
        super().__init__(functions.squared_hinge, reduction, name, dtype)


@public("losses")
class CategoricalHinge(LossFunctionWrapper):
    """The mean of max(1 + neg − pos, 0) for one-hot targets: (batch, ..., classes) to ().

    >>> CategoricalHinge()([[0.0, 1.0]], [[0.5, 1.0]]).item()
    0.5
    """

    def __init__(self, reduction: str | None = _MEAN, name: str | None = "categorical_hinge", dtype: Any = None):
        super().__init__(functions.categorical_hinge, reduction, name, dtype)


@public("losses")
class KLDivergence(LossFunctionWrapper):
    """The mean of Σ y_true · log(y_true / y_pred): (batch, ..., classes) to ().

    >>> round(KLDivergence()([[0.5, 0.5]], [[0.25, 0.75]]).item(), 4)
    0.1438
    """

    def __init__(self, reduction: str | None = _MEAN, name: str | None = "kl_divergence", dtype: Any = None):
        super().__init__(functions.kl_divergence, reduction, name, dtype)


@public("losses")
class Poisson(LossFunctionWrapper):
    """The mean of y_pred − y_true · log(y_pred + ε): (batch, ..., features) to ().

    >>> round(Poisson()([[1.0, 0.0]], [[1.0, 1.0]]).item(), 4)
    1.0
    """

    def __init__(self, reduction: str | None = _MEAN, name: str | None = "poisson", dtype: Any = None):
        super().__init__(functions.poisson, reduction, name, dtype)


@public("losses")
class BinaryCrossentropy(LossFunctionWrapper):
    """The mean of −y·log p − (1−y)·log(1−p): (batch, ..., features) to ().

    >>> round(BinaryCrossentropy(from_logits=True)([[1.0], [0.0]], [[0.0], [0.0]]).item(), 4)
    0.6931
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = _MEAN,
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            functions.binary_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


@public("losses")
class BinaryFocalCrossentropy(LossFunctionWrapper):
    """The mean of (1 − p_t)^γ times the binary crossentropy: (batch, ..., features) to ().

    >>> round(BinaryFocalCrossentropy()([[1.0, 0.0]], [[0.5, 0.5]]).item(), 4)
    0.1733
    """

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = _MEAN,
        name: str | None = "binary_focal_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            functions.binary_focal_crossentropy,
            reduction,
            name,
            dtype,
            apply_class_balancing=apply_class_balancing,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


@public("losses")
class CategoricalCrossentropy(LossFunctionWrapper):
    """The mean of −Σ y_true · log p, targets one-hot or distributions: (batch, ..., classes) to ().

    >>> round(CategoricalCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]]).item(), 4)
    0.6931
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = _MEAN,
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            functions.categorical_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


@public("losses")
class CategoricalFocalCrossentropy(LossFunctionWrapper):
    """The mean of −Σ α · (1 − p)^γ · y_true · log p: (batch, ..., classes) to ().

    >>> round(CategoricalFocalCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]]).item(), 4)
    0.0433
    """

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = _MEAN,
        name: str | None = "categorical_focal_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            functions.categorical_focal_crossentropy,
            reduction,
            name,
            dtype,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


@public("losses")
class SparseCategoricalCrossentropy(LossFunctionWrapper):
    """The mean of −log p of the true class: class numbers (batch, ...) and outputs (batch, ..., classes) to ().

    >>> round(SparseCategoricalCrossentropy()([1], [[0.5, 0.5]]).item(), 4)
    0.6931
    """

    _unwritten = {"axis": -1}

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = _MEAN,
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            functions.sparse_categorical_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
        )


@public("losses")
class Dice(LossFunctionWrapper):
    """1 − 2·Σ(y_true·y_pred) / (Σ y_true + Σ y_pred + ε) over `axis`: any shape to ().

    >>> round(Dice()([[0.0, 1.0]], [[0.0, 1.0]]).item(), 4)
    0.0
    """

    def __init__(self, reduction: str | None = _MEAN, name: str | None = "dice", axis: Any = None, dtype: Any = None):
        super().__init__(functions.dice, reduction, name, dtype, axis=axis)


@public("losses")
class Tversky(LossFunctionWrapper):
    """1 − TP / (TP + α·missed + β·invented + ε) over `axis`: any shape to ().

    >>> round(Tversky()([[0.0, 1.0]], [[0.0, 1.0]]).item(), 4)
    0.0
    """

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = _MEAN,
        name: str | None = "tversky",
        axis: Any = None,
        dtype: Any = None,
    ):
        super().__init__(functions.tversky, reduction, name, dtype, alpha=alpha, beta=beta, axis=axis)


@public("losses")
class CategoricalGeneralizedCrossEntropy(LossFunctionWrapper):
    """The mean of (1 − p^q) / q, 0 < q < 1, robust to wrong labels: class numbers (batch,), outputs (batch, classes).

    Errors: a `q` outside (0, 1) is a ValueError.

    >>> CategoricalGeneralizedCrossEntropy()([1], [[0.75, 0.25]]).item()
    1.0
    """

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = _MEAN,
        name: str | None = "categorical_generalized_cross_entropy",
        dtype: Any = None,
    ):
        if not 0 < q < 1:
            raise ValueError(f"q lies between 0 and 1; got {q}.")
        super().__init__(functions.categorical_generalized_cross_entropy, reduction, name, dtype, q=q)
