"""The views of a comparison, in reading order: rows for CSV, tables for the screen, written files and the report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from utils.io import transaction
from utils.runs.comparison import Comparison
from utils.runs.run_folder import RANDOM_FEATURES
from utils.tables import baseline_vs_best, cost, frozen_backbones, hyperparameters, leakage, quality, writers
from utils.tables import calibration as calibration_tables
from utils.tables import significance as significance_tables
from utils.tables import stress as stress_tables
from utils.tables.table import Table

SHARED = "table"  # file of the views without files of their own; its CSV has one row per run
Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class View:
    """One view of a comparison.

    Attributes:
        name: as `compare --tables` takes it, and the stem of its files.
        tables: returns the tables of its rows and the comparison, [] if there is nothing to show.
        words: how to read them, printed below in files and report.
        rows: returns the rows of its CSV from the comparison and the baseline's name; None: the view shows the rows of
            the comparison and is written into the SHARED files.
        main: whether it is on screen by default.
    """

    name: str
    tables: Callable[[Rows, Comparison], list[Table]]
    words: str = ""
    rows: Callable[[Comparison, str], Rows] | None = None
    main: bool = False


@dataclass(frozen=True)
class Result:
    """Rows and tables of a view of one comparison."""

    rows: Rows
    tables: list[Table]


VIEWS = (
    View(
        "quality",
        lambda rows, _: [quality.quality(rows)],
        "Best accuracy first. 95 % Wilson: confidence interval of the accuracy, for images like these. Macro: mean "
        "over the classes, every class counts the same. AUC OvR: area under the ROC curve of each class against the "
        "rest, averaged; 1 is perfect, 0.5 is chance. Initial weights: start of the training; models that start from "
        "ImageNet were pre-trained on over a million photographs, so that models with different starts do not compare "
        "on equal terms. Variant: preprocessing of every image; the test images are the same for all.",
        main=True,
    ),
    View(
        "averages",
        lambda rows, _: [quality.averages(rows)],
        "Macro: every class counts the same. Weighted (Wgtd.): every image counts the same. Log loss: mean negative "
        "log-probability of the true class, 0 is perfect; confident mistakes cost most.",
    ),
    View(
        "per_class",
        lambda rows, _: [quality.per_class(rows)],
        "Precision (Prec.): share of correct images among those predicted as the class. Recall: share of the class "
        "that is predicted correctly. F1: their harmonic mean. AUC: of this class against the rest. Images: test "
        "images of the class. A dash: not defined, because the class has no test image.",
        lambda comparison, against: comparison.per_class,
        main=True,
    ),
    View(
        "other_tests",
        lambda rows, _: quality.other_tests(rows),
        "Test sets that came with the dataset besides the main one, by which the models are ranked. Macro: over the "
        "classes that have images or predictions there.",
        lambda comparison, against: comparison.other_tests,
        main=True,
    ),
    View(
        "baseline",
        lambda rows, _: baseline_vs_best.tables(rows),
        "95 % Wilson: confidence interval of the accuracy. Only this one right: test images that only this one of the "
        "two classifies correctly. p: exact test that exchanges the signs of whole groups of "
        "images; the CSV also has McNemar's over images. The best was selected on these images, so its advantage is "
        "overestimated.",
        baseline_vs_best.records,
    ),
    View(
        "significance",
        lambda rows, comparison: significance_tables.significance_table(rows, len(comparison.runs)),
        "Letters: two models that share one do not differ significantly on these images. Two that share none differ "
        "(signs of the differences of whole groups exchanged, p below 0.05 after Holm's correction over all pairs). A "
        "shared letter is no proof of equality: with few groups, only a large difference is found. Differs from "
        "others: number of the other models that this one differs from. Formulas: docs/statistics.md.",
        lambda comparison, against: significance_tables.significance(comparison),
        main=True,
    ),
    View(
        "pairs",
        lambda rows, _: significance_tables.pairs_table(rows),
        "Only right: images that only the first, or only the second, classifies correctly. p: over groups of images by "
        "the exact test that exchanges the signs of whole groups, after Holm's correction over all pairs; in brackets "
        "McNemar's exact test over images, which assumes that these are independent, not corrected. Points: difference "
        "of the accuracies, with its 95 % interval over groups. AUC: difference of the macro AUC, with its 95 % "
        "interval by DeLong's variance, summed over groups; its p is in the CSV. Intervals are not corrected.",
        lambda comparison, against: significance_tables.pairs(comparison),
    ),
    View(
        "intervals",
        lambda rows, _: [significance_tables.intervals_table(rows)],
        "Wilson: assumes independent images. Over groups: for new groups, since images of one slide or patient are "
        "classified alike. n: number of independent images that say as much; the CSV also has the design effect, "
        "by which it is smaller than the number of test images. If no groups "
        "are known, each image is a group of its own, and both intervals are too narrow for images that belong "
        "together. AUC: interval by DeLong's variance, summed over groups. A dash: too few groups, or a ranking that "
        "is perfect or all ties and has no variance.",
        lambda comparison, against: significance_tables.intervals(comparison),
    ),
    View(
        "calibration",
        lambda rows, _: [replace(table, words_below="") for table in calibration_tables.tables(rows)],
        "T: temperature fitted on the validation images; above 1 the model was overconfident. ECE: mean difference of "
        "confidence and accuracy, in 15 bins of equally many images. Brier and log loss: lower is better. AURC: mean "
        "share of wrong answers if the most confident images are answered first. Least confidence: chosen on the "
        "validation images so that at most the wanted share of the given answers is wrong; answered and wrong are "
        "measured on the test images. Conformal sets hold the true class with the wanted probability if test images "
        "are like the validation images; covered is the measured share. It may be lower if test images come from "
        "other slides or stains. An empty set: no class is probable enough. Worst class: the lowest coverage of a "
        "class.",
        lambda comparison, against: calibration_tables.records(comparison),
    ),
    View(
        "stress",
        lambda rows, _: stress_tables.comparison(rows),
        stress_tables.COMPARISON_WORDS,
        lambda comparison, against: stress_tables.headlines(stress_tables.named_runs(comparison)),
    ),
    View(
        "training",
        lambda rows, _: [cost.training(rows)],
        "Seconds to best: until the epoch whose weights were kept. Seconds saved: by running the images through the "
        "frozen base only once. Peak: highest memory of the training process; the last column is its share for "
        "importing TensorFlow.",
        main=True,
    ),
    View(
        "complexity",
        lambda rows, _: [cost.complexity(rows)],
        "FLOPs: multiplications and additions for one image of the given side in pixels. Trainable: parameters that "
        "may change in the last phase of training. Peak: highest memory of the prediction process.",
        main=True,
    ),
    View(
        "speed",
        lambda rows, _: [cost.speed(rows)],
        "Load: building the model and reading its weights. Milliseconds for a single image, median and 95th "
        "percentile (p95), then images per second in batches of 1, 8 and 32.",
        main=True,
    ),
    View("machines", lambda rows, _: cost.machines(rows), main=True),
    View(
        "seeds",
        lambda rows, _: quality.seeds(rows),
        "n: trainings that differ only in their seed. Differences below the spread mean nothing.",
        lambda comparison, against: comparison.seeds,
        main=True,
    ),
    View(
        "leakage",
        lambda rows, _: leakage.tables(rows),
        leakage.WORDS,
        lambda comparison, against: leakage.records(comparison),
        main=True,
    ),
    View(
        "extractors",
        lambda rows, _: frozen_backbones.tables(rows),
        "Features: number of outputs of the frozen base per image. Pass: seconds to compute them for all training and "
        "validation images, once. Head: seconds to train the head on them. Frozen: accuracy with the base unchanged; "
        "whole: of the same model with all weights trained. Points: the gain on the test images.",
        lambda comparison, against: frozen_backbones.records(comparison),
    ),
    View(
        "hyperparameters",
        lambda rows, _: hyperparameters.tables(rows),
        rows=lambda comparison, against: hyperparameters.records(comparison),
    ),
    View(
        "runs",
        lambda rows, _: [quality.runs(rows)],
        "Seed: of all random numbers of a training.",
        main=True,
    ),
)


def results(comparison: Comparison, against: str = baseline_vs_best.DEFAULT) -> dict[str, Result]:
    """Return rows and tables of every view by name, in reading order.

    Args:
        comparison: of runs with the same test images.
        against: name of the baseline that the best run is compared with.
    """
    found = {}
    for view in VIEWS:
        rows = comparison.rows if view.rows is None else view.rows(comparison, against)
        tables = view.tables(rows, comparison) if rows else []
        found[view.name] = Result(
            rows, [*tables[:-1], *(replace(last, words_below=view.words) for last in tables[-1:])]
        )
    return found


def views(comparison: Comparison, against: str = baseline_vs_best.DEFAULT) -> dict[str, list[Table]]:
    """Return the tables of every view by name, without views that have none; arguments as `results`."""
    return shown(results(comparison, against))


def shown(found: Mapping[str, Result]) -> dict[str, list[Table]]:
    """Return the tables of results by name, without views that have none."""
    return {name: result.tables for name, result in found.items() if result.tables}


def write(comparison: Comparison, folder: Path, found: Mapping[str, Result] | None = None) -> list[Path]:
    """Write the tables of a comparison as .csv, .md, .tex and .html into a folder; return the paths.

    The same runs give the same bytes. Files of an earlier comparison without a successor are removed.

    Args:
        comparison: of runs with the same test images.
        folder: created if missing.
        found: its `results`; None computes them.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    found = results(comparison) if found is None else found
    shared = [table for view in VIEWS if view.rows is None for table in found[view.name].tables]
    contents = {SHARED: Result(comparison.rows, shared)}
    contents |= {view.name: found[view.name] for view in VIEWS if view.rows is not None}
    notes, made = about(comparison), []
    with transaction.together(folder) as stage:
        for name, result in contents.items():
            if result.rows:
                made += writers.write_all(stage / name, comparison.title, notes, result.tables, result.rows)
            else:
                transaction.remove(stage, *(f"{name}{suffix}" for suffix in writers.FORMATS))
    return [folder / path.name for path in made]


def remove(folder: Path, name: str) -> None:
    """Remove the files of a table."""
    for suffix in writers.FORMATS:
        (folder / f"{name}{suffix}").unlink(missing_ok=True)


def about(comparison: Comparison) -> list[str]:
    """Return notes on all rows: the test set, the machine if all runs share one, and the initial weights."""
    lines = [f"Test set {comparison.test_identity}; runs on other test sets have tables of their own."]
    used = cost.used_machines(comparison.rows)
    if len(used) == 1:
        lines.append(f"All runs on: {used[0]}.")
    if any(row["initialisation"] in ("random", RANDOM_FEATURES) for row in comparison.rows):
        lines.append(
            "Random initial weights are a handicap for networks that normally start from pre-trained ones, most of all "
            "for large ones after few epochs: these rows do not rank the architectures as they are normally used."
        )
    return lines
