"""The parts that many layers take by name: initializers, regularizers, constraints, activations; and sizes."""

from __future__ import annotations

from typing import Any

from lamina import activations, constraints, initializers, regularizers
from lamina.base.errors import ShapeError
from lamina.shapes import Size, value_of

_GETTERS = {
    "initializer": initializers.get,
    "regularizer": regularizers.get,
    "constraint": constraints.get,
    "activation": activations.get,
}


def take_parts(layer: Any, **parts: Any) -> None:
    """Sets `kernel_initializer`, `bias_regularizer`, `activation`, ... on a layer from what the user gave."""
    for name, value in parts.items():
        layer.__dict__[name] = _GETTERS[name.rpartition("_")[2]](value)


def positive_integer(value: Any, what: str) -> int:
    """A size that a user gives. Errors: anything but a whole number above 0 is a ValueError."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < 1:
        raise ValueError(f"{what} is a whole number above 0; got {value!r}.")
    return int(value)


def per_axis(value: Any, rank: int, what: str, minimum: int = 1) -> tuple[int, ...]:
    """One whole number for every spatial axis, or one each. Errors: anything else is a ValueError."""
    values = (value,) * rank if hasattr(value, "__index__") else tuple(value) if hasattr(value, "__iter__") else ()
    good = len(values) == rank and all(
        hasattr(v, "__index__") and not isinstance(v, bool) and v >= minimum for v in values
    )
    if not good:
        wanted = f"a whole number ≥ {minimum}" + (f" or {rank} of them" if rank > 1 else "")
        raise ValueError(f"{what} is {wanted}; got {value!r}.")
    return tuple(int(v) for v in values)


def expect_rank(layer: Any, inputs: Any, *ranks: int, at_least: int = 0) -> None:
    """Errors: a ShapeError when the input has another number of axes than the layer reads."""
    if inputs.rank in ranks or (at_least and inputs.rank >= at_least):
        return
    if at_least:
        wanted = f"at least {at_least}"
    else:
        wanted = " or ".join(map(str, ranks))
    names = ", ".join(layer.axis_names(ranks[0] if ranks else at_least))
    mend = f"bring the input to ({names}), with Reshape or Flatten"
    if inputs.rank == (ranks[0] if ranks else at_least) - 1:
        mend = _missing_axis(inputs.shape, names.rpartition(" ")[2])
    elif ranks and inputs.rank > ranks[0]:
        extra = inputs.rank - ranks[0]
        mend = f"take away {extra} {'axis' if extra == 1 else 'axes'}, or use the layer for {inputs.rank} axes"
    raise ShapeError(
        f"{layer.title} reads inputs of {wanted} axes and got {inputs.rank}.",
        layer=layer.name,
        expected=f"({names})" if ranks else f"({names}), or more axes",
        because=f"a {type(layer).__name__} reads {wanted} axes by their place: {names}",
        mend=mend,
    )


def _missing_axis(shape: tuple[int | None, ...], last: str) -> str:
    """Which axis an input of one axis too few most likely lacks."""
    if len(shape) == 1:
        return "add the batch axis in front: x[None]"
    if last in ("channels", "features") and shape[0] is None:  # a symbol: its batch axis is there
        missing = (*shape[1:], 1)
        return f"add the axis of {last}: Input({missing}), or Reshape({missing}) before this layer"
    if last == "channels" and shape[-1] in (1, 3, 4):
        return "add the batch axis in front: x[None]"
    return "add the missing axis: the batch in front, x[None], or one channel behind, x[..., None]"


def expect_size(layer: Any, inputs: Any, axis: str | int, expected: int | None, weight: str, because: str) -> None:
    """Errors: a ShapeError when a built layer gets another size on the axis that its weights were made for."""
    got = value_of(inputs[axis])
    if expected is None or got is None or got == expected:
        return
    name = axis if isinstance(axis, str) else inputs.names[axis]
    needed = f"{expected} {name.removesuffix('s') if expected == 1 else name}"
    raise ShapeError(
        f"{layer.title} needs {needed} and got {got}.",
        layer=layer.name,
        expected=f"{inputs.replace_at(inputs.names.index(name), expected).shape}  fixed when {layer.name!r} was built",
        because=because,
        mend=f"make a new {type(layer).__name__} for this input, or give it an input of {needed}",
    )


def known_size(layer: Any, inputs: Any, axis: str | int) -> int:
    """The size of an axis on which weights depend. Errors: a ShapeError when it is open."""
    size: Size = inputs[axis]
    value = value_of(size)
    if value is None:
        name = axis if isinstance(axis, str) else inputs.names[axis]
        raise ShapeError(
            f"{layer.title} makes weights for its input's {name}, and their number is open.",
            layer=layer.name,
            expected=f"a known size on the axis {name!r}",
            because=f"the layer's weights have one entry (or row) for each of the {name}",
            mend="give the model's input fixed sizes, or join its open axes with a global pooling before this layer",
        )
    return value
