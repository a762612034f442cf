"""The one place where the tables of `spellings` are applied to a call."""

from __future__ import annotations

import inspect
import types
import warnings
from collections.abc import Collection
from typing import Any

from lamina.base import registry
from lamina.base.errors import outside_frame
from lamina.base.late import late
from lamina.base.serialization import constructor_names
from lamina.compat.rows import Row, Spelling, words
from lamina.compat.spellings import SPELLINGS

# What every layer takes besides its own constructor's arguments.
LAYER_KEYWORDS = frozenset(words("input_shape batch_input_shape batch_shape input_dim batch_size weights"))
_SHOWN_LENGTH = 60

Keywords = dict[str, Any]


def translate(
    owner: str, args: tuple[Any, ...], kwargs: Keywords, *, known: Collection[str] | None = None
) -> tuple[tuple[Any, ...], Keywords]:
    """A call in an old spelling as today's call, with one DeprecationWarning that shows it.

    Parameters: `owner`, what is called (`"Conv2D"`, `"Model.fit"`, `"Adam"`); its positional and keyword arguments;
    `known`, today's keywords, where the signature of `owner` does not say them.

    Errors: a keyword that neither today's Keras nor an older one knows is a TypeError that shows the nearest one, and
    so is a keyword given in both spellings; an old value that has no counterpart today is a ValueError.

    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", DeprecationWarning)
    ...     translate("Conv2D", (), {"nb_filter": 10, "nb_row": 8, "nb_col": 8, "border_mode": "same"})
    ((), {'filters': 10, 'kernel_size': (8, 8), 'padding': 'same'})
    """
    spelling = SPELLINGS.get(owner, Spelling())
    today = spelling.today or owner
    positional, given = _named(owner, spelling, args, kwargs)
    translated, notes = _apply(owner, spelling.rows, given)
    if spelling.finish is not None:
        translated = spelling.finish(today, translated)
    _refuse_unknown(owner, spelling, translated, _known_keywords(today) if known is None else frozenset(known))
    if spelling.gone or positional != args or spelling.old_names & kwargs.keys():
        written = "Model" if owner == "Functional" else owner  # Model(...) is where a Functional comes from
        deprecate(shown_call(written, args, kwargs), spelling.era, shown_call(today, positional, translated), *notes)
    return positional, translated


def deprecate(old: str, era: str, today: str, *notes: str) -> None:
    """The one DeprecationWarning of an old spelling, at the line outside lamina that wrote it."""
    text = "; ".join([f"{old} is {era}; today: {today}", *notes])
    warnings.warn(text, DeprecationWarning, stacklevel=outside_frame())


def is_old(owner: str, args: tuple[Any, ...], kwargs: Keywords) -> bool:
    """Whether a call by a name that today's Keras also has is in an old spelling."""
    spelling = SPELLINGS[owner]
    return bool(spelling.old_names & kwargs.keys()) or _positions_are_old(spelling, args, kwargs)


def _positions_are_old(spelling: Spelling, args: tuple[Any, ...], kwargs: Keywords) -> bool:
    """Whether positional arguments follow the old order.

    A kernel of several sizes tells: Keras 1 gave each as a number of its own, so `Convolution2D(10, 8, 8)` is old,
    `Convolution2D(10, (8, 8))` is not, and `Convolution2D(10, 8, 8, padding="same")` has strides of 8. Elsewhere an
    old keyword tells, and for a kernel of one size also an initializer's name in third place.
    """
    if not spelling.positions or len(args) > len(spelling.positions) or spelling.new_only_names & kwargs.keys():
        return False
    if spelling.sizes > 1:
        names = spelling.positions[1 : 1 + spelling.sizes]
        sizes = [*args[1 : 1 + spelling.sizes], *(kwargs[name] for name in names if name in kwargs)]
        numbers = all(isinstance(size, int) for size in sizes)
        return len(args) > 1 and len(sizes) == spelling.sizes and numbers
    named_initializer = spelling.sizes == 1 and len(args) > 2 and isinstance(args[2], str)
    return named_initializer or spelling.gone or bool(args and spelling.old_names & kwargs.keys())


def _named(owner: str, spelling: Spelling, args: tuple[Any, ...], kwargs: Keywords) -> tuple[tuple[Any, ...], Keywords]:
    """Positional arguments in the old order under their old names; in today's order they stay positional."""
    if not args or not _positions_are_old(spelling, args, kwargs):
        return args, dict(kwargs)
    named = dict(zip(spelling.positions, args, strict=False))
    for name in named.keys() & kwargs.keys():
        raise TypeError(f"{owner} got {name!r} twice: by position and by keyword.")
    return (), {**named, **kwargs}


def _apply(owner: str, rows: tuple[Row, ...], given: Keywords) -> tuple[Keywords, list[str]]:
    """Today's keywords in the order of the old ones, and the notes of those that were dropped."""
    row_of = {name: row for row in rows for name in row.old_names}
    translated: Keywords = {}
    notes: list[str] = []
    done: list[Row] = []
    for name, value in given.items():
        row = row_of.get(name)
        if row is None:
            _put(owner, translated, name, value)
        elif row not in done:
            done.append(row)
            values = _old_values(owner, row, given)
            try:
                new_value = row.value(*values)
            except ValueError as error:
                raise ValueError(f"{owner}({name}={shown_value(value)}): {error}.") from None
            for new_name in row.new_names:
                _put(owner, translated, new_name, new_value)
            if row.note:
                notes.append(row.note)
    return translated, notes


def _old_values(owner: str, row: Row, given: Keywords) -> list[Any]:
    missing = [name for name in row.old_names if name not in given]
    if missing and not row.partial:
        present = [name for name in row.old_names if name in given]
        raise TypeError(f"{owner} got {', '.join(present)} without {', '.join(missing)}. Today: {row.new}=...")
    return [given.get(name) for name in row.old_names]


def _put(owner: str, keywords: Keywords, name: str, value: Any) -> None:
    if name in keywords:
        raise TypeError(f"{owner} got {name!r} twice: in today's spelling and in an old one.")
    keywords[name] = value


def _known_keywords(today: str) -> frozenset[str]:
    """Today's keywords of a class or of a method `Class.method`."""
    name, _, method = today.partition(".")
    for package in ("layers", "models", "optimizers", "constraints"):
        cls = registry.lookup(package, name)
        if cls is not None and method:
            return frozenset(inspect.signature(getattr(cls, method)).parameters)
        if cls is not None:
            layer = late("layers").Layer
            shared = LAYER_KEYWORDS.union(constructor_names(layer)) if issubclass(cls, layer) else frozenset()
            return shared.union(constructor_names(cls))
    raise TypeError(f"lamina has no {today!r} whose keywords could be looked up.")


def _refuse_unknown(owner: str, spelling: Spelling, given: Keywords, known: frozenset[str]) -> None:
    known |= spelling.new_names
    unknown = [name for name in given if name not in known]
    if unknown:
        hint = registry.nearest(unknown[0], sorted(known | spelling.old_names))
        raise TypeError(f"{owner} has no argument {', '.join(map(repr, unknown))}.{hint}")


def shown_call(name: str, args: tuple[Any, ...], kwargs: Keywords) -> str:
    """`Conv2D(10, padding='same')`."""
    shown = [*map(shown_value, args), *(f"{name}={shown_value(value)}" for name, value in kwargs.items())]
    return f"{name}({', '.join(shown)})"


def shown_value(value: Any) -> str:
    """A value as one would write it; what is too long or has no such form, by its kind."""
    if value is None or isinstance(value, str | int | float):
        return repr(value)
    if isinstance(value, tuple | list) and len(repr(value)) <= _SHOWN_LENGTH:
        inner = ", ".join(map(shown_value, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner},)" if len(value) == 1 else f"({inner})"
    if type(value).__module__.startswith("lamina.") and not hasattr(value, "shape") and hasattr(value, "get_config"):
        config = {name: item for name, item in value.get_config().items() if item is not None and name != "name"}
        return shown_call(type(value).__name__, (), config)
    named = isinstance(value, type | types.FunctionType | types.BuiltinFunctionType)
    return value.__name__ if named else f"<{type(value).__name__}>"
