"""What a table of old spellings is made of: rows that turn old keywords into today's, and the calls they belong to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Hook = Callable[[str, dict[str, Any]], dict[str, Any]]


def words(text: str) -> tuple[str, ...]:
    """A long list of names, written as a text."""
    return tuple(text.split())


def same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Row:
    """One old keyword, or several that make one of today's (`nb_row nb_col` -> `kernel_size`).

    `old` and `new` are names apart by spaces; several `new` all get the value; no `new` drops the keyword, and `note`
    says why. `value` takes the values of the old keywords in order, raises ValueError for one that has no counterpart,
    and returns today's. With `partial`, missing old keywords are given as None; else all are needed.
    """

    old: str
    new: str = ""
    value: Callable[..., Any] = same
    note: str = ""
    partial: bool = False

    @property
    def old_names(self) -> tuple[str, ...]:
        return tuple(self.old.split())

    @property
    def new_names(self) -> tuple[str, ...]:
        return tuple(self.new.split())


@dataclass(frozen=True)
class Spelling:
    """How one class, function or method was called.

    `positions`: the old order of positional arguments, by old names, where it differs from today's. `sizes`: how many
    positions after the first were one kernel size each (`Convolution2D(10, 8, 8)`). `today`: the name in today's
    spelling, if it is another. `gone`: the name itself is old, so every call warns. `finish`: `(owner, keywords)` ->
    keywords, for what needs several of today's keywords at once. `era`: the last Keras that spelled it so.
    """

    rows: tuple[Row, ...] = ()
    positions: tuple[str, ...] = ()
    sizes: int = 0
    today: str = ""
    gone: bool = False
    finish: Hook | None = None
    finishes: tuple[str, ...] = ()
    era: str = "Keras 1"

    @property
    def old_names(self) -> frozenset[str]:
        return frozenset(name for row in self.rows for name in row.old_names) | frozenset(self.finishes)

    @property
    def new_names(self) -> frozenset[str]:
        return frozenset(name for row in self.rows for name in row.new_names)

    @property
    def new_only_names(self) -> frozenset[str]:
        """Today's keywords that the old spelling did not have."""
        return self.new_names - self.old_names - {*self.positions, "input_shape"}
