"""Objects to configs and back: `{"module", "class_name", "config", "registered_name"}`, as Keras writes them."""

from __future__ import annotations

import inspect
import types
from functools import cache
from typing import Any, TypeVar

import numpy as np

from lamina.base import registry
from lamina.base.errors import LaminaError

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
    if registry.public_name(thing) is not None:
        return {"module": "builtins", "class_name": kind, "config": thing.__name__, "registered_name": kind}
    name = registry.get_registered_name(thing)
    return {"module": None, "class_name": kind, "config": thing.__name__, "registered_name": name}


def _serialize_instance(thing: Any) -> dict[str, Any]:
    cls = type(thing)
    found = registry.public_name(cls)
    if found is not None:
        package, name = found
        module, registered = ("keras" if package in ("models", "dtype_policies") else f"keras.{package}"), None
    else:
        module, name, registered = None, cls.__name__, registry.get_registered_name(cls)
    result = {"module": module, "class_name": name, "config": thing.get_config(), "registered_name": registered}
    for extra in ("build_config", "compile_config"):
        getter = getattr(thing, f"get_{extra}", None)
        value = getter() if getter is not None else None
        if value is not None:
            result[extra] = serialize_value(value)
    return result


def deserialize_keras_object(config: Any, custom_objects: dict[str, Any] | None = None, **options: Any) -> Any:
    """The object that a description of `serialize_keras_object` describes.

    Classes come from lamina's own names, `custom_objects`, an enclosing `custom_object_scope` and the user's
    registrations, never by importing a name that the config gives. Errors: an unknown class is a `LaminaError`.
    """
    if isinstance(config, list | tuple):
        return type(config)(deserialize_keras_object(item, custom_objects) for item in config)
    if not isinstance(config, dict):
        return config
    if "class_name" not in config or "config" not in config:
        return {key: deserialize_keras_object(item, custom_objects) for key, item in config.items()}
    name, inner = config["class_name"], config["config"]
    if isinstance(name, str) and name.startswith("__"):
        return _deserialize_plain(name, inner)
    if name in ("function", "class") and isinstance(inner, str):
        return _find(None, inner, config.get("registered_name"), custom_objects)
    cls = _find(config.get("module"), name, config.get("registered_name"), custom_objects)
    if not isinstance(cls, type) or not hasattr(cls, "from_config"):
        raise LaminaError(f"{name!r} is not a class that a config can describe.")
    with registry.custom_object_scope(custom_objects or {}):
        instance = cls.from_config(inner)
        for extra, restore in (("build_config", "build_from_config"), ("compile_config", "compile_from_config")):
            if config.get(extra) and hasattr(instance, restore):
                getattr(instance, restore)(config[extra])
    return instance


def _deserialize_plain(name: str, inner: Any) -> Any:
    if name == "__numpy__":
        return np.array(inner["value"], dtype=inner["dtype"])
    if name == "__tensor__":
        import torch

        return torch.from_numpy(np.array(inner["value"], dtype=inner["dtype"]))
    if name == "__slice__":
        return slice(*(deserialize_keras_object(inner[key]) for key in ("start", "stop", "step")))
    if name == "__ellipsis__":
        return Ellipsis
    if name == "__tuple__":
        return tuple(deserialize_keras_object(item) for item in inner)
    raise LaminaError(f"A config holds {name!r}, which lamina does not read.")


def _find(module: str | None, name: str, registered: str | None, custom_objects: dict[str, Any] | None) -> Any:
    for candidate in (registered, name):
        found = registry.get_registered_object(candidate, custom_objects) if candidate else None
        if found is not None:
            return found
    for package in _packages_of(module):
        found = registry.lookup(package, name)
        if found is not None:
            return found
    raise LaminaError(
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
            raise ValueError(f"{identifier!r} is no known {what}.{registry.nearest(identifier, names)}")
    else:
        found = identifier
    if isinstance(found, type):
        found = found()
    if not callable(found) and not isinstance(found, Configurable):
        raise TypeError(f"A {what} is a name, a config, a class, an instance or a function; got {identifier!r}.")
    return found
