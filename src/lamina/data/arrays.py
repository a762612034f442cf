"""From what a user holds (arrays, tensors, frames, lists) to nested torch tensors with one sample an entry."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from lamina.base import config, tree
from lamina.base.errors import ShapeError
from lamina.engine.dtypes import TORCH_DTYPES

Batch = tuple[Any, Any, Any]

PART_NAMES = ("x", "y", "sample_weight")
_NUMBERS = (bool, int, float, complex, str, bytes, np.generic)
# torch computes with signed integers only: the unsigned ones take the next type that holds their values, as in Keras.
_SIGNED = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64}
_TAKEN = {np.dtype(name) for name in TORCH_DTYPES if name not in (*_SIGNED, "bfloat16")}  # as they are


def to_tensors(value: Any, name: str = "x") -> Any:
    """The same nesting with a torch tensor in place of every array, frame, tensor and list of numbers; None stays.

    Floating data gets the type of `config.floatx()`; integers and booleans keep theirs (unsigned ones over 8 bit become
    signed). A pandas Series becomes a column (n, 1), as in Keras. Memory is shared where nothing has to change.

    Errors: ValueError for strings, objects, ragged lists and unknown types; it names the part, such as `x['age']`.

    >>> to_tensors({"a": [1, 2], "b": np.zeros((2, 3))})["b"].dtype
    torch.float32
    """
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {key: to_tensors(part, f"{name}[{key!r}]") for key, part in value.items()}
    if isinstance(value, list | tuple) and not _is_list_of_numbers(value):
        parts = [to_tensors(part, f"{name}[{position}]") for position, part in enumerate(value)]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    tensor = value.detach() if isinstance(value, torch.Tensor) else torch.from_numpy(_to_array(value, name))
    floatx = TORCH_DTYPES[config.floatx()]
    return tensor.to(floatx) if tensor.is_floating_point() and tensor.dtype is not floatx else tensor


def is_array_like(value: Any) -> bool:
    """Whether a value, or a part of a nested one, is data with one sample an entry, not a source of batches."""
    if isinstance(value, Mapping):
        return any(map(is_array_like, value.values()))
    if isinstance(value, list | tuple):
        return _is_list_of_numbers(value) or any(map(is_array_like, value))
    return isinstance(value, torch.Tensor) or hasattr(value, "__array__") or _is_pandas(value)


def _is_list_of_numbers(value: Any) -> bool:
    """True for `[1, 2]` and `[[1, 2], [3, 4]]`, which are arrays; False for `[array, array]`, which is two parts."""
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return isinstance(value, _NUMBERS)


def _is_pandas(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series | pandas.Index)


def _to_array(value: Any, name: str) -> np.ndarray[Any, Any]:
    """A writable, C-ordered NumPy array of a type that torch has."""
    if not (hasattr(value, "__array__") or isinstance(value, (list, tuple, *_NUMBERS)) or _is_pandas(value)):
        raise ValueError(
            f"{name} is of type {type(value).__name__}, which is no data that a model takes. Give NumPy arrays, torch "
            "tensors, pandas frames, lists of numbers, dicts, lists or tuples of those, a generator, a DataLoader, a "
            "torch Dataset, a PyDataset or an iterable of batches."
        )
    if _is_pandas(value):
        array = value.to_numpy()
        if value.ndim == 1:
            array = array[:, None]
    else:
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(
                f"{name} is a list whose rows differ in length; pad_sequences makes them equal."
            ) from error
    if array.dtype.kind == "O":
        array = _numbers_from_objects(array, value, name)
    if array.dtype.kind not in "fiubc":
        raise ValueError(f"{name} holds values of type {array.dtype}; a model takes numbers. Encode them first.")
    if array.dtype not in _TAKEN:  # big-endian, 16-bit unsigned and long double have no torch type
        name = array.dtype.name
        array = array.astype(np.float32 if name == "float128" else _SIGNED.get(name, array.dtype.newbyteorder("=")))
    array = np.asarray(array, order="C")
    # torch warns of read-only memory, for a model could write into it: such data is copied.
    return array if array.flags.writeable else array.copy()


def _numbers_from_objects(array: np.ndarray[Any, Any], value: Any, name: str) -> np.ndarray[Any, Any]:
    """An object array is numbers in disguise when pandas joined columns of several types; else it is an error."""
    if not _is_pandas(value):
        raise ValueError(f"{name} is an array of Python objects (dtype object); a model takes numbers.")
    try:
        return array.astype(config.floatx())
    except (TypeError, ValueError) as error:
        columns = getattr(value, "columns", [value.name])
        kinds = {str(column): str(kind) for column, kind in zip(columns, np.atleast_1d(value.dtypes), strict=True)}
        raise ValueError(
            f"{name} has columns that are no numbers; their types are {kinds}. Encode them first."
        ) from error


def named_tensors(part: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of a nested part with the name by which a user would index it: `x['age']`, `y[1]`."""
    for path, leaf in tree.flatten_with_path(part):
        if leaf is not None:
            yield name + "".join(f"[{key!r}]" for key in path), leaf


def count_samples(parts: Batch) -> int:
    """The length that all tensors of x, y and sample_weight share.

    Errors: a ShapeError when lengths differ (it names each part with its length); a ValueError when a tensor has no
    axis of samples, when there is no tensor or no sample.
    """
    x, y, weight = parts
    if y is None and weight is None and isinstance(x, torch.Tensor) and x.ndim > 0 and len(x) > 0:
        return len(x)
    lengths: dict[str, int] = {}
    shapes: list[str] = []
    for name, part in zip(PART_NAMES, parts, strict=True):
        for path, tensor in named_tensors(part, name):
            if tensor.ndim == 0:
                raise ValueError(f"{path} is a single number; its first axis must count the samples.")
            lengths[path] = tensor.shape[0]
            shapes.append(f"{path}  {tuple(tensor.shape)}")
    if not lengths:
        raise ValueError("x holds no array.")
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{path} has {length}" for path, length in lengths.items())
        raise ShapeError(
            f"All parts must have the same number of samples: {listed}.",
            layer="data",
            received="\n".join(shapes),
            expected="the same size on the first axis of every part",
            because="the first axis counts the samples, and each part has one entry for each of them",
            mend="look where the parts were made: one was cut, shuffled out or stacked along another axis",
        )
    count = next(iter(lengths.values()))
    if count == 0:
        raise ValueError(
            f"There are no samples: {' and '.join(lengths)} {'have' if len(lengths) > 1 else 'has'} length 0."
        )
    return count


def train_validation_split(arrays: Batch, validation_split: float) -> tuple[Batch, Batch]:
    """Cuts the last part off `(x, y, sample_weight)` for validation, before any shuffling.

    Of n samples the first floor(n · (1 − validation_split)) are for training. Returns two such triples of tensors.
    Errors: ValueError when the share is not between 0 and 1, when a part would be empty, or when x is no array.

    >>> train, validation = train_validation_split((np.arange(10), None, None), 0.3)
    >>> validation[0]
    tensor([7, 8, 9])
    """
    if not 0.0 < validation_split < 1.0:
        raise ValueError(f"validation_split is a share between 0 and 1; got {validation_split!r}.")
    if not is_array_like(arrays[0]):
        raise ValueError(
            f"validation_split cuts arrays, and x is of type {type(arrays[0]).__name__}, whose samples cannot be cut "
            "before they come. Pass validation_data."
        )
    parts: Any = tuple(to_tensors(part, name) for part, name in zip(arrays, PART_NAMES, strict=True))
    count = count_samples(parts)
    boundary = math.floor(count * (1.0 - validation_split))
    if boundary in (0, count):
        empty = "training" if boundary == 0 else "validation"
        raise ValueError(
            f"validation_split={validation_split} of {count} samples leaves none for {empty}. Give more samples or "
            "another share."
        )
    return _cut(parts, 0, boundary), _cut(parts, boundary, count)


def _cut(parts: Batch, start: int, stop: int) -> Any:
    return tree.map_structure(lambda leaf: None if leaf is None else leaf[start:stop], parts)


def check_class_weight(class_weight: Any) -> dict[int, float]:
    if not isinstance(class_weight, Mapping):
        raise ValueError(f"class_weight is a dict from class index to weight; got {type(class_weight).__name__}.")
    try:
        return {int(label): float(weight) for label, weight in class_weight.items()}
    except (TypeError, ValueError) as error:
        raise ValueError(f"class_weight maps class indices to numbers; got {dict(class_weight)!r}.") from error


def apply_class_weight(parts: Batch, class_weight: Mapping[int, float]) -> Batch:
    """The parts with a sample weight `class_weight[class]` (1 for a class it does not name), times any weight given.

    The class is y itself for y of shape (n,) or (n, 1), and the position of the largest entry for y of (n, classes).
    Errors: ValueError without y, with several outputs, with y of more axes, with nested sample weights.
    """
    x, y, sample_weight = parts
    targets = [leaf for leaf in tree.flatten(y) if leaf is not None]
    if len(targets) != 1:
        count = f"y has {len(targets)} parts" if targets else "there is no y"
        raise ValueError(f"class_weight needs one target with classes, and {count}. Pass sample_weight instead.")
    target = targets[0]
    if target.ndim == 2 and target.shape[1] > 1:
        labels = target.argmax(dim=1)
    elif target.ndim == 1 or (target.ndim == 2 and target.shape[1] == 1):
        labels = target.reshape(-1)
    else:
        raise ValueError(f"class_weight needs y of shape (n,), (n, 1) or (n, classes); got {tuple(target.shape)}.")
    found, inverse = labels.long().unique(return_inverse=True)
    floatx = TORCH_DTYPES[config.floatx()]
    table = torch.tensor([class_weight.get(label, 1.0) for label in found.tolist()], dtype=floatx, device=target.device)
    weights = table[inverse]
    if sample_weight is None:
        return x, y, weights
    if not isinstance(sample_weight, torch.Tensor):
        raise ValueError("class_weight can be joined with one sample_weight array, not with nested ones.")
    return x, y, weights.reshape(-1, *[1] * (sample_weight.ndim - 1)) * sample_weight
