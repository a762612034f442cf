"""Sliding windows: how a kernel, a stride, a dilation and a padding turn one size into another."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import Any

from lamina.base.errors import ShapeError
from lamina.shapes.broadcasting import multiply, total
from lamina.shapes.dim import Dim, Size, ceil_div, value_of


def window(n: Any, kernel: int, stride: int = 1, dilation: int = 1, pad: int = 0) -> Any:
    """Positions of a window: ⌊(n + pad − (dilation·(kernel − 1) + 1))/stride⌋ + 1; an open size stays open.

    >>> window(224, 7, stride=2, pad=6), window(None, 7)
    (112, None)
    """
    return None if n is None else (n + pad - (dilation * (kernel - 1) + 1)) // stride + 1


@dataclass(frozen=True)
class Window:
    """The window of one spatial axis: sizes in positions of that axis.

    `padding` is "valid" (none), "same" (⌈n/stride⌉ positions), "causal" (all before) or a pair (before, after).

    >>> Window(3, stride=2, padding="same").output(7)
    4
    """

    kernel: int
    stride: int = 1
    dilation: int = 1
    padding: str | tuple[int, int] = "valid"

    @property
    def reach(self) -> int:
        """Positions from the window's first to its last, both counted: dilation·(kernel − 1) + 1."""
        return self.dilation * (self.kernel - 1) + 1

    def output(self, n: Size) -> Size:
        """Positions of the window on `n` positions. Errors: a ShapeError where not one position fits."""
        if self.padding == "same":
            return ceil_div(n, self.stride)
        pad = sum(self.pads(value_of(n)))
        if isinstance(n, Dim) and self.dilation > 1:
            span = Dim.written(f"({self.dilation}·({self.kernel} − 1) + 1)", self.reach)
            result = (n + pad - span) // self.stride + 1  # type: ignore[operator]
        else:
            result = window(n, self.kernel, self.stride, self.dilation, pad)
        value = value_of(result)
        if value is not None and value < 1:
            size = value_of(n)
            counted = "one position" if size == 1 else f"{size} positions"
            reach = f"{self.reach}" if self.dilation == 1 else f"{self.reach} (kernel {self.kernel}, dilated)"
            raise ShapeError(
                f"a window of {reach} does not fit into {size}",
                expected=f"{self.reach - sum(self.pads(size))} or more",
                because=f"the window of {reach} is larger than the {counted} it slides over",
                mend='padding="same", a smaller kernel, or a larger input',
            )
        return result

    def reading(self, n: int | None) -> Reading:
        """The input positions that an output position reads, on an axis of `n` positions."""
        unknown = self.padding == "same" and n is None and self.stride > 1
        before = (self.reach - 1) // 2 if unknown or (n is None and self.padding == "same") else self.pads(n)[0]
        return Reading(self.stride, ((-before, self.reach - 1 - before),), anchored=not unknown)

    def pads(self, n: int | None) -> tuple[int, int]:
        """Zeros before and after `n` positions. For "same" they depend on `n` when the stride is above 1."""
        if isinstance(self.padding, tuple):
            return self.padding
        if self.padding == "causal":
            return self.reach - 1, 0
        if self.padding == "valid":
            return 0, 0
        if n is None:
            raise ValueError('"same" padding of an open size is not known')
        needed = max((-(-n // self.stride) - 1) * self.stride + self.reach - n, 0)
        return needed // 2, needed - needed // 2


@dataclass(frozen=True)
class TransposedWindow:
    """The window of a transposed convolution along one axis: every position is spread over `kernel` positions.

    valid: (n − 1)·stride + max(reach, stride) positions; same: n·stride; with `output_padding`:
    (n − 1)·stride + reach − 2·⌊reach/2⌋ (same) or − 0 (valid) + output_padding.

    >>> TransposedWindow(3, stride=2, padding="same").output(5)
    10
    """

    kernel: int
    stride: int = 1
    dilation: int = 1
    padding: str = "valid"
    output_padding: int | None = None

    @property
    def reach(self) -> int:
        return self.dilation * (self.kernel - 1) + 1

    def output(self, n: Size) -> Size:
        if n is None:
            return None
        if self.output_padding is None:
            if self.padding == "same":
                return n * self.stride
            return total([n * self.stride, max(self.reach - self.stride, 0)])
        cut = 2 * (self.reach // 2) if self.padding == "same" else 0
        return total([multiply([n - 1, self.stride]), self.reach - cut + self.output_padding])

    def reading(self, n: int | None = None) -> Reading:
        """The input positions that an output position reads: those whose kernel reaches it."""
        places = [position + self.crop for position in range(self.stride)]
        intervals = tuple((-((self.reach - 1 - place) // self.stride), place // self.stride) for place in places)
        return Reading(1, intervals)

    @property
    def crop(self) -> int:
        """Positions that are left out in front, of those over which the first position is spread."""
        if self.padding == "valid":
            return 0
        if self.output_padding is not None:  # half of what it adds lies in front, as in Keras
            return max(self.reach // 2 - (self.output_padding + 1) // 2, 0)
        return max(self.reach - self.stride, 0) // 2


@dataclass(frozen=True)
class Reading:
    """Which positions of its input's axis an output position reads.

    The output positions 0, 1, ... read `intervals` (first and last position, both counted; negative ones lie in the
    padding); after the last interval they begin again, `step` positions further. One interval for a window, several
    for an enlargement; a step of 0 is the same for all. `anchored` is False where the extent is known and the place is
    not ("same" padding of an open size).

    >>> reading = Window(3, stride=2, padding="same").reading(8)
    >>> reading.interval(1), reading.size, reading.stride
    ((2, 4), 3, Fraction(2, 1))
    """

    step: int = 1
    intervals: tuple[tuple[int, int], ...] = ((0, 0),)
    anchored: bool = True

    @property
    def period(self) -> int:
        """Output positions until the intervals begin again."""
        return len(self.intervals)

    def interval(self, position: int) -> tuple[int, int]:
        """The first and the last position that an output position reads."""
        rounds, place = divmod(position, self.period)
        first, last = self.intervals[place]
        return first + self.step * rounds, last + self.step * rounds

    @property
    def size(self) -> int:
        """Positions from the first to the last that one output position reads, at most."""
        return max(last - first + 1 for first, last in self.intervals)

    @property
    def stride(self) -> Fraction:
        """Positions of the input from one output position to the next, on average."""
        return Fraction(self.step, self.period)

    @property
    def offset(self) -> int:
        """The first position that output position 0 reads; negative in the padding."""
        return self.intervals[0][0]

    def after(self, before: Reading) -> Reading:
        """What is read of the input of a layer that reads by `before` and is followed by one that reads by this."""
        rounds = before.period // gcd(self.step, before.period) if self.step else 1
        places = (self.interval(position) for position in range(self.period * rounds))
        return Reading(
            before.step * (self.step * rounds // before.period),
            tuple((before.interval(first)[0], before.interval(last)[1]) for first, last in places),
            self.anchored and before.anchored,
        )

    def joined(self, other: Reading) -> Reading | None:
        """What two paths read together; None where they move at different strides."""
        if self.stride != other.stride:
            return None
        period = lcm(self.period, other.period)
        pairs = [(self.interval(position), other.interval(position)) for position in range(period)]
        hull = tuple((min(a[0], b[0]), max(a[1], b[1])) for a, b in pairs)
        return Reading(self.step * (period // self.period), hull, self.anchored and other.anchored)


Readings = list[dict[str, Reading | None]]  # for each input, by axis name
HERE = Reading()  # every position reads itself
FIRST = Reading(step=0)  # every position reads the only one there is: an axis of 1 that is stretched
