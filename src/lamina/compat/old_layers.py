"""Layers by names that today's Keras has no more, or reads otherwise: each makes today's layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from lamina.base import tree
from lamina.base.late import late
from lamina.compat.calls import deprecate, is_old, shown_call, shown_value, translate
from lamina.compat.spellings import SPELLINGS

OLD_LAYERS: tuple[str, ...] = (
    "Convolution1D",
    "Convolution2D",
    "Convolution3D",
    "AtrousConvolution1D",
    "AtrousConvolution2D",
    "Deconvolution2D",
    "Deconvolution3D",
    "SeparableConvolution2D",
    "ThresholdedReLU",
    "CuDNNGRU",
    "CuDNNLSTM",
)


@cache
def old_layer(name: str) -> type:
    """The class of an old name: calling it makes today's layer, and today's layers are its instances.

    `Convolution2D(10, 8, 8)` reads Keras 1's positions; `Convolution2D(10, (8, 8))` is today's call and warns nothing.
    A user's subclass of it gets the same reading in its `super().__init__`.

    >>> import lamina
    >>> layer = old_layer("Convolution2D")(10, (8, 8), padding="same")
    >>> type(layer).__name__, isinstance(layer, old_layer("Convolution2D"))
    ('Conv2D', True)
    """
    spelling = SPELLINGS[name]
    today: type = getattr(late("layers"), spelling.today)

    def read(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return translate(name, args, kwargs) if spelling.gone or is_old(name, args, kwargs) else (args, kwargs)

    class OldName(type(today)):  # type: ignore[misc]  # the metaclass of today's class, whatever it is
        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            if cls is not made:
                return super().__call__(*args, **kwargs)
            args, kwargs = read(args, kwargs)
            return today(*args, **kwargs)

        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, today) if cls is made else super().__instancecheck__(instance)

        def __subclasscheck__(cls, other: type) -> bool:
            return issubclass(other, today) if cls is made else super().__subclasscheck__(other)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        args, kwargs = read(args, kwargs)
        today.__init__(self, *args, **kwargs)  # type: ignore[misc]

    text = f"`{spelling.today}` by its name of {spelling.era}."
    made = OldName(name, (today,), {"__init__": __init__, "__doc__": text, "__module__": __name__})
    return made


# Keras 1's mode: today's layer and function.
_MERGES: dict[str, tuple[str, str]] = {
    "sum": ("Add", "add"),
    "mul": ("Multiply", "multiply"),
    "concat": ("Concatenate", "concatenate"),
    "ave": ("Average", "average"),
    "max": ("Maximum", "maximum"),
    "dot": ("Dot", "dot"),
    "cos": ("Dot", "dot"),
}


def _merge_arguments(mode: str, concat_axis: int, dot_axes: Any) -> dict[str, Any]:
    if mode not in _MERGES:
        raise ValueError(f"merge has the modes {', '.join(map(repr, _MERGES))} or a function; got {mode!r}.")
    if mode == "concat":
        return {"axis": concat_axis}
    if mode not in ("dot", "cos"):
        return {}
    if isinstance(dot_axes, list | tuple):  # Keras 1 also wrote ([1], [2])
        dot_axes = tuple(axis[0] if isinstance(axis, list | tuple) else axis for axis in dot_axes)
    return {"axes": dot_axes, "normalize": True} if mode == "cos" else {"axes": dot_axes}


def merge(
    inputs: Any,
    mode: str | Callable[..., Any] = "sum",
    concat_axis: int = -1,
    dot_axes: Any = -1,
    output_shape: Any = None,
    arguments: dict[str, Any] | None = None,
    name: str | None = None,
) -> Any:
    """Keras 1's `merge([a, b], mode="sum")`: today `add([a, b])`, with a DeprecationWarning that says so.

    Parameters: `inputs`, a list of tensors; `mode`, `"sum"`, `"mul"`, `"concat"`, `"ave"`, `"max"`, `"dot"`, `"cos"` or
    a function of the list (with its `output_shape` and `arguments`); `concat_axis`, `dot_axes`, for those modes.
    `"cos"` has the shape of today's `Dot(normalize=True)`, without the axis of 1 that Keras 1 put in.

    Shapes: as today's merging layers. Errors: an unknown mode is a ValueError.

    >>> import warnings, lamina
    >>> a, b = lamina.Input((3,)), lamina.Input((5,))
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", DeprecationWarning)
    ...     merge([a, b], mode="concat").shape
    (None, 8)
    """
    given = _old_merge("merge", mode, concat_axis, dot_axes, output_shape, arguments, name)
    return given(inputs)


def Merge(
    layers: Any = None,
    mode: str | Callable[..., Any] = "sum",
    concat_axis: int = -1,
    dot_axes: Any = -1,
    output_shape: Any = None,
    arguments: dict[str, Any] | None = None,
    name: str | None = None,
) -> Any:
    """Keras 1's `Merge([left, right], mode="concat")`: today's merging layer, with a DeprecationWarning that names it.

    Parameters: those of `merge`; `layers`, models or layers whose outputs are merged: the result is then a `Model` from
    their inputs to the merged output. Today's Sequential has one input: go on from there with `Model(inputs, outputs)`.
    Without `layers`, the result is the merging layer alone.
    """
    merging = _old_merge("Merge", mode, concat_axis, dot_axes, output_shape, arguments, name)
    if layers is None:
        return merging
    inputs = [tensor for layer in layers for tensor in tree.flatten(layer.input)]
    return late("models").Model(inputs, merging([layer.output for layer in layers]))


def _old_merge(
    called: str,
    mode: str | Callable[..., Any],
    concat_axis: int,
    dot_axes: Any,
    output_shape: Any,
    arguments: dict[str, Any] | None,
    name: str | None,
) -> Any:
    """Today's merging layer, after the warning that shows how it is made."""
    if isinstance(mode, str):
        own = _merge_arguments(mode, concat_axis, dot_axes)
        layer, function = _MERGES[mode]
        today = shown_call(function, ("[...]",), own) if called == "merge" else shown_call(layer, (), own)
    else:
        own = {"function": mode, "output_shape": output_shape, "arguments": arguments}
        layer = "Lambda"
        today = shown_call(layer, (mode,), {})
    deprecate(f"{called}([...], mode={shown_value(mode)})", "Keras 1", today.replace("'[...]'", "[...]"))
    return getattr(late("layers"), layer)(**own, name=name)
