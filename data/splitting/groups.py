"""Groups that a split keeps in one subset: patients where a dataset names them, else stain groups."""

from collections import defaultdict
from collections.abc import Sequence

from data.datasets import index
from data.datasets.index import Indexed
from data.manifest import Manifest
from utils.io import files
from utils.paths import raw_dir
from utils.runs.split_spec import Scheme

ALONE = "image-"  # prefix of the group of an image without a given group


def given(dataset: str) -> dict[str, str]:
    """Return the groups that came with a dataset, such as patients, by image; empty without groups.csv."""
    path = raw_dir(dataset) / index.GROUPS
    if not path.exists():
        return {}
    return {row["image"]: row["group"] for row in files.read_csv(path, ("image", "group")) if row["group"]}


def whole(dataset: str, rows: Sequence[Indexed]) -> dict[str, str]:
    """Return a group for every image; related images never have two groups.

    Given groups take precedence over stain groups. Groups that share an equal image are joined. An image without a
    given group is a group of its own, named by its content.

    Raises:
        LeukoBenchError: the images cannot be read.
    """
    names = given(dataset)
    if not names:
        from data.grouping import stain_groups

        names = stain_groups.find(dataset).groups
    name_of: dict[str, str] = {}  # by content
    joined: dict[str, str] = {}  # name of a group by the name that was joined into it

    def final(name: str) -> str:
        while name in joined:
            name = joined[name]
        return name

    for row in sorted(rows):
        name = final(names.get(row.image) or f"{ALONE}{row.sha256[:12]}")
        known = final(name_of.setdefault(row.sha256, name))
        if name != known:
            # The name of a group is preferred to that of a single image.
            kept, dropped = sorted((name, known), key=lambda each: (each.startswith(ALONE), each))
            joined[dropped] = kept
    return {row.image: final(name_of[row.sha256]) for row in rows}


def described(dataset: str, table: Manifest) -> str:
    """Describe the groups of a grouped manifest in words."""
    names = {row.group for row in table.rows}
    if not given(dataset):
        return f"stain groups: {len(names)}; these are not patients"
    alone = sum(name.startswith(ALONE) for name in names)
    more = f"; {alone} images without a group count as groups of their own" if alone else ""
    return f"groups: {len(names) - alone} given{more}"


def parted(table: Manifest) -> int:
    """Count the groups of a manifest that lie in more than one subset."""
    places: dict[str, set[str]] = defaultdict(set)
    for row in table.rows:
        places[row.group].add(row.split)
    return sum(len(subsets) > 1 for group, subsets in places.items() if group)


def thin(table: Manifest, scheme: Scheme) -> list[str]:
    """List in words the subsets with less than half of the images of a class that their share asks for."""
    counts, rest = table.counts(), 1 - scheme.test
    wanted = {"train": rest * (1 - scheme.val), "val": rest * scheme.val, "test": scheme.test}
    totals = {label: sum(each[label] for each in counts.values()) for label in table.classes}
    return [
        f"{subset} has {counts[subset][label]} of {total} images of '{label}'"
        for label, total in totals.items()
        for subset, share in wanted.items()
        if counts[subset][label] < share * total / 2
    ]
