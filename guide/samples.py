"""Command `samples`: find example images of a dataset's classes, or by a run's predictions."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from guide import splits as guide_splits
from guide.choices import short
from guide.confusion import class_named
from models.engine.cli import Root
from utils import console
from utils.errors import LeukoBenchError
from utils.metrics.prediction_ranking import OUTCOMES
from utils.paths import raw_dir, runs_dir
from utils.runs import lookup, run_folder, split_spec
from utils.runs.run_folder import FIGURES, Run

ALL = "all"


Outcome = StrEnum("Outcome", {name.upper(): name for name in OUTCOMES})


def samples(
    run: Annotated[str, typer.Argument(help="Run. Default: images of a dataset.")] = "",
    outcome: Annotated[Outcome, typer.Option(help="Right, wrong or unsure predictions.")] = Outcome.ALL,
    class_: Annotated[str, typer.Option("--class", help="Only images of this class. Default: every class.")] = "",
    count: Annotated[int, typer.Option(min=1, max=1000, help="Images per class.")] = 6,
    subset: Annotated[
        str,
        typer.Option(help="train, val, test, test_<name> or all.", show_default="test for a run, all for a dataset"),
    ] = "",
    dataset: Annotated[str, typer.Option(help="Dataset. Default: the only one.")] = "",
    split: Annotated[
        str, typer.Option(help="Split that defines the subsets of a dataset.", show_default=split_spec.DEFAULT_WORDS)
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split.")] = 42,
    root: Root = None,
) -> None:
    """Find example images of a dataset's classes, or right, wrong and unsure predictions of a run."""
    if run:
        if dataset:
            raise LeukoBenchError(f"Received the run {run} and --dataset {dataset}: give one of them.")
        _of_run(lookup.open_run(run, root or runs_dir()), outcome.value, class_, count, subset or run_folder.TEST)
        return
    if outcome is not Outcome.ALL:
        raise LeukoBenchError(f"--outcome {outcome.value} needs a run, for example: samples cnn --outcome right")
    _of_dataset(dataset, class_, count, subset or ALL, (split, seed), root or runs_dir())


def _of_run(run: Run, outcome: str, name: str, count: int, subset: str) -> None:
    from utils.metrics.prediction_ranking import ranked

    config = run.config()
    name = class_named(name, config["classes"])
    table = run.predictions(None if subset == ALL else subset)
    with run.named_in_errors():
        found = ranked(table, outcome, name)
    place = {label: k for k, label in enumerate(config["classes"])}
    chosen = found.groupby("label", sort=False).head(count)
    chosen = chosen.sort_values("label", key=lambda labels: labels.map(place), kind="stable").reset_index(drop=True)
    kind = {"all": "", "unsure": ""}.get(outcome, f"{outcome} ")
    order = {"all": "by name", "unsure": "least certain first"}.get(outcome, "most certain first")
    of = "validation and test" if subset == ALL else f"{subset} subset"
    what = f"{kind}images{f' of {name}' if name else ''}"
    if chosen.empty:
        console.say(f"{run.id} has no {what} ({of}).")
        return
    title = f"{run.label()}: {len(chosen)} of {len(found)} {what}, {order}, {of}"
    folder = raw_dir(config["dataset"])
    rows = [
        (row["image"], row["label"], row["predicted"], f"{row['probability']:.3f}") for row in chosen.to_dict("records")
    ]
    console.table(f"{title}, in {short(folder)}", ("Image", "True", "Predicted", "Probability"), rows)
    from visualization.images import sample_sheets

    path = run.file(FIGURES) / sample_sheets.file_name(subset, outcome, name)
    _say_sheet(sample_sheets.draw_predicted(run, chosen, title, path), folder)


def _of_dataset(dataset: str, name: str, count: int, subset: str, split_of: tuple[str, int], root: Path) -> None:
    from data import catalog
    from data.splitting import splits
    from visualization.images import sample_sheets

    split, seed = split_of
    dataset = catalog.ensure_dataset(dataset)
    split = guide_splits.chosen(dataset, split, seed)
    manifest = splits.prepare_split(dataset, split, seed).manifest
    if subset != ALL and manifest.resolve(subset) not in manifest.subsets:
        raise LeukoBenchError(f"Unknown subset '{subset}'. Valid: {', '.join(manifest.subsets)}, {ALL}.")
    name = class_named(name, manifest.classes, f"'{dataset}'")
    subsets = {row.image: row.split for row in manifest.rows}
    by_class = sample_sheets.samples_of(manifest, None if subset == ALL else subset)
    chosen = {label: images[:count] for label, images in by_class.items() if not name or label == name}
    folder = raw_dir(dataset)
    rows = [(image, label, subsets[image]) for label, images in chosen.items() for image in images]
    of = "all subsets" if subset == ALL else f"{subset} subset"
    title = f"{dataset}: {len(rows)} images{f' of {name}' if name else ''}, {of} of {split_spec.words(split)}"
    title += ", ordered by hash"
    console.table(f"{title}, in {short(folder)}", ("Image", "Class", "Subset"), rows)
    path = root / FIGURES / dataset / sample_sheets.file_name(subset, "", name)
    _say_sheet(sample_sheets.draw_samples(dataset, chosen, title, path), folder)


def _say_sheet(path: object, folder: object) -> None:
    if path:
        console.say(f"Sheet: {path}")
    else:
        console.warn(f"No sheet: the images are not in {folder}.")
    console.notice()
