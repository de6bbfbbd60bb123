"""The audit of a dataset before any training: related images, leakage between subsets, shortcut baselines."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from data.auditing import shortcut_baselines
from data.grouping import related_images, stain_groups
from data.grouping.related_images import Pair
from data.manifest import Manifest
from data.splitting import groups as split_groups
from data.splitting import splits
from utils.errors import LeukoBenchError
from utils.io import files, transaction
from utils.runs.run_folder import TEST
from utils.runs.shortcuts_file import Shortcut
from utils.system.progress import Progress, no_progress
from utils.tables import shortcuts as shortcuts_tables
from utils.tables.shortcuts import Verdict

FOLDER, FILE = "audit", "audit.json"


@dataclass(frozen=True)
class PlacedPair(Pair):
    """A pair of related images with the subsets that hold them; "test" is the main test set."""

    first_split: str
    second_split: str

    @property
    def across_split(self) -> bool:
        """Whether the images are in different subsets."""
        return self.first_split != self.second_split

    @property
    def leaked_test_images(self) -> list[str]:
        """The image of the main test set whose partner is a training or validation image; at most one."""
        ends = (self.first, self.first_split, self.second_split), (self.second, self.second_split, self.first_split)
        return [image for image, split, other in ends if split == TEST and other in ("train", "val")]


@dataclass(frozen=True)
class Leak:
    """Counts of one kind of pairs: all, across classes, across subsets, and test images with a partner elsewhere."""

    kind: str
    pairs: int
    across_classes: int
    across_split: int
    test_images: int


@dataclass(frozen=True)
class Group:
    """A group of images, with its counts by class and by subset."""

    name: str
    images: int
    classes: dict[str, int]
    subsets: dict[str, int]


@dataclass(frozen=True)
class Audit:
    """The result of an audit, from which every figure and table is made.

    Attributes:
        dataset, split, seed: what was audited.
        manifest: hash of the split.
        images: counts by subset, {"train": 2084, ...}.
        classes: names in order.
        pairs: related images.
        groups: largest first; given groups such as patients where the dataset has them, else stain groups.
        given: whether the groups came with the dataset.
        clusters: number of stain clusters, before related images were joined.
        stability: (number of clusters tried, adjusted Rand index between clusterings of two halves).
        together: share of the related pairs whose images were in one cluster, 0-1; None without pairs.
        agreement: adjusted Rand index between stain groups and given groups; None without given groups.
        ladder: accuracies of the shortcut baselines on the split.
    """

    dataset: str
    split: str
    seed: int
    manifest: str
    images: dict[str, int]
    classes: list[str]
    pairs: list[PlacedPair]
    groups: list[Group]
    given: bool
    clusters: int
    stability: list[tuple[int, float]]
    together: float | None
    agreement: float | None
    ladder: list[Shortcut]

    @property
    def verdict(self) -> Verdict:
        """The conclusion from the shortcut baselines."""
        return shortcuts_tables.verdict(self.ladder)

    @property
    def leaks(self) -> list[Leak]:
        """Counts of the pairs of each kind."""
        return [leak(kind, [pair for pair in self.pairs if pair.kind == kind]) for kind in related_images.KINDS]

    @property
    def test_images_shown_before(self) -> int:
        """Number of test images with a copy or an overlapping field in another subset."""
        return leak("", self.pairs).test_images

    @property
    def parted_groups(self) -> int:
        """Number of groups in more than one subset."""
        return sum(len(group.subsets) > 1 for group in self.groups)

    @property
    def pure_groups(self) -> int:
        """Number of groups whose images are all of one class."""
        return sum(len(group.classes) == 1 for group in self.groups)

    def write(self, folder: Path) -> Path:
        """Write audit.json into a folder and return its path.

        Raises:
            LeukoBenchError: the folder cannot be written.
        """
        path = folder / FILE
        derived = {"verdict": asdict(self.verdict), "leaks": [asdict(leak) for leak in self.leaks]}
        derived |= {key: getattr(self, key) for key in ("test_images_shown_before", "parted_groups", "pure_groups")}
        files.write_json(path, {**derived, **asdict(self)})
        return path


def folder(root: Path, dataset: str) -> Path:
    """Return the folder of a dataset's audit below a folder of runs."""
    return root / FOLDER / dataset


def read(root: Path, dataset: str) -> Audit | None:
    """Read the last audit of a dataset; None where there is none.

    Raises:
        LeukoBenchError: the file is damaged.
    """
    path = folder(root, dataset) / FILE
    transaction.recover(path.parent)
    if not path.exists():
        return None
    stored: dict[str, Any] = files.read_json(path)
    try:
        values = {name: stored[name] for name in Audit.__dataclass_fields__}
        kinds = {"pairs": PlacedPair, "groups": Group, "ladder": Shortcut}
        values |= {name: [kind(**each) for each in stored[name]] for name, kind in kinds.items()}
        return Audit(**values | {"stability": [(int(count), float(value)) for count, value in stored["stability"]]})
    except (KeyError, TypeError, ValueError):
        raise LeukoBenchError(f"{path} is damaged. Create it again: python run_guide.py audit {dataset}") from None


def run(
    dataset: str,
    split: str,
    seed: int,
    root: Path,
    comparing: Progress = no_progress,
    measuring: Progress = no_progress,
) -> tuple[Audit, dict[str, str]]:
    """Audit a dataset and a split of it; write the file of the shortcut baselines, see `shortcut_baselines.evaluate`.

    Args:
        dataset: name of a folder below data/raw.
        split: see `utils.runs.split_spec.parse`.
        seed: of the split.
        root: folder of the runs.
        comparing: called with (done, total) while images are compared.
        measuring: called with (done, total) while the features of the baselines are measured.

    Returns:
        The audit, and the group of every image that has one.

    Raises:
        LeukoBenchError: the split cannot be made, an image cannot be read, a file cannot be written.
    """
    found = stain_groups.find(dataset, comparing)
    split_folder = splits.prepare_split(dataset, split, seed)
    manifest = split_folder.manifest
    given = split_groups.given(dataset)
    groups = given or found.groups
    audit = Audit(
        dataset=dataset,
        split=split,
        seed=seed,
        manifest=manifest.hash,
        images=dict(Counter(_subset_of(manifest).values())),
        classes=list(manifest.classes),
        pairs=placed(found.pairs, manifest),
        groups=count(groups, manifest),
        given=bool(given),
        clusters=found.number,
        stability=[*found.stability],
        together=found.together,
        agreement=_agreement(given, found.groups),
        ladder=shortcut_baselines.evaluate(split_folder, root, measuring),
    )
    return audit, groups


def placed(pairs: Sequence[Pair], manifest: Manifest) -> list[PlacedPair]:
    """Add to each pair the subsets that hold its images; pairs with an image in no subset are left out."""
    split = _subset_of(manifest)
    inside = [pair for pair in pairs if pair.first in split and pair.second in split]
    return [PlacedPair(*astuple(pair), split[pair.first], split[pair.second]) for pair in inside]


def _subset_of(manifest: Manifest) -> dict[str, str]:
    """Return the subset of each image; the main test set is "test", whatever its name."""
    main = manifest.resolve(TEST)
    return {row.image: TEST if row.split == main else row.split for row in manifest.rows}


def leak(kind: str, pairs: Sequence[PlacedPair]) -> Leak:
    """Count the pairs of one kind."""
    return Leak(
        kind=kind,
        pairs=len(pairs),
        across_classes=sum(pair.across_classes for pair in pairs),
        across_split=sum(pair.across_split for pair in pairs),
        test_images=len({image for pair in pairs for image in pair.leaked_test_images}),
    )


def count(groups: dict[str, str], manifest: Manifest) -> list[Group]:
    """Count the images of every group by class and subset, the largest group first; images without one are left out."""
    classes: dict[str, Counter[str]] = {}
    subsets: dict[str, Counter[str]] = {}
    split = _subset_of(manifest)
    for row in manifest.rows:
        name = groups.get(row.image)
        if name:
            classes.setdefault(name, Counter())[row.label] += 1
            subsets.setdefault(name, Counter())[split[row.image]] += 1
    ordered = sorted(classes, key=lambda name: (-classes[name].total(), name))
    return [Group(n, classes[n].total(), dict(classes[n]), dict(subsets[n])) for n in ordered]


def _agreement(given: dict[str, str], found: dict[str, str]) -> float | None:
    from sklearn.metrics import adjusted_rand_score

    both = [image for image in found if image in given]
    if not both:
        return None
    return float(adjusted_rand_score([given[image] for image in both], [found[image] for image in both]))
