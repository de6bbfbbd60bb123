"""Commands of the group `data`: import, download, generate, check, split and draw datasets."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guide.choices import few
from utils import console
from utils.paths import raw_dir
from utils.runs import split_spec

if TYPE_CHECKING:
    from data.datasets.importer import Imported

SHOWN = 3  # file names printed in one line
LISTED = 12  # classes or folders with their counts printed in one line
Dataset = Annotated[str, typer.Argument(help="Dataset. Default: the only one, or synthetic smears.")]
Split = Annotated[
    str,
    typer.Option(
        help="Percentages (64/16/20, 90/10), kfold:K:I, grouped, grouped-kfold:K:I or given.",
        show_default=split_spec.DEFAULT_WORDS,
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the split.")]


class Conflicts(StrEnum):
    """What becomes of pictures that lie under two classes."""

    refuse = "refuse"
    quarantine = "quarantine"


class Stain(StrEnum):
    """Relation of stain and class in synthetic smears."""

    independent = "independent"
    confounded = "confounded"
    drifting = "drifting"


def import_(
    path: Annotated[Path, typer.Argument(help="Folder, zip or .npz: one folder per class, or a known release.")],
    name: Annotated[str, typer.Option(help="Name of the new dataset. Default: the name of the path.")] = "",
    as_is: Annotated[bool, typer.Option("--as-is", help="Use the folder names as classes (any dataset).")] = False,
    groups: Annotated[
        Path | None, typer.Option(help="CSV with columns image,group: patient or slide of each image.")
    ] = None,
    split_: Annotated[
        str, typer.Option("--split", help="CSV with columns image,split[,group]; or none: pool the source's subsets.")
    ] = "",
    test_from: Annotated[str, typer.Option(help="Folder whose images are the test subset, a fold for example.")] = "",
    classes_are: Annotated[
        int, typer.Option(min=0, help="Level of the class folders, 1 for those directly in PATH. Default: found.")
    ] = 0,
    ignore: Annotated[list[str] | None, typer.Option(help="Folder to leave out; may be repeated.")] = None,
    conflicts: Annotated[
        Conflicts, typer.Option(help="Pictures that lie under two classes: refuse the source, or quarantine them.")
    ] = Conflicts.refuse,
    encoding: Annotated[str, typer.Option(help="Encoding of names that are not UTF-8. Default: found.")] = "",
    follow_links: Annotated[bool, typer.Option("--follow-links", help="Read what symbolic links lead to.")] = False,
) -> None:
    """Import a folder or a zip of images into data/raw."""
    from data.datasets import importer
    from data.datasets.placement import Options

    options = Options(
        classes_are=classes_are,
        ignore=ignore or (),
        split=split_,
        test_from=test_from,
        encoding=encoding,
        quarantine_conflicts=Conflicts(conflicts) is Conflicts.quarantine,
        follow_links=follow_links,
    )
    with _progress("Importing") as progress:
        imported = importer.import_dataset(path, name, as_is, groups, progress, options, _announce)
    _say_imported(imported)


def download(
    name: Annotated[str, typer.Option(help="Name of the new dataset.")] = "ALL_dataset",
) -> None:
    """Download the ALL dataset from Kaggle and import it."""
    from data import all_dataset
    from data.datasets import kaggle_download

    console.say(f"Requesting {all_dataset.HANDLE} from Kaggle ...")
    with _progress("Importing") as progress:
        imported = kaggle_download.download(name, progress, _announce)
    _say_imported(imported)
    console.say(f"Cite: {all_dataset.CITATION}")


def synth(
    name: Annotated[str, typer.Option(help="Name of the new dataset.")] = "synthetic",
    images_per_class: Annotated[int, typer.Option(min=1, max=100_000, help="Images per class.")] = 150,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Image size in pixels.")] = 128,
    patients: Annotated[int, typer.Option(min=1, max=10_000, help="Patients per class.")] = 10,
    stain: Annotated[
        Stain, typer.Option(help="Stain independent of the class, confounded with it, or drifting with the number.")
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
    split: Split = "",
    seed: Seed = 42,
) -> None:
    """Split a dataset into training, validation and test images, stratified by class, or as it came split."""
    from data import catalog
    from data.splitting import given_split
    from data.splitting import splits as dataset_splits
    from guide import splits

    name = catalog.ensure_dataset(dataset)
    split = split or given_split.default(name)
    splits.show(name, split, seed, dataset_splits.prepare_split(name, split, seed))


def figures(
    dataset: Dataset = "",
    split: Split = "",
    seed: Seed = 42,
    output: Annotated[Path | None, typer.Option(help="Folder for the figures.", show_default="runs/figures")] = None,
) -> None:
    """Describe a dataset: table by class, class distribution, sample images and mean colours."""
    from data import catalog
    from data.datasets import summary
    from data.splitting import splits as dataset_splits
    from guide import splits
    from utils.io import files
    from utils.paths import runs_dir
    from visualization.displays import class_distribution as class_distribution_figures

    name = catalog.ensure_dataset(dataset)
    split = splits.chosen(name, split, seed)
    folder = dataset_splits.prepare_split(name, split, seed)
    with _progress("Measuring") as progress:
        measured = summary.measure(name, progress)
    rows = summary.summary(measured, folder.manifest)
    _say_summary(f"{name}, {split_spec.words(split)}, seed {seed}", rows, folder.manifest.subsets)
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


def _announce(imported: "Imported") -> None:
    """Print what was taken for classes, subsets and groups, and what is left out, before anything is copied."""
    found = imported.placement
    if imported.encoding:
        console.warn(f"Names that are not UTF-8 were read as {imported.encoding}. Another one: --encoding NAME.")
    if release := found.release:
        tried = "" if release.tried else " This reader was written from public loaders, not tried on a copy."
        console.say(f"Recognised {release.name}: {release.url} (licence: {release.licence}).{tried}")
        console.say(f"Know before training: {release.traps}")
    console.say(f"Classes ({found.known_as or 'folder names'}): {_counted(found.counts('label'))}.")
    subsets, parts, groups = (found.counts(what) for what in ("subset", "part", "group"))
    if subsets:
        free = len(found.images) - sum(subsets.values())
        rest = f"; {free} images in no subset" if free else ""
        console.say(f"Subsets: {_counted(subsets)}{rest}. They are kept: --split given, the default of this dataset.")
    elif parts:
        console.say(f"Folders above the classes: {_counted(parts)}; pooled.")
    if groups:
        kind = f" ({release.group})" if release and release.group else ""
        first = next(iter(groups))
        console.say(f"Groups{kind}: {sum(groups.values())} images in {len(groups)} groups, such as {first}.")
    if divided := found.divided():
        console.warn(f"{len(divided)} of {len(groups)} groups have images in several subsets, such as {divided[0]}.")
    if found.joined:
        console.say(f"Class folders of other spelling: {few(found.joined)}.")
    if found.left_out:
        console.say(f"Left out, images without a class: {_counted(dict(found.left_out))}.")
    if found.segmented:
        console.say(f"Left out, segmented copies of the originals: {found.segmented}.")


def _say_imported(imported: "Imported") -> None:
    from data.datasets import index

    _say_counts(imported.name, index.count(imported.index))
    skipped = [f"{count} {reason}" for reason, count in sorted(imported.skipped.items()) if count]
    if skipped:
        console.say(f"Skipped files: {', '.join(skipped)}.")
    for subset, count in imported.shared.items():
        console.warn(f"{count} images of {subset} are also in train, byte for byte. The owner's split is kept.")
    if imported.renamed:
        console.say(f"Files with a new name: {imported.renamed}, listed in {imported.path / index.NAMES}")
    _say_converted(imported.converted)
    _say_quarantined(imported.quarantined, imported.path)
    _say_duplicates(index.duplicates(imported.index))
    console.say(f"Imported {len(imported.index)} images into {imported.path}")
    console.say(f"Next: python run_guide.py train cnn --dataset {imported.name}")


def _counted(counts: dict[str, int]) -> str:
    """Return "Benign 504, Early 985 and 12 more"."""
    order = {"train": 0, "val": 1, "test": 2}
    named = sorted(counts.items(), key=lambda item: order.get(item[0], len(order)))
    return few([f"{name} {count:,}" for name, count in named], LISTED)


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


def _say_summary(title: str, rows: list[dict[str, Any]], subsets: Sequence[str]) -> None:
    """Print the summary of a dataset in two tables."""
    heads = ("Class", *subsets, "Images", "Share", "Pixels", "kB")
    shown = []
    for row in rows:
        low, high = (f"{row[f'width_{end}']} × {row[f'height_{end}']}" for end in ("min", "max"))
        weights = (f"{row[f'bytes_{part}'] / 1000:.0f}" for part in ("min", "median", "max"))
        shown.append(
            (
                row["class"],
                *(f"{row[key]:,}" for key in (*subsets, "images")),
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
        console.say(f"{title}: {few(names)}.")


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
