"""Metrics: classes such as `AUC()`, functions such as `binary_accuracy`, and `get` for what users name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lamina.base import registry
from lamina.base.names import to_snake_case
from lamina.base.serialization import deserialize_keras_object, get_object, serialize_keras_object
from lamina.losses import output_kind
from lamina.losses.functions import (
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_hinge,
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
)
from lamina.metrics.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from lamina.metrics.base import Metric
from lamina.metrics.confusion import (
    FalseNegatives,
    FalsePositives,
    Precision,
    Recall,
    TrueNegatives,
    TruePositives,
)
from lamina.metrics.curves import (
    AUC,
    PrecisionAtRecall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
)
from lamina.metrics.means import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    ConcordanceCorrelation,
    CosineSimilarity,
    Hinge,
    KLDivergence,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    PearsonCorrelation,
    Poisson,
    RootMeanSquaredError,
    SparseCategoricalCrossentropy,
    SquaredHinge,
    concordance_correlation,
    pearson_correlation,
)
from lamina.metrics.reduction import (
    Mean,
    MeanMetricWrapper,
    Sum,
)
from lamina.metrics.scores import (
    BinaryIoU,
    F1Score,
    FBetaScore,
    IoU,
    MeanIoU,
    OneHotIoU,
    OneHotMeanIoU,
    R2Score,
)

__all__ = [
    "AUC",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "BinaryIoU",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "ConcordanceCorrelation",
    "CosineSimilarity",
    "F1Score",
    "FBetaScore",
    "FalseNegatives",
    "FalsePositives",
    "Hinge",
    "IoU",
    "KLDivergence",
    "LogCoshError",
    "Mean",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanIoU",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Metric",
    "OneHotIoU",
    "OneHotMeanIoU",
    "PearsonCorrelation",
    "Poisson",
    "Precision",
    "PrecisionAtRecall",
    "R2Score",
    "Recall",
    "RecallAtPrecision",
    "RootMeanSquaredError",
    "SensitivityAtSpecificity",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "SpecificityAtSensitivity",
    "SquaredHinge",
    "Sum",
    "TopKCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "accuracy_for",
    "binary_accuracy",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_accuracy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "concordance_correlation",
    "crossentropy_for",
    "deserialize",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "pearson_correlation",
    "poisson",
    "serialize",
    "sparse_categorical_accuracy",
    "sparse_categorical_crossentropy",
    "sparse_top_k_categorical_accuracy",
    "squared_hinge",
    "top_k_categorical_accuracy",
]

# `"binary_accuracy"` is a function and, in snake case, a class; a metric by name is the class.
_CLASS_NAMES = {to_snake_case(name): name for name in __all__ if name[0].isupper()}


def get(identifier: Any) -> Any:
    """The metric behind a name, config, class, instance or function; None stays None.

    A name is the class of that name, in snake case too, or an alias. Errors: an unknown name is a ValueError that shows
    the nearest.

    >>> get("mse"), get("binary_accuracy")
    (<MeanSquaredError name=mean_squared_error>, <BinaryAccuracy name=binary_accuracy>)
    """
    if isinstance(identifier, str) and registry.get_registered_object(identifier) is None:
        identifier = _CLASS_NAMES.get(identifier, identifier)
    return get_object("metrics", identifier, "metric")


def serialize(metric: Any) -> Any:
    """The config of a metric."""
    return serialize_keras_object(metric)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The metric of a config, or of a name."""
    return get(config) if isinstance(config, str) else deserialize_keras_object(config, custom_objects)


def accuracy_for(y_true_shape: Sequence[int | None], y_pred_shape: Sequence[int | None], loss: Any = None) -> Metric:
    """The metric that `"accuracy"` means for targets and outputs of these shapes. As in Keras, the shapes alone decide.

    >>> accuracy_for((32,), (32, 10))
    <SparseCategoricalAccuracy name=accuracy>
    """
    kinds = {"binary": BinaryAccuracy, "sparse": SparseCategoricalAccuracy, "categorical": CategoricalAccuracy}
    return kinds[output_kind(y_true_shape, y_pred_shape)](name="accuracy")


def crossentropy_for(
    y_true_shape: Sequence[int | None], y_pred_shape: Sequence[int | None], loss: Any = None
) -> Metric:
    """The metric that `"crossentropy"` means for targets and outputs of these shapes; on logits if the loss is.

    >>> crossentropy_for((32, 1), (32, 1))
    <BinaryCrossentropy name=crossentropy>
    """
    kinds = {
        "binary": BinaryCrossentropy,
        "sparse": SparseCategoricalCrossentropy,
        "categorical": CategoricalCrossentropy,
    }
    from_logits = bool(getattr(loss, "from_logits", False))
    return kinds[output_kind(y_true_shape, y_pred_shape)](name="crossentropy", from_logits=from_logits)
