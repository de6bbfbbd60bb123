"""Layout of an architecture diagram: columns of layers, and lines beside them. Lengths in inches.

y points downwards. A line that skips layers has its own lane in the gutter right of its column, so that no two lines
overlap and none crosses a layer.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from visualization.architecture.layer_graph import Graph

ROW, GAP, HEADER = 0.2, 0.065, 0.25  # height of a layer, space below it, height of a block's heading
LANE, MARGIN = 0.085, 0.13  # width of a lane, space between the lanes and the boxes
ABOVE = 0.4  # free space above the columns where lines pass over one
AFTER = 0.06  # space below a block
LANDSCAPE = 1.5  # width of a large diagram in heights
Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """Places of everything.

    Attributes:
        boxes: (x, y) of the upper left corner of each layer.
        headings: (group, x, y, height of heading and layers) of each part of a group within one column.
        lines: the points of each edge.
        width: of all columns.
        height: of all columns.
    """

    boxes: list[Point]
    headings: list[tuple[int, float, float, float]]
    lines: dict[tuple[int, int], list[Point]]
    width: float
    height: float


def arrange(graph: Graph, box: float, columns: int = 0) -> Layout:
    """Compute the layout of a graph.

    Args:
        graph: with its layers in topological order.
        box: width of a layer.
        columns: number of columns; 0 chooses.
    """
    groups = graph.groups
    heading = {first: k for k, (name, first, _) in enumerate(groups) if name}
    ends = {last for name, _, last in groups if name}
    heights = [ROW + GAP + HEADER * (k in heading) + AFTER * (k in ends) for k in range(len(graph.layers))]
    count = columns or max(1, round(math.sqrt(sum(heights) / (box + 0.5) * LANDSCAPE)))
    parts = _columns(graph, heights, sum(heights) / count)
    column = {k: c for c, part in enumerate(parts) for k in part}
    above = ABOVE if any(column[target] > column[source] + 1 for source, target in graph.edges) else 0.1
    top = [0.0] * len(graph.layers)
    for part in parts:
        y = above
        for k in part:
            y += HEADER if k in heading or (k == part[0] and _group_of(groups, k) in heading.values()) else 0
            top[k] = y
            y += ROW + GAP + AFTER * (k in ends)
    lanes = _lanes(graph, column, top)
    left, x = [], 0.0
    for c in range(len(parts)):
        left.append(x)
        used = [lane for (_, gutter), lane in lanes.items() if gutter == c]
        x += box + 2 * MARGIN + LANE * (max(used) + 1 if used else 0) + (0.1 if c < len(parts) - 1 else 0)
    boxes = [(left[column[k]], top[k]) for k in range(len(graph.layers))]
    headings = []
    for k, (name, first, last) in enumerate(groups):
        for part in parts if name else ():
            inside = [i for i in part if first <= i <= last]
            if inside:
                y = top[inside[0]] - HEADER
                headings.append((k, left[column[inside[0]]], y, top[inside[-1]] + ROW - y))
    lines = {edge: _line(edge, boxes, column, lanes, left, box) for edge in graph.edges}
    return Layout(boxes, headings, lines, x, max(top, default=0) + ROW + GAP)


def _group_of(groups: Sequence[tuple[str, int, int]], layer: int) -> int:
    return next(k for k, (_, first, last) in enumerate(groups) if first <= layer <= last)


def _columns(graph: Graph, heights: Sequence[float], height: float) -> list[list[int]]:
    """Split the layers into columns of similar height, preferably between blocks and where few lines cross."""
    starts = {first for _, first, _ in graph.groups}
    calm = {k for k in starts if len({s for s, t in graph.edges if s < k <= t}) <= 1}
    parts: list[list[int]] = []
    part: list[int] = []
    filled = 0.0
    for k in range(len(graph.layers)):
        part.append(k)
        filled += heights[k]
        if filled < height or k == len(graph.layers) - 1:
            continue
        # A column may be up to a third shorter or a sixth longer than its share, to end between blocks.
        behind = next((i for i in reversed(part[len(part) * 2 // 3 :]) if i in calm), None)
        ahead = next((i for i in range(k + 1, min(k + 1 + len(part) // 6, len(graph.layers))) if i in calm), None)
        if ahead is not None and (behind is None or ahead - k <= k - behind):
            if k + 1 < ahead:
                continue
            cut = k + 1
        else:
            cut = behind if behind is not None and behind > part[0] else k + 1
        parts.append([i for i in part if i < cut])
        part = [i for i in part if i >= cut]
        filled = sum(heights[i] for i in part)
    if parts and filled < height / 8:  # too short for a column
        parts[-1] += part
        part = []
    return [*parts, part] if part else parts


def _lanes(graph: Graph, column: dict[int, int], top: Sequence[float]) -> dict[tuple[int, int], int]:
    """Return the lane of each (source, gutter): short lines inside, without overlaps."""
    spans: dict[tuple[int, int], list[float]] = defaultdict(list)
    for source, target in graph.edges:
        here, there = column[source], column[target]
        if here == there and target == source + 1:
            continue
        if there <= here + 1:
            spans[source, here] += [_out(top[source]), _in(top[target]) if here == there else _middle(top[target])]
        else:  # up, across the columns between, and down again
            spans[source, here] += [_out(top[source]), 0.0]
            spans[source, there - 1] += [0.0, _middle(top[target])]
    taken: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    lanes = {}
    for key, ends in sorted(spans.items(), key=lambda item: (max(item[1]) - min(item[1]), item[0])):
        low, high = min(ends), max(ends)
        lane = 0
        while any(low < b + 0.02 and a < high + 0.02 for a, b in taken[key[1], lane]):
            lane += 1
        taken[key[1], lane].append((low, high))
        lanes[key] = lane
    return lanes


def _line(
    edge: tuple[int, int], boxes: list[Point], column: dict[int, int], lanes: dict, left: list[float], box: float
) -> list[Point]:
    source, target = edge
    (x, y), (to_x, to_y) = boxes[source], boxes[target]
    here, there = column[source], column[target]
    if here == there and target == source + 1:
        return [(x + box / 2, y + ROW), (x + box / 2, to_y)]
    beside = left[here] + box + MARGIN + LANE * lanes[source, here]
    start = [(x + box, _out(y)), (beside, _out(y))]
    if here == there:
        return [*start, (beside, _in(to_y)), (to_x + box, _in(to_y))]
    if there == here + 1:
        return [*start, (beside, _middle(to_y)), (to_x, _middle(to_y))]
    before = left[there - 1] + box + MARGIN + LANE * lanes[source, there - 1]
    over = ABOVE - 0.1 - 0.05 * (source % 5)
    return [*start, (beside, over), (before, over), (before, _middle(to_y)), (to_x, _middle(to_y))]


def _out(y: float) -> float:
    """Return y where a line leaves a box to the right, below the entering line."""
    return y + 0.72 * ROW


def _in(y: float) -> float:
    return y + 0.28 * ROW


def _middle(y: float) -> float:
    return y + 0.5 * ROW
