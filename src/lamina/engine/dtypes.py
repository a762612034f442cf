"""Float and integer types by Keras's names, and the policies that set a layer's weight and compute types."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lamina.base import config
from lamina.base.registry import public
from lamina.base.serialization import Configurable, deserialize_keras_object

TORCH_DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in [
        "float16",
        "float32",
        "float64",
        "bfloat16",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "bool",
        "complex64",
        "complex128",
    ]
}
DTYPE_NAMES: dict[torch.dtype, str] = {dtype: name for name, dtype in TORCH_DTYPES.items()}
FLOAT_NAMES = ("float16", "float32", "float64", "bfloat16")


def standardize_dtype(dtype: Any) -> str:
    """The name of a dtype given as name, torch dtype, NumPy dtype or Python type; None is `floatx()`.

    >>> standardize_dtype(torch.int64), standardize_dtype(float), standardize_dtype(np.dtype("uint8"))
    ('int64', 'float32', 'uint8')
    """
    if dtype is None or dtype is float:
        return config.floatx()
    if isinstance(dtype, torch.dtype):
        return DTYPE_NAMES[dtype]
    if dtype is int:
        return "int32"
    if dtype is bool:
        return "bool"
    if isinstance(dtype, DTypePolicy):
        return dtype.variable_dtype
    name = dtype if isinstance(dtype, str) else getattr(dtype, "name", None) or np.dtype(dtype).name
    name = name.removeprefix("torch.")
    if name not in TORCH_DTYPES and name != "string":
        raise ValueError(f"{dtype!r} is no dtype that lamina knows ({', '.join(TORCH_DTYPES)}).")
    return name


def torch_dtype(dtype: Any) -> torch.dtype:
    return TORCH_DTYPES[standardize_dtype(dtype)]


def is_float_name(name: str) -> bool:
    return name in FLOAT_NAMES


@public("dtype_policies")
class DTypePolicy(Configurable):
    """The types of a layer: `variable_dtype` of its weights and `compute_dtype` of its arithmetic.

    Parameters: `name`, a float type (`"float32"`) or `"mixed_bfloat16"`, `"mixed_float16"` (float32 weights, 16-bit
    arithmetic). Errors: any other name is a ValueError.

    >>> policy = DTypePolicy("mixed_bfloat16")
    >>> policy.compute_dtype, policy.variable_dtype
    ('bfloat16', 'float32')
    """

    def __init__(self, name: str | None = None):
        self._name = name or config.floatx()
        if self._name in ("mixed_bfloat16", "mixed_float16"):
            self.compute_dtype, self.variable_dtype = self._name.removeprefix("mixed_"), "float32"
        else:
            self.compute_dtype = self.variable_dtype = standardize_dtype(self._name)

    @property
    def name(self) -> str:
        return self._name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self.name}">'


Policy = DTypePolicy
_global_policy: list[DTypePolicy | None] = [None]


def dtype_policy() -> DTypePolicy:
    """The policy of layers that name none: what `set_dtype_policy` set, else `floatx()`."""
    return _global_policy[0] or DTypePolicy(config.floatx())


def set_dtype_policy(policy: Any) -> None:
    """Sets the policy of layers made from now on: a name or a `DTypePolicy`; None goes back to `floatx()`."""
    _global_policy[0] = None if policy is None else get(policy)


def get(identifier: Any) -> DTypePolicy:
    """The policy behind None, a name, a dtype, a config or a policy."""
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        return deserialize_keras_object(identifier)
    if isinstance(identifier, str):
        return DTypePolicy(identifier)
    return DTypePolicy(standardize_dtype(identifier))
