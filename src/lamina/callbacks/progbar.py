"""The progress bar: in place on a terminal, one line at the end elsewhere."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Iterable
from typing import Any

from lamina.callbacks.base import to_python

_BOLD, _GREEN, _WHITE, _PLAIN = "\x1b[1m", "\x1b[32m", "\x1b[37m", "\x1b[0m"
_NARROWEST_BAR = 5


class Progbar:
    """A bar such as `3/12 ━━━━━━━━━ 2s 250ms/step - loss: 0.5`, with the time left, then the time it took.

    On a terminal (or in a notebook) it is redrawn in place, cut to the width of the terminal; where the output is a
    file or a pipe, and with `verbose=2`, it is one line at the end.

    Parameters: `target`, the number of steps, None when unknown; `width` of the bar in characters; `verbose`, 0 for
    nothing, 1, 2; `interval`, least seconds between two drawings; `stateful_metrics`, names shown as they come, while
    others are averaged over the steps; `stateless_metrics`, names averaged (then all others are shown as they come);
    `unit_name`, what a step is called. Errors: ValueError when both lists are given.

    >>> bar = Progbar(2, verbose=2)
    >>> bar.update(2, [("loss", 0.5)], finalize=True)
    2/2 - 0s - ...s/step - loss: 0.5000
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
        stateless_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
    ):
        self.target = target
        self.width = width
        self.verbose = verbose
        self.interval = interval
        self.unit_name = unit_name
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ValueError("Pass stateful_metrics (all others are averaged) or stateless_metrics, not both.")
        self._stateful = set(stateful_metrics or ())
        self._stateless = None if stateless_metrics is None else set(stateless_metrics)
        self._in_place = verbose == 1 and _is_interactive()
        self._latest: dict[str, Any] = {}
        self._sums: dict[str, tuple[float, int]] = {}  # of averaged metrics: the sum over steps, and their number
        self._seen = 0
        self._start = time.time()
        self._first_step_end: float | None = None
        self._last_step_end = self._start
        self._last_drawing = 0.0
        self._drawn = 0  # visible characters of the last drawing, which the next one must cover

    def add(self, n: int, values: Iterable[tuple[str, Any]] | None = None) -> None:
        """Counts n more steps."""
        self.update(self._seen + n, values)

    def update(
        self, current: int, values: Iterable[tuple[str, Any]] | None = None, finalize: bool | None = None
    ) -> None:
        """Says that `current` steps are done, with the metrics as (name, value) pairs; values may be tensors.

        `finalize` draws at once and ends the line; by default that is so when `current` reaches the target.
        """
        now = time.time()
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        self._record(values or (), current - self._seen, finalize)
        if current > self._seen:
            self._seen, self._last_step_end = current, now
            if self._first_step_end is None:
                self._first_step_end = now
        if self._in_place:
            if finalize or now - self._last_drawing >= self.interval:
                self._draw(now, finalize)
                self._last_drawing = now
        elif finalize and self.verbose:
            total = self.target or self._seen
            pieces = [f"{self._seen}/{total}", f"{now - self._start:.0f}s", self._time_per_step(), *self._metrics()]
            _write(" - ".join(pieces) + "\n")

    def _record(self, values: Iterable[tuple[str, Any]], steps: int, finalize: bool) -> None:
        for name, value in values:
            self._latest[name] = value
            if self._averages(name) and not finalize:  # the last values are results, no more means in the making
                # A value that comes with no new step counts as one, so that it is seen at all.
                total, count = self._sums.get(name, (0.0, 0))
                total, count = total + float(value) * max(steps, 1), count + max(steps, 1)
                self._sums[name], self._latest[name] = (total, count), total / count

    def _averages(self, name: str) -> bool:
        if self._stateless is not None:
            return name in self._stateless
        return name not in self._stateful

    def _metrics(self) -> list[str]:
        return [f"{name}: {_number(to_python(value))}" for name, value in self._latest.items()]

    def _seconds_per_step(self) -> float:
        """Of all steps but the first, which warms up, where there are others."""
        if self._first_step_end is None:
            return 0.0
        if self._seen > 1:
            since_first = self._last_step_end - self._first_step_end
            if since_first > 0:
                return since_first / (self._seen - 1)
        return (self._last_step_end - self._start) / self._seen

    def _time_per_step(self) -> str:
        seconds = self._seconds_per_step()
        if seconds >= 1:
            text = f"{seconds:.0f}s"
        elif seconds >= 1e-3:
            text = f"{seconds * 1e3:.0f}ms"
        else:
            text = f"{seconds * 1e6:.0f}us"
        return f"{text}/{self.unit_name}"

    def _draw(self, now: float, finalize: bool) -> None:
        target = self.target or (self._seen if finalize else None)
        done = target is not None and self._seen >= target
        if target is None:
            counter, remaining = f"{self._seen:>7}/Unknown", now - self._start
        else:
            counter = f"{self._seen:>{len(str(target))}}/{target}"
            remaining = now - self._start if done or finalize else self._seconds_per_step() * (target - self._seen)
        clock = _clock(remaining)
        metrics = "".join(f" - {metric}" for metric in self._metrics())
        tail = f" {self._time_per_step()}{metrics}"
        columns = shutil.get_terminal_size().columns - 1
        width = self.width if target is not None else 0
        fixed = len(counter) + len(clock) + (2 if width else 1)
        if not finalize:  # a finished line may wrap; one that is redrawn must not
            width = min(width, max(columns - fixed - len(tail), _NARROWEST_BAR)) if width else 0
            room = columns - fixed - width
            if len(tail) > room:
                tail = tail[: max(room - 1, 0)] + "…"
        length = fixed + width + len(tail)
        filled = int(width * min(self._seen / target, 1.0)) if target else 0
        head = counter if target is None else f"{_BOLD}{counter}{_PLAIN}"
        green = f"{_GREEN}{'━' * filled}{_PLAIN}" if filled else ""
        bar = f"{green}{_WHITE}{'━' * (width - filled)}{_PLAIN} " if width else ""
        line = f"\r{head} {bar}{_BOLD}{clock}{_PLAIN}{tail}"
        _write(line + " " * (self._drawn - length) + ("\n" if finalize else ""))
        self._drawn = 0 if finalize else length


def _number(value: Any) -> str:
    if isinstance(value, int | float):
        return f"{value:.4f}" if abs(value) > 1e-3 or not math.isfinite(value) else f"{value:.4e}"
    return str(value)


def _clock(seconds: float) -> str:
    seconds = int(seconds)
    if seconds >= 3600:
        return f"{seconds // 3600}:{seconds % 3600 // 60:02}:{seconds % 60:02}"
    return f"{seconds // 60}:{seconds % 60:02}" if seconds >= 60 else f"{seconds}s"


def _is_interactive() -> bool:
    """A terminal, or a notebook, which redraws a line too although it is no terminal."""
    return sys.stdout.isatty() or "ipykernel" in sys.modules


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:  # a terminal whose encoding has no line characters
        sys.stdout.write(text.replace("━", "=").replace("…", "~"))
    sys.stdout.flush()
