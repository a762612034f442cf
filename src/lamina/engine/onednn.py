"""oneDNN by its own C interface: kernels made once for tensors of one shape, and run many times at no further cost.

torch brings oneDNN along but hides it, and makes a kernel's description anew at each call, some 25 µs. The library
comes with the package `onednn-cpu-gomp` (Linux, x86-64); where that is missing, `available()` is false and
`engine/fused.py` does the same by torch's own calls. `LAMINA_ONEDNN=0` in the environment turns it off. Threads are
torch's: both use one OpenMP.

What a kernel reads and writes is told by a `Layout`: sizes, the order in memory, a type. `Layout.any` leaves the order
to oneDNN. A kernel is described first (`convolution`, ...: may be `Unsupported`), and then made:
`Kernel(description, ...)`.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from ctypes import byref, c_float, c_int, c_int64, c_size_t, c_uint, c_void_p
from functools import cache
from typing import Any

import torch

_Sizes = c_int64 * 12

# The numbers of <oneapi/dnnl/dnnl_types.h>.
_ANY = 1
_TYPES = {torch.bfloat16: 2, torch.float32: 3}
_INFERENCE = 96
_DIRECT_CONVOLUTION = 1
_POOLS = {"max": 0x1FF, "average": 0x3FF}
_BINARIES = {"add": 0x1FFF0, "multiply": 0x1FFF1}
_NAME, _SOURCE_LAYOUT, _WEIGHTS_LAYOUT, _RESULT_LAYOUT = 8, 129, 131, 133
_UNIMPLEMENTED = (2, 3)  # "invalid arguments", as some refusals are called, and "unimplemented"
_ELEMENTWISE = (
    "relu tanh elu square abs sqrt linear soft_relu hardsigmoid logistic exp gelu_tanh swish log clip clip_v2 pow "
    "gelu_erf round mish hardswish"
).split()

# What a kernel's tensors are to it.
SOURCE, OTHER, RESULT, WEIGHTS, BIAS = 1, 2, 17, 33, 41
_FIRST_OF_MANY, _AFTER = 1024, 32768


class Unsupported(Exception):
    """oneDNN has no kernel for this."""


class _Argument(ctypes.Structure):
    _fields_ = (("role", c_int), ("memory", c_void_p))


class _Version(ctypes.Structure):
    _fields_ = (("major", c_int), ("minor", c_int), ("patch", c_int))


@cache
def _library() -> Any:
    """The loaded library; None where there is none, or another than the third generation's."""
    if os.environ.get("LAMINA_ONEDNN") == "0" or sys.platform != "linux":
        return None
    try:
        files = importlib.metadata.files("onednn-cpu-gomp") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    path = next((file.locate() for file in files if file.name == "libdnnl.so.3"), None)
    try:
        library = ctypes.CDLL(str(path))
    except OSError:
        return None
    library.dnnl_version.restype = ctypes.POINTER(_Version)
    library.dnnl_primitive_desc_query_md.restype = c_void_p
    library.dnnl_memory_desc_get_size.restype = c_size_t
    return library if library.dnnl_version().contents.major == 3 else None


def available() -> bool:
    """Whether the library is there."""
    return _library() is not None


def _checked(status: int) -> None:
    if status in _UNIMPLEMENTED:
        raise Unsupported
    if status:
        raise RuntimeError(f"oneDNN failed with status {status}.")


class _Owned:
    """Something that oneDNN made, destroyed with this object."""

    def __init__(self, make: str, destroy: str | None, *arguments: Any):
        self.handle = c_void_p()
        _checked(getattr(_library(), make)(byref(self.handle), *arguments))
        self._destroy: Any = getattr(_library(), destroy) if destroy else None

    def __del__(self) -> None:
        destroy = self.__dict__.get("_destroy")
        if destroy is not None:
            destroy(self.handle)


@cache
def _engine() -> c_void_p:
    return _Owned("dnnl_engine_create", None, c_int(1), c_size_t(0)).handle


@cache
def _stream() -> c_void_p:
    return _Owned("dnnl_stream_create", None, _engine(), c_uint(1)).handle


class Layout:
    """Sizes, their order in memory, and a type."""

    def __init__(self, handle: c_void_p, owner: Any):
        self.handle = handle
        self._owner = owner  # whose destruction would destroy the handle

    @staticmethod
    def of(shape: Sequence[int], strides: Sequence[int], dtype: torch.dtype) -> Layout:
        given = c_int(len(shape)), _Sizes(*shape), c_int(_TYPES[dtype]), _Sizes(*strides)
        made = _Owned("dnnl_memory_desc_create_with_strides", "dnnl_memory_desc_destroy", *given)
        return Layout(made.handle, made)

    @staticmethod
    def any(shape: Sequence[int], dtype: torch.dtype) -> Layout:
        given = c_int(len(shape)), _Sizes(*shape), c_int(_TYPES[dtype]), c_int(_ANY)
        made = _Owned("dnnl_memory_desc_create_with_tag", "dnnl_memory_desc_destroy", *given)
        return Layout(made.handle, made)

    @property
    def bytes(self) -> int:
        return int(_library().dnnl_memory_desc_get_size(self.handle))

    def is_same(self, other: Layout) -> bool:
        return bool(_library().dnnl_memory_desc_equal(self.handle, other.handle))


class After:
    """What a kernel does with its result before it writes it: a chain of additions and activations."""

    def __init__(self, *operations: tuple[Any, ...]):
        self._chain = _Owned("dnnl_post_ops_create", "dnnl_post_ops_destroy")
        chain = self._chain.handle
        for name, *rest in operations:
            if name == "accumulate":  # adds what lies where the result goes
                status = _library().dnnl_post_ops_append_sum(chain, c_float(1.0), c_int(0), c_int(0))
            elif name in _BINARIES:
                layout: Layout = rest[0]
                status = _library().dnnl_post_ops_append_binary(chain, c_int(_BINARIES[name]), layout.handle)
            else:
                which = c_int(0x20 + _ELEMENTWISE.index(name))
                status = _library().dnnl_post_ops_append_eltwise(chain, which, *map(c_float, rest))
            _checked(status)
        self._operations = operations
        self._attributes = _Owned("dnnl_primitive_attr_create", "dnnl_primitive_attr_destroy")
        _checked(_library().dnnl_primitive_attr_set_post_ops(self._attributes.handle, chain))
        self.handle = self._attributes.handle


def after_role(place: int) -> int:
    """The role of the tensor that an operation of the chain reads."""
    return _AFTER * (place + 1) | OTHER


def joined_role(place: int) -> int:
    """The role of one of the tensors that are joined."""
    return _FIRST_OF_MANY + place


class Description:
    """A kernel that oneDNN has for given layouts and options."""

    def __init__(self, make: str, *arguments: Any):
        self._made = _Owned(make, "dnnl_primitive_desc_destroy", *arguments)
        self.handle = self._made.handle

    def _layout(self, what: int) -> Layout:
        return Layout(c_void_p(_library().dnnl_primitive_desc_query_md(self.handle, c_int(what), c_int(0))), self)

    @property
    def source(self) -> Layout:
        return self._layout(_SOURCE_LAYOUT)

    @property
    def weights(self) -> Layout:
        return self._layout(_WEIGHTS_LAYOUT)

    @property
    def result(self) -> Layout:
        return self._layout(_RESULT_LAYOUT)

    @property
    def name(self) -> str:
        """Which of oneDNN's implementations it is."""
        found = ctypes.c_char_p()
        _checked(_library().dnnl_primitive_desc_query(self.handle, c_int(_NAME), c_int(0), byref(found)))
        return (found.value or b"").decode()

    @property
    def is_fast(self) -> bool:
        """Whether it was written for the processor; the others are some hundred times as slow."""
        return not self.name.startswith(("ref", "gemm:ref"))


def convolution(
    source: Layout,
    weights: Layout,
    bias: Layout | None,
    result: Layout,
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[tuple[int, int]],
    after: After,
) -> Description:
    """(batch, channels, height, width), (out, in, height, width) or with a first axis of groups, (out,)."""
    places = strides, [dilation - 1 for dilation in dilations], [before for before, _ in pads], [end for _, end in pads]
    return Description(
        "dnnl_convolution_forward_primitive_desc_create",
        *(_engine(), c_int(_INFERENCE), c_int(_DIRECT_CONVOLUTION)),
        *(source.handle, weights.handle, bias.handle if bias else None, result.handle),
        *(_Sizes(*sizes) for sizes in places),
        after.handle,
    )


def inner_product(source: Layout, weights: Layout, bias: Layout | None, result: Layout, after: After) -> Description:
    """(rows, in), (out, in), (out,) → (rows, out)."""
    layouts = source.handle, weights.handle, bias.handle if bias else None, result.handle
    make = "dnnl_inner_product_forward_primitive_desc_create"
    return Description(make, _engine(), c_int(_INFERENCE), *layouts, after.handle)


def pooling(
    kind: str,
    source: Layout,
    result: Layout,
    strides: Sequence[int],
    kernel: Sequence[int],
    pads: Sequence[tuple[int, int]],
) -> Description:
    """The "max" or the "average" of each window; padding is not counted."""
    places = strides, kernel, [0] * len(kernel), [before for before, _ in pads], [end for _, end in pads]
    return Description(
        "dnnl_pooling_forward_primitive_desc_create",
        *(_engine(), c_int(_INFERENCE), c_int(_POOLS[kind]), source.handle, result.handle),
        *(_Sizes(*sizes) for sizes in places),
        None,
    )


def binary(name: str, source: Layout, other: Layout, result: Layout, after: After) -> Description:
    """ "add" or "multiply", number by number; an axis of 1 in `other` is repeated."""
    layouts = source.handle, other.handle, result.handle
    return Description("dnnl_binary_primitive_desc_create", _engine(), c_int(_BINARIES[name]), *layouts, after.handle)


def concatenation(sources: Sequence[Layout], axis: int, result: Layout) -> Description:
    """Tensors end to end along an axis."""
    layouts = (c_void_p * len(sources))(*(source.handle for source in sources))
    places = result.handle, c_int(len(sources)), c_int(axis), layouts
    return Description("dnnl_concat_primitive_desc_create", _engine(), *places, None)


def _reorder(source: Layout, result: Layout) -> Description:
    places = source.handle, _engine(), result.handle, _engine()
    return Description("dnnl_reorder_primitive_desc_create", *places, None)


class Memory(_Owned):
    """A place in memory with a layout."""

    def __init__(self, layout: Layout, pointer: int):
        super().__init__("dnnl_memory_create", "dnnl_memory_destroy", layout.handle, _engine(), c_void_p(pointer))
        self._move = _library().dnnl_memory_set_data_handle

    def point_at(self, pointer: int) -> None:
        self._move(self.handle, c_void_p(pointer))


class Kernel:
    """A described kernel, made, at given places. `run` runs it; `memories` may be moved between runs."""

    def __init__(self, description: Description, memories: dict[int, Memory]):
        self.memories = memories
        self._made = _Owned("dnnl_primitive_create", "dnnl_primitive_destroy", description.handle)
        self._arguments = (_Argument * len(memories))()
        for argument, (role, memory) in zip(self._arguments, memories.items(), strict=True):
            argument.role, argument.memory = role, memory.handle.value
        self.call = self._made.handle, _stream(), c_int(len(memories)), self._arguments

    def run(self) -> None:
        status = _library().dnnl_primitive_execute(*self.call)
        if status:
            raise RuntimeError(f"oneDNN failed with status {status}.")


def execute() -> Any:
    """The function that runs a kernel's `call`, and gives 0 where all is well."""
    return _library().dnnl_primitive_execute


def reordered(tensor: torch.Tensor, layout: Layout) -> torch.Tensor:
    """The bytes of a tensor in another layout of its sizes."""
    own = Layout.of(tensor.shape, tensor.stride(), tensor.dtype)
    moved = torch.empty(layout.bytes, dtype=torch.uint8)
    ends = {SOURCE: Memory(own, tensor.data_ptr()), RESULT: Memory(layout, moved.data_ptr())}
    Kernel(_reorder(own, layout), ends).run()
    return moved
