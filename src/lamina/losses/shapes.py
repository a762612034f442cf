"""Whether targets fit outputs: pure shape arithmetic, so that training can ask before its first step.

Two shapes fit when they are equal, or when one of them only lacks a trailing axis of size 1: (batch,) and (batch, 1).
Sparse losses want the output's shape without its class axis. Everything else is a `ShapeError`; under the policy
"legacy" what Keras 2 repeated in silence runs, with a `ShapeWarning`.
"""

from __future__ import annotations

from collections.abc import Sequence

from lamina.base import config
from lamina.base.errors import ShapeError, warn_shape

Shape = tuple[int | None, ...]

# The functions that compare distributions over classes, with the one that takes class numbers in their place.
SPARSE_TWINS: dict[str, str | None] = {
    "categorical_crossentropy": "sparse_categorical_crossentropy",
    "categorical_focal_crossentropy": "sparse_categorical_crossentropy",
    "categorical_hinge": None,
    "categorical_accuracy": "sparse_categorical_accuracy",
    "top_k_categorical_accuracy": "sparse_top_k_categorical_accuracy",
}
_CATEGORICAL_TWINS: dict[str, str | None] = {
    "sparse_categorical_crossentropy": "categorical_crossentropy",
    "categorical_generalized_cross_entropy": None,
    "sparse_categorical_accuracy": "categorical_accuracy",
    "sparse_top_k_categorical_accuracy": "top_k_categorical_accuracy",
}


def check_target_shape(
    y_true_shape: Sequence[int | None], y_pred_shape: Sequence[int | None], loss_name: str, axis: int = -1
) -> None:
    """Nothing when the targets fit; otherwise a `ShapeError`, or a `ShapeWarning` where "legacy" lets them be repeated.

    Parameters: both shapes (None fits any size), the name of the loss or metric function, its class axis.

    >>> check_target_shape((32,), (32, 1), "mean_squared_error")
    >>> check_target_shape((10,), (10, 16), "binary_crossentropy")
    Traceback (most recent call last):
    lamina.ShapeError: binary_crossentropy got targets (10,) for outputs (10, 16).
      received   targets (10,), outputs (10, 16)
      expected   targets (10, 16), one for each output
      ...
    """
    problem = shape_problem(y_true_shape, y_pred_shape, loss_name, axis)
    if problem is None:
        return
    if not tolerated(y_true_shape, y_pred_shape, loss_name):
        raise problem
    parts = problem.parts()
    warn_shape(str(parts.pop("headline")), **parts)


def tolerated(y_true_shape: Sequence[int | None], y_pred_shape: Sequence[int | None], name: str) -> bool:
    """Whether the policy "legacy" lets shapes that do not fit be repeated until they do, as Keras 2 did."""
    if config.shape_policy() != "legacy" or name in SPARSE_TWINS or name in _CATEGORICAL_TWINS:
        return False
    return _repeated(tuple(y_true_shape), tuple(y_pred_shape)) is not None


def shape_problem(
    y_true_shape: Sequence[int | None], y_pred_shape: Sequence[int | None], name: str, axis: int = -1
) -> ShapeError | None:
    """The problem between two shapes whatever the policy, or None."""
    targets, outputs = tuple(y_true_shape), tuple(y_pred_shape)
    if name in _CATEGORICAL_TWINS:
        return _sparse_problem(targets, outputs, name, axis)
    changes = rank_changes(targets, outputs)
    plain_targets, plain_outputs = _changed(targets, changes[0]), _changed(outputs, changes[1])
    # One number for all outputs, as a discriminator's 0 or 1, can only be meant.
    if plain_targets == () or _fits(plain_targets, plain_outputs):
        return None
    if name in SPARSE_TWINS and _is_class_numbers(targets, outputs, axis):
        return _class_numbers_problem(targets, outputs, name, axis)
    return _elementwise_problem(targets, outputs, name)


def rank_changes(first: Sequence[int | None], second: Sequence[int | None]) -> tuple[int, int]:
    """What a trailing axis of size 1 must do in each of two shapes for equal ranks: 1 come, -1 go, 0 nothing.

    >>> rank_changes((32,), (32, 1)), rank_changes((32, 7, 1), (32, 7)), rank_changes((32,), (32, 5))
    ((1, 0), (-1, 0), (0, 0))
    """
    if abs(len(first) - len(second)) != 1:
        return 0, 0
    longer, shorter = (first, second) if len(first) > len(second) else (second, first)
    if longer[-1] != 1:
        return 0, 0
    if len(shorter) == 1:
        return (1, 0) if shorter is first else (0, 1)
    return (-1, 0) if longer is first else (0, -1)


def _changed(shape: Shape, change: int) -> Shape:
    return (*shape, 1) if change > 0 else shape[:-1] if change < 0 else shape


def _fits(first: Shape, second: Shape) -> bool:
    return len(first) == len(second) and all(
        one == other or one is None or other is None for one, other in zip(first, second, strict=True)
    )


def _repeated(targets: Shape, outputs: Shape) -> Shape | None:
    """The shape to which Keras 2 stretched both, (batch,) read as (batch, 1); None if it could not."""
    if len(targets) == 1 and len(outputs) > 1:
        targets = (*targets, 1)
    rank = max(len(targets), len(outputs))
    padded = [(1,) * (rank - len(shape)) + shape for shape in (targets, outputs)]
    result: list[int | None] = []
    for one, other in zip(*padded, strict=True):
        if one != other and 1 not in (one, other) and None not in (one, other):
            return None
        result.append(other if one == 1 or (one is None and other != 1) else one)
    return tuple(result)


def _without(shape: Shape, axis: int) -> Shape:
    place = axis % len(shape) if shape else 0
    return shape[:place] + shape[place + 1 :]


def _is_class_numbers(targets: Shape, outputs: Shape, axis: int) -> bool:
    numbers = _without(outputs, axis)
    return _fits(targets, numbers) or (
        len(targets) == len(outputs) and _fits(targets[:-1], numbers) and targets[-1] == 1
    )


def _sparse_problem(targets: Shape, outputs: Shape, name: str, axis: int) -> ShapeError | None:
    numbers = _without(outputs, axis)
    if outputs and _fits(targets, numbers):
        return None
    if outputs and len(targets) == len(outputs) and targets[axis] == 1 and _fits(_without(targets, axis), numbers):
        return None
    classes = outputs[axis] if outputs else None
    parts = {"received": _received(targets, outputs)}
    if not outputs:
        return ShapeError(
            f"{name} needs outputs with an axis of classes.",
            layer=name,
            **parts,
            expected="outputs (batch, classes)",
            because="the outputs are one number",
            mend="let the model end in Dense(classes, activation='softmax')",
        )
    parts["expected"] = f"targets {numbers}, a class number below {classes} for each"
    if len(outputs) > 1 and _fits(targets, outputs):
        twin = _CATEGORICAL_TWINS[name]
        parts["because"] = "the targets have the outputs' shape: they look one-hot, and here each is one class number"
        parts["mend"] = f"use {twin}, or give the class numbers: " if twin else "give the class numbers: "
        parts["mend"] += f"y.argmax(axis={axis})"
    else:
        parts["because"] = _difference(targets, numbers, "the outputs without their class axis")
        parts["mend"] = f"give targets of shape {numbers}"
    return ShapeError(_headline(name, targets, outputs), layer=name, **parts)


def _class_numbers_problem(targets: Shape, outputs: Shape, name: str, axis: int) -> ShapeError:
    classes, twin = outputs[axis], SPARSE_TWINS[name]
    encode = f"utils.to_categorical(y, {classes})"
    return ShapeError(
        _headline(name, targets, outputs),
        received=_received(targets, outputs),
        layer=name,
        expected=f"targets {outputs}, a one-hot row of {classes} for each sample",
        because=f"the targets look like class numbers, and {name} compares distributions over {classes} classes",
        mend=f"use {twin}, or {encode}" if twin else encode,
    )


def _elementwise_problem(targets: Shape, outputs: Shape, name: str) -> ShapeError:
    stretched = _repeated(targets, outputs) if name not in SPARSE_TWINS else None
    one_number_a_sample = len(outputs) > 1 and (_fits(targets, outputs[:-1]) or _fits(targets, (*outputs[:-1], 1)))
    if stretched is not None and one_number_a_sample:
        because = f"the shapes meet only by repetition: each target against all {outputs[-1]} outputs of its sample"
    elif stretched is not None:
        because = f"the shapes meet only by repetition: both would be stretched to {stretched}"
    else:
        because = _difference(targets, outputs, "the outputs")
    mend = f"give targets of shape {outputs}"
    if one_number_a_sample:
        mend += ", or let the model end in Dense(1)"
        mend += "; class numbers go with sparse_categorical_crossentropy" if name.endswith("crossentropy") else ""
    if stretched is not None:
        mend += '\nconfig.set_shape_policy("legacy") repeats them, as Keras 2 did'
    return ShapeError(
        _headline(name, targets, outputs),
        received=_received(targets, outputs),
        layer=name,
        expected=f"targets {outputs}, one for each output",
        because=because,
        mend=mend,
    )


def _headline(name: str, targets: Shape, outputs: Shape) -> str:
    return f"{name} got targets {targets} for outputs {outputs}."


def _received(targets: Shape, outputs: Shape) -> str:
    return f"targets {targets}, outputs {outputs}"


def _difference(targets: Shape, wanted: Shape, of_what: str) -> str:
    if len(targets) != len(wanted):
        return f"the targets have rank {len(targets)} and {of_what} rank {len(wanted)}"
    places = zip(targets, wanted, strict=True)
    axis, (one, other) = next((i, pair) for i, pair in enumerate(places) if None not in pair and pair[0] != pair[1])
    if axis == 0:
        return f"axis 0 counts samples: {one} in the targets, {other} in {of_what}"
    return f"axis {axis} is {one} in the targets and {other} in {of_what}"


def check_weight_shape(weight_shape: Sequence[int], value_shape: Sequence[int], what: str) -> None:
    """Nothing when weights (`what`: "sample_weight" or "mask") fit the values that they multiply, axis by axis.

    Errors: a ShapeError; where the shapes meet by repetition, a ShapeWarning under the policy "legacy".

    >>> check_weight_shape((32, 1), (32, 7), "sample_weight")
    >>> check_weight_shape((32,), (32, 7), "sample_weight")
    Traceback (most recent call last):
    lamina.ShapeError: sample_weight (32,) cannot weigh values (32, 7).
      ...
    """
    weights, values = tuple(weight_shape), tuple(value_shape)
    if not weights or weights == values:
        return
    if len(weights) == len(values) and all(one in (1, other) for one, other in zip(weights, values, strict=True)):
        return
    parts = {
        "layer": what,
        "received": f"{what} {weights}, values {values}",
        "expected": f"{what} {values}, or 1 in place of an axis whose entries share a weight",
        "because": "a weight belongs to the value at its own place; it is not repeated along an axis it does not have",
        "mend": f"for one weight a sample, give shape {(*values[:1], *[1] * (len(values) - 1))}",
    }
    headline = f"{what} {weights} cannot weigh values {values}."
    rank = max(len(weights), len(values))
    padded = [(1,) * (rank - len(shape)) + shape for shape in (weights, values)]
    if config.shape_policy() != "legacy" or _repeated(*padded) is None:
        raise ShapeError(headline, **parts)
    warn_shape(headline, **parts)
