"""ImageNet's classes by name, and the three conventions for an image's values under Keras's one name."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from lamina import ops
from lamina.applications.preprocessing import caffe_mode, tf_mode, torch_mode
from lamina.base.errors import ShapeError
from lamina.data import get_file

CLASSES = 1000
_MODES = {"caffe": caffe_mode, "tf": tf_mode, "torch": torch_mode}


@functools.cache
def _class_index(path: str) -> list[tuple[str, str]]:
    """WordNet's number and an English name for every class."""
    with Path(path).open(encoding="utf-8") as file:
        index = json.load(file)
    return [(number, name) for number, name in (index[str(position)] for position in range(CLASSES))]


def decode_predictions(preds: Any, top: int = 5) -> list[list[tuple[str, str, Any]]]:
    """For every image its `top` most probable classes, the best first: (WordNet number, name, probability).

    Shapes: (batch, 1000) → batch lists of `top` triples. The names come from Keras's published file,
    imagenet_class_index.json, which is fetched once into the cache's folder `models`.

    Errors: a ShapeError unless there are 1000 values per image; a DownloadError without the file and without network
    (it says where to put the file).

    >>> from lamina.applications.vgg16 import decode_predictions
    >>> decode_predictions(model.predict(images), top=1)  # doctest: +SKIP
    [[('n02123045', 'tabby', 0.62)]]
    """
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise ValueError(f"top is how many classes to give, 1 or more; got {top!r}.")
    values = ops.convert_to_numpy(preds)
    if values.ndim != 2 or values.shape[1] != CLASSES:
        raise ShapeError(
            f"decode_predictions reads a batch of {CLASSES} probabilities each and got shape {values.shape}.",
            layer="decode_predictions",
            path="decode_predictions",
            received=f"preds of shape {values.shape}",
            expected=f"shape (batch, {CLASSES})",
            because="the names are those of ImageNet's 1000 classes, one per position",
            mend="preds[None] for the probabilities of one image; a model with classes of its own has names of its own",
        )
    names = _class_index(
        get_file(
            "imagenet_class_index.json",
            "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json",
            cache_subdir="models",
            file_hash="c2c37ea517e94d9795004a39431a14cb",
        )
    )
    return [[(*names[best], row[best]) for best in row.argsort(kind="stable")[::-1][:top]] for row in values]


def preprocess_input(x: Any, data_format: str | None = None, mode: str = "caffe") -> Any:
    """Values of 0 to 255 as a pretrained model expects them.

    Parameters: `mode`, `"caffe"` (BGR less ImageNet's mean), `"tf"` (−1 to 1) or `"torch"` (0 to 1, less the mean, over
    the standard deviation); `data_format`, where the channels are. Errors: a ValueError for another mode.

    >>> import numpy as np
    >>> preprocess_input(np.full((1, 1, 1, 3), 255.0), mode="tf").tolist()
    [[[[1.0, 1.0, 1.0]]]]
    """
    if mode not in _MODES:
        raise ValueError(f"mode is {', '.join(map(repr, _MODES))}; got {mode!r}.")
    return _MODES[mode](x, data_format=data_format)
