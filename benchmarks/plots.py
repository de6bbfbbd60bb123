"""Plots of what benchmarks measured."""

from typing import TYPE_CHECKING

from benchmarks.recording import Plot
from visualization import label_placement, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(plot: Plot, about: str) -> "Figure":
    """Draw the series of a plot over each other, with the range of the repetitions as bars."""
    figure = style.new(7.2, 4.6)
    with style.look():
        ax = figure.subplots()
        for number, series in enumerate(plot.series):
            bars = None
            if series.low:
                bars = [
                    [y - low for y, low in zip(series.y, series.low, strict=True)],
                    [high - y for y, high in zip(series.y, series.high, strict=True)],
                ]
            ax.errorbar(
                series.x, series.y, bars, color=style.colour(number), marker=style.marker(number), markersize=6,
                linestyle=style.LINES[number % len(style.LINES)] if series.line else "none", elinewidth=0.9,
                capsize=2, label=series.label,
            )  # fmt: skip
        if plot.asked is not None:
            ax.axhline(plot.asked, color=style.GREY, linestyle="--", linewidth=1, label=f"asked: {plot.asked:g}")
        _scale(ax, plot.log)
        ax.set_title(plot.title)
        ax.set_xlabel(plot.x)
        ax.set_ylabel(plot.y)
        ax.grid(True)
        ax.margins(x=0.08, y=0.1)
        if len(plot.series) > 1 or plot.asked is not None:
            if len(plot.series) > 4:  # would lie over the lines
                figure.legend(loc="outside lower center", ncols=2)
            else:
                ax.legend(loc="best")
    style.head(figure, about, "")
    for series in plot.series:
        if series.names:
            points = list(zip(series.x, series.y, strict=True))
            spans = list(zip(series.low or series.y, series.high or series.y, strict=True))
            label_placement.label_points(ax, points, list(series.names), spans)
    return figure


def _scale(ax: "Axes", log: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for name, axis in (("x", ax.xaxis), ("y", ax.yaxis)):
        if name in log:
            (ax.set_xscale if name == "x" else ax.set_yscale)("log")
            low, high = axis.get_view_interval()
            if high < 100 * low:  # hardly a power of ten would be named
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(style.plain_number))
            axis.set_minor_formatter(NullFormatter())
