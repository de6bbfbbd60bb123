"""What a sweep reads from run folders: what was trained there, and how far it is."""

from collections.abc import Sequence
from functools import cache

import models
from utils.errors import LeukoBenchError
from utils.runs import cache as run_cache
from utils.runs import run_folder
from utils.runs.run_folder import Run

# Sources that decide what a config.json means, beside the model's own.
FIELDS = (
    *("models.engine.sweep.run_lookup", "models.engine.run_io.run_loader", "models.engine.config.recipes"),
    *("models.engine.config.base", "data.imaging.variants"),
)
FIELDS += ("data.loading.augmentation_config", "data.loading.offline_copies")


def epochs_of(run: Run) -> int:
    """Return how many epochs a run has finished; 0 where its history cannot be read."""
    try:
        return len(run.epochs())
    except LeukoBenchError:
        return 0


def farthest(runs: Sequence[Run]) -> Run | None:
    """Return the finished one of runs, else the one with most epochs; None where there is none."""
    if len(runs) < 2:
        return runs[0] if runs else None
    return max(runs, key=lambda run: (run.finished, epochs_of(run), run.path.name))


def trained(run: Run) -> tuple[str, str]:
    """Return the hashes of a run's configuration, with the fields of today, and of its manifest; "" for none."""

    def read() -> list[str]:
        from models.engine.run_io import run_loader

        return [run_loader.config_of(run).hash(), run.environment()["manifest"]]

    try:
        config, manifest = run_cache.kept(
            run, "sweep", (run_folder.CONFIG, run_folder.ENVIRONMENT), read, _fields(run.model)
        )
    except LeukoBenchError:  # damaged, or just begun
        return "", ""
    return config, manifest


@cache
def _fields(model: str) -> str:
    """Return a hash of the sources that say which fields a model's configuration has, and their defaults."""
    held = {each.__module__ for each in type(models.config_for(model)).__mro__}
    return run_cache.code_of(*FIELDS, *sorted(name for name in held if name.startswith("models.")))
