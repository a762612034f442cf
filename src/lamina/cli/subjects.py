"""What MODEL on the command line means: a file, `module:name`, or an application's name."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from lamina.base.errors import LaminaError, ShapeError, UnfinishedError
from lamina.base.registry import nearest
from lamina.cli.output import Misuse, warn_of

_SUFFIXES = (".keras", ".h5", ".hdf5", ".safetensors")

Shape = tuple[int | None, ...]


def model_of(text: str, input_shape: Any = None, weights: bool = False) -> Any:
    """The model that MODEL names, on the input shape (without the batch axis) if one is given.

    An application is built with no weight memory unless `weights` are needed. Errors: a usage error for what is neither
    a file, nor `module:name`, nor an application; a LaminaError for a file or a name that holds no model.
    """
    path = Path(text)
    if path.is_file():
        model = _from_file(path)
    elif path.is_dir():
        raise LaminaError(f"{text} is a folder, not a model file. A TensorFlow SavedModel is not read; save as .keras.")
    elif ":" in text and os.sep not in text:
        model = _from_module(text)
    elif os.sep in text or path.suffix in _SUFFIXES:
        raise Misuse(f"there is no file {text!r}.{_nearest_file(path)}")
    else:
        return _application(text, input_shape, weights)
    return model if input_shape is None else _on_shape(model, input_shape)


def shape_of_text(text: str) -> Shape:
    """`10,10,3` as a shape; "none" for an open size. Errors: a usage error."""
    sizes = text.strip().strip("()").rstrip(",").split(",")
    try:
        shape = tuple(None if size.strip().lower() == "none" else int(size) for size in sizes)
    except ValueError:
        raise Misuse(f"{text!r} is no shape: write sizes with commas, as 10,10,3, without the batch.") from None
    if any(size is not None and size < 1 for size in shape):
        raise Misuse(f"{text!r} is no shape: sizes are 1 or more.")
    return shape


def shapes_of_texts(texts: list[str] | None) -> Any:
    """None, one shape, a list of them, or, from `name=10,10,3`, a dict by the inputs' names."""
    if not texts:
        return None
    if all("=" in text for text in texts):
        pairs = (text.split("=", 1) for text in texts)
        return {name.strip(): shape_of_text(shape) for name, shape in pairs}
    shapes = [shape_of_text(text) for text in texts]
    return shapes[0] if len(shapes) == 1 else shapes


# ------------------------------------------------------------------------------------------------------- applications


def application_names() -> list[str]:
    """The applications that lamina has."""
    from lamina import applications

    return sorted(name for name in dir(applications) if name[0].isupper())


def _application(name: str, input_shape: Any, weights: bool) -> Any:
    from lamina import applications, device

    exact = _application_name(name)
    if isinstance(input_shape, list | dict):
        raise Misuse(f"{exact} has one input; give one --input-shape.")
    make = getattr(applications, exact)
    options = {} if input_shape is None else {"input_shape": input_shape}
    with nullcontext() if weights else device("meta"):
        try:
            return make(weights=None, **options)
        except ShapeError as error:
            return _below_the_smallest(make, options, error)


def _application_name(name: str) -> str:
    """The name as it is written. Errors: a usage error that shows the nearest, or that lamina does not have it yet."""
    from lamina import applications

    known = {one.lower(): one for one in application_names()}
    if name.lower() in known:
        return known[name.lower()]
    close = difflib.get_close_matches(name.lower(), list(known), n=1)
    hint = f" Did you mean {known[close[0]]!r}?" if close else ""
    try:
        getattr(applications, name)
    except UnfinishedError as error:
        raise LaminaError(f"{error}{hint}") from None
    except AttributeError:
        pass
    raise Misuse(
        f"{name!r} is no file, no module:name and no application.{hint} The applications: {', '.join(known.values())}."
    )


def _below_the_smallest(make: Callable[..., Any], options: dict[str, Any], error: ShapeError) -> Any:
    """The model on a smaller input than its authors meant, with a warning. Errors: the one given, if none can be."""
    try:
        model = make(weights=None, min_size=None, **options)
    except ShapeError:
        raise error from None
    warn_of(error, "It is built with min_size=None, to show what happens.")
    return model


# -------------------------------------------------------------------------------------------------------------- files


def _from_file(path: Path) -> Any:
    """Errors: a LaminaError that says what the file is, where it is no model."""
    from lamina.models import load_model
    from lamina.saving.files import only_weights

    name, suffix = path.name.lower(), path.suffix.lower()
    if name.endswith((".weights.h5", ".weights.json")):
        raise only_weights(path)
    if suffix in _SUFFIXES:
        return load_model(str(path))
    hint = f" Write {path.stem}:NAME for a model in it." if suffix == ".py" else ""
    raise LaminaError(f"{path} is no model file: these end in .keras, .h5 or .safetensors.{hint}")


def _nearest_file(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f" There is no folder {str(folder)!r} either."
    return nearest(path.name, sorted(one.name for one in folder.iterdir() if one.suffix in _SUFFIXES))


# ------------------------------------------------------------------------------------------------------------ modules


def _from_module(text: str) -> Any:
    """A model in a module of the user's, or what a function or class without arguments there makes.

    The current folder can be imported from, and `import keras` finds lamina, as under `lamina run`. What the user's
    code prints goes to stderr. Errors: a LaminaError that names the place in the user's code.
    """
    from lamina.compat.importing import install
    from lamina.models import Model

    module_name, _, name = text.partition(":")
    if not module_name or not name:
        raise Misuse(f"{text!r} is no module:name.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    if not {"keras", "tensorflow"} & set(sys.modules):
        install()
    with redirect_stdout(sys.stderr):
        value = _value_in(_module(module_name), module_name, name)
        if not isinstance(value, Model) and callable(value):
            value = _made_by(value, text)
    if not isinstance(value, Model):
        raise LaminaError(
            f"{text} is of type {type(value).__module__}.{type(value).__qualname__}, and no model of lamina."
        )
    return value


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            hint = f" Write {name.removesuffix('.py')}:NAME." if name.endswith(".py") else ""
            raise LaminaError(f"There is no module {name!r} in this folder or on Python's path.{hint}") from error
        raise _failed(f"The module {name!r} cannot be imported", error) from error
    except (Exception, SystemExit) as error:
        raise _failed(f"The module {name!r} cannot be imported", error) from error


def _value_in(module: Any, module_name: str, name: str) -> Any:
    value = module
    for part in name.split("."):
        if not hasattr(value, part):
            own = [one for one in vars(value) if not one.startswith("_")] if hasattr(value, "__dict__") else []
            raise LaminaError(f"The module {module_name!r} has no {name!r}.{nearest(part, own)}")
        value = getattr(value, part)
    return value


def _made_by(function: Callable[..., Any], text: str) -> Any:
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise LaminaError(
            f"{text} cannot be called without arguments: {error}. Write a function that takes none."
        ) from error
    try:
        return function()
    except ShapeError:
        raise  # says it all
    except (Exception, SystemExit) as error:
        raise _failed(f"{text} makes no model", error) from error


def _failed(what: str, error: BaseException) -> LaminaError:
    """An error in the user's code, with the last line of it outside lamina and the installed packages."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_users(frame.filename)]
    place = f" ({os.path.relpath(own[-1].filename)}, line {own[-1].lineno})" if own else ""
    if isinstance(error, SyntaxError) and error.filename:
        place = f" ({os.path.relpath(error.filename)}, line {error.lineno})"
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return LaminaError(f"{what}: {type(error).__name__}: {text}{place}")


def _is_users(filename: str) -> bool:
    here = str(Path(__file__).parent.parent)
    return not filename.startswith((here, "<")) and "site-packages" not in filename and os.path.isfile(filename)


# ------------------------------------------------------------------------------------------------------- other inputs


def with_batch(input_shape: Any) -> Any:
    """The same shape or shapes with an open batch axis."""
    if isinstance(input_shape, dict):
        return {name: (None, *shape) for name, shape in input_shape.items()}
    if isinstance(input_shape, list):
        return [(None, *shape) for shape in input_shape]
    return (None, *input_shape)


def _on_shape(model: Any, input_shape: Any) -> Any:
    """The model built on a shape; one that is a graph already is made anew on it, without weight memory."""
    from lamina.explain.trace import apart, input_shapes

    if getattr(model, "graph", None) is None:
        model.build(with_batch(input_shape))
        return model
    shapes = input_shapes(model, input_shape)
    if shapes == [tensor.shape for tensor in model.inputs]:
        return model
    with apart(model):
        return _made_anew(model, shapes)


def _made_anew(model: Any, shapes: list[Shape]) -> Any:
    """A graph's calls on inputs of these shapes, through copies of its layers and of the models inside it."""
    from lamina.explain.trace import copied
    from lamina.graph.function import symbolic_leaves
    from lamina.layers import Input
    from lamina.models import Functional, Sequential
    from lamina.models.rebuilding import replay

    pairs = zip(model.input_names, shapes, model.inputs, strict=True)
    inputs = [Input(batch_shape=shape, dtype=own.dtype, name=name) for name, shape, own in pairs]
    copies: dict[int, Any] = {}

    def call(node: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        operation = node.operation
        if id(operation) not in copies:
            nested = getattr(operation, "graph", None) is not None
            received = [tensor.shape for tensor in symbolic_leaves(args, "inputs")] if nested else []
            copies[id(operation)] = _made_anew(operation, received) if nested else copied(operation)
        return copies[id(operation)](*args, **kwargs)

    outputs = replay(model.graph, inputs, call)
    if isinstance(model, Sequential):
        return Sequential([inputs[0], *(copies[id(layer)] for layer in model.layers)], name=model.name)
    return Functional(inputs if len(inputs) > 1 else inputs[0], outputs, name=model.name)
