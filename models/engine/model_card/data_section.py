"""What a model card says of the images behind a run: whose they are, how they were split, what that limits."""

from collections import Counter

from data import all_dataset, manifest
from models.engine.model_card.score_sections import of_table
from utils import paths
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import run_folder
from utils.runs.records import Record
from utils.runs.run_folder import Run
from utils.tables.table import Table, number
from utils.text import NOTICE

SYNTHETIC, KNOWN, OTHER = "synthetic", "known", "other"  # where the images come from


def origin(run: Run) -> str:
    """Return whose images a run saw: drawn ones, those of the ALL dataset, or others.

    The ALL dataset is known by the published counts of its classes: their names alone are those of many.
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
    """Return the part of the card about dataset and split; `origin` as the function of that name says."""
    row, rows = record.row, _rows(run)
    whose = {
        SYNTHETIC: "The images are synthetic: drawn by a program, of no patient. Scores on them say nothing about "
        "real smears.",
        KNOWN: f"The ALL dataset: smears of {all_dataset.PATIENTS} patients of one hospital, labelled by flow "
        "cytometry; which images are whose is not published.",
        OTHER: "The run does not say where the images come from.",
    }
    how = (
        "Groups of images (patients where the dataset names them, else a guess of the stain, which is no patient) lie "
        "in one subset alone, so that the test images are of groups that were never trained on."
        if record.split.grouped
        else "Images were dealt one by one, so that images of one slide, even of one field, may lie on both sides of "
        "the split: the scores are an upper bound for new patients."
    )
    said = ["## Data and split", f"Dataset `{row['dataset']}`. {whose[origin]}"]
    said += [f"Split `{row['split']}` ({record.split.kind}). {how}"]
    if rows:
        tally = Counter((each.split, each.label) for each in rows)
        names = run.config()["classes"]
        lines = [
            [subset, *(number(tally[subset, name], 0) for name in names),
             number(_of(tally, subset), 0), _groups(rows, subset)]
            for subset in run_folder.SUBSETS
        ]  # fmt: skip
        said.append(of_table(Table("", ("Images", *names, "All", "Groups"), lines)))
    else:
        said.append(f"Counts by class: not known, as the manifest {run.environment()['manifest']} is not here.")
    counts = dict(Counter(each.label for each in rows))
    if origin == OTHER and (difference := all_dataset.published_difference(counts)):
        said.append(f"The classes are named as those of the ALL dataset. {difference}")
    if origin == KNOWN:
        said.append(f"Cite: {all_dataset.CITATION}")
    return said


def _of(tally: Counter, subset: str) -> int:
    return sum(count for (where, _), count in tally.items() if where == subset)


def _groups(rows: tuple[manifest.Row, ...], subset: str) -> str:
    return number(len({row.group for row in rows if row.split == subset and row.group}) or None, 0)


def limits(record: Record, origin: str) -> list[str]:
    """Return the part of the card about what the scores cannot say."""
    said = [
        f"{NOTICE}. It has no approval of any kind, and nobody measured what it does to a patient's care.",
        "It always names one of its classes, whatever the image shows: another disease or stain, or no smear at all.",
    ]
    if origin == SYNTHETIC:
        said.append("It was trained on drawn images and knows no real ones.")
    if origin == KNOWN:
        said += [
            "One hospital, one way of staining, few patients: nothing here says how it does elsewhere.",
            "Each class was stained and lit in its own way, and a scale bar is burnt into a corner: the class can be "
            "told without a cell. What such baselines reach stands above, if it was measured.",
        ]
    if not record.split.grouped:
        said.append(
            "Images of one slide may lie on both sides of the split; then its accuracy is too high for new slides."
        )
    said.append(f"The interval counts {record.row['images']:,} test images as independent; images of a slide are not.")
    return ["## Limits", "\n".join(f"- {line}" for line in said)]
