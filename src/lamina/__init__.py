"""lamina: the Keras API on PyTorch, whose shapes explain themselves.

Change `import keras` to `import lamina as keras`. Packages are imported when they are first named, so that
`import lamina` costs little more than `import torch`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lamina.base.collecting import collector_paused

__version__ = "0.1.0"
version = __version__

_MODULES = (
    "activations applications backend callbacks compat config constraints datasets dtype_policies explain "
    "initializers layers losses metrics models ops optimizers preprocessing random regularizers saving tree utils"
).split()

_NAMES: dict[str, str] = {
    "DTypePolicy": "lamina.engine.dtypes",
    "Function": "lamina.graph.function",
    "Functional": "lamina.models",
    "Initializer": "lamina.initializers",
    "Input": "lamina.layers",
    "InputLayer": "lamina.layers",
    "KerasTensor": "lamina.graph.keras_tensor",
    "LaminaError": "lamina.base.errors",
    "Layer": "lamina.layers",
    "Loss": "lamina.losses",
    "Metric": "lamina.metrics",
    "Model": "lamina.models",
    "Optimizer": "lamina.optimizers",
    "Regularizer": "lamina.regularizers",
    "Sequential": "lamina.models",
    "ShapeError": "lamina.base.errors",
    "ShapeWarning": "lamina.base.errors",
    "UnfinishedError": "lamina.base.errors",
    "UnsafeFileError": "lamina.base.errors",
    "Variable": "lamina.engine.variable",
    "compare": "lamina.explain.comparing",
    "device": "lamina.engine.device",
    "name_scope": "lamina.layers.context",
}

_UNFINISHED = (
    "Operation Quantizer RematScope SharedObjectLoader StatelessScope SymbolicScope distillation distribution export "
    "quantizers remat tuners visualization wrappers"
).split()

if TYPE_CHECKING:
    from lamina import (
        activations,
        applications,
        backend,
        callbacks,
        compat,
        config,
        constraints,
        datasets,
        dtype_policies,
        explain,
        initializers,
        layers,
        losses,
        metrics,
        models,
        ops,
        optimizers,
        preprocessing,
        random,
        regularizers,
        saving,
        tree,
        utils,
    )
    from lamina.base.errors import LaminaError, ShapeError, ShapeWarning, UnfinishedError, UnsafeFileError
    from lamina.engine.device import device
    from lamina.engine.dtypes import DTypePolicy
    from lamina.engine.variable import Variable
    from lamina.explain.comparing import compare
    from lamina.graph.function import Function
    from lamina.graph.keras_tensor import KerasTensor
    from lamina.initializers import Initializer
    from lamina.layers import Input, InputLayer, Layer
    from lamina.layers.context import name_scope
    from lamina.losses import Loss
    from lamina.metrics import Metric
    from lamina.models import Functional, Model, Sequential
    from lamina.optimizers import Optimizer
    from lamina.regularizers import Regularizer


def _imported(module: str) -> Any:
    with collector_paused():
        return importlib.import_module(module)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return _imported(f"lamina.{name}")
    if name in _NAMES:
        value = getattr(_imported(_NAMES[name]), name)
        globals()[name] = value
        return value
    if name in _UNFINISHED:
        from lamina.base.errors import UnfinishedError

        raise UnfinishedError(f"lamina does not have {name!r} yet.")
    raise AttributeError(f"lamina has no {name!r}.")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_NAMES])
