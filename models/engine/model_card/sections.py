"""Sections of a model card: scores, stress, shortcuts, unseen groups, calibration, heatmaps, data and limits."""

from collections import Counter
from statistics import fmean

from data import all_dataset, manifest
from utils import paths
from utils.errors import LeukoBenchError
from utils.io import files
from utils.metrics import predictions
from utils.runs import (
    calibration_file,
    faithfulness_file,
    leaderboard,
    run_folder,
    seen_families,
    shortcuts_file,
    split_spec,
    stress_file,
)
from utils.runs.records import Record, measure
from utils.runs.run_folder import Run
from utils.tables import calibration as calibration_tables
from utils.tables import faithfulness as faithfulness_tables
from utils.tables import shortcuts as shortcuts_tables
from utils.tables import stress as stress_tables
from utils.tables.classification_report import Classification
from utils.tables.table import Table, difference, interval, number, percent
from utils.tables.writers import markdown_table, markdown_text
from utils.text import NOTICE

SYNTHETIC, KNOWN, OTHER = "synthetic", "known", "other"  # origins of the images
GAP = "Leakage gap"


def scores(run: Run, record: Record) -> list[str]:
    """Return the sections with scores, as Markdown.

    Raises:
        LeukoBenchError: a file of the run is damaged.
    """
    return [
        *_test(run, record),
        *_shortcuts(run, record),
        *_stress(run),
        *_groups(run, record),
        *_calibration(run),
        *_heatmaps(run),
    ]


def of_table(table: Table) -> str:
    """Return a table as Markdown, without its title, with the text below it."""
    text = markdown_table(table)
    return f"{text}\n\n{table.words_below}" if table.words_below else text


def code(text: str) -> str:
    """Return a text as code, unless it would end the code."""
    return markdown_text(text) if "`" in text else f"`{text}`"


def missing(what: str, command: str) -> str:
    """Return a line with the command for a missing measurement."""
    return f"{what}: not measured. {code(f'python run_guide.py {command}')}"


def _test(run: Run, record: Record) -> list[str]:
    row = record.row
    accuracy = f"**{percent(row['accuracy'])} %** ({interval(row['accuracy_low'], row['accuracy_high'])})"
    line = (
        f"Accuracy {accuracy} on {row['images']:,} test images; in brackets the 95 % Wilson interval. Balanced "
        f"accuracy {percent(row['balanced_accuracy'])} %, macro F1 {number(row['f1_macro'], 4)}, AUC (one against the "
        f"others) {number(row['auc_ovr_macro'], 4)}, log loss {number(row['log_loss'], 4)}."
    )
    table = run.predictions("test")
    report, each = Classification.from_predictions(table).tables()
    names = run.config()["classes"]
    matrix = predictions.confusion(table).tolist()
    counted = [[name, *(number(count, 0) for count in row)] for name, row in zip(names, matrix, strict=True)]
    return [
        "## Scores on the test images",
        line,
        of_table(report),
        of_table(each),
        of_table(Table("", ("True \\ predicted", *names), counted)),
    ]


def _shortcuts(run: Run, record: Record) -> list[str]:
    baselines = shortcuts_file.read(run.root, run.environment()["manifest"])
    title = "## Shortcut baselines"
    if not baselines:
        return [title, missing("Shortcut baselines", f"audit {record.row['dataset']}")]
    name, accuracy = shortcuts_file.best(run.root, run.environment()["manifest"])
    margin = record.row["accuracy"] - accuracy
    return [
        title,
        f"On the same split, the baseline '{name}' reaches {percent(accuracy, 1)} %; difference of the model: "
        f"{difference(margin, 1)} points. " + " ".join(shortcuts_tables.verdict(baselines).sentences),
        of_table(shortcuts_tables.table(baselines, "")),
    ]


def _stress(run: Run) -> list[str]:
    rows, title = stress_file.read(run), "## Stress test: other stains, grey, no cells"
    if not rows:
        return [title, missing("Stress test", f"stress {run.id}")]
    lines = stress_tables.sentences(run, rows)
    if rows[0]["images"] != len(run.predictions("test")):
        lines.append(f"Measured on a sample of {rows[0]['images']:,} test images.")
    trained = sorted(seen_families.trained_on(run.config()))
    if trained:
        lines.append(f"It was trained on these changes, or is invariant to them: {', '.join(trained)}.")
    return [title, " ".join(lines), of_table(stress_tables.table(run, rows))]


def _groups(run: Run, record: Record) -> list[str]:
    title = "## Scores on groups of images not seen in training"
    if record.split.kind in split_spec.APART:
        return [title, f"{GAP}: not defined for {split_spec.APART[record.split.kind]}."]
    members = comparable_runs(run, record)
    gap = leaderboard.gap(members)
    if gap is None:
        other = split_spec.DEFAULT if record.split.grouped else split_spec.GROUPED
        again = f"train --config {run.file(run_folder.CONFIG).name} --split {other}"
        return [title, missing(GAP, again)]
    lines = []
    for kind in split_spec.COMPARED:
        found = [member.row for member in members if member.split.kind == kind]
        lines.append([kind, *(percent(fmean(m[key] for m in found)) for key in ("accuracy", "balanced_accuracy"))])
        lines[-1].append(str(len(found)))
    low, high = leaderboard.gap_interval(members)
    reach = "" if low is None else f" (95 % interval over groups {difference(low, 1)} to {difference(high, 1)})"
    below = (
        f"{GAP}: {difference(gap)} points{reach}, the mean accuracy on random splits minus that on grouped ones, over "
        "the seeds with both. The runs have one configuration and differ only in seed, fold and kind of split."
    )
    return [
        title,
        of_table(Table("", ("Split", "Accuracy %", "Balanced accuracy %", "Runs"), lines, words_below=below)),
    ]


def comparable_runs(run: Run, record: Record) -> list[Record]:
    """Return the finished runs that differ from a run only in seed, fold and kind of split, with the run itself."""
    learned, found = leaderboard.learned(run.config()), []
    for other in run_folder.find_runs(run.root, run.model, finished=True):
        try:
            config = other.config()
            if config["dataset"] == record.row["dataset"] and leaderboard.learned(config) == learned:
                found.append(measure(other))
        except LeukoBenchError:
            continue  # damaged
    alike = leaderboard.alike(found)
    return next((members for members in alike if members[0].split.shares == record.split.shares), [])


def _calibration(run: Run) -> list[str]:
    title, path = "## Calibration", run.file(calibration_file.FILE)
    if not path.is_file():
        return [title, missing("Calibration", f"calibrate {run.id}")]
    run.check(path.name)
    try:
        made = calibration_tables.tables([{"name": "this run"} | calibration_tables.columns(files.read_json(path))])
    except (KeyError, TypeError, AttributeError, ValueError) as problem:
        raise LeukoBenchError(
            f"{path} is damaged ({problem!r}). Make it again: python run_guide.py calibrate {run.id}"
        ) from None
    return [title, *map(of_table, made)]


def _heatmaps(run: Run) -> list[str]:
    title = "## Faithfulness of its heatmaps"
    if not run.file(faithfulness_file.FILE).is_file():
        return [title, missing("Faithfulness of the heatmaps", f"faithfulness {run.id}")]
    rows = faithfulness_file.read(run)
    lines = faithfulness_tables.sentences(rows, run.config().get("heatmap_method", "gradcam"))
    return [title, " ".join(lines), of_table(faithfulness_tables.table(rows, ""))]


def origin(run: Run) -> str:
    """Return the origin of a run's images: SYNTHETIC, KNOWN (the ALL dataset) or OTHER.

    The ALL dataset is recognised by the published counts of its classes, as other datasets use the same names.
    """
    try:
        about = files.read_json(paths.raw_dir(run.config()["dataset"]) / "dataset.json")
    except LeukoBenchError:
        about = {}
    if isinstance(about, dict) and about.get("synthetic"):
        return SYNTHETIC
    counts = Counter(row.label for row in _rows(run))
    return KNOWN if dict(counts) == all_dataset.PUBLISHED else OTHER


def _rows(run: Run) -> tuple[manifest.Row, ...]:
    path = run.manifest_path()
    return manifest.read(path).rows if path.is_file() else ()


def data(run: Run, record: Record, origin: str) -> list[str]:
    """Return the section about dataset and split; `origin` as returned by the function of that name."""
    row, rows = record.row, _rows(run)
    source = {
        SYNTHETIC: "The images are synthetic, drawn by a program. Scores on them do not apply to real smears.",
        KNOWN: f"The ALL dataset: smears of {all_dataset.PATIENTS} patients of one hospital, labelled by flow "
        "cytometry; the patient of each image is not published.",
        OTHER: "The origin of the images is not recorded.",
    }
    how = {
        split_spec.GROUPED: "Each group of images (patients if the dataset names them, else groups of similar stain, "
        "which are not patients) is in one subset only, so no group of the test images was used for training.",
        split_spec.RANDOM: "Images were assigned one by one, so images of one slide, even of one field, may be in both "
        "the training and the test subset: the scores are an upper bound for new patients.",
        split_spec.CAPTURE: "The test images are a block of file numbers of each class; images within "
        f"{record.split.embargo} numbers of it, and copies, were left out. Where numbers follow the capture, few test "
        "images are of a slide of the training images.",
        split_spec.GIVEN: "The images were kept in the subsets in which they came; whether images of one patient are "
        "in several of them depends on who made the split.",
    }[record.split.kind]
    lines = ["## Data and split", f"Dataset {code(row['dataset'])}. {source[origin]}"]
    kind = split_spec.APART.get(record.split.kind, record.split.kind)
    lines += [f"Split {code(row['split'])} ({kind}). {how}"]
    if rows:
        tally = Counter((each.split, each.label) for each in rows)
        names = run.config()["classes"]
        counted = [
            [
                subset,
                *(number(tally[subset, name], 0) for name in names),
                number(sum(each.split == subset for each in rows), 0),
                _group_count(rows, subset),
            ]
            for subset in run_folder.subsets(each.split for each in rows)
        ]
        lines.append(of_table(Table("", ("Images", *names, "All", "Groups"), counted)))
    else:
        lines.append(f"Counts by class: not known, as the manifest {run.environment()['manifest']} is missing.")
    counts = dict(Counter(each.label for each in rows))
    if origin == OTHER and (difference := all_dataset.published_difference(counts)):
        lines.append(f"The class names are those of the ALL dataset. {difference}")
    if origin == KNOWN:
        lines.append(f"Cite: {all_dataset.CITATION}")
    return lines


def _group_count(rows: tuple[manifest.Row, ...], subset: str) -> str:
    return number(len({row.group for row in rows if row.split == subset and row.group}) or None, 0)


def limits(record: Record, origin: str) -> list[str]:
    """Return the section about the limits of the scores."""
    lines = [
        f"{NOTICE}. It is not approved for any use, and its effect on patient care was not studied.",
        "It assigns one of its classes to every image, also to other diseases, other stains and other objects.",
    ]
    if origin == SYNTHETIC:
        lines.append("It was trained on synthetic images only.")
    if origin == KNOWN:
        lines += [
            "One hospital, one staining protocol, few patients: its accuracy elsewhere is unknown.",
            "Stain and illumination differ between the classes, and a scale bar is in a corner: classifiers can find "
            "the class without cells. See the shortcut baselines above, if they were measured.",
        ]
    if not record.split.grouped:  # for the dataset's own split it is not known
        lines.append(
            "Images of one slide may be in both training and test subset; its accuracy on new slides may be lower."
        )
    lines.append(
        f"The interval counts {record.row['images']:,} test images as independent, which images of a slide are not."
    )
    return ["## Limits", "\n".join(f"- {line}" for line in lines)]
