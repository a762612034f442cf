"""Lists and dicts of layers and weights that are themselves modules, so torch's registries stay the only truth."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch


class _Tracked(torch.nn.Module):
    """What the tracked list and the tracked dict share: after each change the registries follow the content."""

    def _entries(self) -> list[tuple[str, Any]]:
        raise NotImplementedError

    def _register(self) -> None:
        self._modules.clear()
        self._parameters.clear()
        for key, value in self._entries():
            value = tracked(value)
            if isinstance(value, torch.nn.Module):
                self._modules[key] = value
            elif isinstance(value, torch.nn.Parameter):
                self._parameters[key] = value

    __hash__ = object.__hash__


def _registering(name: str, base: type) -> Callable[..., Any]:
    method = getattr(base, name)

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = method(self, *args, **kwargs)
        if "_modules" in self.__dict__:
            self._register()
        return result

    return call


class TrackedList(list, _Tracked):  # type: ignore[misc]
    """A list whose layers and weights belong to the layer that holds it."""

    def __init__(self, values: Any = ()):
        torch.nn.Module.__init__(self)
        list.__init__(self, values)
        self._register()

    def _entries(self) -> list[tuple[str, Any]]:
        return [(str(index), value) for index, value in enumerate(self)]

    __hash__ = object.__hash__  # type: ignore[assignment,misc]
    __repr__ = list.__repr__

    def __reduce_ex__(self, protocol: Any) -> Any:
        return TrackedList, (list(self),)


class TrackedDict(dict, _Tracked):  # type: ignore[misc]
    """A dict whose layers and weights belong to the layer that holds it."""

    def __init__(self, values: Any = ()):
        torch.nn.Module.__init__(self)
        dict.__init__(self, values)
        self._register()

    def _entries(self) -> list[tuple[str, Any]]:
        return [(str(key).replace(".", "_"), value) for key, value in self.items()]

    __hash__ = object.__hash__  # type: ignore[assignment,misc]
    __repr__ = dict.__repr__

    def __reduce_ex__(self, protocol: Any) -> Any:
        return TrackedDict, (dict(self),)


for _name in ("append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse", "__setitem__", "__delitem__"):
    setattr(TrackedList, _name, _registering(_name, list))
for _name in ("pop", "popitem", "clear", "update", "setdefault", "__setitem__", "__delitem__"):
    setattr(TrackedDict, _name, _registering(_name, dict))


def _iadd(self: TrackedList, values: Any) -> TrackedList:
    self.extend(values)
    return self


TrackedList.__iadd__ = _iadd  # type: ignore[assignment,method-assign]


def tracked(value: Any) -> Any:
    """Plain lists and dicts as tracked ones; everything else as it is."""
    if type(value) is list:
        return TrackedList(value)
    if type(value) is dict:
        return TrackedDict(value)
    return value


def holds_modules(value: Any) -> bool:
    """Whether a tuple holds layers or weights (a tuple stays a tuple; its layers are registered beside it)."""
    return isinstance(value, tuple) and any(isinstance(item, torch.nn.Module | torch.nn.Parameter) for item in value)
