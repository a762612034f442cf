"""Records the tensor operations of one training step, while it runs, as the flat list that a `FlatProgram` is made of.

What is seen lies below autograd: forward and backward pass as ATen calls in the order in which they ran, compositions
taken apart. Python between the calls leaves no trace, so what it decides (shapes, settings) is frozen; a decision that
hangs on a number in a tensor is noticed, because the number has to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_ATEN = torch.ops.aten


def _overloads(name: str) -> list[Any]:
    packet = getattr(_ATEN, name)
    return [getattr(packet, overload) for overload in packet.overloads()]


_SAME_TENSOR = (_ATEN.detach.default, _ATEN.alias.default, _ATEN.lift_fresh.default)
_OF_SHAPES = tuple(  # what they give depends on the shape of their argument, not on its numbers
    getattr(_ATEN, name).default
    for name in ("ones_like", "zeros_like", "full_like", "new_zeros", "new_ones", "new_full")
)
# What they give depends on the types and the form of their arguments.
_OF_TYPES = tuple(one for name in ("promote_types", "result_type", "can_cast") for one in _overloads(name))
_READS = ("numpy", "tolist", "__array__", "__dlpack__")  # ways to a tensor's numbers that no operation is called on
_MOST_CALLS = 20_000


class Slot:
    """A tensor's place in the program."""

    __slots__ = ("index",)

    def __init__(self, index: int):
        self.index = index

    def __repr__(self) -> str:
        return f"v{self.index}"


class Kind:
    """What an operation's schema says of it."""

    def __init__(self, operation: Any):
        schema, tags = operation._schema, operation.tags
        self.names = [argument.name for argument in schema.arguments]
        self.defaults = [argument.default_value for argument in schema.arguments]
        self.writes = [
            name
            for name, argument in zip(self.names, schema.arguments, strict=True)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        self.gives_views = any(one.alias_info is not None and not one.alias_info.is_write for one in schema.returns)
        self.is_random = torch.Tag.nondeterministic_seeded in tags
        self.changes_form = torch.Tag.inplace_view in tags
        depends = torch.Tag.data_dependent_output in tags or torch.Tag.dynamic_output_shape in tags
        self.depends_on_values = depends and operation is not _ATEN.index.Tensor
        self.leaves_unwritten = "empty" in operation._schema.name

    def bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The arguments in the schema's order, defaults filled in."""
        rest = zip(self.names[len(args) :], self.defaults[len(args) :], strict=True)
        return [*args, *[kwargs.get(name, default) for name, default in rest]]


@cache
def kind_of(operation: Any) -> Kind:
    return Kind(operation)


def tensors_in(values: Iterable[Any], wanted: type = torch.Tensor) -> Iterator[Any]:
    """The tensors (or slots) among arguments, in lists too."""
    for value in values:
        if isinstance(value, wanted):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value, wanted)


def replaced(value: Any, wanted: type, new: Callable[[Any], Any]) -> Any:
    """An argument with each tensor (or slot) in it replaced."""
    if isinstance(value, wanted):
        return new(value)
    if isinstance(value, list | tuple):
        return type(value)([replaced(item, wanted, new) for item in value])
    return value


class Call:
    """One operation: its arguments and results, with slots for tensors."""

    __slots__ = ("args", "function", "kind", "kwargs", "operation", "outputs", "overwrites", "several", "value")

    def __init__(self, operation: Any, args: Any, kwargs: Any, outputs: list[Slot | None], several: bool):
        self.operation, self.kind = operation, kind_of(operation)
        self.args, self.kwargs, self.outputs, self.several = args, kwargs, outputs, several
        self.function: Any = operation
        self.overwrites = False  # whether nobody reads the first argument later
        self.value: torch.Tensor | None = None  # what is known from shapes alone

    def become(self, operation: Any) -> None:
        """Calls another operation with the same arguments."""
        self.operation, self.function, self.kind = operation, operation, kind_of(operation)

    def inputs(self) -> Iterator[Slot]:
        yield from tensors_in((*self.args, *self.kwargs.values()), Slot)

    def written(self) -> Iterator[Slot]:
        """What the call changes in place."""
        for name in self.kind.writes:
            position = self.kind.names.index(name)
            value = self.args[position] if position < len(self.args) else self.kwargs.get(name)
            yield from tensors_in((value,), Slot)


class Recording(TorchDispatchMode):
    """The operations that run inside its block, which run as they would without it.

    Parameters: `inputs`, tensors that differ from step to step; every other tensor that comes from outside is read (and
    changed) in place; `generators`, the random streams that may be drawn from beside the global one.

    Attributes: `calls`; `externals`, the tensors from outside by slot; `reads`, (tensor, number) for each number that
    Python read from one of them: the recording holds while they stay; `problem`, why it must not be used, or None.
    """

    def __init__(self, inputs: list[torch.Tensor], generators: Iterable[torch.Generator] = ()):
        super().__init__()
        self.calls: list[Call] = []
        self.externals: dict[int, torch.Tensor] = {}
        self.reads: list[tuple[torch.Tensor, Any]] = []
        self.problem: str | None = None
        self._generators = list(generators)
        self._written: set[int] = set()
        self._next = 0
        self._token = object()
        self._listener = _Listener(self)
        self.input_slots = [self._new(tensor) for tensor in inputs]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Else torch imports its compiler, which takes a second, to keep it away from here."""
        return False

    def __enter__(self) -> Recording:
        self._listener.__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        self._listener.__exit__(*exception)

    def refuse(self, problem: str) -> None:
        self.problem = self.problem or problem

    def _new(self, tensor: torch.Tensor) -> Slot:
        slot = Slot(self._next)
        self._next += 1
        self._mark(tensor, slot)
        return slot

    def _mark(self, tensor: torch.Tensor, slot: Slot) -> None:
        """On the tensor itself: torch keeps its attributes while autograd holds it, and no memory outlives it here."""
        tensor._lamina_slot = (self._token, slot)  # type: ignore[attr-defined]

    @staticmethod
    def _mark_on(tensor: torch.Tensor) -> tuple[object, Any]:
        mark: tuple[object, Any] = getattr(tensor, "_lamina_slot", (None, None))
        return mark

    def slot(self, tensor: torch.Tensor) -> Slot:
        """The slot of a tensor; one that no recorded operation made comes from outside."""
        token, slot = self._mark_on(tensor)
        if token is not self._token:
            slot = self._new(tensor)
            self.externals[slot.index] = tensor
        return slot

    def clear_marks(self, tensors: Iterable[torch.Tensor | None] = ()) -> None:
        """Takes the marks off what lives on."""
        for tensor in (*self.externals.values(), *tensors):
            if tensor is not None:
                tensor.__dict__.pop("_lamina_slot", None)

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if operation is _ATEN._local_scalar_dense.default:
            return self._read(args[0], operation(*args))
        if operation in _OF_TYPES:
            return operation(*args, **kwargs)
        slots = replaced(list(args), torch.Tensor, self.slot)
        named = {name: replaced(value, torch.Tensor, self.slot) for name, value in kwargs.items()}
        draws = any(isinstance(value, torch.Generator) for value in (*args, *kwargs.values()))
        before = self._states() if draws else []
        outputs = operation(*args, **kwargs)
        # A generator comes here in a new wrapper every time: whose it is shows in what moved.
        if draws and all(torch.equal(one, other) for one, other in zip(before, self._states(), strict=True)):
            self.refuse("a random generator is used that belongs to no layer, and may be made anew at every step")
        if operation in _SAME_TENSOR:
            self._mark(outputs, slots[0])
            return outputs
        self._check(operation, args)
        several = isinstance(outputs, list | tuple)
        results = [None if one is None else self._result(one) for one in (outputs if several else (outputs,))]
        call = Call(operation, slots, named, results, several)
        call.value = outputs if operation in _OF_SHAPES else None
        self._written.update(slot.index for slot in call.written())
        self.calls.append(call)
        if len(self.calls) > _MOST_CALLS:
            self.refuse(f"a step takes more than {_MOST_CALLS} operations")
        return outputs

    def _result(self, output: Any) -> Slot | None:
        if not isinstance(output, torch.Tensor):
            self.refuse(f"an operation gives a {type(output).__name__}, which Python may decide on")
            return None
        token, slot = self._mark_on(output)
        return slot if token is self._token else self._new(output)

    def _read(self, tensor: torch.Tensor, number: Any) -> Any:
        """A number that Python reads holds for later steps only if it lies outside, where it can be compared."""
        slot = self.slot(tensor)
        if slot.index in self.externals and slot.index not in self._written and tensor.device.type == "cpu":
            self.reads.append((tensor.detach(), number))
        else:
            self.refuse("Python reads a number that the step computes (float(), int() or bool() of a tensor)")
        return number

    def _check(self, operation: Any, args: Any) -> None:
        kind = kind_of(operation)
        if kind.depends_on_values:
            self.refuse(f"the result of {operation} has a size or value that hangs on the numbers in the data")
        elif kind.changes_form:
            self.refuse(f"{operation} changes the form of a tensor in place")
        elif operation is _ATEN.index.Tensor:
            if any(one.dtype in (torch.bool, torch.uint8) for one in tensors_in(args[1])):
                self.refuse("indexing with a mask gives a size that hangs on the numbers in the data")
        elif operation.namespace not in ("aten", "mkldnn", "prims", "quantized"):
            self.refuse(f"{operation} is an operation of somebody else's, which may do anything")

    def _states(self) -> list[torch.Tensor]:
        return [generator.get_state() for generator in self._generators]


class _Listener(TorchFunctionMode):
    """Notices numbers that go from tensors to Python without an operation."""

    def __init__(self, recording: Recording):
        super().__init__()
        self._recording = recording

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        if name in _READS:
            self._recording.refuse(f"Python reads numbers from a tensor ({name})")
        return function(*args, **(kwargs or {}))
