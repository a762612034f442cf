"""InceptionV3 (Szegedy et al. 2015, arXiv:1512.00567): branches of several kernel sizes side by side."""

from __future__ import annotations

from lamina.applications.ending import Architecture, Request, model_function
from lamina.applications.imagenet_utils import decode_predictions
from lamina.applications.inception import AVERAGE, MAXIMUM, STEM, Branch, Conv, Mixed, halving, mixed, run
from lamina.applications.preprocessing import tf_mode
from lamina.graph.keras_tensor import KerasTensor


def _mixed_35(number: int, pooled: int) -> Mixed:
    """For maps of 35×35 (of an image of 299×299): 1×1, 5×5, twice 3×3, and a pooling."""
    twice = (Conv(64), Conv(96, 3), Conv(96, 3))
    return mixed(f"mixed{number}", (Conv(64),), (Conv(48), Conv(64, 5)), twice, (AVERAGE, Conv(pooled)))


def _mixed_17(number: int, inner: int) -> Mixed:
    """For maps of 17×17: 7×7 once and twice, each as a row and a column."""
    row, column = (1, 7), (7, 1)
    once = (Conv(inner), Conv(inner, row), Conv(192, column))
    twice = (Conv(inner), Conv(inner, column), Conv(inner, row), Conv(inner, column), Conv(192, row))
    return mixed(f"mixed{number}", (Conv(192),), once, twice, (AVERAGE, Conv(192)))


def _mixed_8(number: int, inner_name: str) -> Mixed:
    """For maps of 8×8: 3×3 as a row beside a column."""
    fork = ((Conv(384, (1, 3)),), (Conv(384, (3, 1)),))
    once, twice = (Conv(384), mixed(inner_name, *fork)), (Conv(448), Conv(384, 3), mixed(None, *fork))
    return mixed(f"mixed{number}", (Conv(320),), once, twice, (AVERAGE, Conv(192)))


_UNITS: Branch = (
    *STEM,
    _mixed_35(0, 32),
    _mixed_35(1, 64),
    _mixed_35(2, 64),
    mixed("mixed3", (halving(384),), (Conv(64), Conv(96, 3), halving(96)), (MAXIMUM,)),
    _mixed_17(4, 128),
    _mixed_17(5, 160),
    _mixed_17(6, 160),
    _mixed_17(7, 192),
    mixed(
        "mixed8",
        (Conv(192), halving(320)),
        (Conv(192), Conv(192, (1, 7)), Conv(192, (7, 1)), halving(192)),
        (MAXIMUM,),
    ),
    _mixed_8(9, "mixed9_0"),
    _mixed_8(10, "mixed9_1"),
)
ARCHITECTURE = Architecture(
    "inception_v3",
    _UNITS,
    "inception_v3",
    min_size=75,
    default_size=299,
    pooling_names=(None, None),
)


def _body(x: KerasTensor, architecture: Architecture, request: Request) -> KerasTensor:
    """InceptionV3: (batch, height, width, channels) → (batch, classes), or 2048 feature maps of 1/32 the size.

    Parameters and errors: as those of `ResNet50`, with 75 as the smallest and 299 as the usual height and width. Images
    come from `inception_v3.preprocess_input`, −1 to 1.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     lamina.applications.InceptionV3(weights=None).count_params()
    23851784
    """
    return run(x, architecture.stages)


InceptionV3 = model_function("InceptionV3", ARCHITECTURE, _body)
preprocess_input = tf_mode
__all__ = ["InceptionV3", "decode_predictions", "preprocess_input"]
