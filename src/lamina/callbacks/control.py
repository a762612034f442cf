"""Callbacks that steer training: stopping, the learning rate, saving."""

from __future__ import annotations

import inspect
import math
import numbers
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lamina.base.errors import outside_frame
from lamina.base.spellings import accept_old_spellings
from lamina.callbacks.base import HOOKS, Callback, Logs

# The direction of metrics by the end of their names, for models whose metrics do not say it themselves.
_LARGER_IS_BETTER = re.compile(
    r"(^|_)(acc|accuracy|auc|precision|recall|f1_score|fbeta_score|iou|io_u|dice|r2_score|true_positives|true_negatives"
    r"|cosine_similarity|sensitivity_at_specificity|specificity_at_sensitivity|precision_at_recall|recall_at_precision)$"
)
_SMALLER_IS_BETTER = re.compile(
    r"(^|_)(loss|mae|mse|mape|msle|rmse|error|crossentropy|hinge|poisson|kl_divergence|logcosh|log_cosh|huber"
    r"|false_positives|false_negatives)$"
)


class MonitorCallback(Callback):
    """What callbacks share that watch one entry of the logs: its direction and what counts as an improvement.

    Parameters: `monitor`, the entry; `mode`, `"min"`, `"max"` or `"auto"` (read from the metric of that name, then from
    the name); `baseline`, where to start from; `min_delta`, the least change that counts.

    Errors: ValueError for another mode, and, when training first reports the entry, for `"auto"` with a metric whose
    direction is not known.
    """

    def __init__(
        self, monitor: str = "val_loss", mode: str = "auto", baseline: float | None = None, min_delta: float = 0
    ):
        super().__init__()
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode of {type(self).__name__} is 'auto', 'min' or 'max'; got {mode!r}.")
        self.monitor = monitor
        self.mode = mode
        self.best: float | None = baseline
        self.min_delta = abs(min_delta)
        self._sign: int | None = {"min": -1, "max": 1}.get(mode)

    def _monitored(self, logs: Logs | None) -> Any:
        """The watched value of an epoch, or None with a warning."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            known = ", ".join(logs or {}) or "none"
            hint = " Pass validation data." if self.monitor.startswith("val_") else ""
            warnings.warn(
                f"{type(self).__name__} watches {self.monitor!r}, which this epoch's logs do not have; they have: "
                f"{known}.{hint}",
                UserWarning,
                stacklevel=outside_frame(),
            )
        return value

    def _is_improvement(self, value: float, reference: float | None) -> bool:
        if reference is None:
            return True
        if self._sign is None:
            self._sign = self._find_direction()
        return bool(value * self._sign > reference * self._sign + self.min_delta)

    def _find_direction(self) -> int:
        name = self.monitor.removeprefix("val_")
        for metric in _all_metrics(self.model):
            own = getattr(metric, "name", None)
            direction = getattr(metric, "_direction", None)
            if direction in ("up", "down") and own is not None and (name == own or name.endswith(f"_{own}")):
                return 1 if direction == "up" else -1
        bare = re.sub(r"_\d+$", "", name)  # auc_1 is the second AUC of a process
        if _LARGER_IS_BETTER.search(bare):
            return 1
        if _SMALLER_IS_BETTER.search(bare):
            return -1
        raise ValueError(
            f"{type(self).__name__} cannot know whether {self.monitor!r} should grow or shrink; say mode='max' or "
            "mode='min'."
        )


def _all_metrics(model: Any) -> list[Any]:
    """The model's metrics, also those that sit within a compiled group."""
    found: list[Any] = []
    waiting = list(getattr(model, "metrics", None) or [])
    while waiting:
        metric = waiting.pop(0)
        found.append(metric)
        waiting.extend(getattr(metric, "metrics", None) or [])
    return found


class EarlyStopping(MonitorCallback):
    """Ends training when a metric has not improved for some epochs.

    Parameters: `monitor`, `mode`; `min_delta`, the least change that counts; `patience`, epochs without improvement
    after which training ends; `verbose=1` says so; `baseline`, a value that must be beaten to be patient again;
    `restore_best_weights`, to go back to the weights of the best epoch at the end; `start_from_epoch`, epochs before it
    are not looked at.

    >>> stopping = EarlyStopping(patience=2)
    >>> stopping.patience, stopping.monitor
    (2, 'val_loss')
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ):
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = patience
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self.on_train_begin()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best = None
        self.best_epoch = 0
        self.best_weights: Any = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        current = self._monitored(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            # Where nothing ever improves (not-a-number all along) there are weights to go back to as well.
            self.best_weights, self.best_epoch = self.model.get_weights(), epoch
        self.wait += 1
        if self._is_improvement(current, self.best):
            self.best, self.best_epoch = current, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._is_improvement(current, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch > 0 and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping, {self.monitor} no longer improves")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose:
                print(f"The weights of the best epoch, {self.best_epoch + 1}, are restored.")
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(MonitorCallback):
    """Multiplies the learning rate by `factor` when a metric has not improved for `patience` epochs.

    Parameters: `monitor`, `mode`; `factor`, below 1; `patience`; `verbose=1` says so; `min_delta`, the least change
    that counts; `cooldown`, epochs after a reduction in which nothing is counted; `min_lr`, the least learning rate.
    The epoch's logs get `learning_rate`. Errors: ValueError for a factor of 1 or more.
    """

    @accept_old_spellings
    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ):
        super().__init__(monitor, mode, min_delta=min_delta)
        if not 0 <= factor < 1.0:
            raise ValueError(f"factor of ReduceLROnPlateau is at least 0 and below 1; got {factor!r}.")
        self.factor = factor
        self.patience = patience
        self.verbose = verbose
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.on_train_begin()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.best = None
        self.wait = 0
        self.cooldown_counter = 0

    def in_cooldown(self) -> bool:
        return self.cooldown_counter > 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        current = self._monitored(logs)
        rate = float(self.model.optimizer.learning_rate)
        if logs is not None:
            logs["learning_rate"] = rate
        if current is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self._is_improvement(current, self.best):
            self.best = current
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and rate > self._single(self.min_lr):
                reduced = max(rate * self.factor, self.min_lr)
                self.model.optimizer.learning_rate = reduced
                if self.verbose:
                    print(f"\nEpoch {epoch + 1}: ReduceLROnPlateau sets the learning rate to {reduced:g}.")
                self.cooldown_counter = self.cooldown
                self.wait = 0

    @staticmethod
    def _single(value: float) -> float:
        """In the precision of the optimizer's variable, or the least rate would seem not quite reached."""
        return float(torch.tensor(value, dtype=torch.float32))


class LearningRateScheduler(Callback):
    """Sets the learning rate at the start of each epoch.

    Parameters: `schedule(epoch, learning_rate)` or `schedule(epoch)`, which returns the new rate; `verbose=1` says it.
    The epoch's logs get `learning_rate`. Errors: ValueError when the schedule returns no number, or the model's
    optimizer has no `learning_rate`.

    >>> LearningRateScheduler(lambda epoch: 0.1 * 0.5**epoch).schedule(1)
    0.05
    """

    def __init__(self, schedule: Callable[..., Any], verbose: int = 0):
        super().__init__()
        self.schedule = schedule
        self.verbose = verbose

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = self.model.optimizer
        if not hasattr(optimizer, "learning_rate"):
            raise ValueError(f"{type(optimizer).__name__} has no learning_rate that LearningRateScheduler could set.")
        current = float(optimizer.learning_rate)
        rate = self.schedule(epoch, current) if self._takes_rate() else self.schedule(epoch)
        is_scalar_tensor = isinstance(rate, torch.Tensor) and rate.numel() == 1
        if not is_scalar_tensor and (not isinstance(rate, numbers.Real) or isinstance(rate, bool)):
            raise ValueError(
                f"The schedule of LearningRateScheduler must return a number; for epoch {epoch} got {rate!r}."
            )
        optimizer.learning_rate = float(rate)
        if self.verbose:
            print(f"\nEpoch {epoch + 1}: LearningRateScheduler sets the learning rate to {float(rate):g}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)

    def _takes_rate(self) -> bool:
        try:
            inspect.signature(self.schedule).bind(0, 0.1)
        except TypeError:
            return False
        return True


class TerminateOnNaN(Callback):
    """Ends training when the loss of a batch is infinite or not a number.

    Parameters: `raise_error=True` makes it a RuntimeError instead. Looking at each loss waits for the device.
    """

    takes_tensors = True

    def __init__(self, raise_error: bool = False):
        super().__init__()
        self.raise_error = raise_error

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(float(loss)):
            return
        message = f"Batch {batch}: the loss is {float(loss)}"
        if self.raise_error:
            raise RuntimeError(f"{message}; training ends here.")
        print(f"{message}; training ends here.")
        self.model.stop_training = True


class LambdaCallback(Callback):
    """A callback from functions: `LambdaCallback(on_epoch_end=lambda epoch, logs: ...)`.

    Parameters: any hook of `Callback` by name. Errors: TypeError for a name that is no hook.

    >>> LambdaCallback(on_epoch_begin=lambda epoch, logs: print("epoch", epoch)).on_epoch_begin(3, {})
    epoch 3
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **kwargs: Callable[..., Any],
    ):
        super().__init__()
        unknown = sorted(set(kwargs) - set(HOOKS))
        if unknown:
            raise TypeError(f"{', '.join(unknown)} is no hook of a callback; the hooks are {', '.join(HOOKS)}.")
        named = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
        }
        for hook, function in {**named, **kwargs}.items():
            if function is not None:
                setattr(self, hook, function)


class ModelCheckpoint(MonitorCallback):
    """Saves the model, or its weights, after epochs or every so many batches.

    Parameters: `filepath`, ending in `.keras` (or the old `.h5`), with `save_weights_only` in `.weights.h5`; it may
    hold `{epoch:02d}`, `{batch}` and entries of the logs such as `{val_loss:.2f}`; `monitor`, `mode` and
    `save_best_only`, to save only when the metric improved; `save_freq`, `"epoch"` or a number of batches;
    `initial_value_threshold`, a value that the first saved model must beat; `verbose=1` says what is done.

    Errors: ValueError for another ending or `save_freq`; KeyError for a placeholder that the logs do not have.
    """

    @accept_old_spellings
    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ):
        super().__init__(monitor, mode, baseline=initial_value_threshold)
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        self._epoch = 0
        self._last_batch = 0
        self._batches_since_saving = 0
        if save_freq != "epoch" and (not isinstance(save_freq, int) or isinstance(save_freq, bool) or save_freq < 1):
            raise ValueError(f"save_freq is 'epoch' or a number of batches; got {save_freq!r}.")
        if save_weights_only and not self.filepath.endswith(".weights.h5"):
            raise ValueError(f"With save_weights_only=True, filepath ends in '.weights.h5'; got {self.filepath!r}.")
        if not save_weights_only and not self.filepath.endswith((".keras", ".h5")):
            raise ValueError(f"filepath ends in '.keras' (or the old '.h5'); got {self.filepath!r}.")

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            return
        # The batch number falls back at a new epoch, while the count goes on.
        self._batches_since_saving += batch + 1 if batch <= self._last_batch else batch - self._last_batch
        self._last_batch = batch
        if self._batches_since_saving >= int(self.save_freq):
            self._batches_since_saving = 0
            self._save(self._epoch, batch, logs or {})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, None, logs or {})

    def _save(self, epoch: int, batch: int | None, logs: Logs) -> None:
        path = self._path(epoch, batch, logs)
        reason = self._reason_to_save(logs)
        if reason is None:
            if self.verbose:
                print(f"\nEpoch {epoch + 1}: {self.monitor} is no better than {self.best:.5f}; the model is not saved")
            return
        if self.verbose:
            print(f"\nEpoch {epoch + 1}: {reason}saving to {path}")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path, overwrite=True)
        else:
            self.model.save(path, overwrite=True)

    def _reason_to_save(self, logs: Logs) -> str | None:
        """Words that lead the message, empty where nothing needs to be said; None when the model is not to be saved."""
        if not self.save_best_only:
            return ""
        current = self._monitored(logs)
        if current is None:
            return ""  # better one model too many than none at all; the warning is out
        if getattr(current, "ndim", 0) > 0:
            warnings.warn(
                f"ModelCheckpoint can compare numbers only, and {self.monitor!r} is {current!r}; the model is saved.",
                UserWarning,
                stacklevel=outside_frame(),
            )
            return ""
        if not self._is_improvement(current, self.best):
            return None
        before = "" if self.best is None else f" from {self.best:.5f}"
        self.best = current
        return f"{self.monitor} improved{before} to {current:.5f}, "

    def _path(self, epoch: int, batch: int | None, logs: Logs) -> str:
        places = {"epoch": epoch + 1, **({} if batch is None else {"batch": batch + 1}), **logs}
        try:
            return self.filepath.format(**places)
        except KeyError as error:
            known = ", ".join(places)
            raise KeyError(
                f"filepath {self.filepath!r} names {error}, which is not known here; known are {known}."
            ) from error
