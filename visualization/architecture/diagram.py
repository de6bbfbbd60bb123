"""Architecture diagrams: every layer with its output shape, as SVG and PNG, without Keras."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import run_folder
from utils.runs.run_folder import Run
from utils.tables.table import quantity
from visualization import style
from visualization.architecture import layer_graph as graphs
from visualization.architecture import layout as layouts
from visualization.architecture.layer_graph import Graph, Layer
from visualization.architecture.shape_inference import OTHER, Shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "architecture"  # stem of the files in a run's figures
DETAILS = ("layers", "blocks")
LETTERS, PAD = 7.5, 0.09  # points; inches between the columns of a box
EDGE, FRAME = "#444444", "#f1f1f1"
COLOURS = {
    "Input": "#505050",
    "Convolution": "#0072B2",
    "Dense": "#D55E00",
    "Normalisation": "#56B4E9",
    "Activation": "#009E73",
    "Pooling": "#CC79A7",
    "Merge": "#E69F00",
    "Dropout": "#882255",
    "Shape and scale": "#999999",
    "Attention": "#332288",
    "Patches to tokens": "#117733",
    "Block": "#8C6D46",
    OTHER: "#000000",
}


def draw(run: Run, detail: str = "layers") -> list[Path]:
    """Draw the architecture of a run into its figures; return the SVG and the PNG.

    Args:
        run: with an architecture.json.
        detail: "layers", or "blocks" to merge layers with a common name prefix.

    Raises:
        LeukoBenchError: architecture.json is missing or damaged, or the folder cannot be written.
    """
    found = figure(graphs.of_run(run), detail, run.label())
    stem = run.file(run_folder.FIGURES) / (NAME if detail == DETAILS[0] else f"{NAME}-{detail}")
    vector = stem.with_suffix(".svg")
    files.write_bytes(vector, style.svg(found))
    return [vector, style.save(found, stem.with_suffix(".png"))]


def overview(run: Run) -> "Figure | None":
    """Return the blocks of a run's model as a figure; None where architecture.json is missing or damaged."""
    try:
        return figure(graphs.of_run(run), "blocks", run.model)
    except LeukoBenchError:
        return None


def figure(graph: Graph, detail: str = "layers", name: str = "") -> "Figure":
    """Draw a graph in columns, read from top to bottom, then from left to right."""
    whole = graph
    graph = graphs.blocks(graph) if detail == "blocks" else graph
    texts = [_texts(layer) for layer in graph.layers]
    widths = [max(_widths(column)) for column in zip(*texts, strict=True)] if texts else [1.0] * 4
    box = sum(widths) + 5 * PAD + 0.08
    layout = layouts.arrange(graph, box)
    titles, notes = _title(whole, graph, name or graph.name, max(layout.width, 5.2))
    lines = [*titles, *notes]
    legend = _legend_rows(graph, max(layout.width, 5.2))
    over = 0.22 * len(lines) + 0.24 * len(legend) - 0.02
    border = 0.2
    wide, tall = max(layout.width, 5.2) + 2 * border, over + layout.height + 2 * border
    made = style.new_figure(wide, tall)
    made.set_layout_engine("none")
    with style.applied():
        axes = made.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(-border, wide - border)
        axes.set_ylim(tall - over - border, -over - border)
        for k, line in enumerate(lines):
            first = k < len(titles)
            axes.text(
                0,
                -over + 0.1 + 0.22 * k,
                line,
                fontsize=11 if first else 9,
                fontweight="bold" if first else "normal",
                va="center",
            )
        _draw_legend(axes, legend, -over + 0.1 + 0.22 * len(lines))
        _draw_groups(axes, graph, layout, box)
        for edge, points in layout.lines.items():
            _draw_line(axes, edge, points)
        for k, (layer, cells) in enumerate(zip(graph.layers, texts, strict=True)):
            _draw_box(axes, k, layer, cells, layout.boxes[k], widths, box)
    return made


def shape_text(shape: Shape | None) -> str:
    """Return a shape without the batch: "56 × 56 × 64", "2,048"; "" where it is unknown."""
    if shape is None:
        return ""
    sides = ["any" if side is None else f"{side:,}" if len(shape) == 2 else str(side) for side in shape[1:]]
    return " × ".join(sides)


def _texts(layer: Layer) -> tuple[str, str, str, str]:
    words = f"{layer.type}: {layer.words}" if layer.words else layer.type
    if layer.type == "Block":
        words = layer.words
    weights = "" if not layer.parameters else quantity(layer.parameters)
    return (style.short(layer.name, 44), style.short(words, 110), shape_text(layer.shape), weights)


def _widths(texts: Sequence[str]) -> list[float]:
    """Return the widths of texts in inches with a margin, as a browser's font may be wider."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family="DejaVu Sans", size=LETTERS)
    known = {text: text_to_path.get_text_width_height_descent(text, font, False)[0] for text in set(texts)}
    return [1.06 * known[text] / 72 for text in texts]


def _title(whole: Graph, graph: Graph, name: str, width: float) -> tuple[list[str], list[str]]:
    import textwrap

    weights = [layer.parameters for layer in whole.layers]
    known = sum(weight or 0 for weight in weights)
    least = "at least " if None in weights else ""
    entering = [shape_text(layer.shape) for layer in whole.layers if layer.type == "InputLayer"]
    about = f"{len(whole.layers)} layers, {least}{quantity(known)} parameters"
    if entering and entering[0]:
        about += f", input {entering[0]}".replace(" ", "\u00a0").replace(",\u00a0", ", ")  # on one line
    what = "Each box: name, type, output shape (height × width × channels), parameters."
    if graph is not whole:
        what = "Layers with a common name prefix are one box: name, content, output shape, parameters."
    order = "Read columns from top to bottom, then to the right." if len(graph.layers) > 40 else ""
    title = textwrap.wrap(f"{name}: {about}", int(width * 9.3))  # characters that fit; bold ones are wider
    return title, textwrap.wrap(f"{what} {order}".strip(), int(width * 14))


def _legend_rows(graph: Graph, width: float) -> list[list[tuple[str, str, float]]]:
    """Return rows of (kind, words, x) that fit the width."""
    kinds = [layer.kind for layer in graph.layers]
    rows: list[list[tuple[str, str, float]]] = [[]]
    x = 0.0
    for kind in (kind for kind in COLOURS if kind in kinds):
        words = f"{kind} ({kinds.count(kind)})"
        need = 0.45 + _widths([words])[0] * 1.15
        if rows[-1] and x + need > width:
            rows.append([])
            x = 0.0
        rows[-1].append((kind, words, x))
        x += need
    return rows


def _draw_legend(axes: "Axes", rows: list[list[tuple[str, str, float]]], y: float) -> None:
    from matplotlib.patches import Rectangle

    for k, row in enumerate(rows):
        for kind, words, x in row:
            at = y + 0.24 * k
            axes.add_patch(Rectangle((x, at - 0.06), 0.16, 0.12, facecolor=COLOURS[kind], edgecolor="none"))
            axes.text(x + 0.22, at, words, fontsize=8.5, va="center")


def _draw_groups(axes: "Axes", graph: Graph, layout: layouts.Layout, box: float) -> None:
    from matplotlib.patches import Rectangle

    groups, seen = graph.groups, set()
    for k, x, y, height in layout.headings:
        name, first, last = groups[k]
        weights = [layer.parameters for layer in graph.layers[first : last + 1]]
        what = "blocks" if graph.layers[first].type == "Block" else "layers"
        about = f"{last - first + 1} {what}" + (
            "" if None in weights or not sum(weights) else f", {quantity(sum(weights))}"
        )
        words = f"{style.short(name, 40)} ({'continued' if k in seen else about})"
        seen.add(k)
        frame = Rectangle((x - 0.06, y + 0.02), box + 0.12, height + 0.03, facecolor=FRAME, edgecolor="#c4c4c4", lw=0.6)
        axes.add_patch(frame)
        axes.text(
            x, y + layouts.HEADER / 2 + 0.01, words, fontsize=LETTERS, fontweight="bold", va="center", color="#333333"
        )


def _draw_line(axes: "Axes", edge: tuple[int, int], points: Sequence[tuple[float, float]]) -> None:
    from matplotlib.lines import Line2D

    (x, y), (to_x, to_y) = points[-2:]
    marker = "v" if to_y > y and to_x == x else "<" if to_x < x else ">"
    shift = {"v": (0, -0.018), "<": (0.02, 0), ">": (-0.02, 0)}[marker]
    ends = [*points[:-1], (to_x + shift[0], to_y + shift[1])]  # the arrow touches the box
    axes.add_line(
        Line2D(
            *zip(*ends, strict=True),
            color=EDGE,
            lw=0.8,
            marker=marker,
            markersize=2.6,
            markevery=[-1],
            markeredgewidth=0,
            solid_joinstyle="round",
            gid=f"edge-{edge[0]}-{edge[1]}",
            clip_on=False,
        )
    )


def _draw_box(
    axes: "Axes",
    index: int,
    layer: Layer,
    cells: Sequence[str],
    at: tuple[float, float],
    widths: Sequence[float],
    box: float,
) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    x, y = at
    colour = COLOURS[layer.kind]
    pale = tuple(1 - 0.14 * (1 - part) for part in to_rgb(colour))
    dashes = "--" if layer.kind == OTHER else "-"
    frame = Rectangle(at, box, layouts.ROW, facecolor=pale, edgecolor=colour, lw=0.7, linestyle=dashes)
    frame.set_gid(f"layer-{index}")
    axes.add_patch(frame)
    axes.add_patch(Rectangle(at, 0.08, layouts.ROW, facecolor=colour, edgecolor="none"))
    left = x + 0.08 + PAD
    for k, (text, width) in enumerate(zip(cells, widths, strict=True)):
        right = k >= 2  # numbers are right-aligned
        if text:
            axes.text(
                left + (width if right else 0),
                y + layouts.ROW / 2 - 0.005,
                text,
                fontsize=LETTERS,
                ha="right" if right else "left",
                va="center_baseline",
                clip_on=False,
            )
        left += width + PAD
