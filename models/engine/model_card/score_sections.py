"""The scores of a model card: on the test images, under stress, beside shortcuts, on groups never seen."""

from statistics import fmean

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
from utils.tables.table import Table, difference, interval, joined, number, percent

GAP = "Leakage gap"


def sections(run: Run, record: Record) -> list[str]:
    """Return the parts of the card that hold scores, as Markdown.

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
    """Return a table as Markdown, without its title, with the words below it."""
    from tabulate import tabulate

    align = ["left" if column in table.words else "right" for column in range(len(table.columns))]
    head, *rows = [[joined(cell).replace("|", "\\|") for cell in row] for row in (table.columns, *table.rows)]
    text = tabulate(rows, head, tablefmt="pipe", colalign=align, disable_numparse=True)
    return f"{text}\n\n{table.words_below}" if table.words_below else text


def missing(what: str, command: str) -> str:
    """Say that something was not measured, and what measures it."""
    return f"{what}: not measured. `python run_guide.py {command}`"


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
    rungs = shortcuts_file.read(run.root, run.environment()["manifest"])
    title = "## What baselines reach that see no shape of a cell"
    if not rungs:
        return [title, missing("Baselines that see no shape of a cell", f"audit {record.row['dataset']}")]
    name, accuracy = shortcuts_file.best(run.root, run.environment()["manifest"])
    margin = record.row["accuracy"] - accuracy
    return [
        title,
        f"On the same split '{name}' alone reaches {percent(accuracy, 1)} %: the model is {difference(margin, 1)} "
        "points from it. " + " ".join(shortcuts_tables.verdict(rungs).sentences),
        of_table(shortcuts_tables.table(rungs, "")),
    ]


def _stress(run: Run) -> list[str]:
    rows, title = stress_file.read(run), "## Under another stain, in grey, without cells"
    if not rows:
        return [title, missing("Stress", f"stress {run.id}")]
    said = stress_tables.sentences(run, rows)
    if rows[0]["images"] != len(run.predictions("test")):
        said.append(f"Measured on a sample of {rows[0]['images']:,} test images.")
    taught = sorted(seen_families.trained_on(run.config()))
    if taught:
        said.append(f"It trained on these changes, or is blind to them by construction: {', '.join(taught)}.")
    return [title, " ".join(said), of_table(stress_tables.table(run, rows))]


def _groups(run: Run, record: Record) -> list[str]:
    title = "## On groups of images that it never saw"
    members = sisters(run, record)
    gap = leaderboard.gap(members)
    if gap is None:
        other = split_spec.DEFAULT if record.split.grouped else split_spec.GROUPED
        again = f"train --config {run.file(run_folder.CONFIG).name} --split {other}"
        return [title, missing(GAP, again)]
    lines = []
    for kind in split_spec.KINDS:
        found = [member.row for member in members if member.split.kind == kind]
        lines.append([kind, *(percent(fmean(m[key] for m in found)) for key in ("accuracy", "balanced_accuracy"))])
        lines[-1].append(str(len(found)))
    below = (
        f"{GAP}: {difference(gap)} points, the mean accuracy on random splits minus that on grouped ones, over the "
        "seeds that have both. Runs of one configuration, which differ in seed, fold and kind of split alone."
    )
    return [
        title,
        of_table(Table("", ("Split", "Accuracy %", "Balanced accuracy %", "Runs"), lines, words_below=below)),
    ]


def sisters(run: Run, record: Record) -> list[Record]:
    """Return the finished runs beside a run that differ from it in seed, fold and kind of split alone, itself too."""
    learned, found = leaderboard.learned(run.config()), []
    for other in run_folder.find_runs(run.root, run.model, finished=True):
        try:
            config = other.config()
            if config["dataset"] == record.row["dataset"] and leaderboard.learned(config) == learned:
                found.append(measure(other))
        except LeukoBenchError:
            continue  # a damaged one says nothing
    kin = leaderboard.alike(found)
    return next((members for members in kin if members[0].split.shares == record.split.shares), [])


def _calibration(run: Run) -> list[str]:
    title, path = "## How far its confidence can be believed", run.file(calibration_file.FILE)
    if not path.is_file():
        return [title, missing("Calibration", f"calibrate {run.id}")]
    try:
        made = calibration_tables.tables([{"name": "this run"} | calibration_tables.columns(files.read_json(path))])
    except (KeyError, TypeError, AttributeError, ValueError) as problem:
        raise LeukoBenchError(
            f"{path} is damaged ({problem!r}). Make it again: python run_guide.py calibrate {run.id}"
        ) from None
    return [title, *map(of_table, made)]


def _heatmaps(run: Run) -> list[str]:
    title = "## What its heatmaps are worth"
    if not run.file(faithfulness_file.FILE).is_file():
        return [title, missing("Faithfulness of the heatmaps", f"faithfulness {run.id}")]
    rows = faithfulness_file.read(run)
    said = faithfulness_tables.sentences(rows, run.config().get("heatmap_method", "gradcam"))
    return [title, " ".join(said), of_table(faithfulness_tables.table(rows, ""))]
