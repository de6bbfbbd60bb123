"""The audit of a dataset, before any model: what its images share, what its split leaks, what tells the classes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.auditing import shortcut_baselines, split_leakage
from data.auditing.split_leakage import Leak, Shared
from data.grouping import related_images, stain_groups
from data.manifest import Manifest
from data.splitting import groups as split_groups
from data.splitting import splits
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs.shortcuts_file import Shortcut
from utils.tables import shortcuts as shortcuts_tables
from utils.tables.shortcuts import Verdict

FOLDER, FILE = "audit", "audit.json"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Group:
    """A group of images, and how many of each class and of each subset it holds."""

    name: str
    images: int
    classes: dict[str, int]
    subsets: dict[str, int]


@dataclass(frozen=True)
class Audit:
    """All that an audit found; every figure and table is made of it.

    Attributes:
        dataset, split, seed: what was audited.
        manifest: hash of the split.
        images: by subset, {"train": 2084, ...}.
        classes: names in order.
        pairs: images of one place.
        groups: largest first; those that came with the dataset, such as patients, else stain groups.
        given: whether they came with it.
        clusters: number of stain groups that the images bear, before those of pairs were joined.
        stability: (number of clusters tried, adjusted Rand index between clusterings of separate halves).
        together: share of the pairs that lay in one cluster before, 0-1; None without pairs.
        agreement: adjusted Rand index between stain groups and given groups; None without.
        ladder: shortcut baselines on the split.
    """

    dataset: str
    split: str
    seed: int
    manifest: str
    images: dict[str, int]
    classes: list[str]
    pairs: list[Shared]
    groups: list[Group]
    given: bool
    clusters: int
    stability: list[tuple[int, float]]
    together: float | None
    agreement: float | None
    ladder: list[Shortcut]

    @property
    def verdict(self) -> Verdict:
        """What the ladder says."""
        return shortcuts_tables.verdict(self.ladder)

    @property
    def leaks(self) -> list[Leak]:
        """What the pairs of each kind come to."""
        return [
            split_leakage.leak(kind, [pair for pair in self.pairs if pair.kind == kind])
            for kind in related_images.KINDS
        ]

    @property
    def test_images_shown_before(self) -> int:
        """Test images of which another subset holds a copy or an overlapping field."""
        return split_leakage.leak("", self.pairs).test_images

    @property
    def parted_groups(self) -> int:
        """Groups that lie in more than one subset."""
        return sum(len(group.subsets) > 1 for group in self.groups)

    @property
    def pure_groups(self) -> int:
        """Groups whose images are all of one class."""
        return sum(len(group.classes) == 1 for group in self.groups)

    def write(self, root: Path) -> Path:
        """Write audit.json, all numbers, and return its path.

        Raises:
            LeukoBenchError: the folder cannot be written.
        """
        place = folder(root, self.dataset) / FILE
        drawn = {"verdict": asdict(self.verdict), "leaks": [asdict(leak) for leak in self.leaks]}
        drawn |= {key: getattr(self, key) for key in ("test_images_shown_before", "parted_groups", "pure_groups")}
        files.write_json(place, {**drawn, **asdict(self)})
        return place


def folder(root: Path, dataset: str) -> Path:
    """Return the folder of a dataset's audit below a folder of runs."""
    return root / FOLDER / dataset


def read(root: Path, dataset: str) -> Audit | None:
    """Return the audit of a dataset as it was written last; None where there is none.

    Raises:
        LeukoBenchError: the file is damaged.
    """
    place = folder(root, dataset) / FILE
    if not place.exists():
        return None
    told: dict[str, Any] = files.read_json(place)
    try:
        values = {name: told[name] for name in Audit.__dataclass_fields__}
        kinds = {"pairs": Shared, "groups": Group, "ladder": Shortcut}
        values |= {name: [kind(**each) for each in told[name]] for name, kind in kinds.items()}
        return Audit(**values | {"stability": [(int(count), float(value)) for count, value in told["stability"]]})
    except (KeyError, TypeError, ValueError):
        raise LeukoBenchError(f"{place} is damaged. Make it again: python run_guide.py audit {dataset}") from None


def run(
    dataset: str, split: str, seed: int, root: Path,
    looking: Progress = lambda done, total: None, learning: Progress = lambda done, total: None,
) -> tuple[Audit, dict[str, str]]:  # fmt: skip
    """Audit a dataset and a split of it; write the ladder's file, see `data.shortcuts.ladder`.

    Args:
        dataset: name of a folder below data/raw.
        split: see `data.schemes.parse`.
        seed: of the split.
        root: folder of the runs.
        looking: called with (done, total) while images are compared.
        learning: the same, while the baselines' numbers are taken.

    Returns:
        The audit, and the group in use of every image that has one.

    Raises:
        LeukoBenchError: the split cannot be made, an image cannot be read, a file cannot be written.
    """
    found = stain_groups.find(dataset, looking)
    laid = splits.prepare_split(dataset, split, seed)
    given = split_groups.given(dataset)
    groups = given or found.groups
    rungs = shortcut_baselines.ladder(laid, root, learning)
    manifest = laid.manifest
    audit = Audit(
        dataset, split, seed, manifest.hash, dict(Counter(row.split for row in manifest.rows)), list(manifest.classes),
        split_leakage.shared(found.pairs, manifest), count(groups, manifest), bool(given), found.number,
        [*found.stability], found.together, _agreement(given, found.groups), rungs,
    )  # fmt: skip
    return audit, groups


def count(groups: dict[str, str], manifest: Manifest) -> list[Group]:
    """Return every group with its images by class and subset, the largest first; images without one are left out."""
    classes: dict[str, Counter[str]] = {}
    subsets: dict[str, Counter[str]] = {}
    for row in manifest.rows:
        name = groups.get(row.image)
        if name:
            classes.setdefault(name, Counter())[row.label] += 1
            subsets.setdefault(name, Counter())[row.split] += 1
    ordered = sorted(classes, key=lambda name: (-classes[name].total(), name))
    return [Group(n, classes[n].total(), dict(classes[n]), dict(subsets[n])) for n in ordered]


def _agreement(given: dict[str, str], found: dict[str, str]) -> float | None:
    from sklearn.metrics import adjusted_rand_score

    both = [image for image in found if image in given]
    if not both:
        return None
    return float(adjusted_rand_score([given[image] for image in both], [found[image] for image in both]))
