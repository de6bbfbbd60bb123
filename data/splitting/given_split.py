"""The split that came with a dataset, `split.csv` in its folder, and the decision when it is used."""

from collections import Counter
from collections.abc import Sequence

from data import catalog
from data.datasets import index
from data.datasets.index import Indexed
from data.manifest import Manifest
from data.splitting import groups as split_groups
from data.splitting import image_assignment
from utils.errors import LeukoBenchError, nearest
from utils.io import files
from utils.paths import raw_dir
from utils.runs import run_folder
from utils.runs.split_spec import DEFAULT, GIVEN, OWN, VALIDATION

ANEW = f"or assign the images anew with --split {DEFAULT}"


def default(dataset: str) -> str:
    """Return the split of a dataset for which nobody chose one: GIVEN where it came with one, else DEFAULT.

    An empty name stands for the only dataset, as in `catalog.ensure_dataset`.
    """
    known = [dataset] if dataset else catalog.datasets()
    return GIVEN if len(known) == 1 and files.exists(raw_dir(known[0]) / index.SPLIT) else DEFAULT


def read(dataset: str) -> dict[str, str]:
    """Return the subset of each image of a dataset's own split.

    Raises:
        LeukoBenchError: the dataset has no split of its own, or the file is damaged or names an unknown subset.
    """
    path = raw_dir(dataset) / index.SPLIT
    if not path.is_file():
        raise LeukoBenchError(
            f"Dataset '{dataset}' came without a split of its own: there is no {path}. Import it with --split FILE "
            f"(CSV with columns image,split), {ANEW}."
        )
    found: dict[str, str] = {}
    for row in files.read_csv(path, ("image", "split")):
        image, subset = row["image"] or "", row["split"] or ""
        if not run_folder.SUBSET.fullmatch(subset):
            raise LeukoBenchError(
                f"{path} puts {image!r} into {subset!r}.{nearest(subset, ('train', 'val', 'test'))} Valid: train, val, "
                "test, test_<name> with a-z, 0-9 and _.",
                path=path,
            )
        if found.setdefault(image, subset) != subset:
            raise LeukoBenchError(f"{path} puts {image!r} into {found[image]} and {subset}. Keep one.", path=path)
    return found


def subsets(dataset: str, rows: Sequence[Indexed], seed: int) -> dict[str, str]:
    """Return the subset of each image that the dataset's own split lists.

    Without validation images, a fifth of each class's training images becomes them; no group of groups.csv is divided.

    Args:
        dataset: name of a folder below data/raw.
        rows: its index.
        seed: decides which training images become validation images.

    Raises:
        LeukoBenchError: there is no such split, it has no test or training images, the test set has one class only, a
            class has no training images, or too few to take validation images from.
    """
    listed = read(dataset)
    chosen = {row.image: listed[row.image] for row in rows if row.image in listed}
    known = run_folder.subsets(chosen.values())
    place = f"The split that came with '{dataset}' ({raw_dir(dataset) / index.SPLIT})"
    tests = run_folder.test_sets(known)
    if not tests:
        raise LeukoBenchError(
            f"{place} has no test images: its subsets are {', '.join(known) or 'none'}. Validation images do not "
            f"become test images. Import it with --split FILE that names test images, {ANEW}."
        )
    held = {subset: {row.label for row in rows if chosen.get(row.image) == subset} for subset in ("train", *tests[:1])}
    missing = sorted({row.label for row in rows} - held["train"])
    if missing:
        raise LeukoBenchError(
            f"{place} has no training images of {', '.join(map(repr, missing))}. Every class needs some: list them as "
            f"train, leave the class out with data import --ignore, {ANEW}."
        )
    if len(held[tests[0]]) < 2:
        raise LeukoBenchError(
            f"{place} has test images ({tests[0]}) of one class only, '{held[tests[0]].pop()}'. Give it test images of "
            f"at least 2 classes, {ANEW}."
        )
    if "val" not in known:
        training = [row for row in rows if chosen.get(row.image) == "train"]
        chosen |= dict.fromkeys(_validation(dataset, training, seed, place), "val")
    return chosen


def _validation(dataset: str, training: Sequence[Indexed], seed: int, place: str) -> set[str]:
    """Choose validation images among the training images."""
    groups, unit = {row.image: row.image for row in training}, "images"
    if split_groups.given(dataset):
        from data.splitting import group_assignment  # imports NumPy, which the menu must not

        groups, unit = split_groups.whole(dataset, training), "groups"
        found = group_assignment.part(training, groups, VALIDATION, seed)
    else:
        found = image_assignment.part(training, VALIDATION, seed)
    for label, total in sorted(Counter(row.label for row in training).items()):
        members = [row.image for row in training if row.label == label]
        if sum(image in found for image in members) in (0, total):
            count = len({groups[image] for image in members})
            raise LeukoBenchError(
                f"{place} has no validation images, and class '{label}' has too few {unit} of training images to take "
                f"some from: {count}, at least 2 are needed. List images as val, {ANEW}."
            )
    return found


def described(dataset: str, table: Manifest) -> str:
    """Describe a manifest of a dataset's own split in one line: images by subset, those in none, missing classes."""
    listed = read(dataset)
    sizes = Counter(row.split for row in table.rows)
    taken = " (taken from train)" if "val" not in listed.values() else ""
    parts = [f"{name} {sizes[name]:,}{taken if name == 'val' else ''}" for name in table.subsets]
    outside = sum(index.about(raw_dir(dataset))["images"].values()) - len(table.rows)
    more = f"; {outside:,} image{'' if outside == 1 else 's'} of the dataset in no subset" if outside else ""
    absent = len(listed.keys() - {row.image for row in table.rows})
    more += f"; {absent:,} listed image{'' if absent == 1 else 's'} not in the dataset" if absent else ""
    counts = table.counts()
    for subset in table.subsets:
        if empty := [label for label in table.classes if not counts[subset][label]]:
            more += f"; {subset} has no image of {', '.join(empty)}, so no score for it"
    return f"Using {OWN} ({GIVEN}): {', '.join(parts)}{more}"
