"""Where each layer's weights lie in a Keras 3 weights file: a group per attribute, lists by class name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from lamina.base.names import to_snake_case
from lamina.layers.layer import Layer
from lamina.layers.tracking import _Tracked


def walk(layer: Any, path: str = "", visited: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """Every layer (and plain torch module) below a layer, itself first, with the path of its group."""
    visited = set() if visited is None else visited
    if id(layer) in visited:
        return
    visited.add(id(layer))
    yield path, layer
    if not isinstance(layer, Layer):
        return
    # Keras goes through the attributes by name, private ones last, and a model's list of layers is one of them: what
    # comes before "layers" has its own group, the rest stands in the list. In a graph everything does.
    in_order = layer.__dict__.get("_layers_in_order")
    children = dict(layer._modules)
    if in_order is not None or ("layers" not in children and isinstance(getattr(layer, "layers", None), list)):
        children["layers"] = None
    for name in sorted(children, key=lambda name: (in_order is not None and name != "layers", name[0] == "_", name)):
        child = children[name]
        if child is None and name == "layers":
            yield from _walk_list(layer.layers, f"{path}/layers", visited)
        elif isinstance(child, _Tracked):
            if not name.endswith("_items") or name[: -len("_items")] not in layer.__dict__:
                yield from _walk_list(child._modules.values(), f"{path}/{name}", visited)
            else:
                yield from _walk_list(child._modules.values(), f"{path}/{name[: -len('_items')]}", visited)
        elif child is not None and (in_order is None or not any(child is one for one in in_order)):
            yield from walk(child, f"{path}/{name}", visited)


def _walk_list(children: Any, path: str, visited: set[int]) -> Iterator[tuple[str, Any]]:
    counts: dict[str, int] = {}
    for child in children:
        if isinstance(child, _Tracked):
            yield from _walk_list(child._modules.values(), path, visited)
            continue
        name = to_snake_case(type(child).__name__)
        number = counts.get(name, 0)
        counts[name] = number + 1
        if isinstance(child, torch.nn.Module):
            yield from walk(child, f"{path}/{name}_{number}" if number else f"{path}/{name}", visited)
