"""Significant differences and confidence intervals of the runs of a comparison: rows, tables, data of the figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any

from utils.metrics import delong, group_intervals, grouped_tests, predictions
from utils.metrics import significance as significance_tests
from utils.runs import image_groups
from utils.runs.comparison import Comparison
from utils.runs.run_folder import Run
from utils.tables.table import Table, difference, interval, name_lines, number, percent
from utils.text import MISSING

if TYPE_CHECKING:
    import numpy as np

TINY = 0.0001  # a smaller p is written as "<0.0001"
MOST = 100  # best runs that are compared in pairs; thousands of runs would make millions of pairs


@dataclass(frozen=True)
class Answers:
    """Predictions of one run on the test images, ordered by image name.

    Attributes:
        images: (images,) names.
        hits: (images,) bool, whether an image is classified correctly.
        area: macro AUC; None if it is not defined.
        groups: (images,) name of the group of each image.
        source: description of the groups.
    """

    images: list[str]
    hits: "np.ndarray"
    area: delong.Area | None
    groups: list[str]
    source: str

    @classmethod
    def of(cls, run: Run) -> "Answers":
        """Read the test predictions of a run."""
        table = run.predictions("test").sort_values("image", ignore_index=True)
        _, truth, probabilities = predictions.arrays(table)
        images = list(table["image"])
        hits, area = probabilities.argmax(axis=1) == truth, delong.macro(probabilities, truth)
        return cls(images, hits, area, *image_groups.of_images(run, images))


@dataclass(frozen=True)
class Standing:
    """One model in a compact letter display.

    Attributes:
        row: its columns of table.csv.
        low, high: interval of its accuracy over groups, 0..1; None with fewer than two groups.
        groups: indices of the sets of models without a significant difference that hold this one.
        letters: the same sets as letters.
    """

    row: dict[str, Any]
    low: float | None
    high: float | None
    groups: tuple[int, ...]
    letters: str


def intervals(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the columns of intervals.csv, one dict per run: accuracy and macro AUC with 95 % intervals."""
    rows = []
    answers = chain(_answers(comparison), map(Answers.of, comparison.runs[MOST:]))
    for found, named in zip(answers, comparison.rows, strict=True):
        over = group_intervals.mean_interval(found.hits, found.groups)
        low, high = _ends(over)
        reach = delong.interval(found.area, found.groups) if found.area else (None, None)
        rows.append(
            {key: named[key] for key in ("name", "model", "run", "images")}
            | {"groups": len(set(found.groups)), "groups_from": found.source, "accuracy": named["accuracy"]}
            | {"wilson_low": named["accuracy_low"], "wilson_high": named["accuracy_high"]}
            | {"cluster_low": low, "cluster_high": high}
            | {"design_effect": over.design_effect, "effective_size": over.effective_size}
            | {"auc_ovr_macro": named["auc_ovr_macro"]}
            | {"auc_low": reach[0], "auc_high": reach[1]}
        )
    return rows


def intervals_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Return `intervals` as a table: accuracy with both of its intervals, macro AUC with its own."""
    shown = [
        [
            *(name_lines(row["name"]), percent(row["accuracy"])),
            interval(row["wilson_low"], row["wilson_high"]),
            f"{interval(row['cluster_low'], row['cluster_high'])}\n(n {row['effective_size']:,.0f})",
            number(row["auc_ovr_macro"], 4),
            MISSING if row["auc_low"] is None else f"{number(row['auc_low'], 4)}-{number(row['auc_high'], 4)}",
        ]
        for row in rows
    ]
    columns = ("Model", "Acc.\n%", "95 %\nWilson", "95 % over\ngroups", "AUC\nOvR", "95 %\nDeLong")
    return Table(f"95 % intervals, over {_sources(rows)}", columns, shown)


@lru_cache(maxsize=4)  # used by two views and a figure of a comparison
def pairs(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the columns of pairs.csv, one dict per pair of runs on the same images, the better one first."""
    return _compared(_paired(comparison))


def pairs_table(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """Return `pairs` as a table; [] without rows."""
    shown = [
        [
            *(name_lines(row["first"]), name_lines(row["second"]), f"{row['only_first']}/{row['only_second']}"),
            f"{chance(row['group_p_holm'])}\n({chance(row['mcnemar_p'])})",
            _span(row["difference"], row["difference_low"], row["difference_high"], 1, 100),
            _span(row["auc_difference"], row["auc_low"], row["auc_high"], 3, 1),
        ]
        for row in rows
    ]
    columns = ("First", "Second", "Only\nright", "p", "Points\n95 %", "AUC\n95 %")
    title = "Every two models on the same images; p over groups after Holm's correction"
    return [Table(title, columns, shown, frozenset({0, 1}))] if rows else []


@lru_cache(maxsize=4)
def standings(comparison: Comparison) -> list[Standing]:
    """Return the models by accuracy, with equal letters for those that do not differ significantly.

    Significant: p of the exact test over groups is below 0.05 after Holm's correction over all pairs. [] with fewer
    than two models.
    """
    members, compared = _paired(comparison), pairs(comparison)
    if not compared:
        return []
    position = {row["run"]: k for k, (row, _) in enumerate(members)}
    different = [(position[p["first_run"]], position[p["second_run"]]) for p in compared if p["told_apart"] == "yes"]
    sets = significance_tests.homogeneous_sets(different, len(members))
    marks = significance_tests.letters(sets, len(members))
    found = []
    for k, (row, answers) in enumerate(members):
        low, high = _ends(group_intervals.mean_interval(answers.hits, answers.groups))
        found.append(Standing(row, low, high, tuple(n for n, part in enumerate(sets) if k in part), marks[k]))
    return found


def significance(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the columns of significance.csv, one dict per run."""
    found = standings(comparison)
    return [
        {key: each.row[key] for key in ("name", "model", "run", "accuracy")}
        | {"cluster_low": each.low, "cluster_high": each.high, "letters": each.letters}
        | {"told_from": sum(not set(each.groups) & set(other.groups) for other in found)}
        for each in found
    ]


def significance_table(rows: Sequence[dict[str, Any]], runs: int) -> list[Table]:
    """Return `significance` as a table; [] without rows. `runs`: number of runs of the comparison."""
    shown = [
        [
            *(name_lines(row["name"]), percent(row["accuracy"]), interval(row["cluster_low"], row["cluster_high"])),
            *(row["letters"], f"{row['told_from']} of {len(rows) - 1}"),
        ]
        for row in rows
    ]
    lost = min(runs, MOST) - len(rows)
    title = "Models that share a letter do not differ significantly" + (
        f" ({lost} without common images)" if lost else ""
    )
    title += f" (the best {MOST} of {runs:,})" if runs > MOST else ""
    columns = ("Model", "Acc.\n%", "95 % over\ngroups", "Letters", "Differs from\nothers")
    return [Table(title, columns, shown, frozenset({0, 3}))] if rows else []


def chance(p: float | None) -> str:
    """Return a p value with four decimals, "<0.0001" below; "–" for None."""
    return f"<{TINY}" if p is not None and p < TINY else number(p, 4)


@lru_cache(maxsize=4)
def _paired(comparison: Comparison) -> list[tuple[dict[str, Any], Answers]]:
    """Return row and answers of the best MOST runs that have the same image names as the first."""
    found = list(zip(comparison.rows, _answers(comparison), strict=False))
    return [(row, answers) for row, answers in found if answers.images == found[0][1].images]


@lru_cache(maxsize=4)
def _answers(comparison: Comparison) -> list[Answers]:
    return [Answers.of(run) for run in comparison.runs[:MOST]]


def _compared(members: Sequence[tuple[dict[str, Any], Answers]]) -> list[dict[str, Any]]:
    found = [answers for _, answers in members]
    both = list(combinations(range(len(members)), 2))
    if not both:
        return []
    import numpy as np

    hits, groups = np.stack([answers.hits for answers in found]).astype(int), found[0].groups
    place = np.unique(groups, return_inverse=True)[1]
    spans = [_ends(group_intervals.difference_interval(hits[i], hits[j], place)) for i, j in both]
    tests = [grouped_tests.paired_test(hits[i], hits[j], place) for i, j in both]
    only = [(int((hits[i] > hits[j]).sum()), int((hits[i] < hits[j]).sum())) for i, j in both]
    areas = [_area(found[i].area, found[j].area, groups) for i, j in both]
    known = [k for k, area in enumerate(areas) if area["auc_p"] is not None]
    area_holm = dict(zip(known, significance_tests.holm([areas[k]["auc_p"] for k in known]), strict=True))
    rows = []
    for k, (i, j) in enumerate(both):
        first, second = members[i][0], members[j][0]
        rows.append(
            {"first": first["name"], "second": second["name"], "first_run": first["run"], "second_run": second["run"]}
            | {"images": len(groups), "groups": len(set(groups)), "groups_from": found[0].source}
            | {"only_first": only[k][0], "only_second": only[k][1]}
            | {"difference": first["accuracy"] - second["accuracy"]}
            | {"difference_low": spans[k][0], "difference_high": spans[k][1]}
            | {"groups_that_differ": tests[k].groups, "group_p": tests[k].p, "mcnemar_p": tests[k].p_images}
            | areas[k]
            | {"auc_p_holm": area_holm.get(k)}
        )
    for row, corrected in zip(rows, significance_tests.holm([each.p for each in tests]), strict=True):
        row["group_p_holm"] = corrected
        row["told_apart"] = "yes" if corrected < significance_tests.SIGNIFICANT else "no"
    return rows


def _ends(found: group_intervals.Interval) -> tuple[float, float] | tuple[None, None]:
    """Return the ends of an interval; None with fewer than two groups."""
    return (found.low, found.high) if found.groups > 1 else (None, None)


def _area(first: delong.Area | None, second: delong.Area | None, groups: Sequence[str]) -> dict[str, float | None]:
    names = ("auc_difference", "auc_low", "auc_high", "auc_p")
    if first is None or second is None:
        return dict.fromkeys(names)
    return dict(zip(names, delong.difference(first, second, groups), strict=True))


def _span(value: float | None, low: float | None, high: float | None, digits: int, scale: float) -> str:
    if value is None or low is None or high is None:
        return MISSING
    middle, lower, upper = (difference(each, digits, scale) for each in (value, low, high))
    return f"{middle}\n({lower}\n{upper})"


def _sources(rows: Sequence[dict[str, Any]]) -> str:
    return " and ".join(dict.fromkeys(_source(row["groups"], row["groups_from"]) for row in rows))


def _source(groups: int, words: str) -> str:
    few = 1 < groups < group_intervals.FEW
    return f"{groups:,} {words}" + (" (so few make the interval over groups too narrow)" if few else "")
