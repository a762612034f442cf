"""The one back door upwards: names on higher floors that a method of a lower floor may call when it runs.

`model.summary`, the operators of a symbolic tensor and old spellings must reach up. Each such reach is one row here.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

LATE_IMPORTS: dict[str, str] = {
    "ops": "lamina.ops",  # the operators of a symbolic tensor
    "explain": "lamina.explain",  # model.summary(), .explain(), .plot()
    "compat": "lamina.compat",  # keywords and names that only older Keras had
    # what the tables in `compat` name, imported only when a row is used
    "activations": "lamina.activations",
    "layers": "lamina.layers",
    "models": "lamina.models",
    "schedules": "lamina.optimizers.schedules",
}


@cache
def late(name: str) -> Any:
    """The module behind a row of `LATE_IMPORTS`, imported when first asked for."""
    return importlib.import_module(LATE_IMPORTS[name])
