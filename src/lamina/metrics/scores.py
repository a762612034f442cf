"""Scores by class: F-scores, intersections over unions, the coefficient of determination."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch

from lamina.base.config import epsilon
from lamina.base.errors import outside_frame
from lamina.base.registry import public
from lamina.engine.dtypes import torch_dtype
from lamina.engine.variable import Variable
from lamina.losses.base import aligned
from lamina.losses.shapes import check_weight_shape
from lamina.metrics.base import Metric
from lamina.ops.convert import as_tensor

Tensor = torch.Tensor


def _two_axes(y_true: Any, y_pred: Any, metric: Metric) -> tuple[Tensor, Tensor]:
    name = metric.name
    y_true, y_pred = aligned(y_true, as_tensor(y_pred).to(torch_dtype(metric.dtype)), name)
    if y_pred.dim() != 2:
        raise ValueError(f"{name} needs targets and outputs of shape (batch, columns); got {tuple(y_pred.shape)}.")
    return y_true, y_pred


@public("metrics")
class FBetaScore(Metric):
    """(1 + β²)·P·R / (β²·P + R), P precision and R recall of each class: (batch, classes) to (classes,) or ().

    Parameters: `average`: None for a score a class, `"micro"` over all entries, `"macro"` the mean, `"weighted"` the
    mean weighted by labels; `beta` β; `threshold` above which an output is positive, None for the largest of a sample.
    Errors: other values of these are a ValueError.

    >>> FBetaScore(beta=2.0, threshold=0.5, average="micro")([[1, 1, 0]], [[0.9, 0.2, 0.1]]).item()
    0.5555...
    """

    true_positives: Variable
    false_positives: Variable
    false_negatives: Variable
    intermediate_weights: Variable

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        if average not in (None, "micro", "macro", "weighted"):
            raise ValueError(f"average is None, 'micro', 'macro' or 'weighted'; got {average!r}.")
        if not isinstance(beta, float) or beta <= 0.0:
            raise ValueError(f"beta is a float above 0; got {beta!r}.")
        if threshold is not None and (not isinstance(threshold, float) or not 0.0 < threshold <= 1.0):
            raise ValueError(f"threshold is a float above 0 and at most 1; got {threshold!r}.")
        self.average = average
        self.beta = beta
        self.threshold = threshold
        self._built = False

    def _build(self, classes: int) -> None:
        shape = () if self.average == "micro" else (classes,)
        for name in ("true_positives", "false_positives", "false_negatives", "intermediate_weights"):
            setattr(self, name, self.add_variable(shape, dtype=self.dtype, name=name))
        self._built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = _two_axes(y_true, y_pred, self)
        if not self._built:
            self._build(y_pred.shape[1])
        if self.threshold is None:
            y_pred = (y_pred >= y_pred.amax(-1, keepdim=True)) & (y_pred.abs() > 1e-9)
        else:
            y_pred = y_pred > self.threshold
        y_pred = y_pred.to(y_true.dtype)
        parts = torch.stack([y_pred * y_true, y_pred * (1 - y_true), (1 - y_pred) * y_true, y_true])
        if sample_weight is not None:
            parts = parts * as_tensor(sample_weight).to(parts).reshape(-1, 1)
        sums = parts.sum((1, 2) if self.average == "micro" else 1)
        self.true_positives.assign_add(sums[0])
        self.false_positives.assign_add(sums[1])
        self.false_negatives.assign_add(sums[2])
        self.intermediate_weights.assign_add(sums[3])

    def result(self) -> Tensor:
        if not self._built:
            return torch.zeros(())
        hits = self.true_positives
        precision = hits / (hits + self.false_positives + epsilon())
        recall = hits / (hits + self.false_negatives + epsilon())
        squared = self.beta**2
        score = (1 + squared) * precision * recall / (squared * precision + recall + epsilon())
        if self.average == "weighted":
            return (score * self.intermediate_weights / (self.intermediate_weights.sum() + epsilon())).sum()
        return score if self.average is None else score.mean()


@public("metrics")
class F1Score(FBetaScore):
    """2·P·R / (P + R), P precision and R recall of each class: (batch, classes) to (classes,) or ().

    Parameters and errors: as for `FBetaScore`.

    >>> F1Score(average="macro")([[1, 0], [0, 1]], [[0.9, 0.1], [0.2, 0.8]]).item()
    0.9999...
    """

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ):
        super().__init__(average=average, beta=1.0, threshold=threshold, name=name, dtype=dtype)


@public("metrics")
class R2Score(Metric):
    """The coefficient of determination, 1 − Σ(y_true − y_pred)² / Σ(y_true − mean)²: (batch, n) to () or (n,).

    Parameters: `class_aggregation` of the columns: `"uniform_average"`, `"variance_weighted_average"`, None for each;
    `num_regressors` p above 0: the adjusted score 1 − (1 − r²)(n − 1)/(n − p − 1). Errors: others are a ValueError.

    >>> round(R2Score()([[1.0], [2.0], [3.0]], [[1.0], [2.0], [4.0]]).item(), 4)
    0.5
    """

    squared_sum: Variable
    sum: Variable
    total_mse: Variable
    count: Variable

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        if class_aggregation not in (None, "uniform_average", "variance_weighted_average"):
            raise ValueError(
                "class_aggregation is None, 'uniform_average' or 'variance_weighted_average'; "
                f"got {class_aggregation!r}."
            )
        if num_regressors < 0:
            raise ValueError(f"num_regressors is at least 0; got {num_regressors}.")
        self.class_aggregation = class_aggregation
        self.num_regressors = num_regressors
        self.num_samples = self.add_variable((), name="num_samples")
        self._built = False

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = _two_axes(y_true, y_pred, self)
        if not self._built:
            for name, attribute in zip(
                ("squared_sum", "sum", "residual", "count"), ("squared_sum", "sum", "total_mse", "count"), strict=True
            ):
                setattr(self, attribute, self.add_variable(y_pred.shape[1:], name=name))
            self._built = True
        weights = torch.ones_like(y_true)
        if sample_weight is not None:
            given = as_tensor(sample_weight).to(y_true)
            weights = weights * (given.unsqueeze(1) if given.dim() == 1 else given)
        weighted = y_true * weights
        self.sum.assign_add(weighted.sum(0))
        self.squared_sum.assign_add((y_true * weighted).sum(0))
        self.total_mse.assign_add(((y_true - y_pred).square() * weights).sum(0))
        self.count.assign_add(weights.sum(0))
        self.num_samples.add_(y_true.numel())

    def result(self) -> Tensor:
        if not self._built:
            return torch.zeros(())
        total = self.squared_sum - self.sum * (self.sum / self.count)
        scores = 1 - self.total_mse / total
        scores = torch.where(scores.isinf(), 0.0, scores)
        if self.class_aggregation == "uniform_average":
            scores = scores.mean()
        elif self.class_aggregation == "variance_weighted_average":
            scores = (total * scores).sum() / total.sum()
        return self._adjusted(scores) if self.num_regressors else scores

    def _adjusted(self, scores: Tensor) -> Tensor:
        freedom = float(self.num_samples) - self.num_regressors - 1
        if freedom <= 0:
            warnings.warn(
                f"R2Score needs more than {self.num_regressors + 1} values for {self.num_regressors} regressors "
                f"and has {int(self.num_samples)}; the score is not adjusted.",
                stacklevel=outside_frame(),
            )
            return scores
        return 1.0 - (1.0 - scores) * (float(self.num_samples) - 1.0) / freedom


class _IoU(Metric):
    """Base: the confusion matrix `total_cm`, (classes, classes), rows the targets, columns the outputs."""

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None,
        dtype: Any,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ):
        super().__init__(name=name, dtype=dtype or "int32")
        if max(target_class_ids) >= num_classes:
            raise ValueError(f"Classes are numbered 0 to {num_classes - 1}; got {max(target_class_ids)}.")
        self.num_classes = num_classes
        self.target_class_ids = list(target_class_ids)
        self.ignore_class = ignore_class
        self.sparse_y_true = sparse_y_true
        self.sparse_y_pred = sparse_y_pred
        self.axis = axis
        self.total_cm = self.add_variable((num_classes, num_classes), dtype=self.dtype, name="total_confusion_matrix")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_pred = as_tensor(y_pred)
        y_true = as_tensor(y_true).to(y_pred.device)
        y_true = (y_true if self.sparse_y_true else y_true.argmax(self.axis)).long().reshape(-1)
        y_pred = (y_pred if self.sparse_y_pred else y_pred.argmax(self.axis)).long().reshape(-1)
        weights = self._weights(sample_weight, y_true)
        valid = (y_true >= 0) & (y_true < self.num_classes) & (y_pred >= 0) & (y_pred < self.num_classes)
        if self.ignore_class is not None:
            valid = valid & (y_true != self.ignore_class)
        places = torch.where(valid, y_true * self.num_classes + y_pred, 0)
        counts = torch.zeros(self.num_classes**2, dtype=weights.dtype, device=weights.device)
        counts.index_add_(0, places, torch.where(valid, weights, 0))
        self.total_cm.assign_add(counts.view(self.num_classes, self.num_classes))

    def _weights(self, sample_weight: Any, like: Tensor) -> Tensor:
        dtype = torch_dtype(self.dtype)
        if sample_weight is None:
            return torch.ones_like(like, dtype=dtype)
        weights = as_tensor(sample_weight)
        if weights.dtype.is_floating_point and not dtype.is_floating_point:
            warnings.warn(
                f"{type(self).__name__} counts in {self.dtype}, so float weights lose their fractions; "
                "give dtype='float32' to keep them.",
                stacklevel=outside_frame(),
            )
        weights = weights.to(device=like.device, dtype=dtype)
        weights = weights.reshape(-1) if weights.dim() > 1 else weights
        check_weight_shape(weights.shape, like.shape, "sample_weight")
        return weights.expand(like.shape)

    def result(self) -> Tensor:
        matrix = self.total_cm.float()
        hits = matrix.diagonal()
        union = (matrix.sum(0) + matrix.sum(1) - hits)[self.target_class_ids]
        seen = union > 1e-9
        shares = torch.where(seen, hits[self.target_class_ids] / (union + epsilon()), 0.0)
        return shares.sum() / (seen.sum() + epsilon())


@public("metrics")
class IoU(_IoU):
    """The mean over `target_class_ids` of TP / (TP + FP + FN): class numbers (batch, ...) to ().

    Parameters: `num_classes`; `ignore_class`, a class of targets that does not count; `sparse_y_true`, `sparse_y_pred`:
    class numbers, else one-hot or scores along `axis`. Errors: a class id beyond the classes is a ValueError.

    >>> round(IoU(num_classes=2, target_class_ids=[0])([0, 0, 1, 1], [0, 1, 0, 1]).item(), 4)
    0.3333
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ):
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)


@public("metrics")
class BinaryIoU(_IoU):
    """`IoU` of two classes told by one output at least `threshold`: targets 0 and 1 (batch, ...) to ().

    >>> round(BinaryIoU(target_class_ids=[0, 1])([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7]).item(), 4)
    0.5833
    """

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        super().update_state(y_true, as_tensor(y_pred) >= self.threshold, sample_weight)


@public("metrics")
class MeanIoU(_IoU):
    """`IoU` averaged over all classes that occur: class numbers (batch, ...) to ().

    >>> round(MeanIoU(num_classes=2)([0, 0, 1, 1], [0, 1, 0, 1]).item(), 4)
    0.3333
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ):
        super().__init__(num_classes, range(num_classes), name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)


@public("metrics")
class OneHotIoU(_IoU):
    """`IoU` of one-hot targets and scores: (batch, ..., classes) to ().

    >>> round(OneHotIoU(2, [0])([[1, 0], [0, 1]], [[0.9, 0.1], [0.6, 0.4]]).item(), 4)
    0.5
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ):
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)


@public("metrics")
class OneHotMeanIoU(_IoU):
    """`MeanIoU` of one-hot targets and scores: (batch, ..., classes) to ().

    >>> round(OneHotMeanIoU(2)([[1, 0], [0, 1]], [[0.9, 0.1], [0.6, 0.4]]).item(), 4)
    0.25
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ):
        super().__init__(num_classes, range(num_classes), name, dtype, ignore_class, False, sparse_y_pred, axis)
