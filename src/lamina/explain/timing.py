"""How long each layer takes: measured, on random inputs of the model's own shapes."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from lamina.base import tree
from lamina.base.errors import LaminaError
from lamina.engine.dtypes import torch_dtype
from lamina.explain.calls import Call
from lamina.explain.observing import call_of_model
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Operation

_RUNS = 5


@dataclass(frozen=True)
class Times:
    """Seconds of one forward pass: of each layer or function by its id (all its calls together), and of the model."""

    seconds: dict[int, float]
    whole: float
    batch_size: int
    device: str

    @property
    def conditions(self) -> str:
        return f"a batch of {self.batch_size} on {self.device}, median of {_RUNS} runs"


def measure(model: Any, input_shape: Any = None, batch_size: int = 1) -> Times:
    """The median times of several forward passes after a warm-up, without gradients.

    Errors: a LaminaError for a model without weight memory, without known inputs, or with an input of open size.
    """
    args, kwargs = _inputs_of(model, input_shape)
    device = _device_of(model)
    if batch_size < 1:
        raise ValueError(f"batch_size is 1 or more; got {batch_size}.")
    args, kwargs = tree.map_structure(lambda leaf: _random(leaf, batch_size, device), (args, kwargs))
    passes: list[dict[int, float]] = []
    whole: list[float] = []

    with torch.no_grad():
        for _ in range(_RUNS + 1):
            with _Stopwatch(device) as watch:
                start = watch.now()
                model(*args, **{"training": False, **kwargs})
                whole.append(watch.now() - start)
            passes.append(watch.seconds)
    seconds = {key: median(one.get(key, 0.0) for one in passes[1:]) for key in passes[0]}
    seconds |= _functions(model, batch_size, device)
    return Times(seconds, median(whole[1:]), batch_size, str(device))


class _Stopwatch:
    """Times every module's forward call while it is open."""

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds: dict[int, float] = defaultdict(float)
        self._starts: list[float] = []

    def now(self) -> float:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
        return time.perf_counter()

    def __enter__(self) -> _Stopwatch:
        self._hooks = [register_module_forward_pre_hook(self._begin), register_module_forward_hook(self._end)]
        return self

    def __exit__(self, *exception: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _begin(self, module: Any, args: Any) -> None:
        self._starts.append(self.now())

    def _end(self, module: Any, args: Any, result: Any) -> None:
        self.seconds[id(module)] += self.now() - self._starts.pop()


def _functions(model: Any, batch_size: int, device: torch.device) -> dict[int, float]:
    """The times of the functions between a graph's layers, which no hook sees: each run by itself."""
    graph = getattr(model, "graph", None)
    seconds: dict[int, float] = defaultdict(float)
    for node in () if graph is None else graph.topology.nodes:
        if isinstance(node.operation, Operation):
            args, kwargs = tree.map_structure(lambda leaf: _random(leaf, batch_size, device), (node.args, node.kwargs))
            runs = []
            with torch.no_grad(), _Stopwatch(device) as watch:
                for _ in range(_RUNS + 1):
                    start = watch.now()
                    node.operation(*args, **kwargs)
                    runs.append(watch.now() - start)
            seconds[id(node.operation)] += median(runs[1:])
        elif Call.of(node).graph is not None:
            seconds.update(_functions(node.operation, batch_size, device))
    return seconds


def _inputs_of(model: Any, input_shape: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    graph = getattr(model, "graph", None)
    if graph is not None:
        return (graph.input_structure,), {}
    call = call_of_model(model, input_shape)
    if call is None:
        raise LaminaError(f"{model.title} has no known input to measure times on: give summary() an input_shape.")
    return call.args, call.kwargs


def _device_of(model: Any) -> torch.device:
    devices = {weight.device for weight in model.weights}
    if torch.device("meta") in devices:
        raise LaminaError(
            f"{model.title} has no weights in memory, so there is nothing to measure: it was built under "
            f'lamina.device("meta"). Call model.materialize() first.'
        )
    return next(iter(devices), torch.device("cpu"))


def _random(leaf: Any, batch_size: int, device: torch.device) -> Any:
    """A random tensor in place of a symbol; zeros for whole numbers, which may be indices."""
    if not isinstance(leaf, KerasTensor):
        return leaf
    if None in leaf.shape[1:]:
        raise LaminaError(f"Times need inputs of known sizes; this one is {leaf.shape}.")
    shape = [size or batch_size for size in leaf.shape]
    dtype = torch_dtype(leaf.dtype)
    if dtype.is_floating_point:
        generator = torch.Generator(device).manual_seed(0)  # the user's own random numbers stay as they are
        return torch.randn(shape, dtype=torch.float32, device=device, generator=generator).to(dtype)
    return torch.zeros(shape, dtype=dtype, device=device)
