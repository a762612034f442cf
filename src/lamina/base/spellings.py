"""Constructors and methods that pass unknown keywords to the table of old spellings before they fail."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from lamina.base.late import late
from lamina.base.serialization import constructor_names

# What every layer takes beside its own arguments, to say what the first layer of a Sequential reads.
ALWAYS_KNOWN = frozenset({"input_shape", "batch_input_shape", "batch_shape", "input_dim", "batch_size", "weights"})


def accept_old_spellings(init: Callable[..., None]) -> Callable[..., None]:
    """The constructor, which asks `compat.translate` when it gets a keyword that the class does not have."""

    @wraps(init)
    def call(self: Any, *args: Any, **kwargs: Any) -> None:
        if kwargs:
            known = constructor_names(type(self))  # type: ignore[arg-type]
            if any(key not in known and key not in ALWAYS_KNOWN for key in kwargs):
                cls = next(base for base in type(self).__mro__ if base.__module__.startswith("lamina."))
                args, kwargs = late("compat").translate(cls.__name__, args, kwargs)
        init(self, *args, **kwargs)

    return call


def accept_old_keywords(owner: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator of a method, by its name in the tables (`"Model.fit"`), which asks them about unknown keywords."""

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        known = set(inspect.signature(method).parameters)

        @wraps(method)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            if not known.issuperset(kwargs):
                args, kwargs = late("compat").translate(owner, args, kwargs)
            return method(self, *args, **kwargs)

        return call

    return wrap
