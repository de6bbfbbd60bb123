"""<root>/reference/<manifest hash>.csv: rates of out-of-distribution rejection on a split, written by `refusal`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from utils.errors import LeukoBenchError
from utils.io import files

FOLDER = "reference"
TEST, DRAWN, CHANGED = "test", "drawn", "changed"
STATISTICS, FEATURES, ENERGY, PROBABILITY = "statistics", "features", "energy", "probability"
METHODS = (STATISTICS, FEATURES, ENERGY, PROBABILITY)


@dataclass(frozen=True)
class Refused:
    """How many pictures of one family a method rejects.

    Attributes:
        kind: TEST (test images), DRAWN (pictures that are no smears), or CHANGED (changed test images).
        family: of the pictures.
        held_out: whether a DRAWN family was kept apart while the method was chosen.
        images: number of pictures.
        method: one of METHODS.
        run: id of the run whose model was used; "" for STATISTICS, which uses none.
        refused: number of rejected pictures.
        auroc: probability that a picture scores higher than a test image, 0..1; None for test images.
    """

    kind: str
    family: str
    held_out: bool
    images: int
    method: str
    run: str
    refused: int
    auroc: float | None = None

    @property
    def share(self) -> float:
        """Rejected share in 0..1."""
        return self.refused / self.images


COLUMNS = (*(field.name for field in fields(Refused)), "share")


def path(root: Path, manifest: str) -> Path:
    """Return the file of a split: <root>/reference/<manifest hash>.csv."""
    return root / FOLDER / f"{manifest}.csv"


def read(root: Path, manifest: str) -> list[Refused]:
    """Read the results of a split; [] if none were measured.

    Raises:
        LeukoBenchError: the file is damaged.
    """
    place = path(root, manifest)
    if not place.is_file():
        return []
    try:
        return [
            Refused(
                kind=row["kind"],
                family=row["family"],
                held_out={"yes": True, "no": False}[row["held_out"]],
                images=int(row["images"]),
                method=row["method"],
                run=row["run"],
                refused=int(row["refused"]),
                auroc=float(row["auroc"]) if row["auroc"] else None,
            )
            for row in files.read_csv(place, COLUMNS)
        ]
    except (KeyError, TypeError, ValueError):
        raise LeukoBenchError(
            f"{place} is damaged. Delete it and run: python run_guide.py refusal RUN", path=place
        ) from None


def merge(root: Path, manifest: str, rows: Sequence[Refused]) -> Path:
    """Write rows; keep the rows of other runs that were measured on the same pictures."""
    now = {(row.kind, row.family): row.images for row in rows}
    new = {row.run for row in rows}
    try:
        before = read(root, manifest)
    except LeukoBenchError:  # a derived file: replace it
        before = []
    same = {(row.kind, row.family): row.images for row in before} == now
    kept = [row for row in before if same and row.run not in new]
    order = {key: place for place, key in enumerate(now)}
    together = sorted([*kept, *rows], key=lambda row: (row.run, METHODS.index(row.method), order[row.kind, row.family]))
    place = path(root, manifest)
    files.write_csv(
        place, [asdict(row) | {"held_out": "yes" if row.held_out else "no", "share": row.share} for row in together]
    )
    return place


def runs(rows: Iterable[Refused]) -> list[str]:
    """Return the ids of the runs that were measured."""
    return list(dict.fromkeys(row.run for row in rows if row.run))


def share(rows: Iterable[Refused], wanted: Callable[[Refused], bool]) -> float | None:
    """Return the rejected share of all pictures of the wanted rows; None without such rows."""
    chosen = [row for row in rows if wanted(row)]
    total = sum(row.images for row in chosen)
    return sum(row.refused for row in chosen) / total if total else None
