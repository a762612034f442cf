"""`fit` with Keras 1's keywords."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from lamina.base.late import late


def accept_old_fit(fit: Callable[..., Any]) -> Callable[..., Any]:
    """`fit`, which asks the table of old spellings about keywords that it does not know (`nb_epoch`)."""
    known = set(inspect.signature(fit).parameters)

    @wraps(fit)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not known.issuperset(kwargs):
            args, kwargs = late("compat").translate("Model.fit", args, kwargs)
        return fit(self, *args, **kwargs)

    return call
