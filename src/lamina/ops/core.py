"""Control flow: branches, loops, maps and scans over Python functions of tensors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch

from lamina.base import tree
from lamina.base.errors import UnfinishedError
from lamina.base.registry import public
from lamina.graph.record import op
from lamina.ops.convert import Tensor, as_tensor


def _has_value(x: Any) -> bool:
    return not (isinstance(x, torch.Tensor) and x.device.type == "meta")


@public("ops")
@op
def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """The result of the one function or the other, which take no arguments; their results have one shape.

    >>> cond(True, lambda: 1, lambda: 2)
    1
    """
    if not _has_value(pred):  # in a trial for shapes, one branch speaks for both
        return true_fn()
    return true_fn() if pred else false_fn()


@public("ops")
@op
def switch(index: Any, branches: Any, *operands: Any) -> Any:
    """The result of the function at an index of `branches`, which take the operands; the index is held within them.

    >>> switch(1, [lambda x: x, lambda x: -x], 3)
    -3
    """
    chosen = int(index) if _has_value(index) else 0
    return branches[min(max(chosen, 0), len(branches) - 1)](*operands)


@public("ops")
@op
def while_loop(
    cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, maximum_iterations: int | None = None
) -> Any:
    """`body` over and over on the loop's variables while `cond` of them holds; shapes stay as they are.

    >>> while_loop(lambda i: i < 3, lambda i: i + 1, 0).tolist()
    3
    """
    single = not isinstance(loop_vars, list | tuple)
    variables = tree.map_structure(as_tensor, (loop_vars,) if single else tuple(loop_vars))
    count = 0
    while maximum_iterations is None or count < maximum_iterations:
        goes_on = cond(*variables)
        if not _has_value(goes_on) or not goes_on:
            break
        results = body(*variables)
        variables = tree.map_structure(as_tensor, tuple(results) if isinstance(results, list | tuple) else (results,))
        count += 1
    return variables[0] if single else variables


@public("ops")
@op
def fori_loop(lower: Any, upper: Any, body_fun: Callable[[int, Any], Any], init_val: Any) -> Any:
    """`value = body_fun(i, value)` for i from `lower` up to, not including, `upper`.

    >>> fori_loop(0, 4, lambda i, total: total + i, 0)
    6
    """
    value = init_val
    for index in range(int(lower), int(upper)):
        value = body_fun(index, value)
    return value


def _as_tensors(elements: Any) -> Any:
    """A structure of tensors; a list of numbers is one tensor."""
    if any(isinstance(leaf, torch.Tensor | np.ndarray) for leaf in tree.flatten(elements)):
        return tree.map_structure(as_tensor, elements)
    return as_tensor(elements)


def _rows(elements: Any) -> list[Any]:
    """The structure once for every position on its leaves' first axis."""
    elements = _as_tensors(elements)
    length = tree.flatten(elements)[0].shape[0]
    return [tree.map_structure(lambda leaf, place=place: leaf[place], elements) for place in range(length)]


def _stacked(results: list[Any]) -> Any:
    return tree.map_structure(lambda *leaves: torch.stack([as_tensor(leaf) for leaf in leaves]), *results)


@public("ops")
@op
def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """A function of each row, one after the other, and the results stacked.

    >>> map(lambda x: 2 * x, [1, 2]).tolist()
    [2, 4]
    """
    return _stacked([f(row) for row in _rows(xs)])


@public("ops")
@op
def vectorized_map(function: Callable[[Any], Any], elements: Any) -> Any:
    """A function of each row, all at once, and the results stacked.

    >>> vectorized_map(lambda x: 2 * x, [1, 2]).tolist()
    [2, 4]
    """
    return torch.vmap(function)(_as_tensors(elements))


@public("ops")
@op
def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: Any = 1,
) -> tuple[Any, Any]:
    """`carry, y = f(carry, x)` for each row x: the last carry, and all y stacked.

    >>> carry, sums = scan(lambda c, x: (c + x, c + x), 0, [1, 2, 3])
    >>> sums.tolist()
    [1, 3, 6]
    """
    if xs is None and length is None:
        raise ValueError("scan() needs xs or length.")
    rows = [None] * (length or 0) if xs is None else _rows(xs)
    carry, results = tree.map_structure(as_tensor, init), []
    for row in reversed(rows) if reverse else rows:
        carry, result = f(carry, row)
        results.append(result)
    results = results[::-1] if reverse else results
    empty = not results or all(leaf is None for leaf in tree.flatten(results[0]))
    return carry, None if empty else _stacked(results)


@public("ops")
@op
def associative_scan(f: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """The results of an associative function over the first 1, 2, 3, ... places of an axis.

    >>> associative_scan(lambda a, b: a + b, [1, 2, 3]).tolist()
    [1, 3, 6]
    """
    elements = _as_tensors(elems)
    length = tree.flatten(elements)[0].shape[axis]
    places = range(length - 1, -1, -1) if reverse else range(length)
    parts = [tree.map_structure(lambda leaf, place=place: leaf.narrow(axis, place, 1), elements) for place in places]
    for place in range(1, length):
        parts[place] = f(parts[place - 1], parts[place])
    parts = parts[::-1] if reverse else parts
    return tree.map_structure(lambda *leaves: torch.cat(leaves, axis), *parts)


@public("ops")
def vectorize(pyfunc: Callable[..., Any], *, excluded: Any = None, signature: str | None = None) -> Callable[..., Any]:
    """The function of scalars as one of tensors, which broadcast against each other.

    >>> vectorize(lambda a, b: a + b)([1, 2], 3).tolist()
    [4, 5]
    """
    if excluded or signature:
        raise UnfinishedError("vectorize() has no excluded= and signature= yet.")

    @wraps(pyfunc)
    def call(*args: Any) -> Tensor:
        tensors = torch.broadcast_tensors(*(as_tensor(arg) for arg in args))
        function: Callable[..., Any] = pyfunc
        for _ in range(tensors[0].ndim):
            function = torch.vmap(function)
        return function(*tensors)

    return call


class _WithGradient(torch.autograd.Function):
    """A function that brings its own gradient."""

    @staticmethod
    def forward(context: Any, function: Callable[..., Any], *args: Any) -> Any:
        output, context.gradient = function(*args)
        return output

    @staticmethod
    def backward(context: Any, *upstream: Tensor) -> Any:
        gradients = context.gradient(*upstream)
        return (None, *(gradients if isinstance(gradients, list | tuple) else (gradients,)))


@public("ops")
def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: the function returns its result and a function from the result's gradient to the arguments'.

    >>> twice = custom_gradient(lambda x: (x * x, lambda upstream: 10 * upstream))
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> twice(x).backward(); x.grad.tolist()
    10.0
    """

    @wraps(f)
    def call(*args: Any) -> Any:
        return _WithGradient.apply(f, *args)

    return call


@public("ops")
def jvp(fun: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """The result of a function and its change along the tangents.

    >>> [part.tolist() for part in jvp(torch.square, (torch.tensor(3.0),), (torch.tensor(1.0),))]
    [9.0, 6.0]
    """
    with warnings.catch_warnings():  # torch's own first use of forward differentiation warns of its torch.jit
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.func.jvp(fun, tuple(primals), tuple(tangents), has_aux=has_aux)
