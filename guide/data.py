"""Commands of the group `data`: import, download, generate, check, split and draw datasets."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from utils import console
from utils.paths import raw_dir
from utils.runs import run_folder, split_spec

if TYPE_CHECKING:
    from data.datasets.importer import Imported

SHOWN = 3  # file names printed in one line
Dataset = Annotated[str, typer.Argument(help="Dataset. Default: the only one, or synthetic smears.")]
Split = Annotated[str, typer.Option(help="Percentages (64/16/20, 90/10), kfold:K:I, grouped or grouped-kfold:K:I.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the split.")]


class Stain(StrEnum):
    """Relation of stain and class in synthetic smears."""

    independent = "independent"
    confounded = "confounded"


def import_(
    path: Annotated[Path, typer.Argument(help="Folder or zip with one folder per class, or a known release.")],
    name: Annotated[str, typer.Option(help="Name of the new dataset. Default: the name of the path.")] = "",
    as_is: Annotated[bool, typer.Option("--as-is", help="Use the folder names as classes (any dataset).")] = False,
    groups: Annotated[
        Path | None, typer.Option(help="CSV with columns image,group: patient or slide of each image.")
    ] = None,
) -> None:
    """Import a folder or a zip of images into data/raw."""
    from data.datasets import importer

    with _progress("Importing") as progress:
        imported = importer.import_dataset(path, name, as_is, groups, progress)
    _say_imported(imported)


def download(
    name: Annotated[str, typer.Option(help="Name of the new dataset.")] = "ALL_dataset",
) -> None:
    """Download the ALL dataset from Kaggle and import it."""
    from data import all_dataset
    from data.datasets import kaggle_download

    console.say(f"Requesting {all_dataset.HANDLE} from Kaggle ...")
    with _progress("Importing") as progress:
        imported = kaggle_download.download(name, progress)
    _say_imported(imported)
    console.say(f"Cite: {all_dataset.CITATION}")


def synth(
    name: Annotated[str, typer.Option(help="Name of the new dataset.")] = "synthetic",
    images_per_class: Annotated[int, typer.Option(min=1, max=100_000, help="Images per class.")] = 150,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Image size in pixels.")] = 128,
    patients: Annotated[int, typer.Option(min=1, max=10_000, help="Patients per class.")] = 10,
    stain: Annotated[
        Stain, typer.Option(help="Stain independent of the class, or confounded with it.")
    ] = Stain.independent,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Random seed of the images.")] = 42,
) -> None:
    """Generate synthetic smears whose class is visible in the shape of the cells."""
    from data.datasets import integrity_check
    from data.synthetic import generator as synthetic

    done = "Already there:" if raw_dir(name).exists() else "Generated"
    folder = synthetic.make(name, images_per_class, size, patients, Stain(stain).value, seed)
    rows = integrity_check.current_index(name)
    console.say(f"{done} {len(rows)} synthetic smears of {size} px in {folder}")
    console.say(f"Next: python run_guide.py train cnn --dataset {name}")


def check(dataset: Dataset = "") -> None:
    """Check every image of a dataset; damaged images are moved to quarantine."""
    from data import catalog
    from data.datasets import index, integrity_check

    name = catalog.ensure_dataset(dataset)
    with _progress("Checking") as progress:
        report = integrity_check.check(name, progress)
    synthetic = index.about(raw_dir(name)).get("synthetic")
    _say_counts(name, index.count(report.index), real=not synthetic)
    _say_files("Missing since the last check", report.missing)
    _say_files("New since the last check", report.added)
    _say_files("Changed since the last check", report.changed)
    _say_converted(report.converted)
    _say_quarantined(report.quarantined, raw_dir(name))
    _say_duplicates(index.duplicates(report.index))
    index.refuse_conflicts(report.index, f"Remove one of them from {raw_dir(name)}.")
    if not (report.missing or report.added or report.changed or report.converted or report.quarantined):
        console.say("All images are readable and unchanged.")


def split(
    dataset: Dataset = "",
    split: Split = split_spec.DEFAULT,
    seed: Seed = 42,
) -> None:
    """Split a dataset into training, validation and test images, stratified by class."""
    from data import catalog
    from data.splitting import splits as dataset_splits
    from guide import splits

    name = catalog.ensure_dataset(dataset)
    splits.show(name, split, seed, dataset_splits.prepare_split(name, split, seed))


def figures(
    dataset: Dataset = "",
    split: Split = split_spec.DEFAULT,
    seed: Seed = 42,
    output: Annotated[Path | None, typer.Option(help="Folder for the figures.", show_default="runs/figures")] = None,
) -> None:
    """Describe a dataset: table by class, class distribution, sample images and mean colours."""
    from data import catalog
    from data.datasets import summary
    from data.splitting import splits as dataset_splits
    from utils.io import files
    from utils.paths import runs_dir
    from visualization.displays import class_distribution as class_distribution_figures

    name = catalog.ensure_dataset(dataset)
    folder = dataset_splits.prepare_split(name, split, seed)
    with _progress("Measuring") as progress:
        measured = summary.measure(name, progress)
    rows = summary.summary(measured, folder.manifest)
    _say_summary(f"{name}, split {split}, seed {seed}", rows)
    target = output or runs_dir() / "figures" / folder.path.name
    files.write_csv(target / "dataset.csv", rows)
    console.say(f"Wrote {target / 'dataset.csv'}")
    for path in class_distribution_figures.draw_all(name, target, folder.manifest_path, measured):
        console.say(f"Drew {path}")


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    with console.progress() as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _say_imported(imported: "Imported") -> None:
    from data.datasets import index

    if release := imported.release:
        tried = "" if release.tried else " This reader was written from public loaders, not tried on a copy."
        console.say(f"Recognised {release.name} ({release.licence}, {release.url}).{tried}")
        console.say(f"Know before training: {release.traps}")
    _say_counts(imported.name, index.count(imported.index))
    if imported.segmented:
        console.say(f"Skipped segmented copies of the originals: {imported.segmented}.")
    if imported.outside:
        console.say(f"Skipped images outside the class folders: {imported.outside}.")
    if imported.ignored:
        console.say(f"Skipped files that are not images: {imported.ignored}.")
    if imported.grouped:
        kind = f" ({release.group})" if release and release.group else ""
        console.say(f"Groups: {imported.grouped} of {len(imported.index)} images have a group{kind}.")
    _say_converted(imported.converted)
    _say_quarantined(imported.quarantined, imported.path)
    _say_duplicates(index.duplicates(imported.index))
    console.say(f"Imported {len(imported.index)} images into {imported.path}")
    console.say(f"Next: python run_guide.py train cnn --dataset {imported.name}")


def _say_counts(name: str, counts: dict[str, int], real: bool = True) -> None:
    from data import all_dataset

    total = sum(counts.values())
    rows = [(label, f"{number:,}", _share(number / total)) for label, number in counts.items()]
    console.table(f"{name}: {total:,} images", ("class", "images", "share"), rows)
    difference = all_dataset.published_difference(counts) if real else None
    if difference:
        console.warn(difference)


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _say_summary(title: str, rows: list[dict[str, Any]]) -> None:
    """Print the summary of a dataset in two tables."""
    heads = ("Class", *run_folder.SUBSETS, "Images", "Share", "Pixels", "kB")
    shown = []
    for row in rows:
        low, high = (f"{row[f'width_{end}']} × {row[f'height_{end}']}" for end in ("min", "max"))
        weights = (f"{row[f'bytes_{part}'] / 1000:.0f}" for part in ("min", "median", "max"))
        shown.append(
            (
                row["class"],
                *(f"{row[key]:,}" for key in (*run_folder.SUBSETS, "images")),
                _share(row["share"]),
                low if low == high else f"{low} to {high}",
                " / ".join(weights),
            )
        )
    console.table(f"{title} (kB: smallest / median / largest {rows[-1]['formats']} file)", heads, shown)
    from data.datasets.summary import CHANNELS

    colours = [
        (row["class"], *(f"{row[f'{key}_mean']:.0f} ± {row[f'{key}_sd']:.0f}" for key in CHANNELS)) for row in rows
    ]
    heads = ("Class", *(key.capitalize() for key in CHANNELS))
    console.table("Mean colour of the images, 0 to 255 (± standard deviation over the images)", heads, colours)


def _say_files(title: str, names: list[str]) -> None:
    if names:
        rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        console.say(f"{title}: {', '.join(names[:SHOWN])}{rest}.")


def _say_converted(converted: list[tuple[str, str]]) -> None:
    _say_files(f"Converted to RGB PNG ({len(converted)})", [f"{name} ({what})" for name, what in converted])


def _say_quarantined(quarantined: list[tuple[str, str]], folder: Path) -> None:
    if quarantined:
        _say_files(f"Quarantined ({len(quarantined)})", [f"{name} ({reason})" for name, reason in quarantined])
        console.say(f"Reasons: {folder / 'quarantine.csv'}")


def _say_duplicates(groups: list[list[str]]) -> None:
    if groups:
        extra = sum(len(names) - 1 for names in groups)
        console.say(
            f"Exact copies of other images: {extra}, the first: {groups[0][1]} of {groups[0][0]}. "
            "A split keeps copies together."
        )
