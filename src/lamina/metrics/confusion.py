"""True and false positives and negatives at thresholds, and the quotients of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from lamina.base.config import epsilon
from lamina.base.registry import public
from lamina.engine.dtypes import torch_dtype
from lamina.engine.variable import Variable
from lamina.losses.base import aligned, divide_no_nan
from lamina.losses.shapes import check_weight_shape
from lamina.metrics.base import Metric
from lamina.ops.convert import as_tensor

Tensor = torch.Tensor
NEVER = -1e10  # an output that no threshold lets pass


class Thresholds:
    """Thresholds between 0 and 1 and how many of them each output exceeds.

    Even thresholds, i/(n−1), need no search: output p exceeds ⌈p·(n−1)⌉ of them.
    """

    def __init__(self, values: Sequence[float], even: bool | None = None):
        self.values = [float(value) for value in values]
        count = len(self.values)
        steps = np.arange(count, dtype=np.float32) / max(count - 1, 1)
        self.even = (count > 2 and np.allclose(self.values, steps, atol=epsilon())) if even is None else even
        self.lowest_count = 1 if self.values[0] < 0.0 or self.values[-1] > 1.0 else 0  # ±ε: 0 exceeds the first
        order = np.argsort(self.values, kind="stable")
        self._sorted = torch.tensor(np.array(self.values)[order])
        self._places = torch.tensor(np.argsort(order))  # of each threshold as given, among the sorted

    def exceeded(self, outputs: Tensor) -> Tensor:
        """How many (of the sorted) thresholds each output exceeds, from 0 to all: any shape to the same, int64."""
        if self.even:
            steps = outputs.nan_to_num(0.0).clamp(0.0, 1.0) * (len(self.values) - 1)
            return steps.ceil().long().clamp(min=self.lowest_count)
        return torch.searchsorted(self._sorted.to(outputs.device, outputs.dtype), outputs.contiguous())

    def passed(self, counts: Tensor, weights: Tensor) -> Tensor:
        """The weight of what exceeds each threshold: counts and weights (samples, columns) to (thresholds, columns)."""
        columns = counts.shape[1]
        places = counts * columns + torch.arange(columns, device=counts.device)
        sums = weights.new_zeros((len(self.values) + 1) * columns)
        sums.index_add_(0, places.reshape(-1), weights.reshape(-1))
        passed = sums.view(-1, columns).flip(0).cumsum(0).flip(0)[1:]
        return passed if self.even else passed[self._places.to(passed.device)]


class Counts(NamedTuple):
    """Weights of the true and false positives at each threshold, and of all positive and negative labels."""

    true_positives: Tensor
    false_positives: Tensor
    positives: Tensor
    negatives: Tensor

    @property
    def false_negatives(self) -> Tensor:
        return self.positives - self.true_positives

    @property
    def true_negatives(self) -> Tensor:
        return self.negatives - self.false_positives


def confusion_counts(
    y_true: Any,
    y_pred: Any,
    thresholds: Thresholds,
    sample_weight: Any = None,
    *,
    name: str,
    top_k: int | None = None,
    class_id: int | None = None,
    multi_label: bool = False,
    label_weights: Tensor | None = None,
) -> Counts:
    """The counts of a batch at every threshold: targets and outputs of one shape to (thresholds,).

    Parameters: `top_k`: only the k largest outputs of a sample can be positive; `class_id`: only this class counts;
    `multi_label`: a count for each column, (thresholds, columns); `label_weights` of the columns.
    """
    # Counts need the variables' dtype: a 16-bit float stops counting at 2048.
    y_true, y_pred = aligned(y_true, as_tensor(y_pred).to(torch_dtype(None)), name)
    if not y_pred.dim():
        y_true, y_pred = y_true.reshape(1), y_pred.reshape(1)
    weights = _weights(sample_weight, y_pred)
    if label_weights is not None:
        weights = weights * label_weights.to(weights)
    if top_k is not None:
        best = y_pred.topk(top_k).indices
        y_pred = torch.full_like(y_pred, NEVER).scatter(-1, best, y_pred.gather(-1, best))
    if class_id is not None:
        if y_pred.dim() < 2:
            raise ValueError(f"class_id={class_id} needs outputs (samples, classes); got shape {tuple(y_pred.shape)}.")
        y_true, y_pred, weights = (part[..., class_id, None] for part in (y_true, y_pred, weights))
    columns = y_pred.shape[-1] if multi_label else 1
    labels, outputs = (y_true != 0).reshape(-1, columns), y_pred.reshape(-1, columns)
    weights = weights.reshape(-1, columns)
    positives = labels * weights
    negatives = weights - positives
    if len(thresholds.values) == 1:
        above = outputs > thresholds.values[0]
        passed = [(above * part).sum(0, keepdim=True) for part in (positives, negatives)]
    else:
        counts = thresholds.exceeded(outputs)
        passed = [thresholds.passed(counts, part) for part in (positives, negatives)]
    totals = [part.sum(0) for part in (positives, negatives)]
    if not multi_label:
        passed = [part[:, 0] for part in passed]
    return Counts(*passed, *totals)


def _weights(sample_weight: Any, y_pred: Tensor) -> Tensor:
    """The sample weights in the outputs' shape: (samples,) fits (samples, columns), from the left."""
    if sample_weight is None:
        return torch.ones_like(y_pred)
    weights = as_tensor(sample_weight).to(device=y_pred.device, dtype=y_pred.dtype)
    if weights.dim() == y_pred.dim() + 1 and weights.shape[-1] == 1:
        weights = weights.squeeze(-1)
    while 0 < weights.dim() < y_pred.dim():
        weights = weights.unsqueeze(-1)
    check_weight_shape(weights.shape, y_pred.shape, "sample_weight")
    return weights.expand(y_pred.shape)


def _checked_thresholds(thresholds: Any, default: float) -> Thresholds:
    if thresholds is None:
        return Thresholds([default])
    listed = list(thresholds) if isinstance(thresholds, list | tuple | np.ndarray) else [thresholds]
    wrong = [value for value in listed if value is None or not 0 <= value <= 1]
    if wrong:
        raise ValueError(f"Thresholds lie between 0 and 1; got {wrong}.")
    return Thresholds(listed)


class ConfusionMetric(Metric):
    """Base: `kinds`, the counts of `Counts` that this metric keeps, one variable (thresholds,) for each."""

    kinds: tuple[str, ...] = ()
    top_k: int | None = None
    class_id: int | None = None

    def _keep(self, thresholds: Thresholds, columns: int | None = None) -> None:
        self._thresholds = thresholds
        shape = (len(thresholds.values),) if columns is None else (len(thresholds.values), columns)
        for kind in self.kinds:
            setattr(self, kind, self.add_variable(shape, name=kind))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        options = {"name": self.name, "top_k": self.top_k, "class_id": self.class_id}
        self._add(confusion_counts(y_true, y_pred, self._thresholds, sample_weight, **options))  # type: ignore[arg-type]

    def _add(self, counts: Counts) -> None:
        for kind in self.kinds:
            getattr(self, kind).assign_add(getattr(counts, kind))

    def _first_or_all(self, values: Tensor) -> Tensor:
        """The value of the only threshold, or one for each."""
        return values[0] if len(self._thresholds.values) == 1 else values

    @property
    def thresholds(self) -> list[float]:
        return self._thresholds.values


class _Count(ConfusionMetric):
    accumulator: Variable

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.init_thresholds = thresholds
        self._thresholds = _checked_thresholds(thresholds, 0.5)
        self.accumulator = self.add_variable((len(self.thresholds),), name="accumulator")

    def _add(self, counts: Counts) -> None:
        self.accumulator.assign_add(getattr(counts, self.kinds[0]))

    def result(self) -> Tensor:
        return self._first_or_all(self.accumulator.detach().clone())

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "thresholds": self.init_thresholds}


@public("metrics")
class TruePositives(_Count):
    """The weight of labels 1 with an output above the threshold (0.5): (batch, ...) to (), or (thresholds,) for a list.

    >>> TruePositives()([1, 1, 0], [0.9, 0.2, 0.7]).item()
    1.0
    """

    kinds = ("true_positives",)


@public("metrics")
class FalsePositives(_Count):
    """The weight of labels 0 with an output above the threshold (0.5): (batch, ...) to (), or (thresholds,) for a list.

    >>> FalsePositives()([1, 1, 0], [0.9, 0.2, 0.7]).item()
    1.0
    """

    kinds = ("false_positives",)


@public("metrics")
class TrueNegatives(_Count):
    """The weight of labels 0 with no output above the threshold (0.5): (batch, ...) to (), or (thresholds,) for a list.

    >>> TrueNegatives()([1, 1, 0], [0.9, 0.2, 0.7]).item()
    0.0
    """

    kinds = ("true_negatives",)


@public("metrics")
class FalseNegatives(_Count):
    """The weight of labels 1 with no output above the threshold (0.5): (batch, ...) to (), or (thresholds,) for a list.

    >>> FalseNegatives()([1, 1, 0], [0.9, 0.2, 0.7]).item()
    1.0
    """

    kinds = ("false_negatives",)


class _Share(ConfusionMetric):
    """The share of the first kind in the sum of both."""

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.init_thresholds = thresholds
        self.top_k = top_k
        self.class_id = class_id
        self._keep(_checked_thresholds(thresholds, 0.5 if top_k is None else NEVER))

    def result(self) -> Tensor:
        first, second = (getattr(self, kind) for kind in self.kinds)
        return self._first_or_all(divide_no_nan(first, first + second))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "thresholds": self.init_thresholds}


@public("metrics")
class Precision(_Share):
    """TP / (TP + FP), of all positive outputs the share that is right: (batch, ...) to (), or (thresholds,) for a list.

    Parameters: `thresholds` above which an output is positive (0.5); `top_k`: only the k largest of a sample are;
    `class_id`: only this class counts. Errors: thresholds outside [0, 1] are a ValueError.

    >>> Precision()([0, 1, 1, 1], [1, 0, 1, 1]).item()
    0.6666...
    """

    kinds = ("true_positives", "false_positives")


@public("metrics")
class Recall(_Share):
    """TP / (TP + FN), of all labels 1 the share that is found: (batch, ...) to (), or (thresholds,) for a list.

    Parameters and errors: as for `Precision`.

    >>> Recall()([0, 1, 1, 1, 1], [1, 0, 1, 1, 1]).item()
    0.75
    """

    kinds = ("true_positives", "false_negatives")
