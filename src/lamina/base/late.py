"""The one back door upwards: names on higher floors that a method of a lower floor may call when it runs.

`model.save`, `model.summary` and the operators of a symbolic tensor must reach up. Each such reach is one row here.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

LATE_IMPORTS: dict[str, str] = {
    "ops": "lamina.ops",
    "losses": "lamina.losses",
    "metrics": "lamina.metrics",
    "optimizers": "lamina.optimizers",
    "activations": "lamina.activations",
    "layers": "lamina.layers",
    "models": "lamina.models",
    "saving": "lamina.saving",
    "explain": "lamina.explain",
    "applications": "lamina.applications",
    "compat": "lamina.compat",
    "initializers": "lamina.initializers",
    "regularizers": "lamina.regularizers",
    "constraints": "lamina.constraints",
    "dtype_policies": "lamina.engine.dtypes",
    "schedules": "lamina.optimizers.schedules",
    "random": "lamina.engine.random",
}


@cache
def late(name: str) -> Any:
    """The module behind a row of `LATE_IMPORTS`, imported when first asked for."""
    return importlib.import_module(LATE_IMPORTS[name])
