"""A plan whose calls are kernels of oneDNN, bound to memory that stays from run to run.

Only values that kernels alone read lie in such memory, and share it when they do not live at the same time. Every other
value, what a layer of somebody else's reads, and the model's inputs and outputs, is memory of its own in each run; the
kernels that read or make it are pointed at it. What has no kernel runs as in a `Plan`.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from math import prod
from threading import Lock
from typing import Any

import torch

from lamina.engine import bound, onednn
from lamina.engine.bound import Made, strides_of
from lamina.engine.forms import Affine, Convolution, Joined, Linear, Mean, Pool, Product, Reshaped, Sum
from lamina.engine.fused import onednn_takes
from lamina.engine.onednn import Kernel, Memory
from lamina.graph.folding import Unit
from lamina.graph.plan import Plan, Unplanned
from lamina.graph.program import Slots


class _Buffers:
    """Memory that values lie in by turns."""

    def __init__(self) -> None:
        self._free: list[tuple[int, int, torch.Tensor]] = []

    def take(self, count: int) -> torch.Tensor:
        """The smallest that is free and large enough, or a new one."""
        for place, (size, _, buffer) in enumerate(self._free):
            if size >= count:
                del self._free[place]
                return buffer
        return torch.empty(count, dtype=torch.uint8)

    def give(self, buffer: torch.Tensor) -> None:
        insort(self._free, (buffer.numel(), id(buffer), buffer))


class _Kernels:
    """Kernels whose memory stays, one behind the other. It holds what they read and write."""

    def __init__(self, kernel: Kernel, made: Made):
        self.kernels = [(kernel.call, kernel, made)]
        self._execute = onednn.execute()

    def __call__(self, slots: Slots) -> None:
        execute = self._execute
        for call, _, _ in self.kernels:
            if execute(*call):
                raise RuntimeError("oneDNN failed.")


class BoundPlan(Plan):
    """The kernels for inputs of one shape."""

    def make(self, values: list[Any]) -> list[Any]:
        self._template: Slots = [None] * (2 * self.program.count)
        self._stays: set[int] = set()  # the slots whose tensors stay from run to run
        self._buffers = _Buffers()
        self._buffer_of: dict[int, torch.Tensor] = {}
        self._lock = Lock()
        with torch.inference_mode(False), torch.no_grad():  # a run outside it writes into what is made here, too
            outputs = super().make([value.contiguous() for value in values])
        self._group()
        del self._buffers, self._buffer_of, self._stays
        return outputs

    def _group(self) -> None:
        """Kernels that follow each other, and nothing in them, as one call."""
        calls: list[tuple[Callable[[Slots], None], tuple[int, ...]]] = []
        for run, frees in self.calls:
            if isinstance(run, _Kernels) and calls and isinstance(calls[-1][0], _Kernels):
                calls[-1][0].kernels.extend(run.kernels)
            else:
                calls.append((run, frees))
        self.calls = calls

    def run(self, values: list[Any]) -> list[Any]:
        with self._lock:
            return super().run([value.contiguous() for value in values])

    def _slots(self, values: list[Any]) -> Slots:
        slots = list(self._template)
        for index, value in zip(self.program.inputs, values, strict=True):
            slots[index] = value
        return slots

    # Planning.

    def _free_values_behind(self, place: int) -> None:
        super()._free_values_behind(place)
        for value in self.program.units[place].all_reads:
            if self._last_reader[value] == place and value in self._buffer_of:
                self._buffers.give(self._buffer_of.pop(value))

    def _view(self, source: int, target: int, order: tuple[int, ...]) -> None:
        if source not in self._stays:
            super()._view(source, target, order)
            return
        self._put(target, self._now[source].permute(order))

    def _put(self, slot: int, tensor: torch.Tensor) -> None:
        """A tensor that stays."""
        self._now[slot] = self._template[slot] = tensor
        self._stays.add(slot)

    def _emit(self, run: Callable[[Slots], None], *slots: int) -> None:
        super()._emit(run, *(slot for slot in slots if slot not in self._stays))

    def _plan_unit(self, place: int, unit: Unit) -> None:
        binders: dict[Any, Any] = {
            Convolution: self._bind_convolution,
            Linear: self._bind_linear,
            Affine: self._bind_affine,
            Sum: self._bind_combined,
            Product: self._bind_combined,
            Joined: self._bind_joined,
            Pool: self._bind_pool,
            Mean: self._bind_mean,
            Reshaped: self._bind_reshaped,
        }
        bind = binders.get(type(unit.form))
        if bind is not None and onednn_takes(unit.dtype):
            try:
                bind(place, unit, unit.form)
                return
            except onednn.Unsupported:
                pass
        super()._plan_unit(place, unit)

    def _image(self, value: int, data_format: str) -> int:
        """The slot of an image as kernels read it, with its channels innermost in memory."""
        slot = self._channels_second(value, data_format)
        return self._in_layout(slot, torch.channels_last)

    def _plain(self, value: int) -> int:
        """The slot of a value in its own order, without gaps."""
        return self._in_layout(self._in_order(value), torch.contiguous_format)

    def _in_layout(self, slot: int, order: torch.memory_format) -> int:
        if not self._now[slot].is_contiguous(memory_format=order):

            def run(slots: Slots) -> None:
                slots[slot] = slots[slot].contiguous(memory_format=order)

            self._stays.discard(slot)  # from here on it is a copy, made in each run
            self._emit(run, slot)
        return slot

    def _result(self, value: int, slot: int, shape: tuple[int, ...], dtype: torch.dtype, is_image: bool) -> None:
        """Memory for what a kernel makes: some that stays, if kernels alone read it."""
        strides = strides_of(shape, is_image)
        if value in self._shared:
            self._now[slot] = torch.empty_strided(shape, strides, dtype=dtype)
            return
        buffer = self._buffers.take(max(prod(shape), 1) * dtype.itemsize)
        self._buffer_of[value] = buffer
        whole = buffer[: prod(shape) * dtype.itemsize].view(dtype)
        self._put(slot, whole.as_strided(shape, strides))

    def _emit_kernel(self, made: Made, reads: dict[int, int], target: int) -> None:
        """A call of a kernel that reads the slots of some roles and makes that of another."""
        slots = {**reads, onednn.RESULT: target}
        memories = {role: Memory(made.layouts[role], self._now[slot].data_ptr()) for role, slot in slots.items()}
        memories |= {role: Memory(layout, held.data_ptr()) for role, (layout, held) in made.constants.items()}
        kernel = Kernel(made.description, memories)
        self._emit(self._runner(kernel, made, reads, target), *reads.values(), target)

    def _runner(self, kernel: Kernel, made: Made, reads: dict[int, int], target: int) -> Callable[[Slots], None]:
        bound_run = _Kernels(kernel, made)
        follow = [
            (kernel.memories[role], slot, self._now[slot].shape, self._now[slot].stride())
            for role, slot in reads.items()
            if slot not in self._stays
        ]
        result = self._now[target]
        fresh = None if target in self._stays else (result.shape, result.stride(), result.dtype)
        into = kernel.memories[onednn.RESULT]

        def run(slots: Slots) -> None:
            for memory, slot, shape, strides in follow:
                tensor = slots[slot]
                if tensor.shape != shape:
                    raise Unplanned
                if tensor.stride() != strides:
                    slots[slot] = tensor = torch.empty_strided(shape, strides, dtype=tensor.dtype).copy_(tensor)
                memory.point_at(tensor.data_ptr())
            if fresh is not None:
                slots[target] = made_now = torch.empty_strided(fresh[0], fresh[1], dtype=fresh[2])
                into.point_at(made_now.data_ptr())
            bound_run(slots)

        return run if follow or fresh is not None else bound_run

    # A form each.

    def _bind_convolution(self, place: int, unit: Unit, form: Convolution) -> None:
        x = self._image(unit.reads[0], form.data_format)
        target = unit.made + (self.program.count if form.data_format == "channels_last" else 0)
        other, added = None, ""
        if unit.plus is not None:
            other = self._image(unit.plus, form.data_format)
            added = "accumulate" if unit.plus in self._buffer_of and self._may_overwrite(place, unit) else "add"
        made, shape = bound.convolution(form, unit.after, tuple(self._now[x].shape), unit.dtype, added)
        if other is not None and (self._now[other].shape != shape or self._now[other].dtype is not unit.dtype):
            raise onednn.Unsupported
        _packed(unit, form).into(made, form.groups)
        reads = {onednn.SOURCE: x}
        if added == "accumulate":
            assert unit.plus is not None
            assert other is not None
            self._buffer_of[unit.made] = self._buffer_of.pop(unit.plus)
            self._put(target, self._now[other])
        else:
            self._result(unit.made, target, shape, unit.dtype, is_image=True)
            if other is not None:
                reads[onednn.after_role(0)] = other
        self._emit_kernel(made, reads, target)

    def _bind_linear(self, place: int, unit: Unit, form: Linear) -> None:
        x = self._plain(unit.reads[0])
        made, shape = bound.linear(form, unit.after, tuple(self._now[x].shape), unit.dtype)
        _packed(unit, form).into(made)
        self._result(unit.made, unit.made, shape, unit.dtype, is_image=False)
        self._emit_kernel(made, {onednn.SOURCE: x}, unit.made)

    def _bind_affine(self, place: int, unit: Unit, form: Affine) -> None:
        if form.axis % unit.rank != unit.rank - 1:
            raise onednn.Unsupported
        x = self._plain(unit.reads[0])
        shape = tuple(self._now[x].shape)
        made = bound.affine(form, unit.after, shape, unit.dtype)
        self._result(unit.made, unit.made, shape, unit.dtype, is_image=False)
        self._emit_kernel(made, {onednn.SOURCE: x}, unit.made)

    def _bind_combined(self, place: int, unit: Unit, form: Sum | Product) -> None:
        both = [self._plain(value) for value in unit.reads]
        one, other = (self._now[slot] for slot in both)
        if one.dtype is not unit.dtype or other.dtype is not unit.dtype:
            raise onednn.Unsupported
        if one.shape != other.shape:
            self._repeat(unit, both)
            return
        name = "add" if isinstance(form, Sum) else "multiply"
        made = bound.combined(name, unit.after, one.numel(), unit.dtype)
        self._result(unit.made, unit.made, tuple(one.shape), unit.dtype, is_image=False)
        self._emit_kernel(made, {onednn.SOURCE: both[0], onednn.OTHER: both[1]}, unit.made)

    def _repeat(self, unit: Unit, both: list[int]) -> None:
        """A sum or product with axes of 1 that are repeated, by torch's own function, which is the faster one."""
        function = torch.add if isinstance(unit.form, Sum) else torch.mul
        shape = tuple(torch.broadcast_shapes(*(self._now[slot].shape for slot in both)))
        self._emit_into(unit, both, shape, lambda one, other, into: function(one, other, out=into))

    def _bind_joined(self, place: int, unit: Unit, form: Joined) -> None:
        if unit.after is not None or len(set(unit.reads)) < len(unit.reads):
            raise onednn.Unsupported
        reads = [self._plain(value) for value in unit.reads]
        made, shape = bound.joined([tuple(self._now[slot].shape) for slot in reads], unit.dtype)
        self._result(unit.made, unit.made, shape, unit.dtype, is_image=False)
        self._emit_kernel(made, {onednn.joined_role(at): slot for at, slot in enumerate(reads)}, unit.made)

    def _emit_into(self, unit: Unit, both: list[int], shape: tuple[int, ...], function: Callable[..., Any]) -> None:
        """A call of torch's, whose result goes into memory that stays if it can."""
        one, other = both
        made, after = unit.made, unit.after
        self._result(made, made, shape, unit.dtype, is_image=False)
        fresh = None if made in self._stays else (shape, unit.dtype)

        def run(slots: Slots) -> None:
            if fresh is not None:
                slots[made] = torch.empty(fresh[0], dtype=fresh[1])
            into = slots[made]
            function(slots[one], slots[other], into)
            if after is not None:
                slots[made] = after.on_fresh(into)

        self._emit(run, one, other, made)

    def _bind_pool(self, place: int, unit: Unit, form: Pool) -> None:
        x = self._image(unit.reads[0], form.data_format)
        made, shape = bound.pool(form, tuple(self._now[x].shape), unit.dtype)
        target = unit.made + (self.program.count if form.data_format == "channels_last" else 0)
        self._result(unit.made, target, shape, unit.dtype, is_image=True)
        self._emit_kernel(made, {onednn.SOURCE: x}, target)

    def _bind_mean(self, place: int, unit: Unit, form: Mean) -> None:
        x = self._image(unit.reads[0], form.data_format)
        made, (batch, channels, *_) = bound.mean(tuple(self._now[x].shape), unit.dtype)
        shape: tuple[int, ...] = (batch, channels)
        if form.keepdims:
            shape = (batch, 1, 1, channels) if form.data_format == "channels_last" else (batch, channels, 1, 1)
        self._result(unit.made, unit.made, shape, unit.dtype, is_image=False)
        self._emit_kernel(made, {onednn.SOURCE: x}, unit.made)

    def _bind_reshaped(self, place: int, unit: Unit, form: Reshaped) -> None:
        """Nothing is to be done where a value that stays becomes another one."""
        value = unit.reads[0]
        if value not in self._buffer_of or unit.made in self._shared:
            raise onednn.Unsupported
        x = self._plain(value)
        if x not in self._stays:
            raise onednn.Unsupported
        self._buffer_of[unit.made] = self._buffer_of.pop(value)
        self._put(unit.made, form.function(self._now[x]))


def _packed(unit: Unit, form: Convolution | Linear) -> bound.Packed:
    """The weights of a unit, packed once for all plans."""
    packed: bound.Packed = unit.packed.setdefault("bound", bound.Packed(form, unit.dtype))
    return packed
