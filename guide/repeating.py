"""Trainings of one configuration again and again: over the folds of a split and over seeds, and what they show."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data import catalog
from data.splitting import splits as splitting
from guide import splits
from guide.views import show_table
from utils.runs import split_spec
from utils.runs.run_folder import Run

if TYPE_CHECKING:
    from models.engine.config.base import ModelConfig


@dataclass(frozen=True)
class Repeat:
    """Models that are trained with one split and one seed; split "" and seed None: as the configuration says."""

    names: list[str]
    split: str
    seed: int | None

    def label(self, name: str) -> str:
        """Name one of its models with what tells this training from the others."""
        seed = f"seed {self.seed}" if self.seed is not None else ""
        return " ".join(filter(None, (name, self.split, seed)))


def repeats(configs: Mapping[str, "ModelConfig"], seeds: Sequence[int]) -> list[Repeat]:
    """Return what is trained one after another: every fold with every seed.

    Raises:
        LeukoBenchError: a split is unknown.
    """
    names: dict[tuple[str, ...], list[str]] = {}
    for name, config in configs.items():
        folds = split_spec.expand(config.split)
        names.setdefault(() if folds == [config.split] else tuple(folds), []).append(name)
    again = list(dict.fromkeys(seeds)) or [None]
    return [Repeat(of, split, seed) for folds, of in names.items() for split in folds or ("",) for seed in again]


def check_groups(configs: Iterable["ModelConfig"]) -> None:
    """Make the grouped splits that will be trained on and say whose groups they keep together.

    Raises:
        LeukoBenchError: a class lies in too few groups, or there is no such dataset.
    """
    for dataset, text, seed in dict.fromkeys((c.dataset, c.split, c.split_seed) for c in configs):
        for split in split_spec.expand(text):
            if split_spec.parse(split).grouped:
                name = catalog.ensure_dataset(dataset)
                splits.say_groups(name, split, splitting.prepare_split(name, split, seed).manifest)


def show(runs: Sequence[Run]) -> None:
    """Print mean and standard deviation over folds and seeds of the runs that were just trained."""
    from utils.runs.records import measure
    from utils.tables import leakage as leakage_tables

    for table in leakage_tables.tables(leakage_tables.summary([measure(run) for run in runs])):
        show_table(table)
