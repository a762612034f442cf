"""Nested structures of tuples, lists and dicts, through optree. `None` is a leaf, as in Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import optree

PyTreeSpec = optree.PyTreeSpec


def flatten(structure: Any) -> list[Any]:
    """The leaves in order (dict entries by sorted key)."""
    return optree.tree_leaves(structure, none_is_leaf=True)  # type: ignore[arg-type]


def flatten_spec(structure: Any) -> tuple[list[Any], PyTreeSpec]:
    leaves, spec = optree.tree_flatten(structure, none_is_leaf=True)  # type: ignore[arg-type]
    return leaves, spec


def unflatten(spec: PyTreeSpec, leaves: Iterable[Any]) -> Any:
    return optree.tree_unflatten(spec, leaves)


def map_structure(function: Callable[..., Any], structure: Any, *others: Any) -> Any:
    return optree.tree_map(function, structure, *others, none_is_leaf=True)


def flatten_with_path(structure: Any) -> list[tuple[tuple[Any, ...], Any]]:
    paths, leaves, _ = optree.tree_flatten_with_path(structure, none_is_leaf=True)  # type: ignore[arg-type]
    return list(zip(paths, leaves, strict=True))


def register_list(cls: type) -> None:
    """Makes a subclass of list a nesting like a plain list, which it becomes when it is put together again."""
    optree.register_pytree_node(
        cls,
        lambda value: (list(value), None),
        lambda _, leaves: list(leaves),
        namespace=optree.registry.__GLOBAL_NAMESPACE,
    )


def is_nested(structure: Any) -> bool:
    return isinstance(structure, list | tuple | dict)


def map_shapes(function: Callable[[tuple[Any, ...]], Any], shapes: Any) -> Any:
    """Applies a function to every shape (a tuple or list of ints and None) in a structure of shapes."""
    if is_shape(shapes):
        return function(tuple(shapes))
    if isinstance(shapes, dict):
        return {key: map_shapes(function, value) for key, value in shapes.items()}
    if isinstance(shapes, list | tuple):
        return type(shapes)(map_shapes(function, value) for value in shapes)
    return shapes


def is_shape(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(size is None or isinstance(size, int) for size in value)
