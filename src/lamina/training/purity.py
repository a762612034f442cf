"""Whether a step can be captured: everything in it is lamina's own (or torch's), and nothing looks on."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch

from lamina.base import config
from lamina.engine.random import SeedGenerator
from lamina.engine.variable import Variable
from lamina.training.compiled import CompiledLoss, CompiledMetrics

_HOUSES = ("lamina", "torch")
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")
_ON_TENSORS = ("_backward_hooks", "_post_accumulate_grad_hooks")
_NOT_IN_STEPS = ("_initializer", "_constraint", "_init_arguments", "_callback")  # ends of names of what no pass calls
# What changes from step to step, or is the training loop's own.
_PASSING = {
    *("_losses", "_seen_outputs", "_weights_in_fit", "_metrics_in_fit", "_skips_results", "_captured", "training"),
    *("stop_training", "history", "_first_call", "_inbound_nodes", "_outbound_nodes", "_init_arguments", "_changes"),
    "_modules_found",
    *("_compile_config", "optimizer", "steps_per_execution"),
}


def _is_ours(value: Any) -> bool:
    return str(getattr(value, "__module__", None) or "builtins").split(".")[0] in (*_HOUSES, "builtins", "_operator")


def _foreign(value: Any) -> str | None:
    """What a value that may be called is called, if it was written outside lamina and torch."""
    if isinstance(value, functools.partial):
        return _foreign(value.func)
    if isinstance(value, type) or not callable(value):
        return None
    owner = getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, type) and hasattr(owner, "__dict__"):
        value = owner if not _is_ours(type(owner)) else value
    named = value if hasattr(value, "__name__") else type(value)
    return None if _is_ours(named) else f"{named.__module__}.{getattr(named, '__qualname__', named.__name__)}"


def parts_of(model: Any) -> Iterator[Any]:
    """What a step reads settings from: the modules, the losses, the metrics, the regularizers."""
    yield from model.modules()
    loss, metrics = model._compiled_loss, model._compiled_metrics
    if isinstance(loss, CompiledLoss):
        yield loss
        yield from (one for one in (loss._losses or {}).values() if one is not None)
    if isinstance(metrics, CompiledMetrics):
        for metric in metrics.metrics:
            yield metric
            yield from metric._metrics
    for module in model.modules():
        if getattr(module, "activity_regularizer", None) is not None:
            yield module.activity_regularizer
        for weight in module._parameters.values():
            if isinstance(weight, Variable) and weight.regularizer is not None:
                yield weight.regularizer


def generators_of(model: Any) -> list[torch.Generator]:
    """The random streams that layers own."""
    streams = [one for module in model.modules() for one in vars(module).values() if isinstance(one, SeedGenerator)]
    return [generator for stream in streams for generator in stream._generators.values()]


def _called(value: Any) -> str:
    name = getattr(value, "name", None)
    return f"{type(value).__name__} {name!r}" if isinstance(name, str) else type(value).__name__


def hook_on(model: Any) -> str | None:
    """Whose hook a captured step would leave out."""
    shared = torch.nn.modules.module
    if any(getattr(shared, name, None) for name in _GLOBAL_HOOKS):
        return "a hook watches all torch modules"
    for module in model.modules():
        if any(vars(module).get(name) for name in _HOOKS):
            return f"a hook watches {_called(module)}"
        for weight in module._parameters.values():
            if weight is not None and any(getattr(weight, name, None) for name in _ON_TENSORS):
                return f"a hook watches the weight {getattr(weight, 'path', '')!r}"
    return None


def foreign_part(model: Any) -> str | None:
    """The first thing in a step that was written outside lamina and torch, as a sentence; None where there is none.

    Its Python might do what a captured step would leave out or repeat: print, count, draw from `random`, decide.
    """
    for part in parts_of(model):
        if not _is_ours(type(part)):
            what = "a class" if isinstance(part, torch.nn.Module) else "an object of a class"
            return f"{_called(part)} is of {what} of yours, whose Python a captured step would not run again"
        for name, value in vars(part).items():
            if name in _PASSING or name.endswith(_NOT_IN_STEPS):
                continue
            values = (
                value if isinstance(value, list | tuple) else value.values() if isinstance(value, dict) else [value]
            )
            if (isinstance(value, dict) and name.startswith("_") and name.endswith("hooks")) or name == "_modules":
                continue
            for one in values:
                written = None if isinstance(one, torch.nn.Module | torch.Tensor) else _foreign(one)
                if written is not None:
                    return f"{_called(part)} calls {written}, whose Python a captured step would not run again"
        graph = getattr(part, "graph", None)
        for operation in getattr(graph, "operations", ()):
            written = _foreign(getattr(operation, "function", None))
            if written is not None:
                return f"the graph calls {written}, whose Python a captured step would not run again"
    return None


class Settings:
    """What a model's parts were set to at one time: what the Python of a step reads, and a captured step has frozen."""

    def __init__(self, model: Any):
        self._rows = [(part, vars(part).copy()) for part in parts_of(model)]
        self._weights = _weights_of(model)
        self._around = _surroundings(model)

    def hold(self, model: Any) -> bool:
        """Whether all is as it was. Numbers and texts are compared, everything else by identity."""
        if _surroundings(model) != self._around:
            return False
        weights = _weights_of(model)
        if len(weights) != len(self._weights):
            return False
        if any(a[0] is not b[0] or a[1:] != b[1:] for a, b in zip(weights, self._weights, strict=True)):
            return False
        parts = list(parts_of(model))
        return len(parts) == len(self._rows) and all(
            part is before and _same_values(vars(part), values)
            for part, (before, values) in zip(parts, self._rows, strict=True)
        )


def _weights_of(model: Any) -> list[tuple[Any, ...]]:
    """Where each weight lies, and whether it learns."""
    return [
        (weight, weight.requires_grad, weight.data_ptr(), weight.stride())
        for module in model.modules()
        for weight in (*module._parameters.values(), *module._buffers.values())
        if weight is not None
    ]


def _surroundings(model: Any) -> tuple[Any, ...]:
    optimizers = (model.optimizer, getattr(model.optimizer, "inner_optimizer", None))
    scales = [getattr(one, "loss_scale_factor", None) for one in optimizers]
    engine = (torch.are_deterministic_algorithms_enabled(), torch.get_default_dtype(), torch.backends.mkldnn.enabled)
    return config._settings.copy(), scales, engine


def _same_values(now: dict[str, Any], before: dict[str, Any]) -> bool:
    for name, value in now.items():
        was = before.get(name, _PASSING)
        if value is not was and name not in _PASSING and not _equal(value, was):
            return False
    return True


def _equal(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if type(one) in (bool, int, float, str):
        return bool(one == other)
    if type(one) in (tuple, list):
        return len(one) == len(other) and all(a is b or _equal(a, b) for a, b in zip(one, other, strict=True))
    return False
