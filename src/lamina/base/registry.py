"""Which names lamina knows: its own classes and functions by public module, and the user's registrations.

A class joins with `@public("layers")`. Files and configs name classes as Keras does (`keras.layers`, `Dense`); they are
looked up here and never imported by a name that a file gives.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from lamina.base.names import to_snake_case
from lamina.base.scope import Scoped

T = TypeVar("T")

# The only modules that a lookup may import: a public Keras module and the package of lamina that fills it.
PACKAGES: dict[str, str] = {
    "layers": "lamina.layers",
    "initializers": "lamina.initializers",
    "regularizers": "lamina.regularizers",
    "constraints": "lamina.constraints",
    "activations": "lamina.activations",
    "losses": "lamina.losses",
    "metrics": "lamina.metrics",
    "optimizers": "lamina.optimizers",
    "optimizers.schedules": "lamina.optimizers.schedules",
    "models": "lamina.models",
    "dtype_policies": "lamina.engine.dtypes",
    "ops": "lamina.ops",
    "src.applications.convnext": "lamina.applications.convnext",
    "src.applications.inception_resnet_v2": "lamina.applications.inception_resnet_v2",  # has a layer of its own
}

_builtin: dict[str, dict[str, Any]] = {package: {} for package in PACKAGES}
_aliases: dict[str, dict[str, Any]] = {package: {} for package in PACKAGES}
_registered: dict[str, Any] = {}
_registered_names: dict[Any, str] = {}
_scoped: Scoped[dict[str, Any]] = Scoped({})


def public(package: str, *aliases: str, name: str | None = None) -> Callable[[T], T]:
    """Class or function decorator: the object is `keras.<package>.<name>`, and also answers to the aliases."""

    def add(thing: T) -> T:
        own_name = name or thing.__name__  # type: ignore[attr-defined]
        _builtin[package][own_name] = thing
        for alias in aliases:
            _aliases[package][alias] = thing
        thing.__lamina_public__ = (package, own_name)  # type: ignore[attr-defined]
        return thing

    return add


def public_name(thing: Any) -> tuple[str, str] | None:
    """`("layers", "Dense")` for lamina's own classes and functions, else None. Subclasses do not inherit it."""
    own = vars(thing) if isinstance(thing, type) else getattr(thing, "__dict__", {})
    return own.get("__lamina_public__")


@cache
def _fill(package: str) -> None:
    """Imports what puts its names into the tables; a config asks for names thousands of times."""
    importlib.import_module(PACKAGES[package])


def lookup(package: str, name: str) -> Any:
    """The public class or function of a package by its name, an alias, or its name in snake case; None if unknown."""
    _fill(package)
    table = _builtin[package]
    if name in table:
        return table[name]
    if name in _aliases[package]:
        return _aliases[package][name]
    for own_name, thing in table.items():
        if isinstance(thing, type) and to_snake_case(own_name) == name:
            return thing
    return None


def known_names(package: str) -> list[str]:
    _fill(package)
    return sorted({**_builtin[package], **_aliases[package]})


def nearest(name: str, names: list[str]) -> str:
    """` Did you mean 'relu'?`, or nothing when no name is near."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[T], T]:
    """Class or function decorator: files and configs may name it as `package>name`.

    >>> from lamina import saving
    >>> @saving.register_keras_serializable("mine")
    ... def double(x): return 2 * x
    >>> saving.get_registered_name(double)
    'mine>double'
    """

    def add(thing: T) -> T:
        registered = f"{package}>{name or thing.__name__}"  # type: ignore[attr-defined]
        if isinstance(thing, type) and not hasattr(thing, "get_config"):
            raise ValueError(f"{thing.__name__} cannot be registered: it has no get_config().")
        _registered[registered] = thing
        _registered_names[thing] = registered
        return thing

    return add


def get_registered_name(thing: Any) -> str:
    return _registered_names.get(thing, thing.__name__)


def get_registered_object(name: str, custom_objects: dict[str, Any] | None = None) -> Any:
    """The user's class or function of this registered name, or None."""
    for table in (custom_objects or {}, _scoped.value, _registered):
        if name in table:
            return table[name]
        for thing in table.values():
            if _registered_names.get(thing) == name:
                return thing
    return None


def scoped_objects() -> dict[str, Any]:
    """The names that the enclosing `custom_object_scope` blocks give."""
    return dict(_scoped.value)


def get_custom_objects() -> dict[str, Any]:
    """The process-wide table of the user's registered classes and functions, which may be changed."""
    return _registered


@contextmanager
def custom_object_scope(*custom_objects: dict[str, Any]) -> Iterator[None]:
    """Names that deserialisation knows inside the block: `{"MyLayer": MyLayer}`."""
    joined = dict(_scoped.value)
    for table in custom_objects:
        joined.update(table)
    with _scoped.set(joined):
        yield
