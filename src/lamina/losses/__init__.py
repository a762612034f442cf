"""Losses: classes such as `MeanSquaredError()`, functions such as `mean_squared_error`, and `get` for what users name.

Here too is the question whether targets fit outputs: `target_problem`, `check_target_shape`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lamina.base.errors import ShapeError
from lamina.base.serialization import deserialize_keras_object, get_object, serialize_keras_object
from lamina.losses.base import Loss, LossFunctionWrapper
from lamina.losses.classes import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    CategoricalHinge,
    CosineSimilarity,
    Dice,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    SparseCategoricalCrossentropy,
    SquaredHinge,
    Tversky,
)
from lamina.losses.functions import (
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
    categorical_hinge,
    cosine_similarity,
    dice,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
    tversky,
)
from lamina.losses.shapes import check_target_shape, shape_problem, tolerated

__all__ = [
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "Dice",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "LossFunctionWrapper",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "Tversky",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "categorical_hinge",
    "check_target_shape",
    "cosine_similarity",
    "crossentropy_for",
    "deserialize",
    "dice",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "output_kind",
    "poisson",
    "serialize",
    "sparse_categorical_crossentropy",
    "squared_hinge",
    "target_problem",
    "tversky",
]


def get(identifier: Any) -> Any:
    """The loss behind a name, config, class, instance or function; None stays None.

    The name of a class gives an instance, the name of a function the function. Errors: an unknown name is a ValueError
    that shows the nearest.

    >>> get("mse").__name__, get("Huber").delta
    ('mean_squared_error', 1.0)
    """
    return get_object("losses", identifier, "loss")


def serialize(loss: Any) -> Any:
    """The config of a loss."""
    return serialize_keras_object(loss)


def deserialize(name: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The loss of a config, or of a name."""
    return get(name) if isinstance(name, str) else deserialize_keras_object(name, custom_objects)


def target_problem(
    loss: Any, y_true_shape: Sequence[int | None], y_pred_shape: Sequence[int | None]
) -> ShapeError | None:
    """The error that a loss would raise on targets and outputs of these shapes (None fits any size), or None.

    Parameters: `loss`, anything that `get` takes, or a metric. Losses and functions of a user's own have no problem
    that lamina knows of; nor have shapes that the policy "legacy" lets pass with a warning.

    >>> print(target_problem("mse", (None, 3), (None, 4)))
    mean_squared_error got targets (None, 3) for outputs (None, 4).
      received   targets (None, 3), outputs (None, 4)
      expected   targets (None, 4), one for each output
      because    axis 1 is 3 in the targets and 4 in the outputs
      to mend    give targets of shape (None, 4)
    """
    loss = get(loss)
    function = getattr(loss, "fn", loss)
    if not hasattr(function, "checks_targets"):
        return None
    name, axis = function.__name__, getattr(loss, "axis", -1)
    if tolerated(y_true_shape, y_pred_shape, name):
        return None
    return shape_problem(y_true_shape, y_pred_shape, name, axis if isinstance(axis, int) else -1)


def output_kind(y_true_shape: Sequence[int | None], y_pred_shape: Sequence[int | None]) -> str:
    """`"binary"`, `"sparse"` or `"categorical"`: what targets and outputs of these shapes look like, as Keras decides.

    One output a sample is binary; targets without the class axis are class numbers.

    >>> output_kind((32,), (32, 1)), output_kind((32,), (32, 10)), output_kind((32, 10), (32, 10))
    ('binary', 'sparse', 'categorical')
    """
    if len(y_pred_shape) < 2 or y_pred_shape[-1] == 1:
        return "binary"
    return "sparse" if len(y_true_shape) < len(y_pred_shape) or y_true_shape[-1] == 1 else "categorical"


def crossentropy_for(y_true_shape: Sequence[int | None], y_pred_shape: Sequence[int | None]) -> Any:
    """The crossentropy function that `"crossentropy"` or `"ce"` means for targets and outputs of these shapes.

    >>> crossentropy_for((32,), (32, 10)).__name__
    'sparse_categorical_crossentropy'
    """
    kinds = {
        "binary": binary_crossentropy,
        "sparse": sparse_categorical_crossentropy,
        "categorical": categorical_crossentropy,
    }
    return kinds[output_kind(y_true_shape, y_pred_shape)]
