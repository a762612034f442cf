"""What pretrained families expect of an image's values: three conventions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lamina.base import config
from lamina.graph.record import op


def _affine(x: Any, scale: float, mean: tuple[float, ...], std: tuple[float, ...], data_format: str | None) -> Any:
    """(x·scale − mean)/std per channel, in x's dtype; whole numbers become floatx."""
    x = _floating(x)
    shape = [1] * x.ndim
    shape[-3 if config.standardize_data_format(data_format) == "channels_first" else -1] = len(mean)
    if isinstance(x, np.ndarray):
        return (x * scale - np.reshape(mean, shape).astype(x.dtype)) / np.reshape(std, shape).astype(x.dtype)
    return (x * scale - x.new_tensor(mean).reshape(shape)) / x.new_tensor(std).reshape(shape)


def _floating(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return x if np.issubdtype(x.dtype, np.floating) else x.astype(config.floatx())
    return x if x.is_floating_point() else x.to(getattr(torch, config.floatx()))


@op
def caffe_mode(x: Any, data_format: str | None = None) -> Any:
    """RGB values of 0 to 255 as ResNet and VGG were trained on: channels in the order BGR, less ImageNet's mean.

    Shapes: (..., height, width, 3) → the same (channels in front with `data_format="channels_first"`).

    >>> import numpy as np
    >>> caffe_mode(np.zeros((1, 1, 3)))[0, 0].tolist()
    [-103.939, -116.779, -123.68]
    """
    axis = -3 if config.standardize_data_format(data_format) == "channels_first" else -1
    flipped = np.flip(x, axis) if isinstance(x, np.ndarray) else torch.flip(x, (axis,))
    return _affine(flipped, 1.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0), data_format)


@op
def torch_mode(x: Any, data_format: str | None = None) -> Any:
    """RGB values of 0 to 255 as DenseNet was trained on: 0 to 1, less the mean, over the standard deviation.

    >>> import numpy as np
    >>> torch_mode(np.full((1, 1, 3), 255.0))[0, 0].round(3).astype(str).tolist()
    ['2.249', '2.429', '2.64']
    """
    return _affine(x, 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), data_format)


@op
def tf_mode(x: Any, data_format: str | None = None) -> Any:
    """Values of 0 to 255 as −1 to 1: MobileNet, Inception, ResNetV2, NASNet and Xception were trained on these.

    >>> import numpy as np
    >>> tf_mode(np.array([0.0, 127.5, 255.0])).tolist()
    [-1.0, 0.0, 1.0]
    """
    config.standardize_data_format(data_format)  # an unknown one is refused, although the formula is the same for all
    return _floating(x) / 127.5 - 1.0


def unchanged(x: Any, data_format: str | None = None) -> Any:
    """The values as they are: EfficientNet, MobileNetV3 and ConvNeXt begin with layers that scale values of 0 to 255.

    >>> unchanged([0.0, 255.0])
    [0.0, 255.0]
    """
    config.standardize_data_format(data_format)
    return x
