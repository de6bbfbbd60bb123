"""Verdict on a dataset and table of its shortcut baselines."""

from collections.abc import Sequence
from dataclasses import dataclass

from utils.runs.shortcuts_file import MAJORITY, SEES, WITHOUT_CELLS, Shortcut
from utils.tables.table import HYPHEN, Table, interval, percent

# Of the way from chance to 1: below that lie leftovers of cells that the masks miss, and the light of single slides.
CLEARLY = 0.25
CONFOUNDED, CLEARED = "confounded", "cleared"
CLEAR, WEAK, NO = "clearly", "weakly", "no"


@dataclass(frozen=True)
class Verdict:
    """What a ladder says of a dataset.

    Attributes:
        word: CONFOUNDED or CLEARED.
        chance: accuracy of the most frequent class, 0..1.
        told_by: baselines without cells that are clearly above chance, best first.
        sentences: the same in words.
    """

    word: str
    chance: float
    told_by: tuple[str, ...]
    sentences: tuple[str, ...]


def verdict(rungs: Sequence[Shortcut]) -> Verdict:
    """Judge a dataset: confounded where a baseline without cells is clearly above chance.

    Clearly: the lower end of its 95 % Wilson interval lies more than CLEARLY of the way from chance, the accuracy of
    the most frequent class, to 1. Baselines that are given the cells as well are shown, and do not count.
    """
    chance = next(rung.accuracy for rung in rungs if rung.baseline == MAJORITY)
    blind = [rung for rung in rungs if rung.baseline in WITHOUT_CELLS]
    above = sorted((rung for rung in blind if above_chance(rung, chance) == CLEAR), key=lambda rung: -rung.accuracy)
    if not above:
        top = max(blind, key=lambda rung: rung.accuracy)
        words = (
            f"Cleared: no baseline without cells is clearly above chance ({percent(chance, 1)} %); the best, "
            f"{top.baseline}, has {percent(top.accuracy, 1)} % ({interval(top.low, top.high)}). "
            "That is no proof: a shortcut that none of them looks at may be there.",
        )
        return Verdict(CLEARED, chance, (), words)
    top = above[0]
    words = (
        f"Confounded: {top.baseline} alone, without a single stained cell, names the class of "
        f"{percent(top.accuracy, 1)} % of the test images; always the same answer would reach {percent(chance, 1)} %.",
        "So a high accuracy on this split does not show that a model reads cells.",
    )
    return Verdict(CONFOUNDED, chance, tuple(rung.baseline for rung in above), words)


def above_chance(rung: Shortcut, chance: float) -> str:
    """Return CLEAR, WEAK or NO: how far the interval of a rung lies above chance, see `verdict`."""
    if rung.low > chance + CLEARLY * (1 - chance):
        return CLEAR
    return WEAK if rung.low > chance else NO


def table(rungs: Sequence[Shortcut], title: str) -> Table:
    """Return the ladder as a table that is narrow enough for 80 columns."""
    chance = next(rung.accuracy for rung in rungs if rung.baseline == MAJORITY)
    rows = [
        [
            rung.baseline,
            "no" if rung.baseline in (MAJORITY, *WITHOUT_CELLS) else "yes",
            str(rung.features),
            percent(rung.accuracy),
            interval(rung.low, rung.high),
            above_chance(rung, chance),
            f"{rung.seconds:.1f}",
        ]
        for rung in rungs
    ]
    columns = ("Baseline", "Given\ncells", f"Fea{HYPHEN}tures", "Test\n%", "95 % interval", "Above\nchance", "Sec.")
    below = " ".join(f"{rung.baseline.capitalize()}: {SEES[rung.baseline]}." for rung in rungs)
    return Table(title, columns, rows, frozenset({0, 1, 5}), below)
