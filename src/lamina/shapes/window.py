"""Sliding windows: how a kernel, a stride, a dilation and a padding turn one size into another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lamina.base.errors import ShapeError
from lamina.shapes.broadcasting import multiply, total
from lamina.shapes.dim import Size, ceil_div, value_of


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
        result = window(n, self.kernel, self.stride, self.dilation, sum(self.pads(value_of(n))))
        value = value_of(result)
        if value is not None and value < 1:
            size = value_of(n)
            reach = f"{self.reach}" if self.dilation == 1 else f"{self.reach} (kernel {self.kernel}, dilated)"
            raise ShapeError(
                f"a window of {reach} does not fit into {size}",
                because=f"the window of {reach} is larger than the {size} positions it slides over",
                mend='padding="same", a smaller kernel, or a larger input',
            )
        return result

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
