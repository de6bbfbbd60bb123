"""Style of every figure: colours, fonts, line styles, and reproducible PNG and SVG files."""

import io
import math
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from utils.io import files
from utils.tables.table import NARROW, SOFT, name_lines
from utils.text import NOTICE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito 2008, distinguishable with every common colour blindness; its yellow is too pale for lines on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#505050", "#882255")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
LINES = ("-", "--", ":", "-.", (0, (7, 1.5)))
HATCHES = ("", "///", "...", "xxx", "|||")
SUBSET_COLOURS = {"train": "#0072B2", "val": "#E69F00", "test": "#009E73"}
SUBSET_NAMES = {"train": "training", "val": "validation", "test": "test"}
TEST_COLOURS = ("#56B4E9", "#CC79A7", "#D55E00")  # of further test sets
MATRIX_COLOURS = "Blues"
GREY = "#6b6b6b"
RIGHT, WRONG = "#00664b", "#b34700"  # always with a text
NOTICE = NOTICE
# Marker of the best value.
STAR = {"linestyle": "none", "marker": "*", "markersize": 13, "markeredgecolor": "black", "markeredgewidth": 0.7}
DPI = 120
PHOTO_DPI = 100  # of figures with photographs, which weigh the most

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


def subset_name(subset: str) -> str:
    """Return a subset as an adjective: "training", "validation", "test"; a further test set keeps its name."""
    return SUBSET_NAMES.get(subset, subset)


def subset_colours(subsets: Sequence[str]) -> dict[str, str]:
    """Return the colour of each of a split's subsets."""
    further = [subset for subset in subsets if subset not in SUBSET_COLOURS]
    return SUBSET_COLOURS | {name: TEST_COLOURS[k % len(TEST_COLOURS)] for k, name in enumerate(further)}


@contextmanager
def applied() -> Iterator[None]:
    """Apply the project's fonts and lines inside the block; restore the previous settings after it."""
    import matplotlib as mpl

    with mpl.rc_context(_RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Glyph.*missing from")  # a missing glyph is drawn as a box
        yield


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of a size in inches, not registered with pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with applied():
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
    return figure


def set_heading(figure: "Figure", title: str, about: str) -> None:
    """Write a title and a subtitle above a figure, in lines that fit its width."""
    letters = max(24, int(figure.get_figwidth() * 10.4))
    whole = NOTICE.replace(" ", "\u00a0")  # the notice is never broken over two lines
    texts = (text.replace(NOTICE, whole) for text in (title, about))
    lines = [line.replace(whole, NOTICE) for text in texts for line in textwrap.wrap(text, letters)]
    with applied():
        figure.suptitle("\n".join(lines), fontsize=12, linespacing=1.4)


def png(figure: "Figure") -> bytes:
    """Return a figure as PNG bytes in true colours: equal figures give equal bytes."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    photographs = any(axes.images for axes in figure.axes)
    with applied():
        figure.savefig(drawn, format="png", dpi=PHOTO_DPI if photographs else DPI)
    Image.open(drawn).convert("RGB").save(small, "PNG", optimize=True)  # no transparency is used
    return small.getvalue()


def svg(figure: "Figure") -> bytes:
    """Return a figure as SVG bytes with its texts as text: equal figures give equal bytes."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with applied(), mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "leukobench"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    # Verdana has the same letter widths, where DejaVu Sans is not installed.
    return buffer.getvalue().replace(b"'DejaVu Sans'", b"'DejaVu Sans', Verdana, sans-serif")


def save(figure: "Figure", path: Path) -> Path:
    """Write a figure as PNG atomically and return its path.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    files.write_bytes(path, png(figure))
    return path


def colour(index: int) -> str:
    """Return the colour of the i-th model of a comparison."""
    return PALETTE[index % len(PALETTE)]


def line(index: int) -> str | tuple:
    """Return the line style of the i-th model, a different one each time the colours repeat."""
    return LINES[index // len(PALETTE) % len(LINES)]


def hatch(index: int) -> str:
    """Return the hatch of the i-th model's bars."""
    return HATCHES[index // len(PALETTE) % len(HATCHES)]


def marker(index: int) -> str:
    """Return the marker of the i-th model, a different one each time the colours repeat."""
    return MARKERS[(index + index // len(PALETTE)) % len(MARKERS)]


def wrap(text: str, letters: int = 16) -> str:
    """Break a name into lines of at most `letters` characters: at spaces, not within brackets that fit into a line.

    A longer word is broken where the tables break it, and elsewhere only above NARROW, the width of a table's word.
    """
    lines: list[str] = []
    brackets = re.findall(r"\([^()]*\)|\S+", text)
    for word in (word for part in brackets for word in ([part] if len(part) <= letters else part.split())):
        soft = re.sub(r"([_/-])", rf"\1{SOFT}", name_lines(word)) if len(word) > letters else word
        for k, part in enumerate(soft.split(SOFT)):
            joint = "" if k else " "
            if lines and len(lines[-1]) + len(joint) + len(part) <= letters:
                lines[-1] += joint + part
            else:
                lines += textwrap.wrap(part, max(letters, NARROW))
    return "\n".join(lines)


def short(text: str, letters: int = 24) -> str:
    """Return a name cut to at most `letters` characters, with an ellipsis where it was cut."""
    return text if len(text) <= letters else text[: letters - 1] + "…"


def slug(text: str) -> str:
    """Return a name that is valid on every file system."""
    return re.sub(r"[^\w.+-]+", "-", text).strip("-.") or "unnamed"


def grid(count: int, columns: int) -> tuple[int, int]:
    """Return rows and columns of a grid of `count` panels, at most `columns` wide."""
    columns = max(1, min(count, columns))
    return math.ceil(count / columns), columns


def legend_columns(names: Sequence[str], width: float, most: int) -> int:
    """Return the number of columns, at most `most`, that a legend can have below a figure `width` inches wide."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    with applied():
        letters = FontProperties(size=_RC["legend.fontsize"])
        lengths = [TextPath((0, 0), name or " ", prop=letters).get_extents().width / 72 for name in names]
    for columns in range(min(most, len(names)), 1, -1):
        rows, longer = divmod(len(names), columns)  # the first columns are the longer ones
        starts = [k * rows + min(k, longer) for k in range(columns + 1)]
        widest = [max(lengths[a:b]) for a, b in pairwise(starts)]
        # Letters on whole pixels are up to 4 % wider; 0.6 is for the line before a name and the gap behind it.
        if 1.04 * sum(widest) + 0.6 * columns <= width - 0.2:
            return columns
    return 1


def plain_number(value: float, _position: int | None = None) -> str:
    """Format a tick without powers of ten: "0.5", "20", "1,500"."""
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"
