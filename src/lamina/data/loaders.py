"""What `fit`, `evaluate` and `predict` iterate over: any source of data as batches `(x, y, sample_weight)`."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from lamina.base import tree
from lamina.base.errors import outside_frame
from lamina.data.arrays import (
    PART_NAMES,
    Batch,
    apply_class_weight,
    check_class_weight,
    count_samples,
    is_array_like,
    to_tensors,
)
from lamina.data.py_dataset import PyDataset

DEFAULT_BATCH_SIZE = 32
_GATHERED_AT_ONCE = 4 * 2**20  # bytes


class BatchLoader:
    """A source of batches `(x, y, sample_weight)`: nested torch tensors, None for a missing part.

    Iterating it is one epoch. With `steps` an epoch is that many batches and the next epoch goes on where it ended,
    until the source is used up. A source that ends within an epoch gives a warning and the epoch ends there; a source
    that cannot start again (a generator) then has `exhausted` set, and training should stop.

    Attributes: `num_batches` of an epoch and `batch_size` (None when unknown), `num_samples` of an epoch (arrays only),
    `exhausted`. Methods: `peek()`, the first batch without using it up; `look()`, the data
    for a check of shapes; `on_epoch_end()`.
    """

    batch_size: int | None = None
    num_samples: int | None = None
    restartable = True

    def __init__(self, num_batches: int | None, steps: int | None = None):
        self.steps = steps
        self.num_batches = num_batches if steps is None else steps
        self.exhausted = False
        self._iterator: Iterator[Batch] | None = None
        self._peeked: Batch | None = None

    def _start_pass(self) -> Iterator[Batch]:
        """One pass over the source."""
        raise NotImplementedError

    def on_epoch_end(self) -> None:
        """To be called after each epoch of training."""

    def peek(self) -> Batch:
        """The batch that the next epoch begins with. Errors: ValueError when the source gives none."""
        if self._peeked is None:
            batch = self._next(may_restart=True)
            if batch is None:
                raise ValueError("The data gave no batch.")
            self._peeked = batch
        return self._peeked

    def look(self) -> Batch:
        """What shapes are checked on: all the data where it lies in arrays, else the first batch."""
        return self.peek()

    def __iter__(self) -> Iterator[Batch]:
        if self.restartable and self.steps is None and self._peeked is None:
            self._iterator = None  # an epoch that was broken off is not gone on with
        done = 0
        while self.steps is None or done < self.steps:
            batch = self._next(may_restart=done == 0)
            if batch is None:
                self._warn_of_early_end(done)
                return
            yield batch
            done += 1

    def _next(self, may_restart: bool) -> Batch | None:
        """The next batch, from a new pass if the old one ended exactly at an epoch's end; None at an end."""
        if self._peeked is not None:
            batch, self._peeked = self._peeked, None
            return batch
        if self.exhausted:
            return None
        if self._iterator is None:
            self._iterator, may_restart = self._start_pass(), False
        following = next(self._iterator, None)
        if following is None:
            self._iterator = None
            self.exhausted = not self.restartable
            if may_restart and self.restartable:
                return self._next(may_restart=False)
        return following

    def _warn_of_early_end(self, done: int) -> None:
        if self.steps is None and done > 0:
            return  # the natural end of an epoch whose length nobody fixed
        wanted = "a batch" if self.steps is None else f"{self.steps} batches"
        warnings.warn(
            f"The data ran out: this epoch wanted {wanted} and got {done}; it ends here. The data must give "
            "steps_per_epoch * epochs batches; let the generator repeat, or lower steps_per_epoch.",
            UserWarning,
            stacklevel=outside_frame(),
        )


class ArrayLoader(BatchLoader):
    """Batches of arrays: views when in order, one gather per array when shuffled; the last uneven batch is kept."""

    def __init__(self, parts: Batch, batch_size: int | None, steps: int | None, shuffle: bool | str):
        self.num_samples = self._count = count_samples(parts)
        self.batch_size = self._size = batch_size or DEFAULT_BATCH_SIZE
        self.shuffle = shuffle
        self._leaves, self._spec = tree.flatten_spec(parts)
        self._is_flat = all(part is None or isinstance(part, torch.Tensor) for part in parts)
        super().__init__(-(-self._count // self._size), steps)

    def look(self) -> Batch:
        return self._assemble(self._leaves)

    def _start_pass(self) -> Iterator[Batch]:
        if self.shuffle == "batch":
            return self._slices(self._starts_of_shuffled_batches())
        if self.shuffle:
            return self._gathered(torch.randperm(self._count))
        return self._slices(range(0, self._count, self._size))

    def _slices(self, starts: Iterable[int]) -> Iterator[Batch]:
        for start in starts:
            window = slice(start, start + self._size)
            yield self._assemble([None if leaf is None else leaf[window] for leaf in self._leaves])

    def _gathered(self, order: torch.Tensor) -> Iterator[Batch]:
        """Many small batches are gathered at once and cut."""
        bytes_of_batch = sum(leaf[:1].nbytes for leaf in self._leaves if leaf is not None) * self._size
        at_once = self._size * max(1, _GATHERED_AT_ONCE // max(bytes_of_batch, 1))
        for indices in order.split(at_once):  # type: ignore[no-untyped-call]
            batches = -(-len(indices) // self._size)
            taken = [
                [None] * batches if leaf is None else leaf.index_select(0, indices.to(leaf.device)).split(self._size)  # type: ignore[no-untyped-call]
                for leaf in self._leaves
            ]
            yield from map(self._assemble, zip(*taken, strict=True))

    def _starts_of_shuffled_batches(self) -> list[int]:
        """Whole batches in random order; an uneven rest stays last."""
        full, rest = divmod(self._count, self._size)
        starts: list[int] = (torch.randperm(full) * self._size).tolist()
        return [*starts, full * self._size] if rest else starts

    def _assemble(self, leaves: Iterable[torch.Tensor | None]) -> Any:
        return tuple(leaves) if self._is_flat else tree.unflatten(self._spec, leaves)


class StreamLoader(BatchLoader):
    """Batches that something else makes: a generator, a DataLoader, any iterable."""

    def __init__(
        self,
        source: Iterable[Any],
        steps: int | None,
        class_weight: Mapping[int, float] | None,
        what: str,
        list_is_batch: bool = False,
    ):
        self.source = source
        self.what = what
        self.class_weight = class_weight
        self.list_is_batch = list_is_batch  # torch's DataLoader turns a tuple (x, y) into a list
        self.restartable = not isinstance(source, Iterator)
        self.batch_size = getattr(source, "batch_size", None)
        super().__init__(_length_of(source), steps)

    def _start_pass(self) -> Iterator[Batch]:
        return map(self._batch, self.source)

    def _batch(self, item: Any) -> Batch:
        if isinstance(item, list) and not self.list_is_batch:
            raise ValueError(
                f"A batch of {self.what} is a list of {len(item)}, which may mean several inputs or (x, y). "
                "Give a tuple: (x,), (x, y) or (x, y, sample_weight); x itself may be a list."
            )
        parts = tuple(item) if isinstance(item, list | tuple) else (item,)
        if not 1 <= len(parts) <= 3:
            raise ValueError(f"A batch is (x,), (x, y) or (x, y, sample_weight); {self.what} gave {len(parts)} parts.")
        padded = (*parts, *[None] * (3 - len(parts)))
        batch: Any = tuple(to_tensors(part, name) for part, name in zip(padded, PART_NAMES, strict=True))
        count_samples(batch)
        return batch if self.class_weight is None else apply_class_weight(batch, self.class_weight)


class PyDatasetLoader(StreamLoader):
    """Batches of a `PyDataset`, made ahead by threads when it has several workers; shuffling permutes whole batches."""

    def __init__(
        self, dataset: PyDataset, steps: int | None, class_weight: Mapping[int, float] | None, shuffle: bool | str
    ):
        super().__init__((), steps, class_weight, "the PyDataset", list_is_batch=True)
        self.dataset = dataset
        self.shuffle = shuffle
        length = dataset.num_batches
        if length == 0:
            raise ValueError(f"There are no samples: {type(dataset).__name__} has length 0.")
        if length is None and steps is None:
            raise ValueError("A PyDataset without end (num_batches is None) needs steps_per_epoch (or steps).")
        self.num_batches = length if steps is None else steps

    def _start_pass(self) -> Iterator[Batch]:
        self.dataset.on_epoch_begin()
        length = self.dataset.num_batches
        indices: Iterable[int] = count() if length is None else range(length)
        if self.shuffle and length is not None:
            indices = torch.randperm(length).tolist()
        if self.dataset.workers > 1:
            return self._ahead(indices)
        return (self._batch(self.dataset[index]) for index in indices)

    def _ahead(self, indices: Iterable[int]) -> Iterator[Batch]:
        """In order, with up to `max_queue_size` batches (at least one a worker) in work or waiting."""
        limit = max(self.dataset.max_queue_size, self.dataset.workers)
        waiting: deque[Future[Any]] = deque()
        with ThreadPoolExecutor(self.dataset.workers, thread_name_prefix="lamina-data") as pool:
            try:
                for index in indices:
                    waiting.append(pool.submit(self.dataset.__getitem__, index))
                    if len(waiting) >= limit:
                        yield self._batch(waiting.popleft().result())
                while waiting:
                    yield self._batch(waiting.popleft().result())
            finally:
                for future in waiting:
                    future.cancel()

    def on_epoch_end(self) -> None:
        self.dataset.on_epoch_end()


def make_loader(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    batch_size: int | None = None,
    steps: int | None = None,
    shuffle: bool | str = False,
    class_weight: Mapping[int, float] | None = None,
    purpose: str = "fit",
) -> BatchLoader:
    """The loader for a source of data.

    Parameters: `x`, arrays (NumPy, torch, pandas, lists of numbers; also nested in dicts, lists and tuples) with one
    sample an entry of their first axis, or a source of batches: a generator, a torch DataLoader or Dataset, a
    `PyDataset`, an iterable. `y`, `sample_weight`: arrays as long as x; a source of batches brings its own.
    `batch_size`, 32 by default, ignored by sources that make whole batches. `steps`, batches of an epoch. `shuffle`,
    True, False or `"batch"` (whole batches change places); generators, DataLoaders and iterables keep their own order.
    `class_weight`, from class to weight, becomes a sample weight, times `sample_weight` if there is one. `purpose`,
    `"fit"`, `"evaluate"` or `"predict"`, for messages.

    Errors: ValueError for unequal lengths, no samples, a y beside a source of batches, data of unknown type.

    >>> import numpy as np
    >>> loader = make_loader(np.zeros((5, 3)), np.arange(5), batch_size=2)
    >>> [(tuple(x.shape), y.tolist()) for x, y, _ in loader]
    [((2, 3), [0, 1]), ((2, 3), [2, 3]), ((1, 3), [4])]
    """
    for name, number in (("batch_size", batch_size), ("steps", steps)):
        if number is not None and (isinstance(number, bool) or int(number) != number or number < 1):
            raise ValueError(f"{name} of {purpose} is a whole number of at least 1; got {number!r}.")
    weights = None if class_weight is None else check_class_weight(class_weight)
    if x is None:
        raise ValueError(f"{purpose} needs data: x is None.")
    if is_array_like(x):
        given = zip((x, y, sample_weight), PART_NAMES, strict=True)
        parts: Any = tuple(to_tensors(part, name) for part, name in given)
        if weights is not None:
            count_samples(parts)  # before lengths are compared with those of the new weights
            parts = apply_class_weight(parts, weights)
        return ArrayLoader(parts, batch_size, steps, shuffle)
    what = _describe(x)
    for name, part in (("y", y), ("sample_weight", sample_weight)):
        if part is not None:
            raise ValueError(f"x is {what}, whose batches bring their own {name}; do not pass {name}.")
    if isinstance(x, PyDataset):
        return PyDatasetLoader(x, steps, weights, shuffle)
    if isinstance(x, Dataset):
        x = _load_dataset(x, batch_size or DEFAULT_BATCH_SIZE, shuffle)
    if isinstance(x, DataLoader):
        return StreamLoader(x, steps, weights, what, list_is_batch=True)
    if isinstance(x, Iterable) and not isinstance(x, str | bytes | Mapping | list | tuple):
        return StreamLoader(x, steps, weights, what)
    to_tensors(x, "x")  # raises the error that says what data may be
    raise ValueError("x holds no array.")


def _load_dataset(dataset: Dataset[Any], batch_size: int, shuffle: bool | str) -> DataLoader[Any]:
    if isinstance(dataset, IterableDataset):
        return DataLoader(dataset, batch_size=batch_size)
    if not hasattr(dataset, "__len__"):
        raise ValueError("A torch Dataset needs __len__; or make it an IterableDataset.")
    if len(dataset) == 0:
        raise ValueError(f"There are no samples: {type(dataset).__name__} has length 0.")
    return DataLoader(dataset, batch_size=batch_size, shuffle=bool(shuffle))


def _describe(source: Any) -> str:
    for kind, name in ((PyDataset, "a PyDataset"), (DataLoader, "a torch DataLoader"), (Dataset, "a torch Dataset")):
        if isinstance(source, kind):
            return name
    return "a generator" if isinstance(source, Iterator) else f"an iterable of batches ({type(source).__name__})"


def _length_of(source: Iterable[Any]) -> int | None:
    try:
        return len(source)  # type: ignore[arg-type]
    except TypeError:  # generators, and DataLoaders over an IterableDataset, know no length
        return None
