"""The losses and metrics that `compile` was given, set up on the first outputs."""

from __future__ import annotations

from typing import Any

import torch

from lamina import losses as losses_package
from lamina import metrics as metrics_package
from lamina.base.errors import ShapeError
from lamina.training.outputs import named_outputs, spread


class CompiledLoss:
    """The loss of every output, their weights, and a running mean of each where there are several.

    Parameters: as `compile` takes them: `loss`, one or a list or dict per output; `loss_weights` likewise.
    """

    def __init__(self, loss: Any, loss_weights: Any = None, output_names: list[str] | None = None):
        self.given_loss, self.given_weights, self.output_names = loss, loss_weights, output_names
        self._losses: dict[str, Any] | None = None
        self._weights: dict[str, float | None] = {}
        self.trackers: dict[str, Any] = {}

    def build(self, y: Any, y_pred: Any) -> dict[str, Any]:
        """The losses by output name. Errors: a ValueError when losses and outputs do not match."""
        if self._losses is None:
            outputs = named_outputs(y_pred, self.output_names)
            names = list(outputs)
            targets = spread(y, names, "y", same_for_all=len(names) == 1)
            chosen = spread(self.given_loss, names, "loss", same_for_all=not isinstance(self.given_loss, list | tuple))
            found = {name: as_loss(one, _shape(targets[name]), _shape(outputs[name])) for name, one in chosen.items()}
            weights = spread(self.given_weights, names, "loss_weights", same_for_all=self.given_weights is None)
            for weight in weights.values():
                if weight is not None and not isinstance(weight, int | float):
                    raise TypeError(f"loss_weights are numbers; got {weight!r}. (Metrics are given as metrics=[...].)")
            self._weights = weights
            if sum(one is not None for one in found.values()) > 1:
                order = self.given_loss if isinstance(self.given_loss, dict) and isinstance(y_pred, dict) else names
                self.trackers = {n: metrics_package.Mean(name=f"{n}_loss") for n in order if found[n] is not None}
            self._losses = found
        return self._losses

    def problem(self, y: Any, y_pred: Any) -> Any:
        """The ShapeError that these targets and outputs (anything with a `.shape`) would meet, or None."""
        by_name = self.build(y, y_pred)
        outputs = named_outputs(y_pred, self.output_names)
        targets = spread(y, list(outputs), "y", same_for_all=len(outputs) == 1)
        for name, loss in by_name.items():
            target = _only(targets[name])
            if loss is None or not hasattr(target, "shape"):
                continue
            found = losses_package.target_problem(loss, _shape(target), _shape(outputs[name]))
            if found is not None:
                return _of_output(found, name)
        return None

    def __call__(self, y: Any, y_pred: Any, sample_weight: Any = None) -> torch.Tensor:
        by_name = self.build(y, y_pred)
        if len(by_name) == 1:
            (name, loss), target, output = next(iter(by_name.items())), _only(y), _only(y_pred)
            weight = self._weights[name]
            try:
                value = loss(target, output, sample_weight=_only(sample_weight))
            except ShapeError as error:
                raise _of_output(error, name) from error.__cause__
            return value if weight is None else value * weight
        outputs = named_outputs(y_pred, self.output_names)
        names = list(outputs)
        targets = spread(y, names, "y")
        sample_weights = spread(sample_weight, names, "sample_weight", same_for_all=True)
        total: Any = 0.0
        for name, loss in by_name.items():
            if loss is None:
                continue
            try:
                value = loss(targets[name], outputs[name], sample_weight=sample_weights[name])
            except ShapeError as error:
                raise _of_output(error, name) from error.__cause__
            if name in self.trackers:
                self.trackers[name].update_state(value.detach(), sample_weight=len(outputs[name]))
            weight = self._weights[name]
            total = total + (value if weight is None else value * weight)
        return total


def _of_output(error: ShapeError, name: str) -> ShapeError:
    """The error of a loss or metric as one of the output that it looked at."""
    error.layer = name
    return error


def _only(value: Any) -> Any:
    """The one entry of a one-output list or dict, or the value itself."""
    while isinstance(value, list | tuple | dict) and len(value) == 1:
        value = next(iter(value.values())) if isinstance(value, dict) else value[0]
    return value


def _shape(value: Any) -> tuple[int | None, ...]:
    return tuple(getattr(_only(value), "shape", ()))


def as_loss(identifier: Any, y_true_shape: Any, y_pred_shape: Any) -> Any:
    """A `Loss` for what a user gives: a name, a config, a class, an instance, or a function of (y_true, y_pred).

    `"crossentropy"` and `"ce"` are what the shapes of targets and outputs ask for.
    """
    if identifier is None:
        return None
    if identifier in ("crossentropy", "ce"):
        identifier = losses_package.crossentropy_for(y_true_shape, y_pred_shape)
    found = losses_package.get(identifier)
    if isinstance(found, losses_package.Loss):
        return found
    return losses_package.LossFunctionWrapper(found, name=getattr(found, "__name__", None))


class CompiledMetrics:
    """The metrics of every output as one: the plain ones, and those that see sample weights.

    Keras's usual loop over `model.metrics` in a `train_step` of one's own calls `update_state(y, y_pred)` on it.
    """

    name = "compile_metrics"

    def __init__(self, metrics: Any, weighted_metrics: Any, output_names: list[str] | None, loss: CompiledLoss | None):
        self.given = (metrics, weighted_metrics)
        self.output_names = output_names
        self.loss = loss
        self._built: list[tuple[str, str, Any, bool]] | None = None  # output, log name, metric, weighted
        self._is_empty = not metrics and not weighted_metrics

    def __bool__(self) -> bool:
        return not self._is_empty

    def build(self, y: Any, y_pred: Any) -> None:
        outputs = named_outputs(y_pred, self.output_names)
        names = list(outputs)
        targets = spread(y, names, "y", same_for_all=len(names) == 1)
        losses = self.loss.build(y, y_pred) if self.loss is not None else {}
        found: list[tuple[str, str, Any, bool]] = []
        taken: dict[str, int] = {}
        for weighted, given in zip((False, True), self.given, strict=True):
            for output, chosen in _metrics_by_output(given, names).items():
                prefix = "" if len(names) == 1 else f"{output}_"
                for identifier in chosen:
                    metric = _as_metric(
                        identifier, _shape(targets[output]), _shape(outputs[output]), losses.get(output)
                    )
                    log_name = f"{prefix}{metric.name}"
                    if weighted and log_name in taken:
                        log_name = f"{prefix}weighted_{metric.name}"
                    count = taken[log_name] = taken.get(log_name, 0) + 1
                    found.append((output, log_name if count == 1 else f"{log_name}_{count - 1}", metric, weighted))
        self._built = found

    @property
    def metrics(self) -> list[Any]:
        return [metric for _, _, metric, _ in self._built or []]

    @property
    def variables(self) -> list[Any]:
        return [variable for metric in self.metrics for variable in metric.variables]

    @torch.no_grad()
    def update_state(self, y: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if self._is_empty:
            return
        if self._built is None:
            self.build(y, y_pred)
        outputs = named_outputs(y_pred, self.output_names)
        names = list(outputs)
        targets = spread(y, names, "y", same_for_all=len(names) == 1)
        weights = spread(sample_weight, names, "sample_weight", same_for_all=True)
        for name, _, metric, weighted in self._built or []:
            weight = _only(weights[name]) if weighted else None
            try:
                metric.update_state(_only(targets[name]), outputs[name], sample_weight=weight)
            except ShapeError as error:
                raise _of_output(error, name) from error.__cause__

    def result(self) -> dict[str, Any]:
        results: dict[str, Any] = {}
        for _, log_name, metric, _ in self._built or []:
            value = metric.result()
            results.update(value if isinstance(value, dict) else {log_name: value})
        return results

    def reset_state(self) -> None:
        for metric in self.metrics:
            metric.reset_state()


def _metrics_by_output(given: Any, names: list[str]) -> dict[str, list[Any]]:
    """The metrics of each output as a list: from one metric, a list, a list per output, or a dict by output."""
    if given is None or given == []:
        return {}
    if len(names) == 1 and not isinstance(given, dict):
        flat = given if isinstance(given, list | tuple) else [given]
        return {names[0]: [inner for one in flat for inner in (one if isinstance(one, list | tuple) else [one])]}
    by_output = spread(given, names, "metrics")
    return {
        name: [] if chosen is None else list(chosen) if isinstance(chosen, list | tuple) else [chosen]
        for name, chosen in by_output.items()
    }


def _as_metric(identifier: Any, y_true_shape: Any, y_pred_shape: Any, loss: Any) -> Any:
    by_shape = {"accuracy": metrics_package.accuracy_for, "acc": metrics_package.accuracy_for}
    by_shape |= {"crossentropy": metrics_package.crossentropy_for, "ce": metrics_package.crossentropy_for}
    if isinstance(identifier, str) and identifier.lower() in by_shape:
        found: Any = by_shape[identifier.lower()](y_true_shape, y_pred_shape, loss)
    else:
        found = metrics_package.get(identifier)
    if not isinstance(found, metrics_package.Metric):
        found = metrics_package.MeanMetricWrapper(found, name=getattr(found, "__name__", None))
    if isinstance(identifier, str):
        found.name = identifier  # the logs show the name that the user wrote
    return found
