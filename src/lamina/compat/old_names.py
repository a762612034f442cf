"""Names that Keras 1 or 2 had and today's Keras has not: one table by package, served by `old_name`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

from lamina.base.registry import nearest
from lamina.compat import old_layers
from lamina.compat.calls import deprecate, shown_call, translate
from lamina.compat.spellings import SPELLINGS

# By package, an old function and today's class or function of the same arguments.
RENAMED: dict[str, dict[str, str]] = {
    "constraints": {"maxnorm": "MaxNorm", "nonneg": "NonNeg", "unitnorm": "UnitNorm"},
    "regularizers": {
        "l1l2": "L1L2",
        "activity_l1": "L1",
        "activity_l2": "L2",
        "activity_l1l2": "L1L2",
        "WeightRegularizer": "L1L2",
        "ActivityRegularizer": "L1L2",
    },
    "utils": {"plot": "plot_model"},
}


def _package(name: str) -> Any:
    return importlib.import_module(f"lamina.{name}")


def old_names(package: str) -> tuple[str, ...]:
    """The old names of a package (`"layers"`)."""
    if package == "layers":
        return (*old_layers.OLD_LAYERS, "merge", "Merge")
    return tuple(RENAMED.get(package, ()))


def old_name(package: str, name: str) -> Any:
    """What an old name of a package stands for; a package's `__getattr__` ends here.

    Errors: a name that neither today's nor an older Keras had is an AttributeError that shows the nearest one.

    >>> old_name("layers", "Convolution2D").__name__
    'Convolution2D'
    """
    if package == "layers" and name in old_layers.OLD_LAYERS:
        return old_layers.old_layer(name)
    if package == "layers" and name in ("merge", "Merge"):
        return getattr(old_layers, name)
    if name in RENAMED.get(package, ()):
        return _renamed(package, name)
    known = [*old_names(package), *(other for other in dir(_package(package)) if not other.startswith("_"))]
    raise AttributeError(f"lamina.{package} has no {name!r}.{nearest(name, known)}")


@cache
def _renamed(package: str, name: str) -> Callable[..., Any]:
    today = RENAMED[package][name]

    def old(*args: Any, **kwargs: Any) -> Any:
        new_args, new_kwargs = args, kwargs
        if name in SPELLINGS:
            new_args, new_kwargs = translate(name, args, kwargs)
        else:
            deprecate(shown_call(name, args, kwargs), "Keras 1", shown_call(today, args, kwargs))
        return getattr(_package(package), today)(*new_args, **new_kwargs)

    old.__name__ = old.__qualname__ = name
    old.__doc__ = f"`{today}` by its name of Keras 1."
    return old
