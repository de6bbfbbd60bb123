"""How every figure looks: colours, letters, and PNG files whose bytes depend on nothing but what is drawn."""

import io
import math
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from utils import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

# Okabe & Ito 2008, told apart with every common colour blindness; its yellow is too pale for lines on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#505050", "#882255")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
LINES = ("-", "--", ":")
HATCHES = ("", "///", "...")
SUBSET_COLOURS = {"train": "#0072B2", "val": "#E69F00", "test": "#009E73"}
SUBSET_NAMES = {"train": "training", "val": "validation", "test": "test"}
MATRIX_COLOURS = "Blues"
GREY = "#6b6b6b"
RIGHT, WRONG = "#00664b", "#b34700"  # always beside a word, never alone
NOTICE = "Research only, not a diagnosis"
DPI = 120

_RC = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "hatch.linewidth": 0.6,
    "text.parse_math": False,  # a class may be called "a$b$c"
}


@contextmanager
def look() -> Iterator[None]:
    """Set the project's letters and lines for what is drawn inside; whatever was set before comes back after."""
    import matplotlib as mpl

    with mpl.rc_context(_RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Glyph.*missing from")  # drawn as a box, which says it all
        yield


def new(width: float, height: float) -> "Figure":
    """Return an empty figure of that many inches, apart from pyplot's list of open figures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with look():
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
    return figure


def head(figure: "Figure", title: str, about: str) -> None:
    """Write what is shown and on which images above a figure, in lines that fit its width."""
    letters = max(24, int(figure.get_figwidth() * 10.4))
    lines = [line for text in (title, about) for line in textwrap.wrap(text, letters)]
    with look():
        figure.suptitle("\n".join(lines), fontsize=12, linespacing=1.4)


def png(figure: "Figure") -> bytes:
    """Return a figure as PNG bytes: equal figures give equal bytes. One with photographs gets 256 colours."""
    buffer = io.BytesIO()
    with look():
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    if not any(axes.images for axes in figure.axes):
        return buffer.getvalue()
    from PIL import Image

    full, reduced = Image.open(buffer).convert("RGB"), io.BytesIO()
    letters = [tint for ink in (RIGHT, WRONG, GREY, "#000000") for tint in _tints(ink)]  # or words take a cell's colour
    colours = full.quantize(256 - len(letters) - 1).getpalette()[: 3 * (255 - len(letters))]
    palette = Image.new("P", (1, 1))
    # Pillow looks colours up roughly, so an almost white one would become the paper's.
    photo = [c if min(c) < 248 else (255, 255, 255) for c in zip(*[iter(colours)] * 3, strict=True)]
    palette.putpalette([part for colour in ((255, 255, 255), *letters, *photo) for part in colour])
    full.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(reduced, "PNG")
    return reduced.getvalue()  # a third of the size, and thumbnails show the same


def _tints(ink: str) -> list[tuple[int, ...]]:
    """Return a colour and its blends with white, as the edges of letters have them."""
    parts = [int(ink[k : k + 2], 16) for k in (1, 3, 5)]
    return [tuple(round(255 - share * (255 - part)) for part in parts) for share in (1, 0.75, 0.5, 0.25)]


def save(figure: "Figure", path: Path) -> Path:
    """Write a figure as PNG, whole or not at all, and return its path.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    files.write_bytes(path, png(figure))
    return path


def colour(index: int) -> str:
    """Return the colour of the i-th model of a comparison."""
    return PALETTE[index % len(PALETTE)]


def line(index: int) -> str:
    """Return the line style of the i-th model: the colours' second round is dashed."""
    return LINES[index // len(PALETTE) % len(LINES)]


def hatch(index: int) -> str:
    """Return the hatch of the i-th model's bars."""
    return HATCHES[index // len(PALETTE) % len(HATCHES)]


def marker(index: int) -> str:
    """Return the marker of the i-th model, another one in each round of the colours."""
    return MARKERS[(index + index // len(PALETTE)) % len(MARKERS)]


def wrap(text: str, letters: int = 16) -> str:
    """Break a name into lines of at most so many letters, also at underscores and inside words that are too long."""
    spaced = re.sub(r"([_/-])", "\\1\u200b", text)
    lines: list[str] = []
    for part in re.split(r"[\s\u200b]+", spaced):
        joint = "" if lines and lines[-1][-1:] in "_/-" else " "
        if lines and len(lines[-1]) + len(joint) + len(part) <= letters:
            lines[-1] += joint + part
        else:
            lines += textwrap.wrap(part, letters) or [part]
    return "\n".join(lines)


def short(text: str, letters: int = 24) -> str:
    """Return a name cut to so many letters, the cut shown."""
    return text if len(text) <= letters else text[: letters - 1] + "…"


def slug(text: str) -> str:
    """Return a name that every file system takes."""
    return re.sub(r"[^\w.+-]+", "-", text).strip("-.") or "unnamed"


def grid(count: int, columns: int) -> tuple[int, int]:
    """Return rows and columns for so many panels, at most `columns` wide."""
    columns = max(1, min(count, columns))
    return math.ceil(count / columns), columns


def plain_number(value: float, _position: int | None = None) -> str:
    """Return a tick's number without powers: "0.5", "20", "1,500"."""
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def label_points(
    axes: "Axes",
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    spans: Sequence[tuple[float, float]] = (),
) -> "list[Annotation]":
    """Name points so that no name covers another name, a point or the frame; a thin line leads to a name set apart.

    Args:
        axes: in a figure that has its final size.
        points: (x, y) of each.
        names: of each.
        spans: lowest and highest y of each point's error bar, which names avoid where they can.
    """
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    figure = axes.figure
    with look():
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
            best = min(_places(), key=lambda at: _cost(at, dot, size, scale, taken, bars, frame))
            box = _box(best, dot, size, scale)
            note.remove()
            far = math.hypot(best[0], best[1]) > 18
            note = axes.annotate(
                name, point, xytext=best[:2], textcoords="offset points", fontsize=9, va="center",
                ha={-1: "right", 0: "center", 1: "left"}[best[2]],
                arrowprops={"arrowstyle": "-", "color": "#999999", "lw": 0.7, "shrinkB": 4} if far else None,
            )  # fmt: skip
            note.set_in_layout(False)
            note.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
            taken.append(box)
            placed.append(note)
    return placed


def _places() -> Iterator[tuple[float, float, int]]:
    for ring in (11, 18, 28, 40, 54, 70, 90, 115, 145):
        for turn in (0, 180, 90, 270, 45, 135, 225, 315, 20, 160, 340, 200):
            x, y = ring * math.cos(math.radians(turn)), ring * math.sin(math.radians(turn))
            yield x, y, 0 if abs(x) < 0.3 * ring else int(math.copysign(1, x))


def _box(at: tuple[float, float, int], dot: Sequence[float], size: "object", scale: float) -> "object":
    from matplotlib.transforms import Bbox

    x, y = dot[0] + at[0] * scale, dot[1] + at[1] * scale
    left = {-1: x - size.width, 0: x - size.width / 2, 1: x}[at[2]]
    return Bbox.from_bounds(left, y - size.height / 2, size.width, size.height).padded(2 * scale)


def _cost(at, dot, size, scale, taken, bars, frame) -> float:  # noqa: ANN001
    box = _box(at, dot, size, scale)
    hits = sum(1 for other in taken if box.overlaps(other))
    outside = max(0, frame.x0 - box.x0) + max(0, box.x1 - frame.x1) + max(0, frame.y0 - box.y0)
    outside += max(0, box.y1 - frame.y1)
    # The point's own marker is in `taken`, but the nearest ring stays clear of it.
    crossed = sum(1 for bar in bars if box.overlaps(bar))
    return 1000 * hits + 25 * crossed + 10 * outside + math.hypot(at[0], at[1])
