"""What all losses share: conversion of the arguments, weights and masks, and the reduction to one number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lamina.base import config, names, tree
from lamina.base.registry import public
from lamina.base.serialization import Configurable, deserialize_keras_object, serialize_keras_object
from lamina.engine import dtypes
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Operation
from lamina.losses.shapes import check_target_shape, check_weight_shape, rank_changes
from lamina.ops.convert import as_tensor

TensorPair = tuple[torch.Tensor, torch.Tensor]
REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)
_MEANS = ("sum_over_batch_size", "mean")


@public("losses")
class Loss(Configurable):
    """A loss: targets and outputs to one number. Subclasses write `call(y_true, y_pred)`, a loss for each sample.

    Shapes in: `y_true` and `y_pred` as the subclass wants them, mostly both (batch, ..., features); `sample_weight`
    (batch,) or the shape of what `call` returns. Out: () or, with no reduction, the shape of what `call` returns.

    Parameters: `name`; `reduction` of the weighted losses w·l: `"sum_over_batch_size"` or `"mean"` Σ(w·l)/n, `"sum"`
    Σ(w·l), `"mean_with_sample_weight"` Σ(w·l)/Σw, `"none"` or None: none; `dtype` of the arithmetic, else `floatx()`.
    A mask on `y_pred` (`_keras_mask`) takes entries out of the sum and of n.

    Errors: an unknown reduction is a ValueError; weights that do not fit the losses are a ShapeError.

    >>> class Gap(Loss):
    ...     def call(self, y_true, y_pred): return (y_true - y_pred).abs().amax(-1)
    >>> Gap(reduction="sum")([[0.0, 1.0], [1.0, 1.0]], [[0.5, 1.0], [1.0, 4.0]]).item()
    3.5
    """

    # Arguments that Keras leaves out of a config; they are written where they differ from these, their defaults.
    _unwritten: dict[str, Any] = {}
    # Class numbers stay integers: a 16-bit float cannot hold them.
    _keeps_integer_targets = False

    def __init__(self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None):
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction is one of {', '.join(map(repr, REDUCTIONS))}; got {reduction!r}.")
        self.name = name or names.auto_name(type(self).__name__)
        self.reduction = reduction
        self._dtype = dtypes.get(dtype or config.floatx()).compute_dtype

    @property
    def dtype(self) -> str:
        return self._dtype

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        if isinstance(y_pred, KerasTensor) or isinstance(y_true, KerasTensor):
            return Operation(self._evaluate, name=self.name)(y_true, y_pred, sample_weight)
        return self._evaluate(y_true, y_pred, sample_weight)

    def _evaluate(self, y_true: Any, y_pred: Any, sample_weight: Any) -> torch.Tensor:
        mask = keras_mask(y_pred)
        dtype = dtypes.torch_dtype(self.dtype)
        y_pred = _tensors(y_pred, dtype)
        device = next((part.device for part in tree.flatten(y_pred) if isinstance(part, torch.Tensor)), None)
        y_true = _tensors(y_true, None if self._keeps_integer_targets else dtype, device)
        losses = as_tensor(self.call(y_true, y_pred))
        own_mask = keras_mask(losses)
        if mask is not None and own_mask is not None:
            mask = mask & own_mask
        elif mask is None:
            mask = own_mask
        return reduce_weighted_values(losses, sample_weight, mask, self.reduction, dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample. Subclasses write it."""
        raise NotImplementedError(f"{type(self).__name__} must define call(y_true, y_pred).")

    def get_config(self) -> dict[str, Any]:
        unwritten = {"dtype": config.floatx(), **self._unwritten}
        written = {**super().get_config(), "dtype": self.dtype}
        return {name: value for name, value in written.items() if name not in unwritten or value != unwritten[name]}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


@public("losses")
class LossFunctionWrapper(Loss):
    """A function of `(y_true, y_pred, ...)` as a `Loss`; further arguments of the function by keyword.

    >>> loss = LossFunctionWrapper(lambda y_true, y_pred: (y_true - y_pred) ** 2, reduction="sum")
    >>> loss([1.0, 2.0], [3.0, 2.0]).item()
    4.0
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.fn = fn
        self._fn_kwargs = kwargs
        self._keeps_integer_targets = getattr(fn, "takes_class_numbers", False)

    def __getattr__(self, name: str) -> Any:
        arguments = self.__dict__.get("_fn_kwargs", {})
        if name in arguments:  # loss.from_logits, loss.delta, ...: the arguments of the function
            return arguments[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if not hasattr(self.fn, "checks_targets"):
            y_true, y_pred = _match_ranks(y_true, y_pred)
        return self.fn(y_true, y_pred, **self._fn_kwargs)

    def get_config(self) -> dict[str, Any]:
        if type(self) is not LossFunctionWrapper:
            return super().get_config()
        own = {"fn": serialize_keras_object(self.fn), **serialize_keras_object(self._fn_kwargs)}
        return {"name": self.name, "reduction": self.reduction, **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**(deserialize_keras_object(config) if "fn" in config else config))


def keras_mask(x: Any) -> torch.Tensor | None:
    """The mask that a tensor carries, or None."""
    return getattr(x, "_keras_mask", None)


def _tensors(x: Any, dtype: torch.dtype | None, device: torch.device | None = None) -> Any:
    """A tensor from a tensor, array or list of numbers; a structure of tensors or arrays keeps its structure."""
    if isinstance(x, list | tuple | dict):
        parts = tree.flatten(x)
        if isinstance(x, dict) or any(isinstance(part, torch.Tensor | np.ndarray) for part in parts):
            return tree.map_structure(lambda part: _tensors(part, dtype, device), x)
    tensor = as_tensor(x, dtype)
    return tensor if device is None else tensor.to(device)


def _match_ranks(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """`match_ranks` for the pairs of two structures, where they are of one form."""
    if isinstance(y_true, torch.Tensor) and isinstance(y_pred, torch.Tensor):
        return match_ranks(y_true, y_pred)
    if isinstance(y_true, torch.Tensor) or isinstance(y_pred, torch.Tensor):
        return y_true, y_pred
    targets, spec = tree.flatten_spec(y_true)
    outputs, output_spec = tree.flatten_spec(y_pred)
    if spec != output_spec:
        return y_true, y_pred
    pairs = [match_ranks(one, other) for one, other in zip(targets, outputs, strict=True)]
    return tree.unflatten(spec, [one for one, _ in pairs]), tree.unflatten(spec, [other for _, other in pairs])


def match_ranks(first: torch.Tensor, second: torch.Tensor) -> TensorPair:
    """Adds or drops a trailing axis of size 1 where that makes the ranks equal: (batch,) and (batch, 1)."""
    if first.dim() == second.dim():
        return first, second
    changes = rank_changes(first.shape, second.shape)
    return _change_rank(first, changes[0]), _change_rank(second, changes[1])


def _change_rank(x: torch.Tensor, change: int) -> torch.Tensor:
    return x.unsqueeze(-1) if change > 0 else x.squeeze(-1) if change < 0 else x


def as_outputs(y_pred: Any) -> torch.Tensor:
    """Outputs as a tensor of floats."""
    y_pred = as_tensor(y_pred)
    return y_pred if y_pred.dtype.is_floating_point else y_pred.to(dtypes.torch_dtype(None))


def aligned(y_true: Any, y_pred: Any, name: str, axis: int = -1) -> TensorPair:
    """Targets and outputs as tensors of one dtype, device and shape. Errors: `check_target_shape`."""
    y_pred = as_outputs(y_pred)
    y_true = as_tensor(y_true).to(device=y_pred.device, dtype=y_pred.dtype)
    return with_one_shape(y_true, y_pred, name, axis)


def with_one_shape(y_true: torch.Tensor, y_pred: torch.Tensor, name: str, axis: int = -1) -> TensorPair:
    """Targets and outputs with one shape. Errors: `check_target_shape`."""
    if y_true.shape == y_pred.shape:
        return y_true, y_pred
    check_target_shape(y_true.shape, y_pred.shape, name, axis)
    y_true, y_pred = match_ranks(y_true, y_pred)
    if y_true.shape != y_pred.shape:  # one number for all, or the policy "legacy"
        if y_true.dim() == 1 and y_pred.dim() > 1:
            y_true = y_true.unsqueeze(-1)
        y_true, y_pred = torch.broadcast_tensors(y_true, y_pred)
    return y_true, y_pred


def reduce_weighted_values(
    values: torch.Tensor,
    sample_weight: Any = None,
    mask: Any = None,
    reduction: str | None = "sum_over_batch_size",
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """Losses times weights and mask, reduced as `Loss` describes. Shapes: losses (batch, ...) to () or (batch, ...)."""
    values, weights = as_tensor(values, dtype), None
    if sample_weight is not None or mask is not None:
        weights = masked_weight(sample_weight, mask, values, reduction)
        values, weights = match_ranks(values, weights)
        check_weight_shape(weights.shape, values.shape, "mask" if sample_weight is None else "sample_weight")
        values = values * weights
    if reduction in (None, "none") or values.dim() == 0 or values.shape == (0,):
        return values
    if reduction == "sum" or values.numel() == 0:
        return values.sum()
    if reduction == "mean_with_sample_weight" and weights is not None:
        return divide_no_nan(values.sum(), weights.sum())
    return values.mean()


def masked_weight(sample_weight: Any, mask: Any, like: torch.Tensor, reduction: str | None) -> torch.Tensor:
    """The product of weights and mask, in the dtype and on the device of `like`; at least one of them is given.

    In a mean over all entries a mask counts total/valid where it is true, so that the mean is over the valid ones.
    """
    weights = None if sample_weight is None else as_tensor(sample_weight).to(device=like.device, dtype=like.dtype)
    if mask is None:
        assert weights is not None
        return weights
    factor = as_tensor(mask).to(device=like.device, dtype=like.dtype)
    if reduction in _MEANS:
        valid = factor.sum()
        factor = factor * torch.where(valid == 0, 0.0, factor.numel() / valid)
    if weights is None:
        return factor
    factor, weights = match_ranks(factor, weights)
    check_weight_shape(weights.shape, factor.shape, "sample_weight")
    return factor * weights


def divide_no_nan(numerator: torch.Tensor, denominator: torch.Tensor) -> torch.Tensor:
    """The quotient, and 0 where the denominator is 0."""
    zero = denominator == 0
    return torch.where(zero, 0.0, numerator / torch.where(zero, 1.0, denominator))
