"""Callbacks that keep or show what happened: `History`, `ProgbarLogger`, `CSVLogger`."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from lamina.callbacks.base import Callback, Logs
from lamina.callbacks.curves import draw_curves
from lamina.callbacks.progbar import Progbar


class History(Callback):
    """What `fit` returns: `history`, a list of values per metric, one an epoch, and `epoch`, the epochs' numbers.

    >>> history = History()
    >>> history.on_train_begin()
    >>> history.on_epoch_end(0, {"loss": 0.5})
    >>> history.history
    {'loss': [0.5]}
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []
        self._epochs: dict[str, list[int]] = {}  # at which epochs each value came

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
            self._epochs.setdefault(name, []).append(epoch)

    def plot(self, to_file: str | os.PathLike[str] | None = None) -> Any:
        """The curves of each metric, in training and validation, over the epochs: a matplotlib Figure, or a file too.

        The format of `to_file` is that of its suffix (".png", ".svg", ".pdf"). Errors: a LaminaError when no epoch has
        ended; a MissingPackageError without matplotlib, which `pip install lamina[plot]` installs.

        >>> history = History()
        >>> for epoch, loss in enumerate((0.9, 0.5)):
        ...     history.on_epoch_end(epoch, {"loss": loss, "val_loss": loss + 0.1})
        >>> [axes.get_title() for axes in history.plot().axes]
        ['loss']
        """
        return draw_curves(self.history, self._epochs, to_file)


class ProgbarLogger(Callback):
    """Shows the progress of `fit`, `evaluate` and `predict` with a `Progbar`; `params` give verbose, epochs, steps."""

    takes_tensors = True  # few drawings a second look at the logs
    interval = 0.1  # least seconds between two of them

    def __init__(self) -> None:
        super().__init__()
        self._bar: Progbar | None = None
        self._seen = 0
        self._in_fit = False
        self._verbose: int = 1
        self._steps: int | None = None
        self._epochs = 1

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        verbose = params.get("verbose", "auto")
        self._verbose = 1 if verbose == "auto" else int(verbose)
        self._steps = params.get("steps")
        self._epochs = params.get("epochs", 1)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._in_fit = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._in_fit = False

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._reset()
        if self._verbose and self._epochs > 1:
            print(f"Epoch {epoch + 1}/{self._epochs}", flush=True)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._show(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._finish(logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        if not self._in_fit:
            self._reset()

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if not self._in_fit:
            self._show(batch, logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        if not self._in_fit:
            self._finish(logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._reset()

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._show(batch, None)  # the logs of predict are its outputs

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._finish(None)

    def _reset(self) -> None:
        self._seen = 0
        # The loop's logs are means over the epoch already: nothing is averaged again.
        self._bar = None
        if self._verbose:
            self._bar = Progbar(self._steps, verbose=self._verbose, interval=self.interval, stateless_metrics=())

    def _show(self, batch: int, logs: Logs | None) -> None:
        self._seen = batch + 1
        if self._bar is not None:
            self._bar.update(self._seen, (logs or {}).items(), finalize=False)

    def _finish(self, logs: Logs | None) -> None:
        if self._bar is not None:
            # An epoch that ended early, or whose length nobody knew, ends at what was seen.
            self._bar.target = self._seen
            self._bar.update(self._seen, (logs or {}).items(), finalize=True)


class CSVLogger(Callback):
    """Writes the logs of each epoch as a row of a CSV file: `epoch`, then the metrics in the order of their names.

    The columns are those of the first epoch, with `val_...` of each metric, so that an epoch with validation finds its
    place; a value that an epoch lacks is `NA`.

    Parameters: `filename`; `separator`; `append`, to go on with a file that is there instead of starting it anew.
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False):
        super().__init__()
        self.filename = os.fspath(filename)
        self.separator = separator
        self.append = append
        self._file: TextIO | None = None
        self._writer: csv.DictWriter[str] | None = None
        self._needs_header = True

    def on_train_begin(self, logs: Logs | None = None) -> None:
        path = Path(self.filename)
        self._needs_header = not (self.append and path.exists() and path.stat().st_size > 0)
        self._file = path.open("a" if self.append else "w", newline="", encoding="utf-8")
        self._writer = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self._file is None:
            raise ValueError("CSVLogger writes between on_train_begin and on_train_end; training has not begun.")
        logs = logs or {}
        if self._writer is None:
            names = sorted(logs)
            validation = [f"val_{name}" for name in names if not name.startswith("val_")]
            columns = ["epoch", *names, *(name for name in validation if name not in logs)]
            self._writer = csv.DictWriter(
                self._file, columns, restval="NA", delimiter=self.separator, lineterminator="\n", extrasaction="ignore"
            )
            if self._needs_header:
                self._writer.writeheader()
        self._writer.writerow({"epoch": epoch, **{name: _cell(value) for name, value in logs.items()}})
        self._file.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._writer = None


def _cell(value: Any) -> Any:
    if isinstance(value, str) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0:
        return value
    return f'"[{", ".join(map(str, value))}]"'
