"""Groups that a split keeps on one side: patients where a dataset names them, else what the stain suggests."""

from collections import defaultdict
from collections.abc import Sequence

from data.datasets import index
from data.datasets.index import Indexed
from data.manifest import Manifest
from utils.io import files
from utils.paths import raw_dir
from utils.runs.split_spec import Scheme

ALONE = "image-"  # begins the group of an image that is in none of the given ones


def given(dataset: str) -> dict[str, str]:
    """Return the groups that came with a dataset, such as patients, by image; empty where none did."""
    path = raw_dir(dataset) / index.GROUPS
    if not path.exists():
        return {}
    return {row["image"]: row["group"] for row in files.read_csv(path, ("image", "group")) if row["group"]}


def whole(dataset: str, rows: Sequence[Indexed]) -> dict[str, str]:
    """Return a group for every image, so that nothing that belongs together stands in two of them.

    Given groups win over those guessed from the stain. Files that are the same image are joined with the groups they
    are in; an image without a given group stands alone, under a name made of its content.

    Raises:
        LeukoBenchError: the images cannot be read.
    """
    names = given(dataset)
    if not names:
        from data.grouping import stain_groups

        names = stain_groups.ensure(dataset)
    name_of: dict[str, str] = {}  # of the content
    joined: dict[str, str] = {}

    def first(name: str) -> str:
        while joined.get(name, name) != name:
            name = joined[name]
        return name

    for row in sorted(rows):
        name = first(names.get(row.image) or f"{ALONE}{row.sha256[:12]}")
        known = first(name_of.setdefault(row.sha256, name))
        if name != known:
            # A name of a group stays, that of a lone image goes.
            kept, gone = sorted((name, known), key=lambda each: (each.startswith(ALONE), each))
            joined[gone] = kept
    return {row.image: first(name_of[row.sha256]) for row in rows}


def described(dataset: str, table: Manifest) -> str:
    """Return in words which groups a grouped manifest kept together."""
    names = {row.group for row in table.rows}
    if not given(dataset):
        return f"groups guessed from the stain: {len(names)}; these are not patients"
    alone = sum(name.startswith(ALONE) for name in names)
    more = f"; {alone} images are in none and stand alone" if alone else ""
    return f"groups: {len(names) - alone} given{more}"


def parted(table: Manifest) -> int:
    """Return how many groups of a manifest lie in more than one subset."""
    places: dict[str, set[str]] = defaultdict(set)
    for row in table.rows:
        places[row.group].add(row.split)
    return sum(len(subsets) > 1 for group, subsets in places.items() if group)


def thin(table: Manifest, scheme: Scheme) -> list[str]:
    """Return in words where a subset has less than half of the images of a class that it should have."""
    counts, rest = table.counts(), 1 - scheme.test
    wanted = {"train": rest * (1 - scheme.val), "val": rest * scheme.val, "test": scheme.test}
    totals = {label: sum(each[label] for each in counts.values()) for label in table.classes}
    return [
        f"{subset} has {counts[subset][label]} of {total} images of '{label}'"
        for label, total in totals.items()
        for subset, share in wanted.items()
        if counts[subset][label] < share * total / 2
    ]


def needed(scheme: Scheme) -> int:
    """Return how many groups a class must lie in: one for each fold, and what is not tested is parted once more."""
    return max(scheme.folds, 4 if scheme.folds == 2 else 3)
