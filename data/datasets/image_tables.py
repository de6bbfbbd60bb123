"""CSV files of users that say something about images of a source: their groups, or the split that the owner made."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from data.datasets.folder_roles import subset_of
from data.datasets.source_reader import Entry
from utils.errors import LeukoBenchError
from utils.io import files

VALID = "train, val, test or test_<name>"


class Images:
    """Finds images of a source by what a CSV file calls them.

    That is the path below the source (with or without the source's own name), "<Class>/<file>", or a file name that
    occurs once; each also without its suffix.
    """

    def __init__(self, title: str, entries: Sequence[tuple[str, Entry]]) -> None:
        """List the names of entries, each given with its class ("" for none)."""
        self._tiers: list[dict[str, list[int]]] = [defaultdict(list) for _ in range(8)]
        for number, (label, entry) in enumerate(entries):
            file = entry.parts[-1]
            for tier, name in enumerate((entry.name, f"{title}/{entry.name}", f"{label}/{file}", file)):
                self._tiers[tier][_plain(name)].append(number)
                self._tiers[tier + 4][_plain(name).rpartition(".")[0]].append(number)

    def find(self, name: str) -> list[int]:
        """Return the numbers of the entries that a name may stand for: one, several, or none."""
        plain = _plain(name)
        return next((tier[plain] for tier in self._tiers if plain in tier), [])


def read_groups(path: Path) -> dict[str, str]:
    """Read a CSV with the columns image,group.

    Raises:
        LeukoBenchError: it is damaged, or gives an image two groups.
    """
    return _column(path, files.read_csv(path, ("image", "group")), "group", "groups")


def read_split(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Read a CSV with the columns image,split and optionally group: the subsets and the groups, by image.

    Raises:
        LeukoBenchError: it is damaged, names an unknown subset, gives an image two of them, or lacks train or test.
    """
    rows = files.read_csv(path, ("image", "split"))
    for row in rows:
        text = (row["split"] or "").strip()
        subset = subset_of(text)
        if not subset:
            raise LeukoBenchError(f"{path} gives {row['image']} the split '{text}'. Valid are {VALID}.")
        row["split"] = subset
    subsets = _column(path, rows, "split", "splits")
    found = set(subsets.values())
    missing = [kind for kind in ("train", "test") if not any(subset.startswith(kind) for subset in found)]
    if missing:
        given = ", ".join(sorted(found)) or "no images"
        raise LeukoBenchError(f"{path} names no {' and no '.join(missing)} images, only {given}. Add them.")
    return subsets, _column(path, rows, "group", "groups") if rows and "group" in rows[0] else {}


def attach(
    table: dict[str, str], images: Images, path: Path, example: str, known: Iterable[str] | None = None
) -> dict[int, str]:
    """Find the images that a table names.

    Args:
        table: value by what the CSV calls an image.
        images: the images to find.
        path: of the CSV, for error messages.
        example: name of an image, for error messages.
        known: other names that the table may hold; None: any names, as long as one image is found.

    Returns:
        The value by number of the image.

    Raises:
        LeukoBenchError: a name stands for no image or several, or two names give an image two values.
    """
    values: dict[int, str] = {}
    unknown, several = [], []
    others = None if known is None else {_plain(name) for name in known}
    for name, value in table.items():
        found = images.find(name)
        if len(found) == 1:
            if values.setdefault(found[0], value) != value:
                raise LeukoBenchError(f"{path} names one image twice, with '{values[found[0]]}' and '{value}': {name}.")
        elif found:
            several.append(name)
        elif others is None or _plain(name) not in others:
            unknown.append(name)
    wrong = several or unknown
    if wrong and (known is not None or not values):
        what = "stands for several images" if several else "is no image of the source"
        raise LeukoBenchError(
            f"{path}: '{wrong[0]}' {what} ({len(wrong)} such rows). Name images by their path, as '{example}'."
        )
    return values


def _column(path: Path, rows: Sequence[dict[str, str]], column: str, plural: str) -> dict[str, str]:
    table: dict[str, str] = {}
    for row in rows:
        image, value = (row["image"] or "").strip(), (row[column] or "").strip()
        if value and image and table.setdefault(image, value) != value:
            raise LeukoBenchError(f"{path} gives {image} two {plural}, '{table[image]}' and '{value}'. Keep one.")
    return table


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).replace("\\", "/").strip().removeprefix("./")
