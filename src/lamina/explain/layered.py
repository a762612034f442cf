"""Layered layout of a graph whose vertices are rectangles: ranks, order, positions, and lines that cross no box.

The layout is Sugiyama's. fast-sugiyama gives the ranks (network simplex) and the order inside a rank (barycenters);
the positions are those of Brandes and Köpf (2001), "Fast and simple horizontal coordinate assignment", with vertices
of unequal width. A line over several ranks holds a thin vertex in each rank between and bends only in the gaps
between two ranks, which is why it cannot cross a box.

Coordinates: `across` runs along a rank, `down` from rank to rank.
"""

from __future__ import annotations

import importlib
import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from statistics import median
from types import ModuleType
from typing import TypeVar

Point = tuple[float, float]
ClusterPath = tuple[str, ...]
Vertex = TypeVar("Vertex", bound=Hashable)

_BOX_GAP, _LINE_GAP = 26.0, 14.0  # between two boxes of a rank, between two lines that pass through it
_RANK_GAP, _LONGEST_RANK_GAP = 26.0, 120.0
_BEFORE_LABEL, _BEHIND_LABEL = 8.0, 18.0  # instead of the gap between ranks; the second has room for an arrow's head
_PORT_GAP = 14.0  # between two arrows on one side of a box


def optional(module: str) -> ModuleType:
    """A module of the extra "plot". Raises `ImportError` that says how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"drawing needs the package {module!r}; get it by `pip install lamina[plot]`") from error


@dataclass
class Frame:
    cluster: ClusterPath
    across: float
    down: float
    width: float
    height: float


@dataclass
class Block:
    """A rectangle that is laid out: a box, or a cluster with all it holds. Positions count from its corner."""

    width: float
    height: float
    solid: float = 0.0  # the width of a box without the room for loops beside it
    boxes: dict[str, Point] = field(default_factory=dict)  # centres
    labels: dict[int, Point] = field(default_factory=dict)  # centres of the labels of edges
    frames: list[Frame] = field(default_factory=list)
    routes: dict[int, list[Point]] = field(default_factory=dict)  # from the upper end to the lower
    ports: dict[int, float] = field(default_factory=dict)  # where an edge crosses the frame
    bypasses: set[int] = field(default_factory=set)  # edges through ports that pass by the first boxes inside

    def shifted(self, across: float, down: float) -> Block:
        def move(point: Point) -> Point:
            return point[0] + across, point[1] + down

        return Block(
            self.width,
            self.height,
            self.solid,
            {key: move(point) for key, point in self.boxes.items()},
            {edge: move(point) for edge, point in self.labels.items()},
            [Frame(f.cluster, f.across + across, f.down + down, f.width, f.height) for f in self.frames],
            {edge: [move(point) for point in points] for edge, points in self.routes.items()},
            {edge: place + across for edge, place in self.ports.items()},
            self.bypasses,
        )

    def take(self, other: Block) -> None:
        self.boxes |= other.boxes
        self.labels |= other.labels
        self.frames += other.frames
        self.routes |= other.routes


@dataclass
class Link:
    """An edge, or its part inside one level, from an upper to a lower vertex and the thin ones between."""

    edge: int
    vertices: list[int]


@dataclass
class Level:
    """A layered graph: vertices with sizes (thin ones only carry a line), links, ranks, then positions."""

    width: list[float] = field(default_factory=list)
    height: list[float] = field(default_factory=list)
    thin: list[bool] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    blocks: dict[int, Block] = field(default_factory=dict)  # vertex → what stands there
    labels: dict[int, int] = field(default_factory=dict)  # edge → the vertex that holds its label
    ports: dict[int, int] = field(default_factory=dict)  # edge → the vertex where it crosses the frame
    port_hints: dict[int, float] = field(default_factory=dict)  # edge → where it goes beyond the frame
    title: int | None = None
    rank: list[int] = field(default_factory=list)
    order: list[list[int]] = field(default_factory=list)  # the vertices of every rank
    across: list[float] = field(default_factory=list)  # centres
    touch: dict[tuple[int, int], float] = field(default_factory=dict)  # (link, vertex) → where they meet
    rows: list[tuple[float, float]] = field(default_factory=list)  # upper and lower end of every rank

    def add(self, width: float = 0.0, height: float = 0.0, thin: bool = False, rank: int = 0) -> int:
        self.width.append(width)
        self.height.append(height)
        self.thin.append(thin)
        self.rank.append(rank)
        return len(self.width) - 1

    def assign_ranks(self, first: set[int], last: set[int]) -> None:
        """Ranks by network simplex; the vertices `first` share the rank above all others, `last` the one below."""
        head, tail = -1, -2  # stand for all ports together, so that these pull their vertices up or down
        pairs = {(link.vertices[0], link.vertices[-1]) for link in self.links}
        pairs = {(head if upper in first else upper, tail if lower in last else lower) for upper, lower in pairs}
        for component in _sugiyama(pairs):
            bottom = max(y for y, _ in component.values())
            for vertex, (y, _) in component.items():
                if vertex >= 0:
                    self.rank[vertex] = bottom - y
        middle = [self.rank[vertex] for vertex in range(len(self.rank)) if vertex not in first | last]
        shift = (1 if first else 0) - min(middle, default=0)
        end = max(middle, default=0) + shift + 1
        for vertex in range(len(self.rank)):
            self.rank[vertex] = 0 if vertex in first else end if vertex in last else self.rank[vertex] + shift

    def split_links(self) -> None:
        """Gives every long link a thin vertex in each rank that it passes."""
        for link in self.links:
            upper, lower = link.vertices
            between = range(self.rank[upper] + 1, self.rank[lower])
            link.vertices = [upper, *(self.add(thin=True, rank=rank) for rank in between), lower]

    def assign_order(self) -> None:
        """The order inside each rank, with few crossings; components stand side by side."""
        pairs = {pair for link in self.links for pair in itertools.pairwise(link.vertices)}
        components = sorted(_sugiyama(pairs), key=min)
        linked = {vertex for pair in pairs for vertex in pair}
        components += [{vertex: (0, 0.0)} for vertex in range(len(self.rank)) if vertex not in linked]
        self.order = [[] for _ in range(max(self.rank, default=-1) + 1)]
        for component in components:
            rows: dict[int, list[int]] = defaultdict(list)
            for vertex in sorted(component, key=lambda vertex: (component[vertex][1], vertex)):
                rows[self.rank[vertex]].append(vertex)
            boxes = [[vertex for vertex in row if vertex in self.blocks] for row in rows.values()]
            rising = sum(1 if left < right else -1 for row in boxes for left, right in itertools.pairwise(row))
            for rank, row in rows.items():  # of an order and its mirror image, the one nearer to the given order
                self.order[rank] += row if rising >= 0 else row[::-1]
        self._untangle_ports()
        self._untangle_parallels()
        if self.title is not None:
            row = self.order[self.rank[self.title]]
            row.remove(self.title)
            row.insert(0, self.title)

    def _untangle_ports(self) -> None:
        """Ports of the same vertex change places until they follow `port_hints`."""
        beside: dict[tuple[int, int], list[int]] = defaultdict(list)
        edge_of = {port: edge for edge, port in self.ports.items()}
        for link in self.links:
            for port, neighbour in ((link.vertices[0], link.vertices[1]), (link.vertices[-1], link.vertices[-2])):
                if port in edge_of and not self.thin[neighbour]:
                    beside[neighbour, self.rank[port]].append(port)
        for (_, rank), group in beside.items():
            row = self.order[rank]
            places = sorted(row.index(port) for port in group)
            group.sort(key=lambda port: (self.port_hints.get(edge_of[port], 0.0), row.index(port)))
            for place, port in zip(places, group, strict=True):
                row[place] = port

    def _untangle_parallels(self) -> None:
        """Lines between the same two vertices, which may pass labels, change places until they follow their ports."""
        ways: dict[int, list[int]] = defaultdict(list)
        for link in self.links:
            ways[link.edge] += link.vertices if not ways[link.edge] else link.vertices[1:]
        beside: dict[tuple[int, int, int], list[tuple[float, float, int]]] = defaultdict(list)
        for edge, (high, *between, low) in ways.items():
            places = [
                block.ports.get(edge, 0.0) if (block := self.blocks.get(end)) is not None else 0.0
                for end in (low, high)
            ]
            for vertex in between:
                beside[high, low, self.rank[vertex]].append((places[0], places[1], vertex))
        for (_, _, rank), group in beside.items():
            row = self.order[rank]
            free = sorted(row.index(vertex) for *_, vertex in group)
            for place, (*_, vertex) in zip(free, sorted(group), strict=True):
                row[place] = vertex

    def separation(self, left: int, right: int) -> float:
        """The least distance between the centres of two neighbours in a rank."""
        thin = self.thin[left] + self.thin[right]
        gap = (_BOX_GAP, (_BOX_GAP + _LINE_GAP) / 2, _LINE_GAP)[thin]
        return (self.width[left] + self.width[right]) / 2 + gap

    def port_offset(self, vertex: int, link: Link) -> float:
        """How far beside the centre of its vertex a link goes through the frame of a cluster; 0 for all others."""
        block = self.blocks.get(vertex)
        if block is None or link.edge not in block.ports:
            return 0.0
        return block.ports[link.edge] - block.width / 2

    def offsets(self) -> dict[tuple[int, int], float]:
        """How far each lower vertex must stand beside its upper one for straight lines between them, or for an even
        fan: the median over the lines that go straight to a box inside a cluster, which are its main paths."""
        main: dict[tuple[int, int], list[float]] = defaultdict(list)
        other: dict[tuple[int, int], list[float]] = defaultdict(list)
        for link in self.links:
            for high, low in itertools.pairwise(link.vertices):
                ends = (self.blocks.get(high), self.blocks.get(low))
                bypass = any(block is not None and link.edge in block.bypasses for block in ends)
                offset = self.port_offset(high, link) - self.port_offset(low, link)
                (other if bypass else main)[high, low].append(offset)
        return {pair: median(values) for pair, values in (other | main).items()}

    def assign_touch(self) -> None:
        """Where links touch their vertices: spread over the side of a box, at the port of a cluster."""
        sides: dict[tuple[int, bool], dict[int, float]] = defaultdict(dict)
        for number, link in enumerate(self.links):
            for vertex in link.vertices:
                self.touch[number, vertex] = self.across[vertex] + self.port_offset(vertex, link)
            for vertex, neighbour, below in (
                (link.vertices[0], link.vertices[1], True),
                (link.vertices[-1], link.vertices[-2], False),
            ):
                block = self.blocks.get(vertex)
                if block is not None and link.edge not in block.ports:
                    sides[vertex, below][number] = self.touch[number, neighbour]
        for (vertex, _), others in sides.items():
            for number, place in _spread(self.across[vertex], self.blocks[vertex].solid, others).items():
                self.touch[number, vertex] = place

    def assign_rows(self) -> None:
        """Where each rank begins and ends: the more its lines go sideways, the wider the gap before it."""
        labels = set(self.labels.values())
        solid = [[vertex for vertex in row if not self.thin[vertex]] for row in self.order]
        lettered = [bool(row) and all(vertex in labels for vertex in row) for row in solid] + [False]
        slant = [-1.0] * (len(self.order) + 1)  # the longest way sideways in the gap below each rank
        for number, link in enumerate(self.links):
            for upper, lower in itertools.pairwise(link.vertices):
                way = abs(self.touch[number, upper] - self.touch[number, lower])
                slant[self.rank[upper]] = max(slant[self.rank[upper]], way)
        down = 0.0
        for rank, row in enumerate(self.order):
            height = max((self.height[vertex] for vertex in row), default=0.0)
            self.rows.append((down, down + height))
            usual = _BEFORE_LABEL if lettered[rank + 1] else _BEHIND_LABEL if lettered[rank] else _RANK_GAP
            gap = _RANK_GAP / 2 if slant[rank] < 0 else min(usual + slant[rank] / 10, _LONGEST_RANK_GAP)
            down += height + gap

    def span(self, vertex: int) -> Point:
        """The upper and the lower end of a vertex; thin ones are as high as their rank."""
        upper, lower = self.rows[self.rank[vertex]]
        room = 0.0 if self.thin[vertex] else (lower - upper - self.height[vertex]) / 2
        return upper + room, lower - room

    def route(self, number: int) -> list[Point]:
        """The points of a link: two of the same `across` bound a straight line, others a bend between two ranks."""
        points: list[Point] = []
        vertices = self.links[number].vertices
        for upper, lower in itertools.pairwise(vertices):
            leave, arrive = self.touch[number, upper], self.touch[number, lower]
            points += [(leave, self.span(upper)[1]), (leave, self.rows[self.rank[upper]][1])]
            points += [(arrive, self.rows[self.rank[lower]][0]), (arrive, self.span(lower)[0])]
        return points


def _spread(centre: float, width: float, others: dict[int, float]) -> dict[int, float]:
    """Where the links on one side of a box touch it. `others`: link → place of its next vertex on that side."""
    order = sorted(others, key=lambda link: (others[link], link))
    straight = [place for place, link in enumerate(order) if abs(others[link] - centre) < 1]
    middle = float(straight[0]) if len(straight) == 1 else (len(order) - 1) / 2
    reach = max(middle, len(order) - 1 - middle, 1)
    step = min(_PORT_GAP, max(width / 2 - 10, 2) / reach)
    return {link: centre + (place - middle) * step for place, link in enumerate(order)}


def _sugiyama(pairs: Iterable[tuple[int, int]]) -> list[dict[int, tuple[int, float]]]:
    """For every component of an acyclic graph: vertex → (height above the lowest rank, place along the rank)."""
    edges = sorted(pairs)
    if not edges:
        return []
    layouts = optional("fast_sugiyama").from_edges(
        edges, vertex_spacing=1, ranking_type="minimize", crossing_minimization="barycenter", dummy_vertices=False
    )
    return [{vertex: (round(y), x) for vertex, (x, y) in positions} for positions, *_ in layouts]


# ------------------------------------------------------------------------- positions along a rank (Brandes, Köpf)


def assign_across(level: Level) -> None:
    """The mean of the two middle ones of four layouts, each pushed to one corner: up or down, left or right."""
    offsets = level.offsets()
    upper: dict[int, list[int]] = defaultdict(list)
    lower: dict[int, list[int]] = defaultdict(list)
    for high, low in offsets:
        upper[low].append(high)
        lower[high].append(low)
    refused = _crossed_long_links(level, upper) | _beside_the_main_path(level, upper, lower)
    layouts: list[list[float]] = []
    for downwards, leftwards in itertools.product((True, False), repeat=2):
        order = [row if leftwards else row[::-1] for row in (level.order if downwards else level.order[::-1])]
        root, offset = _align(order, upper if downwards else lower, offsets, refused)
        if not leftwards:
            offset = [-shift for shift in offset]
        across = _compact(level, order, root, offset)
        layouts.append(across if leftwards else [-position for position in across])
    extents = [extent(layout, level.width) for layout in layouts]
    left, right = min(extents, key=lambda ends: ends[1] - ends[0])
    for number, (layout, ends) in enumerate(zip(layouts, extents, strict=True)):
        shift = left - ends[0] if number % 2 == 0 else right - ends[1]
        layouts[number] = [position + shift for position in layout]
    level.across = [sum(sorted(four)[1:3]) / 2 for four in zip(*layouts, strict=True)]


def extent(centres: Sequence[float], widths: Sequence[float]) -> tuple[float, float]:
    ends = [(centre - width / 2, centre + width / 2) for centre, width in zip(centres, widths, strict=True)]
    return min((left for left, _ in ends), default=0.0), max((right for _, right in ends), default=0.0)


def _crossed_long_links(level: Level, upper: dict[int, list[int]]) -> set[tuple[int, int]]:
    """Pairs (high, low) that cross the inside of a long link: the long link stays straight, the pair bends."""
    refused = set()
    for above, row in itertools.pairwise(level.order):
        place = {vertex: position for position, vertex in enumerate(above)}
        inner = [
            (place[high], position)
            for position, low in enumerate(row)
            for high in upper[low]
            if level.thin[low] and level.thin[high]
        ]
        for position, low in enumerate(row):
            for high in upper[low]:
                if not (level.thin[low] and level.thin[high]) and any(
                    (place[high] - one) * (position - other) < 0 for one, other in inner
                ):
                    refused.add((high, low))
    return refused


def _beside_the_main_path(
    level: Level, upper: dict[int, list[int]], lower: dict[int, list[int]]
) -> set[tuple[int, int]]:
    """Ends of long links at boxes that have a neighbour box on that side: the box lines up with that one, so the
    main path stays straight and the skip connection goes round it."""
    refused = set()
    for high, lows in lower.items():
        if not level.thin[high] and not all(level.thin[low] for low in lows):
            refused |= {(high, low) for low in lows if level.thin[low]}
    for low, highs in upper.items():
        if not level.thin[low] and not all(level.thin[high] for high in highs):
            refused |= {(high, low) for high in highs if level.thin[high]}
    return refused


def _align(
    order: list[list[int]],
    neighbours: dict[int, list[int]],
    offsets: dict[tuple[int, int], float],
    refused: set[tuple[int, int]],
) -> tuple[list[int], list[float]]:
    """For every vertex the root of its block, the vertices that line up, and how far beside the root it stands."""
    count = sum(map(len, order))
    root, offset = list(range(count)), [0.0] * count
    for above, row in itertools.pairwise(order):
        place = {vertex: position for position, vertex in enumerate(above)}
        reached = -1
        for vertex in row:
            free = [other for other in neighbours[vertex] if not {(other, vertex), (vertex, other)} & refused]
            free.sort(key=place.__getitem__)
            for other in free[(len(free) - 1) // 2 : len(free) // 2 + 1]:
                if place[other] > reached:
                    root[vertex] = root[other]
                    aside = offsets[other, vertex] if (other, vertex) in offsets else -offsets[vertex, other]
                    offset[vertex] = offset[other] + aside
                    reached = place[other]
                    break
    return root, offset


def _compact(level: Level, order: list[list[int]], root: list[int], offset: list[float]) -> list[float]:
    """Places of the blocks: each as far left as its left neighbours allow, then pulled right where there is room."""
    gaps: dict[tuple[int, int], float] = {}
    for row in order:
        for left, right in itertools.pairwise(row):
            pair = (root[left], root[right])
            gap = level.separation(left, right) + offset[left] - offset[right]
            gaps[pair] = max(gaps.get(pair, gap), gap)
    before: dict[int, list[tuple[int, float]]] = defaultdict(list)
    after: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for (left, right), gap in gaps.items():
        before[right].append((left, gap))
        after[left].append((right, gap))
    place: dict[int, float] = {}
    sequence = _topological({block: [left for left, _ in before[block]] for block in dict.fromkeys(root)})
    for block in sequence:
        place[block] = max((place[left] + gap for left, gap in before[block]), default=0.0)
    for block in reversed(sequence):
        if after[block]:
            place[block] = max(place[block], min(place[right] - gap for right, gap in after[block]))
    return [place[root[vertex]] + offset[vertex] for vertex in range(len(root))]


def _topological(before: dict[int, list[int]]) -> list[int]:
    return list(TopologicalSorter(before).static_order())


def backward(items: Iterable[Vertex], pairs: set[tuple[Vertex, Vertex]]) -> set[tuple[Vertex, Vertex]]:
    """The pairs that close a cycle, found by a walk in depth in the order of `items`."""
    after: dict[Vertex, list[Vertex]] = defaultdict(list)
    place = {item: number for number, item in enumerate(items)}
    for source, target in sorted(pairs, key=lambda pair: (place[pair[0]], place[pair[1]])):
        after[source].append(target)
    found: set[tuple[Vertex, Vertex]] = set()
    done: set[Vertex] = set()
    for start in place:
        walk: dict[Vertex, Iterator[Vertex]] = {} if start in done else {start: iter(after[start])}
        while walk:
            item, targets = next(reversed(walk.items()))
            following: Vertex | None = next(targets, None)
            if following is None:
                walk.popitem()
                done.add(item)
            elif following in walk:
                found.add((item, following))
            elif following not in done:
                walk[following] = iter(after[following])
    return found
