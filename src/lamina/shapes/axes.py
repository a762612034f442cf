"""The sizes of a tensor by the names of its axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lamina.shapes.dim import Dim, Size, value_of

SPATIAL = {1: ("steps",), 2: ("height", "width"), 3: ("depth", "height", "width")}


def axis_names(rank: int, data_format: str = "channels_last") -> tuple[str, ...]:
    """The usual names of a tensor's axes.

    >>> axis_names(4), axis_names(4, "channels_first")
    (('batch', 'height', 'width', 'channels'), ('batch', 'channels', 'height', 'width'))
    >>> axis_names(2), axis_names(3)
    (('batch', 'features'), ('batch', 'steps', 'features'))
    """
    if rank == 0:
        return ()
    if rank == 1:
        return ("batch",)
    if rank == 2:
        return ("batch", "features")
    spatial = SPATIAL.get(rank - 2) or tuple(f"axis {axis}" for axis in range(1, rank - 1))
    last = "features" if rank == 3 and data_format == "channels_last" else "channels"
    return ("batch", last, *spatial) if data_format == "channels_first" else ("batch", *spatial, last)


@dataclass(frozen=True)
class Axes:
    """A shape whose axes have names: what a layer's shape rule takes and returns.

    >>> image = Axes(("batch", "height", "width", "channels"), (None, 28, 28, 3))
    >>> image.replace(channels=16).shape
    (None, 28, 28, 16)
    """

    names: tuple[str, ...]
    sizes: tuple[Size, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.sizes):
            raise ValueError(f"{len(self.names)} names for {len(self.sizes)} sizes: {self.names}, {self.sizes}")

    @classmethod
    def of(cls, shape: Sequence[Size], data_format: str = "channels_last") -> Axes:
        return cls(axis_names(len(shape), data_format), tuple(shape))

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The plain shape: numbers, and None where a size is not known."""
        return tuple(value_of(size) for size in self.sizes)

    @property
    def rank(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[tuple[str, Size]]:
        return iter(zip(self.names, self.sizes, strict=True))

    def __getitem__(self, key: str | int) -> Any:
        return self.sizes[key if isinstance(key, int) else self.names.index(key)]

    def replace(self, **sizes: Size) -> Axes:
        """The same axes with other sizes, by name."""
        unknown = set(sizes) - set(self.names)
        if unknown:
            raise KeyError(f"no axis {sorted(unknown)} among {self.names}")
        return Axes(self.names, tuple(sizes.get(name, size) for name, size in self))

    def replace_at(self, axis: int, size: Size) -> Axes:
        """The same axes with another size at a position."""
        sizes = list(self.sizes)
        sizes[axis] = size
        return Axes(self.names, tuple(sizes))

    def map(self, functions: dict[str, Callable[[Size], Size]]) -> Axes:
        """Each named axis through its function."""
        return Axes(self.names, tuple(functions[name](size) if name in functions else size for name, size in self))

    def drop(self, *names: str) -> Axes:
        """Without the named axes."""
        kept = [(name, size) for name, size in self if name not in names]
        return Axes(tuple(name for name, _ in kept), tuple(size for _, size in kept))

    def named(self) -> Axes:
        """The same sizes as `Dim`s under the axes' names, so that rules write formulas."""
        return Axes(self.names, tuple(Dim(name, value_of(size)) for name, size in self))
