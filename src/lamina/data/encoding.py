"""Small preparations of data: one-hot classes, rows of unit norm, sequences of one length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


def to_categorical(x: Any, num_classes: int | None = None) -> Any:
    """One-hot rows for class indices: shape (...) or (..., 1) to (..., num_classes).

    Parameters: `x`, integers from 0 to num_classes − 1 (decimals are cut off); `num_classes`, by default max(x) + 1.
    Returns a NumPy array; for a torch tensor, an int64 tensor on its device.
    Errors: ValueError for an index outside the classes.

    >>> to_categorical([0, 2, 1], num_classes=4).shape
    (3, 4)
    """
    if isinstance(x, torch.Tensor):
        indices = x.long()
        one_hot = to_categorical(indices.cpu().numpy(), num_classes)
        return torch.from_numpy(one_hot).to(device=x.device, dtype=torch.int64)
    labels = np.asarray(x).astype("int64")
    shape = labels.shape
    if len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    if num_classes is None:
        if labels.size == 0:
            raise ValueError("to_categorical of no labels needs num_classes.")
        num_classes = int(labels.max()) + 1
    flat = labels.reshape(-1)
    wrong = flat[(flat < 0) | (flat >= num_classes)]
    if wrong.size:
        raise ValueError(
            f"{wrong[0]} is no class index: with num_classes={num_classes} they run 0 to {num_classes - 1}."
        )
    categorical = np.zeros((flat.size, num_classes))
    categorical[np.arange(flat.size), flat] = 1.0
    return categorical.reshape(*shape, num_classes)


def normalize(x: Any, axis: int = -1, order: float = 2) -> Any:
    """Divides by the norm along an axis, x / ‖x‖ₚ; where the norm is 0 the values stay 0. The shape stays.

    Parameters: `axis`, along which the norm is taken; `order`, p of the norm, also `numpy.inf`.
    Returns a torch tensor for a torch tensor, else a NumPy array.

    >>> normalize(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    if isinstance(x, torch.Tensor):
        values = x if x.is_floating_point() else x.to(torch.get_default_dtype())
        norm = torch.linalg.vector_norm(values, ord=order, dim=axis, keepdim=True)
        return values / torch.where(norm == 0, torch.ones_like(norm), norm)
    array = np.asarray(x)
    norms = np.atleast_1d(np.linalg.norm(array, order, axis, keepdims=True))
    return array / np.where(norms == 0, 1.0, norms)


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> np.ndarray[Any, Any]:
    """Sequences of different lengths as one array (n, maxlen, ...): short ones are filled, long ones are cut.

    Parameters: `sequences`, n sequences of numbers or of samples of one shape; `maxlen`, by default the longest length;
    `dtype` of the result (`object` for strings); `padding` and `truncating`, `"pre"` (at the start) or `"post"` (at the
    end); `value`, what fills.
    Errors: ValueError for sequences that are none, samples of different shapes, a value that the dtype cannot hold.

    >>> pad_sequences([[1], [2, 3], [4, 5, 6]], maxlen=2)
    array([[0, 1],
           [2, 3],
           [5, 6]], dtype=int32)
    """
    for name, side in (("padding", padding), ("truncating", truncating)):
        if side not in ("pre", "post"):
            raise ValueError(f"{name} is 'pre' or 'post'; got {side!r}.")
    if not hasattr(sequences, "__len__"):
        raise ValueError(f"pad_sequences needs a list of sequences; got {type(sequences).__name__}.")
    for position, sequence in enumerate(sequences):
        if not hasattr(sequence, "__len__"):
            raise ValueError(f"Each sequence is a list or an array; number {position} is {sequence!r}.")
    if maxlen is None:
        maxlen = max((len(sequence) for sequence in sequences), default=0)
    sample_shape = next((np.asarray(sequence).shape[1:] for sequence in sequences if len(sequence)), ())
    if isinstance(value, str) and not (np.dtype(dtype) == object or np.issubdtype(dtype, np.str_)):
        raise ValueError(f"An array of {np.dtype(dtype)} cannot hold the string {value!r}; pass dtype=object.")
    padded = np.full((len(sequences), maxlen, *sample_shape), value, dtype=dtype)
    for position, sequence in enumerate(sequences):
        if not len(sequence):
            continue
        cut = slice(len(sequence) - maxlen, None) if len(sequence) > maxlen and truncating == "pre" else slice(maxlen)
        kept = np.asarray(sequence[cut], dtype=dtype)
        if kept.shape[1:] != sample_shape:
            raise ValueError(
                f"Sequence {position} holds samples of shape {kept.shape[1:]}; those before it have {sample_shape}."
            )
        padded[position, slice(maxlen - len(kept), None) if padding == "pre" else slice(len(kept))] = kept
    return padded
