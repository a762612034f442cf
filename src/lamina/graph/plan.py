"""A plan: the calls of a folded program for inputs of one shape, made by running once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from lamina.engine import fused
from lamina.engine.forms import (
    Affine,
    Apply,
    Convolution,
    Joined,
    Linear,
    Mean,
    Padding,
    Pointwise,
    Pool,
    Product,
    Reshaped,
    Sum,
    sizes_of,
)
from lamina.engine.kernels import pad_spatial
from lamina.graph.folding import Unit
from lamina.graph.program import Slots, keep_outputs

# Forms whose result is memory of its own.
_FRESH = Convolution | Linear | Affine | Pool | Mean | Sum | Product | Joined

Run = Callable[[Slots], None]


class Unplanned(Exception):
    """A value has another shape than it had when the plan was made."""


class Plan:
    """The calls for inputs of one shape.

    A value of four axes may lie in a slot as the graph has it, and in another as oneDNN takes it, channels before
    height and width: two views of one memory. The second of a value has the slot `count` behind the first.
    """

    def __init__(self, program: Any):
        self.program = program
        self.calls: list[tuple[Run, tuple[int, ...]]] = []

    def run(self, values: list[Any]) -> list[Any]:
        slots = self._slots(values)
        for run, frees in self.calls:
            run(slots)
            for index in frees:
                slots[index] = None
        return [slots[index] for index in self.program.outputs]

    def _slots(self, values: list[Any]) -> Slots:
        slots: Slots = [None] * (2 * self.program.count)
        for index, value in zip(self.program.inputs, values, strict=True):
            slots[index] = value
        return slots

    # Planning: every call is made for tensors that are there, and runs at once.

    def make(self, values: list[Any]) -> list[Any]:
        self._now = self._slots(values)
        self._touched: list[set[int]] = []
        self._runs: list[Run] = []
        self._last_reader = {value: place for place, unit in enumerate(self.program.units) for value in unit.all_reads}
        self._shared = self._values_that_others_hold()
        for place, unit in enumerate(self.program.units):
            self._plan_unit(place, unit)
            self._free_values_behind(place)
        for index in self.program.outputs:
            self._in_order(index)
        self._plan_frees()
        outputs = [self._now[index] for index in self.program.outputs]
        del self._now, self._touched, self._runs, self._last_reader, self._shared
        return outputs

    def _values_that_others_hold(self) -> set[int]:
        """The values whose memory must stay as it is: inputs, outputs, and what a step may have made a view of."""
        program = self.program
        held = {*program.inputs, *program.outputs}
        alone = Counter(value for unit in program.units for value in unit.all_reads)
        same: list[set[int]] = []  # values in one memory, the first of which is read for the second only
        for unit in program.units:
            if isinstance(unit.form, Reshaped) and alone[unit.reads[0]] == 1:
                same.append({*unit.reads, *unit.makes})
            elif not isinstance(unit.form, _FRESH):
                held.update(unit.all_reads, unit.makes)
        while changed := [values for values in same if values & held and not values <= held]:
            held.update(*changed)
        return held

    def _free_values_behind(self, place: int) -> None:
        """While planning, too, a value goes when its last reader has run."""
        count = self.program.count
        for value in self.program.units[place].all_reads:
            if self._last_reader[value] == place and value not in self.program.outputs:
                self._now[value] = self._now[value + count] = None

    def _emit(self, run: Run, *slots: int) -> None:
        run(self._now)
        self._runs.append(run)
        self._touched.append(set(slots))

    def _plan_frees(self) -> None:
        seen = set(self.program.outputs)
        frees: list[tuple[int, ...]] = []
        for touched in reversed(self._touched):
            frees.append(tuple(sorted(touched - seen)))
            seen |= touched
        self.calls = list(zip(self._runs, reversed(frees), strict=True))

    def _in_order(self, value: int) -> int:
        """The slot of a value as the graph has it."""
        if self._now[value] is None:
            self._view(value + self.program.count, value, (0, 2, 3, 1))
        return value

    def _channels_second(self, value: int, data_format: str) -> int:
        """The slot of a value as oneDNN takes it."""
        if data_format == "channels_first":
            return self._in_order(value)
        second = value + self.program.count
        if self._now[second] is None:
            self._view(value, second, (0, 3, 1, 2))
        return second

    def _view(self, source: int, target: int, order: tuple[int, ...]) -> None:
        def run(slots: Slots) -> None:
            slots[target] = slots[source].permute(order)

        self._emit(run, source, target)

    def _plan_unit(self, place: int, unit: Unit) -> None:
        form = unit.form
        if unit.step is not None:
            self._plan_step(unit)
        elif isinstance(form, Convolution):
            self._plan_convolution(place, unit, form)
        elif isinstance(form, Pool | Mean):
            self._plan_pool(unit, form)
        else:
            self._plan_form(unit)

    def _plan_step(self, unit: Unit) -> None:
        reads = [self._in_order(value) for value in unit.reads]
        step = unit.step
        assert step is not None

        def run(slots: Slots) -> None:
            keep_outputs(step, step.run(slots, False), slots)

        self._emit(run, *reads, *unit.makes)

    def _plan_convolution(self, place: int, unit: Unit, form: Convolution) -> None:
        x = self._channels_second(unit.reads[0], form.data_format)
        target = unit.made + (self.program.count if form.data_format == "channels_last" else 0)
        given = self._now[x]
        other = None if unit.plus is None else self._channels_second(unit.plus, form.data_format)
        result = (given.shape[0], form.weight.shape[0], *sizes_of(form, given.shape[2:]))
        is_joined = other is not None and fused.onednn_takes(unit.dtype) and self._now[other].shape == result
        after = unit.after if other is None or is_joined else None
        if fused.onednn_takes(unit.dtype):
            kernel = fused.FusedConvolution(form, after, given, unit.dtype, unit.packed)
            call = kernel.plus(self._may_overwrite(place, unit)) if is_joined else kernel.alone()
        else:
            call = fused.plain_convolution(form, after, given, unit.dtype)
        call = call if other is None or is_joined else _then_add(call, unit.after)
        if other is None:

            def run(slots: Slots) -> None:
                slots[target] = call(slots[x])

            self._emit(run, x, target)
        else:
            added = other

            def run(slots: Slots) -> None:
                slots[target] = call(slots[x], slots[added])

            self._emit(run, x, added, target)

    def _plan_pool(self, unit: Unit, form: Pool | Mean) -> None:
        x = self._channels_second(unit.reads[0], form.data_format)
        moved = isinstance(form, Pool) and form.data_format == "channels_last"
        target = unit.made + (self.program.count if moved else 0)
        call = fused.pool(form) if isinstance(form, Pool) else fused.mean(form)

        def run(slots: Slots) -> None:
            slots[target] = call(slots[x])

        self._emit(run, x, target)

    def _may_overwrite(self, place: int, unit: Unit) -> bool:
        """Whether what is added to a convolution's result is read by nobody later, and of the result's type."""
        assert unit.plus is not None
        last = self._last_reader[unit.plus] == place and unit.plus not in unit.reads
        return last and unit.plus not in self._shared

    def _plan_form(self, unit: Unit) -> None:
        both = [value + self.program.count for value in unit.reads]
        moved = isinstance(unit.form, Sum | Product) and all(self._now[index] is not None for index in both)
        reads = both if moved else [self._in_order(value) for value in unit.reads]
        target = unit.made + (self.program.count if moved else 0)
        call = _call_of(unit, self._now[reads[0]])
        if isinstance(unit.form, Joined):

            def run(slots: Slots) -> None:
                slots[target] = call([slots[index] for index in reads])

        elif len(reads) == 1:
            only = reads[0]

            def run(slots: Slots) -> None:
                slots[target] = call(slots[only])

        else:
            one, other = reads

            def run(slots: Slots) -> None:
                slots[target] = call(slots[one], slots[other])

        self._emit(run, *reads, target)


def _then_add(call: Callable[..., Any], after: Pointwise | None) -> Callable[..., Any]:
    def both(x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        result = call(x)
        result = result.add_(other) if result.shape == other.shape else result + other  # which may repeat either
        return result if after is None else after.on_fresh(result)

    return both


def _call_of(unit: Unit, x: torch.Tensor) -> Callable[..., torch.Tensor]:
    """The call of a form other than a convolution, with the activation behind it."""
    form, after = unit.form, unit.after
    if isinstance(form, Linear):
        return fused.linear(form, after, unit.dtype)
    if isinstance(form, Affine):
        return fused.affine(form, after, x, unit.dtype)
    if isinstance(form, Sum):
        return fused.with_activation(torch.add, after)
    if isinstance(form, Product):
        return fused.with_activation(torch.mul, after)
    if isinstance(form, Joined):
        return fused.with_activation(fused.joined, after)
    if isinstance(form, Padding):
        pads = list(form.pads) if form.data_format == "channels_first" else [*form.pads, (0, 0)]
        return lambda x: pad_spatial(x, pads)
    if isinstance(form, Pointwise | Apply | Reshaped):
        return form.function
    raise AssertionError(f"no call for {form}")  # pragma: no cover
