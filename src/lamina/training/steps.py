"""Small parts of the training loops: groups of batches, logs, results, and what an error must leave as it was."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from lamina import callbacks
from lamina.base import tree
from lamina.base.errors import outside_frame
from lamina.callbacks.base import to_python
from lamina.engine.device import multiplies_bfloat16
from lamina.engine.variable import Variable


def batch_size_of(x: Any) -> int:
    return next(len(leaf) for leaf in tree.flatten(x) if leaf is not None)


def grouped(loader: Any, size: int) -> Iterator[tuple[int, list[Any]]]:
    group: list[Any] = []
    first = 0
    for batch in loader:
        group.append(batch)
        if len(group) == size:
            yield first, group
            first += size
            group = []
    if group:
        yield first, group


def is_due(epoch: int, frequency: int | list[int]) -> bool:
    if isinstance(frequency, int):
        return (epoch + 1) % frequency == 0
    return epoch + 1 in frequency


def plain(logs: dict[str, Any]) -> dict[str, Any]:
    """Numbers in place of tensors, one level deep: a metric's dict of results lies beside the others."""
    flat: dict[str, Any] = {}
    for name, value in logs.items():
        flat.update(value if isinstance(value, dict) else {name: value})
    return {name: to_python(value) for name, value in flat.items()}


def in_order(logs: dict[str, Any], metrics: list[Any]) -> dict[str, Any]:
    """The logs as `evaluate` lists them: by the metrics of the model, then those of several outputs by name."""
    names = [inner.name for metric in metrics for inner in getattr(metric, "metrics", [metric])]
    first = [name for name in names if name in logs]
    return {name: logs[name] for name in dict.fromkeys([*first, *sorted(logs)])}


def as_list(logs: dict[str, Any]) -> Any:
    values = list(logs.values())
    return values[0] if len(values) == 1 else values


def joined(first: Any, *others: Any) -> Any:
    tensors = [first, *others]
    if not isinstance(first, torch.Tensor):
        return np.concatenate([np.asarray(one) for one in tensors])
    whole = torch.cat(tensors) if len(tensors) > 1 else first
    whole = whole.detach().cpu()
    return whole.float().numpy() if whole.dtype is torch.bfloat16 else whole.numpy()


class ResultClock:
    """Says after which steps the metrics' results are computed: after all that somebody looks at.

    A progress bar draws at most every tenth of a second, so that for it alone most results would be in vain.
    """

    interval = callbacks.ProgbarLogger.interval

    def __init__(self, chain: callbacks.CallbackList, hook: str):
        listeners = [one for one in chain.callbacks if type(one) not in (callbacks.History, callbacks.ProgbarLogger)]
        self._always = callbacks.CallbackList(listeners).wants(hook)
        self._never = not chain.wants(hook)
        self._next = 0.0

    def is_due(self) -> bool:
        if self._always or self._never:
            return self._always
        now = time.perf_counter()
        if now < self._next:
            return False
        self._next = now + self.interval
        return True


@contextmanager
def statistics_kept_on_error(model: Any) -> Iterator[None]:
    """A first step that fails (targets of a wrong shape) leaves no trace in what the forward pass changes by itself."""
    kept = [(weight, weight.detach().clone()) for weight in model.non_trainable_weights]
    try:
        yield
    except Exception:
        known = {id(weight) for weight, _ in kept}
        with torch.no_grad():
            for weight, value in kept:
                weight.copy_(value)
        for weight in model.non_trainable_weights:
            if id(weight) not in known and isinstance(weight, Variable) and weight.initializer is not None:
                weight.reinitialize()
        raise


def warn_of_slow_bfloat16(model: Any) -> None:
    """A warning where float32 would be faster: on a processor that has to turn bfloat16 into float32 and back."""
    if multiplies_bfloat16():
        return
    weight = next(iter(model.weights), None)
    if weight is None or weight.device.type != "cpu":
        return
    slow = [layer for layer in model.modules() if getattr(layer, "compute_dtype", None) == "bfloat16"]
    if slow:
        warnings.warn(
            f"{len(slow)} of the layers compute in bfloat16, which this processor does not multiply (it has neither "
            'avx512_bf16 nor amx): training is slower than with the dtype policy "float32".',
            stacklevel=outside_frame(),
        )


def warn_of_nan(logs: dict[str, Any], epoch: int, chain: callbacks.CallbackList) -> bool:
    """Whether the loss of an epoch is no number; a warning if nobody watches for it."""
    loss = logs.get("loss")
    if not isinstance(loss, float) or not math.isnan(loss):
        return False
    if not any(isinstance(one, callbacks.TerminateOnNaN) for one in chain.callbacks):
        warnings.warn(
            f"The loss is nan since epoch {epoch + 1}; the callback TerminateOnNaN() stops training where that begins. "
            "Look for a learning rate that is too high, for nan in the data, and for the logarithm or root of 0.",
            stacklevel=outside_frame(),
        )
    return True
