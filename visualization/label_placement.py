"""Labels of points that overlap neither each other nor the points.

adjustText was tried: on the published runs it placed labels across markers and error bars.
"""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from visualization import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox


def label_points(
    axes: "Axes",
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    spans: Sequence[tuple[float, float]] = (),
) -> "list[Annotation]":
    """Label points without overlaps between labels, points and frame; a thin line leads to a distant label.

    Args:
        axes: of a figure that has its final size.
        points: (x, y) of each.
        names: label of each point.
        spans: lowest and highest y of each point's error bar, avoided where possible.
    """
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    figure = axes.figure
    with style.applied():
        figure.draw_without_rendering()
        scale = figure.dpi / 72
        dots = axes.transData.transform(points) if len(points) else []
        taken = [Bbox.from_bounds(x - 6 * scale, y - 6 * scale, 12 * scale, 12 * scale) for x, y in dots]
        bars = [
            Bbox([axes.transData.transform((x, low)), axes.transData.transform((x, high))]).padded(1)
            for (x, _), (low, high) in zip(points, spans, strict=bool(spans))
        ]
        frame, placed = axes.get_window_extent(), []
        for point, dot, name in zip(points, dots, names, strict=True):
            note = axes.annotate(name, point, xytext=(0, 0), textcoords="offset points", fontsize=9)
            note.set_in_layout(False)
            size = note.get_window_extent()
            boxes = {at: _box(at, dot, size, scale) for at in _places()}
            best = min(boxes, key=lambda at: _cost(at, boxes[at], taken, bars, frame))
            note.remove()
            far = math.hypot(best[0], best[1]) > 18
            note = axes.annotate(
                name,
                point,
                xytext=best[:2],
                textcoords="offset points",
                fontsize=9,
                va="center",
                ha={-1: "right", 0: "center", 1: "left"}[best[2]],
                arrowprops={"arrowstyle": "-", "color": "#999999", "lw": 0.7, "shrinkB": 4} if far else None,
            )
            note.set_in_layout(False)
            note.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
            taken.append(boxes[best])
            placed.append(note)
    return placed


def _places() -> Iterator[tuple[float, float, int]]:
    for ring in (11, 18, 28, 40, 54, 70, 90, 115, 145):
        for turn in (0, 180, 90, 270, 45, 135, 225, 315, 20, 160, 340, 200):
            x, y = ring * math.cos(math.radians(turn)), ring * math.sin(math.radians(turn))
            yield x, y, 0 if abs(x) < 0.3 * ring else int(math.copysign(1, x))


def _box(at: tuple[float, float, int], dot: Sequence[float], size: "Bbox", scale: float) -> "Bbox":
    """Return the box in pixels of a label of a size at an offset beside a point."""
    from matplotlib.transforms import Bbox

    x, y = dot[0] + at[0] * scale, dot[1] + at[1] * scale
    left = {-1: x - size.width, 0: x - size.width / 2, 1: x}[at[2]]
    return Bbox.from_bounds(left, y - size.height / 2, size.width, size.height).padded(2 * scale)


def _cost(at: tuple[float, float, int], box: "Bbox", taken: list["Bbox"], bars: list["Bbox"], frame: "Bbox") -> float:
    """Return the cost of a position: overlaps count most, then error bars, leaving the frame, and the distance."""
    hits = sum(1 for other in taken if box.overlaps(other))
    outside = max(0, frame.x0 - box.x0) + max(0, box.x1 - frame.x1) + max(0, frame.y0 - box.y0)
    outside += max(0, box.y1 - frame.y1)
    # The point's own marker is in `taken`, but the nearest ring stays clear of it.
    crossed = sum(1 for bar in bars if box.overlaps(bar))
    return 1000 * hits + 25 * crossed + 10 * outside + math.hypot(at[0], at[1])
