"""The decorator that makes a plain function over torch tensors also a node in a graph."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from lamina.engine.forms import Form
from lamina.graph.keras_tensor import KerasTensor, any_symbolic
from lamina.graph.node import Operation

P = ParamSpec("P")
R = TypeVar("R")


def op(function: Callable[P, R]) -> Callable[P, R]:
    """The function, which records a node instead of computing when an argument is symbolic.

    >>> import lamina
    >>> @op
    ... def double(x): return 2 * x
    >>> double(3), double(lamina.Input((4,))).shape
    (6, (None, 4))
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for value in args:
            if isinstance(value, KerasTensor | list | tuple | dict) and any_symbolic(value):
                return Operation(call_plain)(*args, **kwargs)
        if kwargs and any_symbolic(kwargs):
            return Operation(call_plain)(*args, **kwargs)
        return function(*args, **kwargs)

    call_plain = function
    function.__lamina_op__ = call  # type: ignore[attr-defined]  # what a saved graph names
    return call


Statement = Callable[[Any, Any, KerasTensor], list[Form] | None]


def with_forms(statement: Statement) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Says what a function of two arguments computes, in the forms that a folded program joins (`engine/forms.py`).

    Parameters: `statement`, a function of the two arguments, symbols or numbers, and the symbolic result; it gives None
    where there are no such forms. Goes below `op`.
    """

    def state(function: Callable[P, R]) -> Callable[P, R]:
        function.__lamina_forms__ = statement  # type: ignore[attr-defined]
        return function

    return state


def forms_of_function(operation: Any, args: tuple[Any, ...], result: KerasTensor) -> list[Form] | None:
    """The forms of a call of a function with two arguments; None where it has none."""
    statement: Statement | None = getattr(getattr(operation, "function", None), "__lamina_forms__", None)
    return None if statement is None or len(args) != 2 else statement(*args, result)
