"""A CUDA graph for tests without a card: operations of the CPU that are recorded and not done, then repeated.

What a card freezes is frozen here: the addresses of all tensors, and all numbers that are not in tensors. A number that
Python reads while recording is an error, as on a card.
"""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def tensors(values):
    return [one for one in tree_leaves(values) if isinstance(one, torch.Tensor)]


class Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls = []
        self.before = {}  # what was in the memory that existed when recording began

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if operation is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        for given in tensors((args, kwargs)):
            storage = given.untyped_storage()
            self.before.setdefault(storage.data_ptr(), (storage, storage.clone()))
        results = operation(*args, **kwargs)
        for made in tensors(results):
            storage = made.untyped_storage()
            self.before.setdefault(storage.data_ptr(), (storage, None))
        self.calls.append((operation, args, kwargs, tensors(results)))
        return results

    def undo(self):
        for storage, content in self.before.values():
            if content is not None:
                storage.copy_(content)


def record(work, device, generators, pool):
    """Stands for `cuda_graph.record`."""
    states = [(one, one.get_state()) for one in (torch.default_generator, *generators)]
    recorder = Recorder()
    try:
        with recorder:
            work()
    finally:
        recorder.undo()
        for generator, state in states:
            generator.set_state(state)

    def repeat():
        for operation, args, kwargs, results in recorder.calls:
            for place, result in zip(results, tensors(operation(*args, **kwargs)), strict=True):
                if place.data_ptr() != result.data_ptr():
                    place.copy_(result)

    return repeat
