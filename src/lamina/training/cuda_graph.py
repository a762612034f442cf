"""A captured step as one CUDA graph: the card repeats all operations of a step, the optimizer's too, at a single call.

What a small model costs on a card is the starting of its kernels one by one. A graph has them in a row, with the
addresses and numbers of the step that was recorded. So a batch is copied to where the recorded one lay, and the
learning rate, which changes, lies on the card (as float32; everything else is equal to the bit).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lamina.optimizers.base import Prepared
from lamina.training.flat_program import FlatProgram, below_autograd


def has_graphs(tensor: Tensor) -> bool:
    """Whether the tensor lies on a device that can repeat what it did."""
    return tensor.is_cuda


class GraphedStep:
    """A step of `program`, and of the optimizer where that can be taken in, that a card repeats by itself.

    Its first run is a rehearsal: the same operations without a graph, so that nothing is loaded or chosen while they
    are recorded. The second records them, which runs nothing, and repeats what was recorded; where that fails it runs
    as the first, and `problem` says why.

    Parameters: a program that has run; `batch`, tensors like those of the runs; `learn`, the optimizer's step for its
    gradients, or None; `generators`, the random streams that it draws from; `pool`, the memory that graphs share.
    Attributes: `problem`, why there is no graph, or None: it must not run then; `learns`, whether the optimizer is in
    it, and `left_out`, why it is not.
    """

    def __init__(
        self,
        program: FlatProgram,
        batch: Sequence[Tensor],
        learn: Prepared | None,
        generators: Sequence[torch.Generator],
        pool: Any,
    ):
        home = batch[0].device
        self._program, self._pool = program, pool
        self._generators = [one for one in generators if one.device == home]
        self.left_out = "its step decides in Python" if learn is None else learn.why_not_halved()
        self._learn = learn if self.left_out is None else None
        self.problem = _obstacle(program, batch)
        self._inputs = [torch.empty_like(tensor) for tensor in batch]
        self._rates = [torch.zeros((), device=home) for _ in range(2)]
        self._set: list[float | None] = [None, None]
        self._frozen = [tensor for tensor in program.constants.values() if tensor.device != home]
        self._versions = [tensor._version for tensor in self._frozen]
        self._gradients: list[Any] = []
        self._repeat: Callable[[], None] | None = None
        self._is_rehearsed = False

    def __str__(self) -> str:
        if self.problem is not None:
            return f"No CUDA graph: {self.problem}."
        if not self._program.outputs:
            return "A CUDA graph."
        return f"A CUDA graph{', the optimizer in it' if self.learns else f' without the optimizer: {self.left_out}'}."

    @property
    def learns(self) -> bool:
        return self._learn is not None

    def holds(self, optimizer: Any) -> bool:
        """Whether the optimizer that it took in and the numbers that it froze are still the same."""
        same = [tensor._version for tensor in self._frozen] == self._versions
        return same and (self._learn is None or self._learn.belongs_to(optimizer))

    def run(self, *batch: Tensor) -> list[Any]:
        """One step; the gradients, which the next step writes over."""
        for place, tensor in zip(self._inputs, batch, strict=True):
            place.copy_(tensor)
        if self._learn is not None:
            self._set_rates(self._learn.numbers())
        if self._is_rehearsed and self._repeat is None:
            self._record()
        if self._repeat is None:
            self._work()
            self._is_rehearsed = True
        else:
            self._repeat()
        if self._learn is not None:
            self._learn.count()
        return self._gradients

    def _set_rates(self, numbers: Sequence[float]) -> None:
        """A number that is sent as a kernel's argument cannot be overtaken by that of the next step."""
        for place, number in enumerate(numbers):
            if number != self._set[place]:
                self._rates[place].fill_(number)
                self._set[place] = number

    def _work(self) -> None:
        with below_autograd():
            self._gradients = self._program.run(*self._inputs)
            if self._learn is not None:
                self._learn.change(self._gradients, self._rates)

    def _record(self) -> None:
        try:
            self._repeat = record(self._work, self._inputs[0].device, self._generators, self._pool)
        except RuntimeError as error:
            self.problem = f"recording it failed ({str(error).splitlines()[0]})"


def record(
    work: Callable[[], None], device: torch.device, generators: Sequence[torch.Generator], pool: Any
) -> Callable[[], None]:
    """What repeats the work on a card; it is recorded and not done. Errors: where that cannot be, a RuntimeError."""
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)  # type: ignore[attr-defined]
    # The second block gives the stream back that torch keeps when a recording fails. Threads that load data go on.
    with (
        torch.cuda.device(device),
        torch.cuda.stream(torch.cuda.current_stream(device)),
        torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"),
    ):
        work()
    return graph.replay


def new_pool() -> Any:
    """Memory to share for graphs that never run at the same time and read nothing of each other's."""
    return torch.cuda.graph_pool_handle()


def _obstacle(program: FlatProgram, batch: Sequence[Tensor]) -> str | None:
    home = batch[0].device
    others = (program.devices | {tensor.device for tensor in batch}) - {home}
    others |= {tensor.device for tensor in program.constants.values() if tensor.ndim or tensor.device.type != "cpu"}
    if others - {home}:
        return f"a part of it lies on {', '.join(sorted(str(other) for other in others - {home}))}"
    if any(torch.empty_like(tensor).stride() != tensor.stride() for tensor in batch):
        return "a batch lies in memory with gaps"
    return None
