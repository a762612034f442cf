"""Objects to configs and back: `{"module", "class_name", "config", "registered_name"}`, as Keras writes them."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import numpy as np

from lamina.base import registry, trust
from lamina.base.errors import LaminaError, UnsafeFileError
from lamina.base.scope import Scoped

C = TypeVar("C", bound="Configurable")


class Configurable:
    """An object that its constructor's arguments describe. They are captured once; `get_config` is derived.

    For lamina's own classes the value of an argument is the attribute of the same name, so that a config shows what the
    object made of it (`kernel_size=3` becomes `(3, 3)`). A user's subclass gets its own arguments as they were given.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        instance = super().__new__(cls)
        object.__setattr__(instance, "_init_arguments", (args, kwargs))
        return instance

    def get_config(self) -> dict[str, Any]:
        own = own_class(type(self))
        config = {name: serialize_value(self._config_value(name)) for name in constructor_names(own)}
        if own is not type(self) and type(self).get_config is own.get_config:
            config.update({name: serialize_value(value) for name, value in self._given_arguments().items()})
        return config

    def _config_value(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError:
            return self._given_arguments().get(name)

    def _given_arguments(self) -> dict[str, Any]:
        """The constructor's arguments by name, defaults not filled in."""
        args, kwargs = self._init_arguments  # type: ignore[attr-defined]
        signature = inspect.signature(type(self).__init__)
        bound = signature.bind(self, *args, **kwargs).arguments
        given: dict[str, Any] = {}
        for name, value in list(bound.items())[1:]:
            kind = signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                given.update(value)
            elif kind is not inspect.Parameter.VAR_POSITIONAL:
                given[name] = value
        return given

    @classmethod
    def from_config(cls: type[C], config: dict[str, Any]) -> C:
        return cls(**config)


def own_class(cls: type) -> Any:
    """The nearest class of lamina's own among a class and its bases."""
    return next(base for base in cls.__mro__ if base.__module__.split(".")[0] == "lamina")


@cache
def constructor_names(cls: type) -> tuple[str, ...]:
    """The constructor's argument names; `**kwargs` goes on to the base's. The base's names come first."""
    groups: list[list[str]] = []
    for base in cls.__mro__:
        if "__init__" not in vars(base) or base.__module__.split(".")[0] != "lamina":
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        groups.insert(0, [parameter.name for parameter in parameters if parameter.kind in named])
        if all(parameter.kind is not inspect.Parameter.VAR_KEYWORD for parameter in parameters):
            break
    return tuple(dict.fromkeys(name for group in groups for name in group))


def serialize_value(value: Any) -> Any:
    """As `serialize_keras_object`, but an activation function is its bare name, as Keras writes it in layers."""
    found = registry.public_name(value) if isinstance(value, types.FunctionType) else None
    if found is not None and found[0] == "activations":
        return found[1]
    return serialize_keras_object(value)


def serialize_keras_object(thing: Any) -> Any:
    """A description of an object in plain Python values that JSON can hold.

    Errors: a lambda or a local object without `get_config` is a `LaminaError` that says what to register.

    >>> from lamina import saving, regularizers
    >>> saving.serialize_keras_object(regularizers.L2(0.5))["config"]
    {'l2': 0.5}
    """
    if thing is None or isinstance(thing, str | bool | int | float):
        return thing
    if isinstance(thing, np.generic):
        return thing.item()
    if isinstance(thing, tuple):
        return tuple(serialize_value(item) for item in thing)
    if isinstance(thing, list):
        return [serialize_value(item) for item in thing]
    if isinstance(thing, dict):
        return {key: serialize_value(item) for key, item in thing.items()}
    if isinstance(thing, np.ndarray):
        return {"class_name": "__numpy__", "config": {"value": thing.tolist(), "dtype": str(thing.dtype)}}
    if isinstance(thing, slice):
        parts = {"start": thing.start, "stop": thing.stop, "step": thing.step}
        return {"class_name": "__slice__", "config": {key: serialize_keras_object(part) for key, part in parts.items()}}
    if thing is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if hasattr(thing, "_lamina_serialize"):
        return thing._lamina_serialize()
    if type(thing).__module__ == "torch" and type(thing).__name__ == "dtype":
        return str(thing).removeprefix("torch.")
    if isinstance(thing, types.FunctionType | types.BuiltinFunctionType | type):
        return _serialize_function(thing)
    if hasattr(thing, "get_config"):
        return _serialize_instance(thing)
    if hasattr(thing, "detach") and hasattr(thing, "numpy"):
        array = thing.detach().cpu().numpy()
        return {"class_name": "__tensor__", "config": {"value": array.tolist(), "dtype": str(array.dtype)}}
    raise LaminaError(
        f"{thing!r} cannot be written into a config: it is a {type(thing).__name__} with no get_config()."
    )


def _serialize_function(thing: Any) -> dict[str, Any]:
    if thing.__name__ == "<lambda>":
        raise LaminaError(
            "A lambda cannot be written into a config. Make it a named function and register it with "
            "@lamina.saving.register_keras_serializable()."
        )
    kind = "class" if isinstance(thing, type) else "function"
    name = thing.__name__ if registry.public_name(thing) is not None else registry.get_registered_name(thing)
    return {"module": "builtins", "class_name": kind, "config": name, "registered_name": kind}


def _serialize_instance(thing: Any) -> dict[str, Any]:
    cls = type(thing)
    found = registry.public_name(cls)
    if found is not None:
        package, name = found
        module = "keras" if package in ("models", "dtype_policies") else f"keras.{package}"
        registered = name if package.startswith("src.") else None  # as in Keras, for its inner classes
    else:
        module, name, registered = None, cls.__name__, registry.get_registered_name(cls)
    result = {"module": module, "class_name": name, "config": thing.get_config(), "registered_name": registered}
    for extra in ("build_config", "compile_config"):
        getter = getattr(thing, f"get_{extra}", None)
        value = getter() if getter is not None else None
        if value is not None:
            result[extra] = serialize_value(value)
    return result


def deserialize_keras_object(
    config: Any, custom_objects: dict[str, Any] | None = None, safe_mode: bool = True, **options: Any
) -> Any:
    """The object that a description of `serialize_keras_object` describes.

    Classes come from lamina's own names, `custom_objects`, an enclosing `custom_object_scope` and the user's
    registrations, never by importing a name that the config gives. `safe_mode=False` also reads the bytecode of a
    Lambda, which then runs; inside an outer description the outer one's word holds.

    Errors: `UnsafeFileError` for an unknown class, for code, paths and endless structures; a LaminaError for a config
    that cannot be carried out.
    """
    with trust.described(config, safe_mode):
        return _made(config, custom_objects)


def _made(config: Any, custom_objects: dict[str, Any] | None) -> Any:
    if isinstance(config, list | tuple):
        return type(config)(_made(item, custom_objects) for item in config)
    if not isinstance(config, dict):
        return config
    if "class_name" not in config or "config" not in config:
        return {key: _made(item, custom_objects) for key, item in config.items()}
    name, inner = config["class_name"], config["config"]
    for key in ("class_name", "module", "registered_name"):
        if not isinstance(config.get(key), str | None):
            raise LaminaError(f"The config gives {config[key]!r:.80} as {key}, which is no text.")
    if name is None:
        raise LaminaError("The config describes an object without class_name.")
    if name.startswith("__"):
        return _deserialize_plain(name, inner)
    if name in ("function", "class") and isinstance(inner, str):
        return _find(config.get("module"), inner, config, custom_objects)
    cls = _find(config.get("module"), name, config, custom_objects)
    if not isinstance(cls, type) or not hasattr(cls, "from_config"):
        raise UnsafeFileError(f"The config names {name!r} as a class; it is none that a config can describe.")
    if not isinstance(inner, dict):
        raise LaminaError(f"The config of {name!r} is {inner!r:.80}; it is a dict of the constructor's arguments.")
    with registry.custom_object_scope(custom_objects or {}):
        instance = cls.from_config(inner)
        for extra, restore in (("build_config", "build_from_config"), ("compile_config", "compile_from_config")):
            if config.get(extra) and hasattr(instance, restore):
                _later_or_now(getattr(instance, restore), config[extra], extra)
    return instance


_compiled_later: Scoped[list[Callable[[], Any]] | None] = Scoped(None)


@contextmanager
def compiled_later() -> Iterator[list[Callable[[], Any]]]:
    """A block in which models are made and not yet compiled; the steps that compile them are in the list."""
    steps: list[Callable[[], Any]] = []
    with _compiled_later.set(steps):
        yield steps


def _later_or_now(restore: Callable[[Any], Any], config: Any, extra: str) -> None:
    steps = _compiled_later.value
    if extra == "compile_config" and steps is not None:
        steps.append(lambda: restore(config))
    else:
        restore(config)


def _deserialize_plain(name: str, inner: Any) -> Any:
    if name == "__numpy__":
        return np.array(inner["value"], dtype=trust.array_type(inner["dtype"]))
    if name == "__tensor__":
        import torch

        return torch.from_numpy(np.array(inner["value"], dtype=trust.array_type(inner["dtype"])))
    if name == "__slice__":
        return slice(*(deserialize_keras_object(inner[key]) for key in ("start", "stop", "step")))
    if name == "__ellipsis__":
        return Ellipsis
    if name == "__tuple__":
        return tuple(deserialize_keras_object(item) for item in inner)
    if name == "__lambda__":
        return trust.function_of(inner, registry.scoped_objects())
    raise UnsafeFileError(f"The config names {name!r}, which is neither lamina's nor registered.")


def _find(module: str | None, name: str, config: dict[str, Any], custom_objects: dict[str, Any] | None) -> Any:
    """The class or function of a name: the user's, else lamina's own."""
    for candidate in (config.get("registered_name"), name):
        found = registry.get_registered_object(candidate, custom_objects) if candidate else None
        if found is not None:
            return found
    trust.refuse_code(name, config["config"])
    for package in _packages_of(module):
        found = registry.lookup(package, name)
        if found is not None:
            return found
    raise UnsafeFileError(
        f"The config names {name!r}{f' of {module!r}' if module else ''}, which is neither lamina's nor registered. "
        f"If it is your own, register it with @lamina.saving.register_keras_serializable() or give "
        f"custom_objects={{{name!r}: ...}}."
    )


def _packages_of(module: str | None) -> tuple[str, ...]:
    """The packages of lamina in which a Keras module's name may lie. Config files also name Keras's inner modules."""
    if module in (None, "builtins", "keras"):
        return tuple(package for package in registry.PACKAGES if package != "ops")
    parts = str(module).split(".")
    if parts[0] != "keras":
        return ()
    for package in sorted(registry.PACKAGES, key=len, reverse=True):
        words = package.split(".")
        if parts[1 : 1 + len(words)] == words or parts[2 : 2 + len(words)] == words:
            return (package,)
    if "optimizers" in parts:
        return ("optimizers",)
    return ("layers", "models") if len(parts) > 1 and parts[1] == "src" else ()


def get_object(package: str, identifier: Any, what: str) -> Any:
    """The object behind the `identifier` that users give: a name, a config, a class, an instance or a function.

    A name or a class becomes an instance; a function stays a function. Errors: an unknown name is a ValueError that
    shows the nearest known one; anything that cannot be called is a TypeError.
    """
    if identifier is None:
        return None
    if isinstance(identifier, dict):
        found = deserialize_keras_object(identifier)
    elif isinstance(identifier, str):
        found = registry.get_registered_object(identifier)
        if found is None:
            found = registry.lookup(package, identifier)
        if found is None:
            names = registry.known_names(package)
            if trust.describing():
                raise UnsafeFileError(
                    f"The config names {identifier!r} as {what}, which is neither lamina's nor registered."
                    f"{registry.nearest(identifier, names)}"
                )
            raise ValueError(f"{identifier!r} is no known {what}.{registry.nearest(identifier, names)}")
    else:
        found = identifier
    if isinstance(found, type):
        found = found()
    if not callable(found) and not isinstance(found, Configurable):
        raise TypeError(f"A {what} is a name, a config, a class, an instance or a function; got {identifier!r}.")
    return found
