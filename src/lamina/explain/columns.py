"""Breaks a long drawing into columns, where only lines from one box connect what is above with what is below.

They go on, as one line, at the foot of their column, up between the two columns, and part at the head of the next.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from lamina.explain.layered import Block, Frame, Point

TURN = 14.0  # how far a line goes on before it turns back
_FOOT = 8.0  # straight, before the line turns
_HEAD = 16.0  # straight, behind the turn, with room for the head of an arrow
_GUTTER = 40.0  # between two columns; the line goes up in the middle
_MOST = 20  # columns that None chooses
_TALLEST = 1500.0  # no drawing below this is broken
_LEAST_GAIN = 0.7  # columns that None chooses are no higher than this part of the whole


@dataclass(frozen=True)
class _Break:
    down: float
    edges: tuple[int, ...]


Extent = tuple[float, float, float, float]  # across and down of one corner, then of the other


def in_columns(
    block: Block,
    boxes: Mapping[str, Point],
    labels: Mapping[int, Point],
    upper_ends: Mapping[int, str],
    columns: int | None,
    best_ratio: float,
) -> Block:
    """The block in so many columns, or fewer where it has too few narrow places; None chooses, by `best_ratio`.

    `boxes` and `labels` are the sizes of both, across and down; `upper_ends`, for every line, the box where it begins;
    `best_ratio`, of across to down.
    """
    if columns is None and block.height <= _TALLEST:
        return block
    parts = [_around(block.boxes[key], size) for key, size in boxes.items()]
    parts += [_around(block.labels[edge], size) for edge, size in labels.items()]
    parts += [(f.across, f.down, f.across + f.width, f.down + f.height) for f in block.frames]
    breaks = _narrow_places(block, parts, upper_ends)
    parts += [(*point, *point) for route in block.routes.values() for point in route]
    parts = _merged(parts, [place.down for place in breaks])
    most = min(len(breaks) + 1, columns or _MOST)
    if columns is not None:
        chosen = _chosen(breaks, block.height, most)
        return _Columns(block, parts, chosen).block() if chosen else block
    tries = [_Columns(block, parts, _chosen(breaks, block.height, count)) for count in range(2, most + 1)]
    tries = [wrapped for wrapped in tries if wrapped.height < _LEAST_GAIN * block.height]
    best = min(tries, key=lambda wrapped: abs(math.log(wrapped.width / wrapped.height / best_ratio)), default=None)
    return best.block() if best else block


def _around(centre: Point, size: Point) -> Extent:
    return (
        centre[0] - size[0] / 2,
        centre[1] - size[1] / 2,
        centre[0] + size[0] / 2,
        centre[1] + size[1] / 2,
    )


def _narrow_places(block: Block, parts: list[Extent], upper_ends: Mapping[int, str]) -> list[_Break]:
    """The places that only lines from one box cross, at most one for the same lines."""
    starting = sorted(block.routes, key=lambda edge: block.routes[edge][0][1], reverse=True)
    found: list[_Break] = []
    crossing: set[int] = set()
    reached = -math.inf
    for _, top, _, bottom in sorted(parts, key=lambda part: part[1]):
        if top - reached > 4:
            down = (top + reached) / 2
            while starting and block.routes[starting[-1]][0][1] < down:
                crossing.add(starting.pop())
            crossing = {edge for edge in crossing if block.routes[edge][-1][1] > down}
            if len({upper_ends[edge] for edge in crossing}) == 1:
                place = _Break(down, tuple(sorted(crossing)))
                same = bool(found) and found[-1].edges == place.edges  # above and below a label
                if same and len(crossing) == 1:
                    found.pop()
                if not same or len(crossing) == 1:  # several lines part above their labels
                    found.append(place)
        reached = max(reached, bottom)
    return found


def _merged(parts: list[Extent], places: list[float]) -> list[Extent]:
    """The parts between each two places as one."""
    merged: dict[int, Extent] = {}
    for part in parts:
        number = bisect_right(places, (part[1] + part[3]) / 2)
        left, top, right, bottom = merged.get(number, part)
        merged[number] = (min(left, part[0]), min(top, part[1]), max(right, part[2]), max(bottom, part[3]))
    return [merged[number] for number in sorted(merged)]


def _chosen(breaks: list[_Break], height: float, columns: int) -> list[_Break]:
    """The breaks that make at most so many columns, with the highest column as low as it can be."""

    def packed(limit: float) -> list[_Break]:
        start, taken = 0.0, list[_Break]()
        for number, place in enumerate(breaks, start=1):
            end = breaks[number].down if number < len(breaks) else height
            if end - start > limit:
                taken.append(place)
                start = place.down
        return taken

    low, high = 0.0, height
    for _ in range(20):
        middle = (low + high) / 2
        taken = packed(middle)
        ends = [0.0, *(place.down for place in taken), height]
        fits = len(taken) < columns and all(end - start <= middle for start, end in pairwise(ends))
        low, high = (low, middle) if fits else (middle, high)
    return packed(high)


class _Columns:
    """Moves the parts of a block into columns."""

    def __init__(self, source: Block, parts: list[Extent], breaks: list[_Break]):
        self.source, self.breaks = source, breaks
        self.broken = {edge: number for number, place in enumerate(breaks) for edge in place.edges}
        self.starts = [place.down for place in breaks]
        self.move: list[Point] = []
        self.foot: list[float] = []  # where the line that leaves a column turns
        self.gutter: list[float] = []
        across = 0.0
        for left, top, right, bottom in _merged(parts, self.starts):
            self.move.append((across - left, TURN + _HEAD - top))
            self.foot.append(bottom + self.move[-1][1] + _FOOT)
            across += right - left + _GUTTER
            self.gutter.append(across - _GUTTER / 2)
        self.width, self.height = across - _GUTTER, max(self.foot) + TURN

    def column(self, down: float) -> int:
        return bisect_right(self.starts, down)

    def moved(self, point: Point, column: int | None = None) -> Point:
        across, down = self.move[self.column(point[1]) if column is None else column]
        return point[0] + across, point[1] + down

    def block(self) -> Block:
        source = self.source
        whole = Block(self.width, self.height)
        whole.boxes = {key: self.moved(centre) for key, centre in source.boxes.items()}
        whole.labels = {edge: self.moved(centre) for edge, centre in source.labels.items()}
        for f in source.frames:
            across, down = self.moved((f.across, f.down), self.column(f.down + f.height / 2))
            whole.frames.append(Frame(f.cluster, across, down, f.width, f.height))
        for edge, points in source.routes.items():
            number = self.broken.get(edge)
            whole.routes[edge] = [self.moved(p) for p in points] if number is None else self.turning(edge, number)
        return whole

    def turning(self, edge: int, number: int) -> list[Point]:
        """A line between two columns: two points of the same `down` bound each turn. All lines begin as one."""
        place = self.breaks[number]
        starts = [[p for p in self.source.routes[one] if p[1] < place.down] for one in place.edges]
        trunk = starts[0]
        if all(point[0] == start[0][0] for start in starts for point in start):
            trunk = [(sum(start[0][0] for start in starts) / len(starts), point[1]) for point in trunk]
        before = [self.moved(point) for point in trunk]
        behind = [self.moved(point) for point in self.source.routes[edge] if point[1] > place.down]
        gutter, foot = self.gutter[number], self.foot[number]
        return [*before, (before[-1][0], foot), (gutter, foot), (gutter, TURN), (behind[0][0], TURN), *behind]
