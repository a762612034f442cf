"""Packages that only some of lamina needs: an extra installs them."""

from __future__ import annotations

import importlib
from typing import Any

from lamina.base.errors import LaminaError


class MissingPackageError(LaminaError, ImportError):
    """A package that an extra of lamina installs is not there."""


def optional(module: str, extra: str, what: str) -> Any:
    """A module of an extra. Errors: a MissingPackageError with the command that installs it.

    >>> optional("no_such_package", "plot", "History.plot()")
    Traceback (most recent call last):
    ...
    lamina.base.optional.MissingPackageError: History.plot() needs the package 'no_such_package';
    get it by `pip install lamina[plot]`.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingPackageError(
            f"{what} needs the package {package!r}; get it by `pip install lamina[{extra}]`."
        ) from error
