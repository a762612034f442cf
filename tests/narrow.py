"""Application models with few channels in each layer: every layer and connection of theirs, trained in an instant."""

from __future__ import annotations

import lamina
from lamina.base import names
from lamina.base.errors import LaminaError

_CHANNELS = ("filters", "units", "projection_dim")
# 32×32 images are too small for the windows of these.
_SIZES = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}


def _narrowed(divisor):
    def narrow(layer):
        if isinstance(layer, lamina.Sequential):  # without its input, which has all channels
            return lamina.Sequential([narrow(inner) for inner in layer.layers], name=layer.name)
        config = layer.get_config()
        for key in _CHANNELS:
            if key in config:
                config[key] = -(-config[key] // divisor)
        if config.get("groups", 1) > 1:  # ConvNeXt's depthwise convolutions
            config["groups"] = config["filters"]
        if isinstance(layer, lamina.layers.Reshape):  # a gate, (1, 1, channels)
            config["target_shape"] = (*config["target_shape"][:-1], -(-config["target_shape"][-1] // divisor))
        return type(layer).from_config(config)

    return narrow


def narrow(name):
    """The model without its last layers, with as few channels as its additions and joints allow."""
    names.reset_names()
    size = _SIZES.get(name, 32)
    with lamina.device("meta"):
        stock = getattr(lamina.applications, name)(
            weights=None, include_top=False, pooling="avg", input_shape=(size, size, 3)
        )
    for divisor in (32, 22, 16, 12, 8, 4, 2):
        try:
            return lamina.models.clone_model(stock, clone_function=_narrowed(divisor))
        except LaminaError:  # the sum of rounded parts is not the rounded sum
            continue
    raise AssertionError(f"{name} is not to be had with fewer channels")
