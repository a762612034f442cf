"""What the description of a model may not say: code, paths, names outside lamina, structures without end.

A file's config is data. It is held against these rules before anything is made of it, and again where each object is
made, so that `from_config` and `clone_model` refuse what `load_model` refuses.
"""

from __future__ import annotations

import base64
import marshal
import re
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lamina.base.errors import LaminaError, UnsafeFileError
from lamina.base.scope import Scoped

DEPTH_LIMIT = 200  # of lists and dicts inside one another; a nested model takes four
CONTAINER_LIMIT = 500_000  # lists and dicts in a config; ResNet50 has 3,286
LAYER_LIMIT = 10_000  # layers in one list

# None outside every block: the next one decides. Inside a block nothing can lift it.
_safe: Scoped[bool | None] = Scoped(None)

_CODE = {
    "TorchModuleWrapper": "a pickled torch module, and a pickle runs code when it is read",
    "TFSMLayer": "a program of TensorFlow in another folder",
    "FlaxLayer": "a function of JAX as code",
    "JaxLayer": "a function of JAX as code",
}
_LOOKUPS = ("StringLookup", "IntegerLookup", "TextVectorization", "IndexLookup")
_PLACES = ("vocabulary", "idf_weights")  # arguments of a lookup that would be read from a path or an address
_ARRAY_TYPES = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64)|complex(64|128)")
_HIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")


def in_safe_mode() -> bool:
    return _safe.value is not False


def checked_safe_mode(safe_mode: Any) -> bool:
    """Errors: anything but True and False is a TypeError, before a file is opened."""
    if not isinstance(safe_mode, bool):
        raise TypeError(f"safe_mode is True or False; got {safe_mode!r}.")
    return safe_mode


@contextmanager
def safe_mode_scope(safe_mode: bool) -> Iterator[None]:
    """A block that builds from a description. The outermost one decides: what runs inside cannot lift it."""
    with _safe.set(checked_safe_mode(safe_mode) if _safe.value is None else _safe.value):
        yield


class Description:
    """One description on its way to become objects. `budget` is `engine.budget`'s count of what they take."""

    budget: Any = None


_description: Scoped[Description | None] = Scoped(None)


def current_description() -> Description | None:
    return _description.value


def describing() -> bool:
    """Whether objects are being made from a description right now."""
    return _description.value is not None


@contextmanager
def described(config: Any, safe_mode: bool = True) -> Iterator[None]:
    """A block in which objects are made from a config. The outermost one holds the config against the limits.

    Errors: an UnsafeFileError for what the limits forbid; what goes wrong inside is a LaminaError.
    """
    if describing():
        yield
        return
    with safe_mode_scope(safe_mode), as_lamina_errors("The config"):
        check_config(config)
        yield


@contextmanager
def as_lamina_errors(what: str) -> Iterator[None]:
    """What goes wrong while a description is read or carried out, as an error of lamina that says of which file.

    The outermost block translates; lamina's own errors and warnings pass.
    """
    if describing():
        yield
        return
    with _description.set(Description()):
        try:
            yield
        except (LaminaError, Warning):
            raise
        except RecursionError as error:
            raise UnsafeFileError(f"{what} is nested too deeply to be read.") from error
        except Exception as error:
            raise LaminaError(f"{what} cannot be carried out: {type(error).__name__}: {error}") from error


def is_plain_name(name: str) -> bool:
    """Whether a name that a file gives can stand in a path without leading out of its folder.

    >>> [is_plain_name(name) for name in ("conv1/conv", "../conv", "/etc/passwd", "C:conv")]
    [True, False, False, False]
    """
    parts = name.split("/")
    return not (name.startswith("/") or ".." in parts or _HIDDEN.search(name) or re.match(r"[A-Za-z]:", name))


def check_config(config: Any) -> None:
    """Holds the form of a config against the limits, without recursion. Errors: an UnsafeFileError."""
    waiting: list[tuple[Any, int]] = [(config, 1)] if isinstance(config, dict | list | tuple) else []
    count = 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if depth > DEPTH_LIMIT:
            raise UnsafeFileError(f"The config is nested more than {DEPTH_LIMIT} deep, deeper than any model.")
        if count > CONTAINER_LIMIT:
            raise UnsafeFileError(f"The config has more than {CONTAINER_LIMIT:,} parts, more than any model.")
        if isinstance(value, dict):
            _check_entry(value)
            parts: Any = value.values()
        else:
            parts = value
        waiting.extend((part, depth + 1) for part in parts if isinstance(part, dict | list | tuple))


def _check_entry(entry: dict[Any, Any]) -> None:
    layers = entry.get("layers")
    if isinstance(layers, list) and len(layers) > LAYER_LIMIT:
        raise UnsafeFileError(f"The config lists {len(layers):,} layers; at most {LAYER_LIMIT:,} are read.")
    if "class_name" not in entry:
        return
    inner = entry.get("config")
    for name in (entry.get("name"), inner.get("name") if isinstance(inner, dict) else None):
        if isinstance(name, str) and not is_plain_name(name):
            raise UnsafeFileError(f"The config names a layer {name!r}, which is a path and no name.")


def refuse_code(class_name: str, inner: Any) -> None:
    """For the classes of Keras whose arguments may hold code or places. Errors: an UnsafeFileError in safe mode."""
    if not in_safe_mode():
        return
    if class_name in _CODE:
        raise UnsafeFileError(f"The config holds a {class_name}: {_CODE[class_name]}. Nothing of it was read.")
    if not isinstance(inner, dict):
        return
    if class_name in _LOOKUPS:
        for argument in _PLACES:
            if isinstance(inner.get(argument), str):
                raise UnsafeFileError(
                    f"The config gives {class_name} as its {argument} a place to read, {inner[argument]!r}. A model "
                    f"file names no other files: it holds the {argument} as a list."
                )
    if class_name == "Lambda":
        for argument in ("function", "output_shape", "mask"):
            if _is_code(inner, argument):
                raise lambda_refused()


def _is_code(inner: dict[str, Any], argument: str) -> bool:
    """Whether a Lambda's argument is bytecode in the spelling of Keras 1 and 2: a list of code, defaults, closure."""
    value = inner.get(argument)
    kind = inner.get(f"{argument}_type")
    return kind == "lambda" or (isinstance(value, list) and bool(value) and isinstance(value[0], str))


def lambda_refused() -> UnsafeFileError:
    return UnsafeFileError(
        "The config holds a Lambda layer with Python bytecode, which would run on this machine. Nothing of it was run. "
        "Make the function a named one and register it with @lamina.saving.register_keras_serializable(); or, for a "
        "file that you trust as you trust a program, load it with safe_mode=False."
    )


def function_of(inner: dict[str, Any], known: dict[str, Any]) -> types.FunctionType:
    """The function whose bytecode a Lambda holds: Keras's `{"code", "defaults", "closure"}`.

    Its global names are `known`, the custom objects. Errors: an UnsafeFileError unless `safe_mode=False` was asked for;
    a LaminaError for code of another version of Python.
    """
    if in_safe_mode():
        raise lambda_refused()
    code, defaults, closure = (inner.get(part) for part in ("code", "defaults", "closure"))
    try:
        body = marshal.loads(base64.b64decode(str(code)))
    except (ValueError, EOFError, TypeError) as error:
        raise LaminaError(
            f"The bytecode of a Lambda cannot be read; it was written by another version of Python ({error})."
        ) from error
    cells = tuple(types.CellType(value) for value in closure or ())
    names = {"__builtins__": __builtins__, **known}
    return types.FunctionType(body, names, "lambda", tuple(defaults or ()), cells or None)


def array_type(name: Any) -> str:
    """The dtype of an array in a config. Errors: one that is no number, as objects and long texts are."""
    if not isinstance(name, str) or not _ARRAY_TYPES.fullmatch(name):
        raise UnsafeFileError(f"The config holds an array of {name!r}; arrays in configs are of numbers.")
    return name
