"""A batch as a tuple: inputs, targets, sample weights."""

from __future__ import annotations

from typing import Any


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """The inputs, targets and sample weights of a batch; None for what it does not have.

    Errors: a tuple of more than three entries is a ValueError.

    >>> unpack_x_y_sample_weight((1, 2))
    (1, 2, None)
    """
    if isinstance(data, list):
        data = tuple(data)
    if not isinstance(data, tuple):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ValueError(f"A batch is (x,), (x, y) or (x, y, sample_weight); got {len(data)} entries.")
    return (*data, None, None)[:3]


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """The batch of inputs, targets and sample weights, without what is None at the end.

    >>> pack_x_y_sample_weight([1], 2)
    ([1], 2)
    """
    if y is None:
        return (x,) if isinstance(x, tuple | list) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)
