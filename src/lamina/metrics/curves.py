"""Areas under curves of thresholds, and the best point of one quotient where another is high enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lamina.base.config import epsilon
from lamina.base.registry import public
from lamina.engine.variable import Variable
from lamina.losses.base import as_outputs, divide_no_nan
from lamina.metrics.confusion import ConfusionMetric, Thresholds, confusion_counts

Tensor = torch.Tensor
_ALL_KINDS = ("true_positives", "false_positives", "true_negatives", "false_negatives")


class _Curve(ConfusionMetric):
    """All four counts at many thresholds, and the quotients of them."""

    kinds = _ALL_KINDS
    true_positives: Variable
    false_positives: Variable
    true_negatives: Variable
    false_negatives: Variable

    def _recall(self) -> Tensor:
        return divide_no_nan(self.true_positives, self.true_positives + self.false_negatives)

    def _precision(self) -> Tensor:
        return divide_no_nan(self.true_positives, self.true_positives + self.false_positives)

    def _specificity(self) -> Tensor:
        return divide_no_nan(self.true_negatives, self.true_negatives + self.false_positives)


def _even(count: int) -> list[float]:
    return [0.0, *((i + 1) / (count - 1) for i in range(count - 2)), 1.0]


@public("metrics")
class AUC(_Curve):
    """The area under the ROC or the precision-recall curve: targets and outputs (batch, ...) in [0, 1] to ().

    Parameters: `num_thresholds`, even from 0 to 1, or `thresholds` between them; `curve`: `"ROC"` (true over false
    positive rate), `"PR"` (precision over recall), `"PRGAIN"`; `summation_method`: `"interpolation"` (trapezoids for
    ROC), `"minoring"` or `"majoring"` (the lower or higher side of each step); `multi_label`: an area for each column
    of (batch, labels), averaged with `label_weights`; `num_labels`: the columns, to make the variables at once;
    `from_logits`: a sigmoid comes first.

    Errors: an unknown curve or method, fewer than two thresholds, are a ValueError. Sources: Davis and Goadrich, The
    Relationship Between Precision-Recall and ROC Curves, 2006; Flach and Kull, Precision-Recall-Gain Curves, 2015.

    >>> AUC(num_thresholds=3)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9]).item()
    0.75
    """

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ):
        super().__init__(name=name, dtype=dtype)
        self.curve = _chosen("curve", curve, ("ROC", "PR", "PRGAIN"))
        self.summation_method = _chosen("summation_method", summation_method, ("interpolation", "minoring", "majoring"))
        if thresholds is None and num_thresholds <= 1:
            raise ValueError(f"num_thresholds is at least 2; got {num_thresholds}.")
        if num_labels and not multi_label:
            raise ValueError("num_labels goes with multi_label=True.")
        self.num_thresholds = num_thresholds if thresholds is None else len(thresholds) + 2
        self._given_thresholds = None if thresholds is None else sorted(float(value) for value in thresholds)
        self.multi_label = multi_label
        self.num_labels = num_labels
        self.label_weights = None if label_weights is None else [float(weight) for weight in label_weights]
        self.from_logits = from_logits
        inner = _even(num_thresholds) if self._given_thresholds is None else [0.0, *self._given_thresholds, 1.0]
        even = True if self._given_thresholds is None else Thresholds(inner).even
        self._thresholds = Thresholds([0.0 - epsilon(), *inner[1:-1], 1.0 + epsilon()], even)
        self._built = False
        if num_labels or not multi_label:
            self._build(num_labels or None)

    def _build(self, columns: int | None) -> None:
        self._keep(self._thresholds, columns)
        self._built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_pred = as_outputs(y_pred)
        if self.multi_label and y_pred.dim() != 2:
            raise ValueError(f"multi_label=True needs outputs (batch, labels); got shape {tuple(y_pred.shape)}.")
        if not self._built:
            self._build(y_pred.shape[1])
        if self.from_logits:
            y_pred = y_pred.sigmoid()
        weights = None if self.multi_label or self.label_weights is None else torch.tensor(self.label_weights)
        options = {"name": self.name, "multi_label": self.multi_label, "label_weights": weights}
        self._add(confusion_counts(y_true, y_pred, self._thresholds, sample_weight, **options))  # type: ignore[arg-type]

    def result(self) -> Tensor:
        if not self._built:
            return torch.zeros(())
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self._mean_of_labels(self._interpolated_precision_recall())
        x, y = self._points()
        if self.summation_method == "interpolation":
            heights = (y[:-1] + y[1:]) / 2.0
        else:
            heights = (torch.minimum if self.summation_method == "minoring" else torch.maximum)(y[:-1], y[1:])
        return self._mean_of_labels((x[:-1] - x[1:]) * heights)

    def _points(self) -> tuple[Tensor, Tensor]:
        """The curve's points, one a threshold."""
        if self.curve == "ROC":
            return divide_no_nan(self.false_positives, self.false_positives + self.true_negatives), self._recall()
        if self.curve == "PR":
            return self._recall(), self._precision()
        hits = self.true_positives
        odds = divide_no_nan(hits + self.false_negatives, self.true_negatives + self.false_positives)
        recall_gain = 1.0 - odds * divide_no_nan(self.false_negatives, hits)
        precision_gain = 1.0 - odds * divide_no_nan(self.false_positives, hits)
        return torch.where(hits == 0, 0.0, recall_gain).relu(), torch.where(hits == 0, 1.0, precision_gain)

    def _interpolated_precision_recall(self) -> Tensor:
        """The area between neighbouring thresholds: along a step, true positives grow in a line with all positives.

        With slope s = ΔTP/ΔP and TP = a + s·P, ∫ TP/P dTP = s·(ΔTP + a·log(P₁/P₂)).
        """
        hits, positives = self.true_positives, self.true_positives + self.false_positives
        gained = hits[:-1] - hits[1:]
        slope = divide_no_nan(gained, (positives[:-1] - positives[1:]).relu())
        intercept = hits[1:] - slope * positives[1:]
        known = (positives[:-1] > 0) & (positives[1:] > 0)
        ratio = torch.where(known, divide_no_nan(positives[:-1], positives[1:]), 1.0)
        return divide_no_nan(slope * (gained + intercept * ratio.log()), hits[1:] + self.false_negatives[1:])

    def _mean_of_labels(self, areas: Tensor) -> Tensor:
        if not self.multi_label:
            return areas.sum()
        by_label = areas.sum(0)
        if self.label_weights is None:
            return by_label.mean()
        weights = by_label.new_tensor(self.label_weights)
        return divide_no_nan((by_label * weights).sum(), weights.sum())

    def get_config(self) -> dict[str, Any]:
        written = super().get_config()
        written.pop("thresholds")
        return written if self._given_thresholds is None else {**written, "thresholds": list(self._given_thresholds)}


def _chosen(what: str, value: Any, allowed: tuple[str, ...]) -> str:
    for name in allowed:
        if str(value).lower() == name.lower():
            return name
    raise ValueError(f"{what} is one of {', '.join(map(repr, allowed))}; got {value!r}.")


class _BestAt(_Curve):
    """The largest of one quotient over the thresholds at which another is at least `value`."""

    def _prepare(self, what: str, value: float, num_thresholds: int, class_id: int | None) -> None:
        if not 0 <= value <= 1:
            raise ValueError(f"{what} lies between 0 and 1; got {value}.")
        if num_thresholds <= 0:
            raise ValueError(f"num_thresholds is at least 1; got {num_thresholds}.")
        setattr(self, what, value)
        self.value = value
        self.num_thresholds = num_thresholds
        self.class_id = class_id
        even = num_thresholds > 1
        self._keep(Thresholds(_even(num_thresholds) if even else [0.5], even))

    def _best(self, wanted: Tensor, constrained: Tensor) -> Tensor:
        return torch.where(constrained >= self.value, wanted, 0.0).amax()


@public("metrics")
class SensitivityAtSpecificity(_BestAt):
    """The best sensitivity TP/(TP+FN) at a specificity TN / (TN + FP) of at least `specificity`: (batch, ...) to ().

    >>> SensitivityAtSpecificity(0.8, num_thresholds=5)([0, 0, 1, 1], [0, 0.6, 0.3, 0.9]).item()
    0.5
    """

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self._prepare("specificity", specificity, num_thresholds, class_id)

    def result(self) -> Tensor:
        return self._best(self._recall(), self._specificity())


@public("metrics")
class SpecificityAtSensitivity(_BestAt):
    """The best specificity TN/(TN+FP) at a sensitivity TP / (TP + FN) of at least `sensitivity`: (batch, ...) to ().

    >>> SpecificityAtSensitivity(0.8, num_thresholds=5)([0, 0, 1, 1], [0, 0.6, 0.3, 0.9]).item()
    0.5
    """

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self._prepare("sensitivity", sensitivity, num_thresholds, class_id)

    def result(self) -> Tensor:
        return self._best(self._specificity(), self._recall())


@public("metrics")
class PrecisionAtRecall(_BestAt):
    """The best precision TP / (TP + FP) at a recall TP / (TP + FN) of at least `recall`: (batch, ...) to ().

    >>> PrecisionAtRecall(0.5, num_thresholds=5)([0, 0, 1, 1], [0, 0.6, 0.3, 0.9]).item()
    1.0
    """

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self._prepare("recall", recall, num_thresholds, class_id)

    def result(self) -> Tensor:
        return self._best(self._precision(), self._recall())


@public("metrics")
class RecallAtPrecision(_BestAt):
    """The best recall TP / (TP + FN) at a precision TP / (TP + FP) of at least `precision`: (batch, ...) to ().

    >>> RecallAtPrecision(0.8, num_thresholds=5)([0, 0, 1, 1], [0, 0.6, 0.3, 0.9]).item()
    0.5
    """

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self._prepare("precision", precision, num_thresholds, class_id)

    def result(self) -> Tensor:
        return self._best(self._recall(), self._precision())
