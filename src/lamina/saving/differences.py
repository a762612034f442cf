"""What a file holds beside what a model has: missing, unexpected, of another shape, each with what is nearest."""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, ...]

_LISTED = 8  # of each kind
_SHAPES = 4  # shapes of one place that are shown
_WIDTH = 80
_HELD = "\u00a0"  # a blank at which no line ends
_NEAR = 0.6  # the least likeness of two names, from 0 to 1


@dataclass(frozen=True)
class Place:
    """Weights that only the model or only the file has: the path of their group, their layer's name, their shapes."""

    path: str
    name: str
    shapes: Sequence[Shape]

    def __str__(self) -> str:
        return f"{self.title}: {_shown(self.shapes)}"

    @property
    def title(self) -> str:
        """The path, and the layer's name where the path does not end in it."""
        return f"{self.path} {self.name!r}" if self.name and self.name != self.path.rpartition("/")[2] else self.path


@dataclass
class Differences:
    """Collected while a file is held against a model.

    >>> found = Differences()
    >>> found.missing.append(Place("layers/dense_1", "head", [(3, 2), (2,)]))
    >>> found.unexpected.append(Place("layers/dense_2", "top", [(3, 2), (2,)]))
    >>> print(found.text([]))
      missing in the file (1 layer)
        layers/dense_1 'head': (3, 2), (2,)
          nearest in the file: layers/dense_2 'top', of the same shapes
      not in the model (1 layer)
        layers/dense_2 'top': (3, 2), (2,)
    """

    missing: list[Place] = field(default_factory=list)
    unexpected: list[Place] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)  # layers that both have, with another number of weights
    unit: str = "layer"

    @property
    def number(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.counts)

    def __bool__(self) -> bool:
        return self.number > 0

    def text(self, wrong: Sequence[Any]) -> str:
        """The differences in lines; `wrong` are the pairs whose shapes differ."""
        return "\n".join(
            [
                *self._listed("missing in the file", self.missing, self._with_nearest),
                *self._listed("not in the model", self.unexpected, lambda place: [str(place)]),
                *self._listed("another number of weights", self.counts, lambda text: [text]),
                *self._listed("another shape", wrong, lambda pair: [pair.describe()], "weight"),
            ]
        )

    def _listed(
        self, heading: str, entries: Sequence[Any], describe: Callable[[Any], list[str]], unit: str | None = None
    ) -> Iterator[str]:
        if not entries:
            return
        unit = unit or self.unit
        yield f"  {heading} ({len(entries)} {unit}{'s' if len(entries) > 1 else ''})"
        for entry in entries[:_LISTED]:
            first, *others = describe(entry)
            yield _folded(first, "    ")
            for other in others:
                yield _folded(other, "      ")
        if len(entries) > _LISTED:
            yield f"    and {len(entries) - _LISTED} more"

    def _with_nearest(self, place: Place) -> list[str]:
        near = nearest_place(place, self.unexpected)
        if near is None:
            return [str(place)]
        shapes = "of the same shapes" if _same(near, place) else f"of other shapes: {_shown(near.shapes)}"
        return [str(place), f"nearest in the file: {near.title}, {shapes}"]


def _folded(text: str, indent: str) -> str:
    """A text in lines of a terminal's width, which no shape crosses."""
    held = re.sub(r"\([\d, ]*\)", lambda shape: shape.group().replace(" ", _HELD), text)
    lines = textwrap.wrap(
        held,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace(_HELD, " ")


def _shown(shapes: Sequence[Shape]) -> str:
    shown = [str(tuple(shape)) for shape in shapes[:_SHAPES]]
    return ", ".join([*shown, f"and {len(shapes) - _SHAPES} more"] if len(shapes) > _SHAPES else shown)


def _same(one: Place, other: Place) -> bool:
    return list(map(tuple, one.shapes)) == list(map(tuple, other.shapes))


def nearest_place(place: Place, others: Sequence[Place]) -> Place | None:
    """The place that this one most likely is under another name: first by equal shapes, then by the likeness of the
    names; None where neither speaks for one."""
    scored = []
    for other in others:
        same = _same(place, other)
        likeness = max(
            difflib.SequenceMatcher(None, place.path, other.path).ratio(),
            difflib.SequenceMatcher(None, place.name, other.name).ratio() if place.name and other.name else 0.0,
        )
        if same or likeness >= _NEAR:
            scored.append((same, likeness, other))
    return max(scored, key=lambda one: one[:2])[2] if scored else None
