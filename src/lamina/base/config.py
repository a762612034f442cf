"""Process-wide settings: float type, epsilon, image data format, shape policy.

>>> import lamina
>>> lamina.config.image_data_format()
'channels_last'
"""

from __future__ import annotations

_FLOAT_TYPES = ("bfloat16", "float16", "float32", "float64")
_DATA_FORMATS = ("channels_last", "channels_first")
_SHAPE_POLICIES = ("default", "strict", "legacy")

_settings: dict[str, object] = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
    "shape_policy": "default",
}


def _choose(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is one of {', '.join(map(repr, allowed))}; got {value!r}.")
    _settings[name] = value


def floatx() -> str:
    """The default float type of weights and computations, `"float32"` at start."""
    return str(_settings["floatx"])


def set_floatx(value: str) -> None:
    """Sets the default float type: `"bfloat16"`, `"float16"`, `"float32"` or `"float64"`."""
    _choose("floatx", value, _FLOAT_TYPES)


def epsilon() -> float:
    """The small number that keeps quotients and logarithms finite, 1e-7 at start."""
    return float(_settings["epsilon"])  # type: ignore[arg-type]


def set_epsilon(value: float) -> None:
    """Sets the small number of `epsilon()`."""
    _settings["epsilon"] = float(value)


def image_data_format() -> str:
    """The order of image axes where a layer says nothing: `"channels_last"` at start."""
    return str(_settings["image_data_format"])


def set_image_data_format(data_format: str) -> None:
    """Sets the default order of image axes, `"channels_last"` or `"channels_first"`."""
    _choose("image_data_format", data_format, _DATA_FORMATS)


def standardize_data_format(data_format: str | None) -> str:
    """`None` becomes the default; anything but the two known orders is a ValueError."""
    if data_format is None:
        return image_data_format()
    if data_format not in _DATA_FORMATS:
        raise ValueError(f"data_format is 'channels_last' or 'channels_first'; got {data_format!r}.")
    return data_format


def shape_policy() -> str:
    """What happens to shapes that Keras accepts in silence but that cannot be meant: see `set_shape_policy`."""
    return str(_settings["shape_policy"])


def set_shape_policy(policy: str) -> None:
    """Sets how doubtful shapes are met.

    `"default"`: a `ShapeWarning`; a loss between shapes that only broadcast is a `ShapeError`.
    `"strict"`: every `ShapeWarning` is a `ShapeError`.
    `"legacy"`: what Keras 2 allowed runs, with the warning.
    """
    _choose("shape_policy", policy, _SHAPE_POLICIES)
