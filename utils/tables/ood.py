"""What is refused as no smear: the file that `refusal` writes beside a split's reference, and its tables."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean

from utils.errors import LeukoBenchError
from utils.io import files
from utils.metrics.predictions import wilson
from utils.tables.table import HYPHEN, Table, interval, number, percent, write_csv

FOLDER = "reference"
TEST, DRAWN, CHANGED = "test", "drawn", "changed"
STATISTICS, FEATURES, ENERGY, PROBABILITY = "statistics", "features", "energy", "probability"
METHODS = (STATISTICS, FEATURES, ENERGY, PROBABILITY)
MOST, LEAST = 0.02, 0.98  # false refusals of test images, and catches of held-out families, that are wanted
WORDS = (
    "Refused, in %. Test images should not be; pictures that are no smears should. Held out: kept apart while the "
    "method and its limit were chosen. Statistics: colours and texture, without a model; the web page uses them. "
    "Features: distance of the model's last features. Energy: of its logits. Probability: the highest one. Every limit "
    "comes from the validation images alone. Changed test images may go either way."
)
SUMMARY_WORDS = (
    "Refused test images, and pictures caught: of the families that were looked at, of those held out, and of the "
    "held-out family of the fewest. AUROC: chance that a held-out picture scores higher than a test image, whatever "
    "the limit; mean over the families."
)


@dataclass(frozen=True)
class Refused:
    """How many pictures of a set a method refuses.

    Attributes:
        kind: TEST, DRAWN (no smears), or CHANGED (test images changed).
        family: of the pictures.
        held_out: whether a DRAWN family was kept apart while the method was chosen.
        images: number of pictures.
        method: one of METHODS.
        run: id of the run whose model answered; "" for STATISTICS, which need none.
        refused: of them.
        auroc: chance that one of them scores higher than a test image, 0..1, whatever the limit; None for test images.
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
        """Refused share in 0..1."""
        return self.refused / self.images


COLUMNS = (*(field.name for field in fields(Refused)), "share")


def path(root: Path, manifest: str) -> Path:
    """Return the file of a split: <root>/reference/<manifest hash>.csv."""
    return root / FOLDER / f"{manifest}.csv"


def read(root: Path, manifest: str) -> list[Refused]:
    """Read what was measured on a split, [] where nothing was.

    Raises:
        LeukoBenchError: the file is damaged.
    """
    place = path(root, manifest)
    if not place.is_file():
        return []
    try:
        return [
            Refused(
                row["kind"], row["family"], {"yes": True, "no": False}[row["held_out"]], int(row["images"]),
                row["method"], row["run"], int(row["refused"]), float(row["auroc"]) if row["auroc"] else None,
            )
            for row in files.read_csv(place, COLUMNS)
        ]  # fmt: skip
    except (KeyError, TypeError, ValueError):
        raise LeukoBenchError(f"{place} is damaged. Delete it and run: python run_guide.py refusal RUN") from None


def merge(root: Path, manifest: str, rows: Sequence[Refused]) -> Path:
    """Write rows; those of other runs that were measured on the same pictures stay."""
    now = {(row.kind, row.family): row.images for row in rows}
    new = {row.run for row in rows}
    try:
        before = read(root, manifest)
    except LeukoBenchError:  # it is derived, so it is made anew
        before = []
    same = {(row.kind, row.family): row.images for row in before} == now
    kept = [row for row in before if same and row.run not in new]
    order = {key: place for place, key in enumerate(now)}
    together = sorted([*kept, *rows], key=lambda row: (row.run, METHODS.index(row.method), order[row.kind, row.family]))
    place = path(root, manifest)
    records = [asdict(row) | {"held_out": "yes" if row.held_out else "no", "share": row.share} for row in together]
    write_csv(place, records)
    return place


def runs(rows: Iterable[Refused]) -> list[str]:
    """Return the ids of the runs that were measured."""
    return list(dict.fromkeys(row.run for row in rows if row.run))


def share(rows: Iterable[Refused], wanted: Callable[[Refused], bool]) -> float | None:
    """Return the refused share of all pictures of the wanted rows; None without one."""
    chosen = [row for row in rows if wanted(row)]
    total = sum(row.images for row in chosen)
    return sum(row.refused for row in chosen) / total if total else None


def summary(rows: Sequence[Refused], title: str) -> Table:
    """Return a line for every method and run: false refusals, catches, and the fewest catches of a family."""
    lines = []
    for method, run in dict.fromkeys((row.method, row.run) for row in rows):
        mine = [row for row in rows if (row.method, row.run) == (method, run)]
        drawn = [row for row in mine if row.kind == DRAWN]
        apart = [row for row in drawn if row.held_out]
        lines.append(
            [
                method,
                _short(run),
                percent(share(mine, lambda row: row.kind == TEST)),
                percent(share(drawn, lambda row: not row.held_out), 1),
                percent(share(apart, lambda row: True), 1),
                percent(min(row.share for row in apart), 1),
                number(fmean(row.auroc or 0 for row in apart), 4),
            ]
        )
    columns = ("Method", "Run", "Test\n%", "Seen\n%", "Held\nout %", "Fewest\n%", "AUROC")
    return Table(title, columns, lines, frozenset({0, 1}), SUMMARY_WORDS)


def table(rows: Sequence[Refused], run: str) -> Table:
    """Return what each method refuses of every family, with one run's model."""
    mine = [row for row in rows if row.run in ("", run)]
    lines = []
    for kind, family, held_out, images in dict.fromkeys((r.kind, r.family, r.held_out, r.images) for r in mine):
        found = {row.method: row.share for row in mine if (row.kind, row.family) == (kind, family)}
        said = {TEST: "smears", CHANGED: "changed"}.get(kind, "yes" if held_out else "no")
        lines.append([family, said, str(images), *(percent(found.get(method), 1) for method in METHODS)])
    heads = (f"Statis{HYPHEN}tics", "Features", "Energy", f"Proba{HYPHEN}bility")
    columns = ("Pictures", "Held\nout", "Images", *heads)
    return Table(f"Refused %, with {run}", columns, lines, frozenset({0, 1}), WORDS)


def sentences(rows: Sequence[Refused]) -> list[str]:
    """Say whether the statistics hold what is wanted of them, with 95 % Wilson intervals."""
    mine = [row for row in rows if row.method == STATISTICS]
    smears = _counted([row for row in mine if row.kind == TEST])
    others = _counted([row for row in mine if row.kind == DRAWN and row.held_out])
    return [
        f"Statistics refuse {smears} test images; at most {percent(MOST, 0)} % is wanted.",
        f"They catch {others} pictures of the families held out; at least {percent(LEAST, 0)} % is wanted.",
    ]


def _counted(rows: Sequence[Refused]) -> str:
    refused, images = sum(row.refused for row in rows), sum(row.images for row in rows)
    return f"{percent(refused / images)} % ({interval(*wilson(refused, images))}) of {images:,}"


def _short(run: str) -> str:
    """Return model and time of a run on two lines; "no model" for none."""
    model, _, folder = run.partition("/")
    return f"{model}\n{folder.partition('-')[0]}" if run else "no model"
