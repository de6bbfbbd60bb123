"""Command `audit`: audit a dataset and its split before training."""

from collections.abc import Callable
from dataclasses import asdict, astuple
from pathlib import Path
from typing import TYPE_CHECKING

from guide import splits
from guide.data import Dataset, Seed, Split
from guide.views import show_table
from models.engine.cli import Root
from utils import console
from utils.io import files, transaction
from utils.paths import runs_dir
from utils.runs import run_folder, split_spec
from utils.tables import writers
from utils.tables.table import Table

if TYPE_CHECKING:
    from rich.progress import Progress

    from data.auditing.audit import Audit, PlacedPair


def audit(
    dataset: Dataset = "",
    split: Split = "",
    seed: Seed = 42,
    root: Root = None,
) -> None:
    """Audit a dataset: copies, overlapping fields, stain groups, and baselines that see no cell shape."""
    from data import catalog
    from data.auditing import audit as audits
    from data.auditing import audit_tables as views
    from visualization.displays import audit as audit_figures

    name = catalog.ensure_dataset(dataset)
    split = splits.chosen(name, split, seed)
    place = (root or runs_dir()).resolve()
    with console.progress() as bar:
        comparing, measuring = _progress(bar, "Comparing"), _progress(bar, "Measuring")
        found, groups = audits.run(name, split, seed, place, comparing, measuring)
    shown = [views.leaks(found), views.groups(found), views.ladder(found)]
    for table in shown:
        show_table(table, words=False)
        console.say()
    for sentence in views.sentences(found):
        console.say(sentence)
    folder = audits.folder(place, name)
    with transaction.together(folder) as stage:
        _write(stage, found, groups, shown)
        found.write(stage)
    for path in audit_figures.draw_all(found, folder / run_folder.FIGURES):
        console.say(f"Drew {path}")
    console.say(f"Tables, pairs and groups: {folder}")
    console.notice()


def _progress(bar: "Progress", title: str) -> Callable[[int, int], None]:
    task = bar.add_task(title, total=None)
    return lambda done, total: bar.update(task, completed=done, total=total)


def _write(folder: Path, found: "Audit", groups: dict[str, str], shown: list[Table]) -> None:
    """Write pairs and groups as CSV, and the tables in every format."""
    from data.auditing import audit_tables as views

    copies = [pair for pair in found.pairs if pair.kind != "overlap"]
    _write_pairs(folder / "duplicates.csv", copies)
    _write_pairs(folder / "overlaps.csv", [pair for pair in found.pairs if pair.kind == "overlap"])
    files.write_text(folder / "groups.csv", files.csv_text(("image", "group"), sorted(groups.items())))
    files.write_csv(folder / "every_group.csv", views.group_records(found))
    files.write_csv(folder / "ladder.csv", [asdict(rung) for rung in found.ladder])
    about = f"{found.dataset}, {split_spec.words(found.split)}, seed {found.seed}"
    notes = [f"Manifest {found.manifest}.", *views.sentences(found)]
    writers.write_all(folder / "audit", f"Audit of {about}", notes, shown)
    writers.write_all(folder / "ladder", f"Shortcut baselines, {about}", found.verdict.sentences, shown[-1:])
    writers.write_all(folder / "every_group", f"Groups of {about}", [], [views.every_group(found)])


def _write_pairs(path: Path, pairs: "list[PlacedPair]") -> None:
    from data.auditing.audit import PlacedPair

    columns = [*PlacedPair.__dataclass_fields__]
    files.write_text(path, files.csv_text(columns, map(astuple, pairs)))
