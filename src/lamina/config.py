"""Process-wide settings: float type, epsilon, image data format, dtype policy, shape policy.

>>> import lamina
>>> lamina.config.image_data_format(), lamina.config.dtype_policy().name
('channels_last', 'float32')
"""

from lamina.base.config import (
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
    set_shape_policy,
    shape_policy,
)
from lamina.engine.dtypes import dtype_policy, set_dtype_policy


def backend() -> str:
    """The engine: always `"torch"`."""
    return "torch"


__all__ = [
    "backend",
    "dtype_policy",
    "epsilon",
    "floatx",
    "image_data_format",
    "set_dtype_policy",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "set_shape_policy",
    "shape_policy",
]
