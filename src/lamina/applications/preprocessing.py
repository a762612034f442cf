"""What pretrained families expect of an image's values: three conventions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lamina.base import config
from lamina.graph.record import op


def _channels(values: tuple[float, ...], rank: int, data_format: str | None) -> np.ndarray[Any, Any]:
    """One value per channel, shaped to broadcast over an image or a batch of images."""
    first = config.standardize_data_format(data_format) == "channels_first"
    shape = [1] * rank
    shape[-3 if first else -1] = len(values)
    return np.asarray(values, "float32").reshape(shape)


def _affine(
    x: Any, scale: float, mean: tuple[float, ...], std: tuple[float, ...] | None, data_format: str | None
) -> Any:
    """(x·scale − mean)/std per channel."""
    if isinstance(x, np.ndarray):
        result = x.astype(config.floatx()) * scale - _channels(mean, x.ndim, data_format)
        return result if std is None else result / _channels(std, x.ndim, data_format)
    result = x * scale - torch.from_numpy(_channels(mean, x.ndim, data_format))
    return result if std is None else result / torch.from_numpy(_channels(std, x.ndim, data_format))


@op
def caffe_mode(x: Any, data_format: str | None = None) -> Any:
    """RGB values of 0 to 255 as ResNet and VGG were trained on: channels in the order BGR, less ImageNet's mean.

    Shapes: (..., height, width, 3) → the same (channels in front with `data_format="channels_first"`).

    >>> import numpy as np
    >>> caffe_mode(np.zeros((1, 1, 3)))[0, 0].tolist()
    [-103.93900299072266, -116.77899932861328, -123.68000030517578]
    """
    axis = -3 if config.standardize_data_format(data_format) == "channels_first" else -1
    flipped = np.flip(x, axis) if isinstance(x, np.ndarray) else torch.flip(x, (axis,))
    return _affine(flipped, 1.0, (103.939, 116.779, 123.68), None, data_format)


@op
def torch_mode(x: Any, data_format: str | None = None) -> Any:
    """RGB values of 0 to 255 as DenseNet was trained on: 0 to 1, less the mean, over the standard deviation.

    >>> import numpy as np
    >>> torch_mode(np.full((1, 1, 3), 255.0))[0, 0].round(3).astype(str).tolist()
    ['2.249', '2.429', '2.64']
    """
    return _affine(x, 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), data_format)
