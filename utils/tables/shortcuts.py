"""Verdict on a dataset and table of its shortcut baselines."""

from collections.abc import Sequence
from dataclasses import dataclass

from utils.runs.shortcuts_file import MAJORITY, SEES, WITHOUT_CELLS, Shortcut
from utils.tables.table import HYPHEN, Table, interval, percent

# Share of the range from chance to 1. Accuracies below it may come from cell fragments that the masks miss.
CLEARLY = 0.25
CONFOUNDED, CLEARED = "confounded", "cleared"
CLEAR, WEAK, NO = "clearly", "weakly", "no"


@dataclass(frozen=True)
class Verdict:
    """Verdict on a dataset from its shortcut baselines.

    Attributes:
        word: CONFOUNDED or CLEARED.
        chance: accuracy of the most frequent class, 0..1.
        told_by: names of the baselines without cells that are clearly above chance, best first.
        sentences: the verdict in words.
    """

    word: str
    chance: float
    told_by: tuple[str, ...]
    sentences: tuple[str, ...]


def verdict(baselines: Sequence[Shortcut]) -> Verdict:
    """Judge a dataset: confounded if a baseline without cells is clearly above chance.

    Chance is the accuracy of the most frequent class. Clearly: the lower end of the 95 % Wilson interval exceeds chance
    by more than the share CLEARLY of the range from chance to 1. Baselines that see the cells do not count.
    """
    chance = next(each.accuracy for each in baselines if each.baseline == MAJORITY)
    blind = [each for each in baselines if each.baseline in WITHOUT_CELLS]
    above = sorted((each for each in blind if above_chance(each, chance) == CLEAR), key=lambda each: -each.accuracy)
    if not above:
        top = max(blind, key=lambda each: each.accuracy)
        words = (
            f"Cleared: no baseline without cells is clearly above chance ({percent(chance, 1)} %); the best, "
            f"{top.baseline}, has {percent(top.accuracy, 1)} % ({interval(top.low, top.high)}). "
            "This is no proof: there may be a shortcut that none of them uses.",
        )
        return Verdict(CLEARED, chance, (), words)
    top = above[0]
    words = (
        f"Confounded: {top.baseline} alone, without stained cells, reaches an accuracy of "
        f"{percent(top.accuracy, 1)} %; the most frequent class alone reaches {percent(chance, 1)} %.",
        "So a high accuracy on this split does not show that a model recognises cells.",
    )
    return Verdict(CONFOUNDED, chance, tuple(each.baseline for each in above), words)


def above_chance(shortcut: Shortcut, chance: float) -> str:
    """Return CLEAR, WEAK or NO for a baseline whose interval is above chance, see `verdict`."""
    if shortcut.low > chance + CLEARLY * (1 - chance):
        return CLEAR
    return WEAK if shortcut.low > chance else NO


def table(baselines: Sequence[Shortcut], title: str) -> Table:
    """Return the baselines as a table that fits 80 columns."""
    chance = next(each.accuracy for each in baselines if each.baseline == MAJORITY)
    rows = [
        [
            each.baseline,
            "no" if each.baseline in (MAJORITY, *WITHOUT_CELLS) else "yes",
            str(each.features),
            percent(each.accuracy),
            interval(each.low, each.high),
            above_chance(each, chance),
            f"{each.seconds:.1f}",
        ]
        for each in baselines
    ]
    columns = ("Baseline", "Sees\ncells", f"Fea{HYPHEN}tures", "Test\n%", "95 % interval", "Above\nchance", "Sec.")
    below = " ".join(f"{each.baseline.capitalize()}: {SEES[each.baseline]}." for each in baselines)
    return Table(title, columns, rows, frozenset({0, 1, 5}), below)
