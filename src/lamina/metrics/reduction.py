"""Sums and means of values, and the mean of any function of (y_true, y_pred)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lamina.base.registry import public
from lamina.base.serialization import deserialize_keras_object, serialize_keras_object
from lamina.engine.dtypes import torch_dtype
from lamina.losses.base import divide_no_nan, keras_mask, masked_weight, match_ranks
from lamina.losses.shapes import check_weight_shape
from lamina.metrics.base import Metric
from lamina.ops.convert import as_tensor


def _with_weights(
    values: Any, sample_weight: Any, dtype: str, reduce: Callable[..., torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Values and weights of one shape; values of higher rank are reduced over the axes that the weights lack."""
    mask = keras_mask(values)
    values = as_tensor(values).to(torch_dtype(dtype))
    if sample_weight is None:
        return values, None
    weights = masked_weight(sample_weight, mask, values, "sum")
    values, weights = match_ranks(values, weights)
    if values.dim() > weights.dim():
        values = reduce(values, dim=tuple(range(weights.dim(), values.dim())))
    check_weight_shape(weights.shape, values.shape, "sample_weight")
    values, weights = torch.broadcast_tensors(values, weights)
    return values, weights


@public("metrics")
class Sum(Metric):
    """The weighted sum of all values: any shape, weights that fit it from the left, to ().

    >>> total = Sum()
    >>> total.update_state([1.0, 3.0]); total([2.0, 4.0], sample_weight=[1.0, 0.5]).item()
    8.0
    """

    def __init__(self, name: str | None = "sum", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable(dtype=self.dtype, name="total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        values, weights = _with_weights(values, sample_weight, self.dtype, torch.sum)
        self.total.assign_add((values if weights is None else values * weights).sum())

    def result(self) -> torch.Tensor:
        return self.total.detach().clone()


@public("metrics")
class Mean(Metric):
    """Σ(w·v) / Σw over all values: any shape, weights that fit it from the left, to (). 0 before the first value.

    Values of more than one axis count as the mean of their sample (axis 0).

    >>> mean = Mean()
    >>> mean.update_state([1.0, 3.0]); mean(5.0).item()
    3.0
    """

    def __init__(self, name: str | None = "mean", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable(dtype=self.dtype, name="total")
        self.count = self.add_variable(dtype=self.dtype, name="count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        values, weights = _with_weights(values, sample_weight, self.dtype, torch.mean)
        entries = values.numel() // values.shape[0] if values.dim() and values.numel() else 1  # of one sample
        total = (values if weights is None else values * weights).sum()
        self.total.assign_add(total / entries if entries > 1 else total)
        if weights is None:
            self.count.add_(values.shape[0] if values.dim() else 1)
        else:
            count = weights.sum()
            self.count.assign_add(count / entries if entries > 1 else count)

    def result(self) -> torch.Tensor:
        return divide_no_nan(self.total, self.count)


@public("metrics")
class MeanMetricWrapper(Mean):
    """The mean of a function of `(y_true, y_pred, ...)`; further arguments of the function by keyword.

    Shapes: what the function takes; its result (batch, ...) is averaged to (). A mask on `y_pred` counts as weights.

    >>> share = MeanMetricWrapper(lambda y_true, y_pred: (y_true == y_pred).float(), name="share")
    >>> share(torch.tensor([1, 2]), torch.tensor([1, 3])).item()
    0.5
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any):
        super().__init__(name=name, dtype=dtype)
        self._fn = fn
        self._fn_kwargs = kwargs

    def __getattr__(self, name: str) -> Any:
        arguments = self.__dict__.get("_fn_kwargs", {})
        if name in arguments:  # metric.threshold, metric.k, ...: the arguments of the function
            return arguments[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        mask = keras_mask(y_pred)
        values = self._fn(y_true, y_pred, **self._fn_kwargs)
        if mask is not None:
            sample_weight = masked_weight(sample_weight, mask, as_tensor(values).to(torch_dtype(self.dtype)), "sum")
        super().update_state(values, sample_weight=sample_weight)

    def get_config(self) -> dict[str, Any]:
        if type(self) is not MeanMetricWrapper:
            return super().get_config()
        own = {"fn": serialize_keras_object(self._fn), **serialize_keras_object(self._fn_kwargs)}
        return {"name": self.name, "dtype": self.dtype, **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**(deserialize_keras_object(config) if "fn" in config else config))
