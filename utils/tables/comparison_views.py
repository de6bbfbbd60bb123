"""How a comparison reads: its views in order, the same narrow tables on screen, in the written files and the report."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from utils.io import files
from utils.runs.comparison import Comparison
from utils.runs.run_folder import RANDOM_FEATURES
from utils.tables import baseline_vs_best, frozen_backbones, hyperparameters, writers
from utils.tables import calibration as calibration_tables
from utils.tables import cost as cost_tables
from utils.tables import leakage as leakage_tables
from utils.tables import quality as quality_tables
from utils.tables import significance as significance_tables
from utils.tables import stress as stress_tables
from utils.tables.table import Table

FORMATS = (".csv", ".md", ".tex", ".html")
SHARED = "table"  # file of the views that have none of their own; its CSV holds a row a run


@dataclass(frozen=True)
class View:
    """One way to look at a comparison.

    Attributes:
        name: as `compare --tables` takes it, and the stem of its files.
        make: returns its tables, none where there is nothing to show, from the comparison and the baseline's name.
        words: how to read them, which the files and the report say below.
        records: returns the rows of its CSV, from the same; None: the view stands in the SHARED files.
        main: whether it is on screen unless asked for.
    """

    name: str
    make: Callable[[Comparison, str], list[Table]]
    words: str = ""
    records: Callable[[Comparison, str], list[dict[str, Any]]] | None = None
    main: bool = False


VIEWS = (
    View(
        "quality", lambda c, against: [quality_tables.quality(c)], main=True,
        words="Best accuracy first. 95 % Wilson: the interval in which the true accuracy lies with 95 % confidence, as "
        "far as images like these go. Macro: the mean over the classes, every class counts alike. AUC OvR: area under "
        "the ROC curve of each class against the rest, averaged; 1 is perfect, 0.5 is chance. Initial weights: where "
        "training started; a model that starts from ImageNet has seen over a million photographs before. Models that "
        "start differently are not compared on equal terms. Variant: what is done to every image before a model sees "
        "it; the test images are the same for all.",
    ),
    View(
        "averages", lambda c, against: [quality_tables.averages(c)],
        words="Macro: every class counts alike. Weighted (Wgtd.): every image counts alike. Log loss: how far the "
        "probabilities are from the truth, 0 is perfect; confident mistakes cost most.",
    ),
    View(
        "per_class", lambda c, against: [quality_tables.per_class(c)], main=True,
        records=lambda c, against: c.per_class,
        words="Precision (Prec.): the share of the images named so that are so. Recall: the share of the class that is "
        "named so. F1: their harmonic mean. AUC: of this class against the rest. Images: how many test images the "
        "class has. A dash: not defined, as the class has no test image.",
    ),
    View(
        "baseline", baseline_vs_best.tables, records=baseline_vs_best.records,
        words="95 % Wilson: interval of the accuracy. Only this one right: test images that only this one of the two "
        "names rightly. p: how often two equally good models would differ by as many images or more (McNemar's exact "
        "test). The best was chosen by these same images, which flatters it.",
    ),
    View(
        "significance", lambda c, against: significance_tables.significance_table(c), main=True,
        records=lambda c, against: significance_tables.significance(c),
        words="Letters: two models that share one cannot be told apart by these images; their order may be luck. Two "
        "that share none differ (McNemar's exact test on the same images, p below 0.05 after Holm's correction "
        "over all pairs). No proof of equality: more images might tell more models apart. The test counts images "
        "as independent, which images of one slide are not; the interval over groups is the more careful one. "
        "Told from others: from how many of the other models this one is told apart. Formulas: "
        "docs/statistics.md.",
    ),
    View(
        "pairs", lambda c, against: significance_tables.pairs_table(c),
        records=lambda c, against: significance_tables.pairs(c),
        words="Only right: images that only the first, or only the second, names rightly. p: McNemar's exact test of "
        "these, corrected by Holm over all pairs. Points: difference of the accuracies, with its 95 % interval by "
        "drawing whole groups of images again and again. AUC: difference of the macro AUC, with its 95 % interval by "
        "DeLong's variance, summed over groups; its p is in the CSV. Intervals are not corrected.",
    ),
    View(
        "intervals", lambda c, against: [significance_tables.intervals_table(c)],
        records=lambda c, against: significance_tables.intervals(c),
        words="Wilson: as if images were independent. Over groups: whole groups of images are drawn again and again "
        "(2,000 times, fixed seed), since images of one slide or patient go right or wrong together; this is usually "
        "the wider one. Where no groups are known each image is a group of its own, and both intervals are too narrow "
        "wherever images belong together. AUC: interval by DeLong's variance, summed over groups. A dash: too few "
        "groups, or a ranking that is perfect or all ties, which leaves DeLong's variance no spread to go by.",
    ),
    View(
        "calibration", lambda c, against: calibration_tables.tables(c),
        records=lambda c, against: calibration_tables.records(c),
        words="T: temperature fitted on the validation images; above 1 the model was too sure. ECE: how far confidence "
        "and accuracy lie apart, in 15 bins of equally many images. Brier and log loss: lower is better. AURC: mean "
        "share of wrong answers when the surest images are answered first. Least confidence: chosen on the validation "
        "images so that of the answers given at most the wanted share is wrong; answered and wrong are measured on the "
        "test images. Conformal sets hold the true class with the promised probability if test images are like those "
        "of validation; covered is what was measured. Where test images come from other slides or stains it may fall "
        "short. An empty set: no class is likely enough. Worst class: the lowest coverage of a class.",
    ),
    View(
        "stress", lambda c, against: stress_tables.comparison(stress_tables.named_runs(c)),
        words=stress_tables.COMPARISON_WORDS,
        records=lambda c, against: stress_tables.headlines(stress_tables.named_runs(c)),
    ),
    View(
        "training", lambda c, against: [cost_tables.training(c)], main=True,
        words="Seconds to best: until the epoch whose weights were kept. Seconds saved: not spent, because the images "
        "went through the frozen base only once. Peak: the most memory that training took; importing TensorFlow alone "
        "takes what the last column says.",
    ),
    View(
        "complexity", lambda c, against: [cost_tables.complexity(c)], main=True,
        words="FLOPs: the multiplications and additions for one image of so many pixels a side. Trainable: parameters "
        "that may change in the last phase of training. Peak: the most memory of the process that predicted.",
    ),
    View(
        "speed", lambda c, against: [cost_tables.speed(c)], main=True,
        words="Load: building the model and reading its weights. Milliseconds for a single image, median and 95th "
        "percentile (p95), then images a second in batches of 1, 8 and 32.",
    ),
    View("machines", lambda c, against: cost_tables.machines(c), main=True),
    View(
        "seeds", lambda c, against: [quality_tables.seeds(c)] if c.seeds else [], main=True,
        records=lambda c, against: c.seeds,
        words="n: trainings that differ in their seed alone. Training again with another seed gives another result; "
        "differences below the spread mean nothing.",
    ),
    View(
        "leakage", lambda c, against: leakage_tables.tables(leakage_tables.records(c)), leakage_tables.WORDS,
        records=lambda c, against: leakage_tables.records(c), main=True,
    ),
    View(
        "extractors", lambda c, against: frozen_backbones.tables(c),
        records=lambda c, against: frozen_backbones.records(c),
        words="Features: numbers that the frozen base gives for an image. Pass: seconds in which it gives them for all "
        "training and validation images, once. Head: seconds in which the head learned from them. Frozen: accuracy "
        "with the base as it came; whole: of the same model with all weights trained. Points: what that adds on the "
        "test images.",
    ),
    View(
        "hyperparameters", lambda c, against: hyperparameters.tables(c),
        records=lambda c, against: hyperparameters.records(c),
    ),
    View(
        "runs", lambda c, against: [quality_tables.runs(c)], main=True,
        words="Seed: the number that all chance of a training was drawn from.",
    ),
)  # fmt: skip


def views(comparison: Comparison, against: str = baseline_vs_best.DEFAULT) -> dict[str, list[Table]]:
    """Return the tables of every view by its name, in reading order; one that has nothing to show is left out.

    Args:
        comparison: of runs with the same test images.
        against: name of the baseline, which the best run is held against.
    """
    found = {view.name: _with_words(view.make(comparison, against), view.words) for view in VIEWS}
    return {name: shown for name, shown in found.items() if shown}


def write(
    comparison: Comparison,
    folder: Path,
    against: str = baseline_vs_best.DEFAULT,
    shown: Mapping[str, list[Table]] | None = None,
) -> list[Path]:
    """Write the tables of a comparison as .csv, .md, .tex and .html into a folder; return the paths.

    The same runs give the same bytes. Files of an earlier comparison go where there is nothing for them now.

    Args:
        comparison: of runs with the same test images.
        folder: made where it is missing.
        against: name of the baseline, which the best run is held against.
        shown: what `views` gave for them; None makes it.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    shown, notes = views(comparison, against) if shown is None else shown, about(comparison)
    shared = [table for view in VIEWS if view.records is None for table in shown.get(view.name, [])]
    contents = {SHARED: (comparison.rows, shared)} | {
        view.name: (view.records(comparison, against), shown.get(view.name, [])) for view in VIEWS if view.records
    }
    made = []
    for name, (records, parts) in contents.items():
        if records:
            files.write_csv(folder / f"{name}.csv", records)
            made += [folder / f"{name}.csv", *writers.write_all(folder / name, comparison.title, notes, parts)]
        else:
            remove(folder, name)
    return made


def remove(folder: Path, name: str) -> None:
    """Remove the files of a table."""
    for suffix in FORMATS:
        (folder / f"{name}{suffix}").unlink(missing_ok=True)


def about(comparison: Comparison) -> list[str]:
    """Return lines that hold for every row: the test set, and the machine where all ran on one."""
    lines = [f"Test set {comparison.test_identity}; runs on other test sets stand in tables of their own."]
    used = cost_tables.used_machines(comparison)
    if len(used) == 1:
        lines.append(f"All runs on: {used[0]}.")
    if any(row["initialisation"] in ("random", RANDOM_FEATURES) for row in comparison.rows):
        lines.append(
            "Random initial weights hold back networks that are made to start from pre-trained ones, most of all large "
            "ones after few epochs: their rows do not rank the architectures as they are used."
        )
    return lines


def _with_words(made: list[Table], words: str) -> list[Table]:
    return [*made[:-1], *(replace(table, words_below=words) for table in made[-1:])]
