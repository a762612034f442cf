"""A recorded step as one flat Python function over tensor operations, with no layer, graph or autograd around them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lamina.training.recording import Call, Recording, Slot, kind_of, replaced, tensors_in

_MOST_FOLDED = 2**20  # elements of constants that are kept rather than computed at every step
_HOMES: tuple[Any, ...] = (torch._C._VariableFunctions, torch._C._nn, torch._C.TensorBase)
_ATEN = torch.ops.aten
_TRANSPOSE = _ATEN.t.default
_UNSAFE_VIEW = _ATEN._unsafe_view.default
# What computes the same number by number over its first argument: the operation, and the name of the argument that it
# writes, where that is not the first.
_IN_PLACE: dict[Any, tuple[Any, str | None]] = {
    _ATEN.relu.default: (_ATEN.relu_.default, None),
    _ATEN.hardtanh.default: (_ATEN.hardtanh_.default, None),
    _ATEN.add.Tensor: (_ATEN.add_.Tensor, None),
    _ATEN.mul.Tensor: (_ATEN.mul_.Tensor, None),
    _ATEN.div.Tensor: (_ATEN.div_.Tensor, None),
    _ATEN.threshold_backward.default: (_ATEN.threshold_backward.grad_input, "grad_input"),
    _ATEN.hardtanh_backward.default: (_ATEN.hardtanh_backward.grad_input, "grad_input"),
    _ATEN.silu_backward.default: (_ATEN.silu_backward.grad_input, "grad_input"),
}

below_autograd: Callable[[], Any] = torch._C._AutoDispatchBelowAutograd


class FlatProgram:
    """The operations of a recording, on new inputs: the same in the same order, so with the same results to the bit.

    Left out is what changes no number: results that nobody uses, views of weights (made once: weights change in place),
    what is computed from constants alone. Parameters: a recording without a problem; `outputs`, tensors of it to give
    back, or None for one that is not there.

    The first run looks at every operation as it happens: `torch.add` and the like are called faster than the recorded
    overload, and are used where they turn out to be the same operation with the same arguments.

    Attributes: `run`, a function of the inputs; `constants`, the tensors from outside and what was computed once;
    `devices`, where its results lie, once it has run.
    """

    def __init__(self, recording: Recording, outputs: list[torch.Tensor | None]):
        self.reads = recording.reads
        self.inputs = [slot.index for slot in recording.input_slots]
        self.outputs = [None if one is None else recording.slot(one).index for one in outputs]
        self.constants = {index: tensor.detach() for index, tensor in recording.externals.items()}
        self.calls = _needed(_without_double_transposes(recording.calls, self.outputs), self.outputs)
        self._fold(recording)
        _mark_what_may_be_overwritten(self.calls, self.outputs)
        used = {slot.index for call in self.calls for slot in call.inputs()}
        self.constants = {index: self.constants[index] for index in self.constants if index in used.union(self.outputs)}
        self.devices: set[torch.device] = set()  # of the results; known after the first run
        self.run: Callable[..., list[Any]] = self._first_run
        self.learn: Any = None  # the optimizer's step for the gradients that this program gives
        self.graph: Any = None  # the same as one call of the device's

    def holds(self) -> bool:
        """Whether the numbers that Python read while recording are still the same."""
        return all(tensor.item() == number for tensor, number in self.reads)

    def _fold(self, recording: Recording) -> None:
        """Computes once what depends on constants alone, and views of what lies outside."""
        families = _families(self.calls)
        changing = {families.get(slot.index, slot.index) for call in self.calls for slot in call.written()}
        changing |= {families.get(index, index) for index in self.outputs if index is not None}
        views: set[int] = set(recording.externals)
        values: set[int] = set()
        room, kept = _MOST_FOLDED, []
        for call in self.calls:
            given = {slot.index for slot in call.inputs()}
            made = [slot.index for slot in call.outputs if slot is not None]
            is_view = call.kind.gives_views and given <= views
            is_value = call.value is not None or given <= values
            is_value = is_value and not changing.intersection(families.get(index, index) for index in made)
            pure = not (call.kind.writes or call.kind.is_random or call.kind.leaves_unwritten)
            if not (pure and (is_view or is_value)):
                kept.append(call)
                continue
            results = _apply(call, self.constants) if call.value is None else [call.value]
            size = 0 if is_view else sum(one.numel() for one in results if one is not None)
            if size > room:
                kept.append(call)
                continue
            room -= size
            (views if is_view else values).update(made)
            self.constants.update(zip(made, [one for one in results if one is not None], strict=True))
        self.calls = kept

    def _first_run(self, *inputs: torch.Tensor) -> list[Any]:
        """Runs call by call and chooses for each the fastest function that does the same."""
        values = {**self.constants, **dict(zip(self.inputs, inputs, strict=True))}
        for call, frees in zip(self.calls, self._frees(), strict=True):
            args = replaced(call.args, Slot, lambda slot: values[slot.index])
            kwargs = {name: replaced(one, Slot, lambda slot: values[slot.index]) for name, one in call.kwargs.items()}
            call.function, results = _fastest(call.operation, args, kwargs)
            if call.overwrites:
                _in_place(call, args, results)
            for slot, result in zip(call.outputs, results, strict=True):
                if slot is not None:
                    values[slot.index] = result
                    self.devices.add(result.device)
            for index in frees:
                values.pop(index, None)
        self.run = self._compiled()
        return [None if index is None else values[index] for index in self.outputs]

    def _frees(self) -> list[list[int]]:
        """What nobody uses after each call: its memory is free from there on, as autograd frees it."""
        seen = {index for index in self.outputs if index is not None} | self.constants.keys()
        frees: list[list[int]] = []
        for call in reversed(self.calls):
            touched = dict.fromkeys(slot.index for slot in chain(call.inputs(), call.outputs) if slot is not None)
            frees.append([index for index in touched if index not in seen])
            seen |= touched.keys()
        return frees[::-1]

    def _compiled(self) -> Callable[..., list[Any]]:
        """The calls as the lines of one function, whose constants are its closure."""
        held: dict[str, Any] = {f"v{index}": tensor for index, tensor in self.constants.items()}
        names: dict[int, str] = {}

        def text(value: Any) -> str:
            if isinstance(value, Slot):
                return f"v{value.index}"
            if value is None or type(value) in (bool, int):
                return repr(value)
            if isinstance(value, list) and any(True for _ in tensors_in(value, Slot)):
                return f"[{', '.join(map(text, value))}]"
            name = names.setdefault(id(value), f"c{len(names)}")  # the calls hold the value, so its id stays its own
            held[name] = value
            return name

        lines = []
        for call, frees in zip(self.calls, self._frees(), strict=True):
            results = ", ".join("_" if slot is None else f"v{slot.index}" for slot in call.outputs)
            results = f"{results}," if call.several and len(call.outputs) == 1 else results
            in_place = len(call.outputs) == 1 and call.outputs[0] in list(call.written())
            target = "" if in_place or not results else f"{results} = "
            named = [f"{name}={text(value)}" for name, value in call.kwargs.items()]
            lines.append(f"{target}{text(call.function)}({', '.join([*map(text, call.args), *named])})")
            if frees:
                lines.append(f"del {', '.join(f'v{index}' for index in frees)}")
        given = ", ".join(f"v{index}" for index in self.inputs)
        returned = ", ".join("None" if index is None else f"v{index}" for index in self.outputs)
        body = "\n        ".join([*lines, f"return [{returned}]"])
        source = f"def make({', '.join(held)}):\n    def step({given}):\n        {body}\n    return step"
        space: dict[str, Any] = {}
        exec(compile(source, "<captured step>", "exec"), space)
        return space["make"](**held)  # type: ignore[no-any-return]


def _apply(call: Call, values: dict[int, torch.Tensor]) -> list[Any]:
    args = replaced(call.args, Slot, lambda slot: values[slot.index])
    kwargs = {name: replaced(value, Slot, lambda slot: values[slot.index]) for name, value in call.kwargs.items()}
    return _listed(call.operation(*args, **kwargs))


def _without_double_transposes(calls: list[Call], outputs: list[int | None]) -> list[Call]:
    """A matrix transposed twice is itself: autograd transposes the gradients of transposed kernels."""
    source: dict[int, Slot] = {}
    same: dict[int, Slot] = {}
    kept = []
    for call in calls:
        call.args = replaced(call.args, Slot, lambda slot: same.get(slot.index, slot))
        call.kwargs = {
            name: replaced(value, Slot, lambda slot: same.get(slot.index, slot)) for name, value in call.kwargs.items()
        }
        if call.operation is _TRANSPOSE and call.outputs[0] is not None:
            given, made = call.args[0], call.outputs[0]
            if given.index in source:
                same[made.index] = source[given.index]
                continue
            source[made.index] = given
        kept.append(call)
    for place, index in enumerate(outputs):
        if index in same:
            outputs[place] = same[index].index
    return kept


def _needed(calls: list[Call], outputs: list[int | None]) -> list[Call]:
    """The calls that change something, draw random numbers, or whose results are used."""
    used = {index for index in outputs if index is not None}
    kept = []
    for call in reversed(calls):
        results = {slot.index for slot in call.outputs if slot is not None}
        if call.kind.writes or call.kind.is_random or results & used:
            used.update(slot.index for slot in call.inputs())
            kept.append(call)
    return kept[::-1]


def _mark_what_may_be_overwritten(calls: list[Call], outputs: list[int | None]) -> None:
    """Notes at each call of `_IN_PLACE` whether its first argument is read for the last time there.

    An argument is one memory with all that are views of it, and with the result that may take its place.
    """
    last = {slot.index: place for place, call in enumerate(calls) for slot in call.inputs()}
    last |= dict.fromkeys((index for index in outputs if index is not None), len(calls))
    home: dict[int, list[int]] = {}  # for each value that a call made anew, all values that lie in its memory
    for place, call in enumerate(calls):
        made = [slot.index for slot in call.outputs if slot is not None]
        given = next(call.inputs(), None)
        lies_with = home.get(given.index) if given is not None else None
        call.overwrites = (
            call.operation in _IN_PLACE
            and lies_with is not None
            and isinstance(call.args[0], Slot)
            and all(last.get(index, -1) <= place for index in lies_with)
            and not any(slot.index in lies_with for slot in tensors_in((*call.args[1:], *call.kwargs.values()), Slot))
        )
        if call.overwrites or call.kind.gives_views or call.operation is _UNSAFE_VIEW:
            if lies_with is not None:
                lies_with.extend(made)
                home.update(dict.fromkeys(made, lies_with))
        elif not call.kind.writes:
            home.update((index, [index]) for index in made)


def _in_place(call: Call, args: list[Any], results: list[Any]) -> None:
    """Lets a call write over its first argument, if the result lies in memory as that does."""
    first, result = args[0], results[0]
    if (first.shape, first.stride(), first.dtype) == (result.shape, result.stride(), result.dtype):
        operation, name = _IN_PLACE[call.operation]
        if name is not None:
            call.kwargs = {**call.kwargs, name: call.args[0]}
        call.become(operation)
        call.function = operation._op


def _families(calls: list[Call]) -> dict[int, int]:
    """For each view the tensor that it looks at, in the end."""
    family: dict[int, int] = {}
    for call in calls:
        if call.kind.gives_views:
            first = next(call.inputs(), None)
            for slot in call.outputs:
                if slot is not None and first is not None:
                    family[slot.index] = family.get(first.index, first.index)
    return family


class _Seen(TorchDispatchMode):
    """What a function really calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, list[Any]]] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls.append((operation, kind_of(operation).bound(args, kwargs or {})))
        return operation(*args, **(kwargs or {}))


def _fastest(operation: Any, args: list[Any], kwargs: dict[str, Any]) -> tuple[Any, list[Any]]:
    """Runs an operation, and finds the fastest function for it: torch's own of its name, if it is the same.

    That is tried on the arguments themselves, or, where one is changed, on copies.
    """
    kind, name = kind_of(operation), operation._schema.name.split("::")[1]
    function = next((getattr(home, name) for home in _HOMES if hasattr(home, name)), None)
    plain = operation._op
    if function is None or kind.is_random or not operation._schema.name.startswith("aten::"):
        return plain, _listed(plain(*args, **kwargs))
    tried = replaced(args, torch.Tensor, torch.clone) if kind.writes else args
    with _Seen() as seen:
        try:
            results = function(*tried, **kwargs)
        except TypeError:  # it names or orders its arguments in another way
            return plain, _listed(plain(*args, **kwargs))
    same = len(seen.calls) == 1 and seen.calls[0][0] is operation
    if not same or not _equal(seen.calls[0][1], kind.bound(tuple(tried), kwargs)):
        return plain, _listed(plain(*args, **kwargs))
    return function, _listed(function(*args, **kwargs) if kind.writes else results)


def _listed(results: Any) -> list[Any]:
    return list(results) if isinstance(results, list | tuple) else [results]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) or isinstance(other, torch.Tensor):
        return one is other
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(_equal(a, b) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and bool(one == other)
