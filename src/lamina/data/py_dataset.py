"""A data set that makes its batches one by one, in threads if asked."""

from __future__ import annotations

from typing import Any


class PyDataset:
    """Base of a user's data set of batches: subclass it, give the number of batches and how to make each.

    `__len__()` is the number of batches, `__getitem__(index)` returns batch `index` as `(x,)`, `(x, y)` or
    `(x, y, sample_weight)`. `on_epoch_begin()` and `on_epoch_end()` are called around each pass. A data set without end
    overrides `num_batches` to return None; then `steps_per_epoch` is needed.

    Parameters: `workers`, how many batches are made at the same time (threads when over 1); `use_multiprocessing`,
    taken for compatibility: the workers are threads in either case, for which NumPy, torch and file reads release the
    lock; `max_queue_size`, how many finished batches may wait.

    Errors: ValueError for a negative number of workers or a queue without place.

    >>> class Squares(PyDataset):
    ...     def __len__(self): return 3
    ...     def __getitem__(self, index): return [[index]], [index**2]
    >>> len(Squares(workers=2))
    3
    """

    # Class attributes, so that a subclass that forgets `super().__init__()` works with the defaults.
    workers = 1
    use_multiprocessing = False
    max_queue_size = 10

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10):
        if workers < 0 or max_queue_size < 1:
            raise ValueError(f"workers is 0 or more and max_queue_size 1 or more; got {workers} and {max_queue_size}.")
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(index), which returns a batch.")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__(), the number of batches.")

    @property
    def num_batches(self) -> int | None:
        """The number of batches in a pass; None for a data set without end."""
        return len(self)

    def on_epoch_begin(self) -> None:
        """Called before the first batch of a pass."""

    def on_epoch_end(self) -> None:
        """Called after the last batch of an epoch, the place to shuffle."""


Sequence = PyDataset
