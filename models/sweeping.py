"""A sweep: models x recipes x splits x seeds as jobs, each known by what it trains, wherever and whenever it is run.

A job's key is the hash of its configuration with that of its manifest. What was done is read from the run folders: a
finished run of that key is never trained again, an unfinished one is gone on with. There is no other state.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import models
from data import schemes, splitting
from models.base_config import ModelConfig
from utils import artifacts, files
from utils.artifacts import Run
from utils.errors import LeukoBenchError

FOLDER = ".sweep"  # below the root: locks, and what jobs say
PLAIN = "none"  # the recipe that changes nothing
WAITING, RUNNING, ELSEWHERE = "waiting", "running", "in another sweep"
BEFORE, FINISHED, FAILED, STOPPED = "finished before", "finished", "failed", "stopped"
ENDED = (BEFORE, FINISHED, FAILED, STOPPED)


@dataclass(frozen=True)
class Plan:
    """What is to be trained: every combination of the lists; an empty one leaves it to the configuration."""

    models: Sequence[str]
    recipes: Sequence[str] = ()
    splits: Sequence[str] = ()
    seeds: Sequence[int] = ()
    settings: Sequence[str] = ()  # "field=value", of every job
    profile: str = ""
    dataset: str = ""


@dataclass(frozen=True)
class Ticket:
    """All that a process needs to know of a job, as plain values.

    Attributes:
        model: its name.
        config: hash of the configuration, with all that the data fills in.
        manifest: hash of the split's manifest.
        dataset, split, split_seed: what the split is made from.
        options: of `python -m models.<model>.train`, without the root.
        label: how a person reads it.
    """

    model: str
    config: str
    manifest: str
    dataset: str
    split: str
    split_seed: int
    options: tuple[str, ...]
    label: str

    @property
    def key(self) -> str:
        """Name of its files in FOLDER, and what no two jobs share."""
        return f"{artifacts.folder_of(self.model)}-{self.config}-{self.manifest}"

    def plain(self) -> dict[str, Any]:
        """Return it as a dict for JSON; `Ticket(**plain)` brings it back."""
        return asdict(self)


@dataclass
class Job:
    """A ticket and how far it is: state, finished epochs of so many, accuracy, and why it failed."""

    ticket: Ticket
    epochs: int
    state: str = WAITING
    epoch: int = 0
    accuracy: float | None = None  # of validation while it runs, of the test images at the end; 0..1
    reason: str = ""
    tries: int = 0
    run: Run | None = field(default=None, repr=False)


def jobs(plan: Plan) -> list[Job]:
    """Return a job for every combination, with its split laid out, so that jobs side by side do not make it at once.

    Raises:
        LeukoBenchError: a model, recipe, split, setting or dataset is unknown, or two combinations are the same.
    """
    combinations = product(plan.models, plan.recipes or ("",), plan.splits or ("",), plan.seeds or (None,))
    wanted = [(_config(plan, *each), each) for each in combinations]  # every mistake is found before any image is read
    made = [
        _job(plan, config.replace(split=split) if split != config.split else config, each)
        for config, each in wanted
        for split in schemes.expand(config.split)
    ]
    keys: dict[str, Job] = {}
    for job in made:
        other = keys.setdefault(job.ticket.key, job)
        if other is not job:
            raise LeukoBenchError(
                f"{job.ticket.label} and {other.ticket.label} are the same training. Name each model, recipe, split "
                "and seed once."
            )
    return made


def look(found: Sequence[Job], root: Path) -> None:
    """Say of jobs which were finished before, and how far the others are."""
    runs: dict[tuple[str, str], list[Run]] = {}
    for model in {job.ticket.model for job in found}:
        for run in artifacts.find_runs(root, model):
            runs.setdefault((model, run.path.name[-8:]), []).append(run)
    for job in found:
        chosen = chosen_of(runs.get((job.ticket.model, job.ticket.config[:8]), []), job.ticket)
        if chosen:
            update(job, chosen)
            job.state = BEFORE if chosen.finished else WAITING


def run_of(root: Path, ticket: Ticket) -> Run | None:
    """Return the run of a job: a finished one, else the latest unfinished one; None where it was not begun."""
    ending = ticket.config[:8]
    return chosen_of([run for run in artifacts.find_runs(root, ticket.model) if run.path.name.endswith(ending)], ticket)


def chosen_of(runs: Sequence[Run], ticket: Ticket) -> Run | None:
    """Return of runs, oldest first, the one of a job: a finished one before an unfinished one."""
    fitting = [run for run in runs if _fits(run, ticket)]
    return next((run for run in fitting if run.finished), fitting[-1] if fitting else None)


def update(job: Job, run: Run) -> None:
    """Read from a run's folder how far its job is; a file that is just being made says nothing yet."""
    job.run = run
    try:
        rows = run.history() if run.file(artifacts.HISTORY).is_file() else []
        job.epoch = len(rows)
        job.accuracy = max((row["val_accuracy"] for row in rows), default=None)
        if run.finished:
            job.accuracy = run.metrics()["test"]["accuracy"]
    except LeukoBenchError:
        return


def _fits(run: Run, ticket: Ticket) -> bool:
    try:
        said = run.config()
        for added in ("initialisation", "flavour"):  # by training, beside the fields of the configuration
            said.pop(added, None)
        held = hashlib.sha256(files.compact(said).encode()).hexdigest()[:16]  # as ModelConfig.hash
        return held == ticket.config and run.environment()["manifest"] == ticket.manifest
    except LeukoBenchError:
        return False  # damaged, or just begun


def _config(plan: Plan, model: str, recipe: str, split: str, seed: int | None) -> ModelConfig:
    given = {"dataset": plan.dataset, "split": split, "seed": seed, "recipe": "" if recipe == PLAIN else recipe}
    values = {name: value for name, value in given.items() if value not in ("", None)}
    config = models.config_for(model, plan.profile, plan.settings, **values)
    schemes.expand(config.split)
    return config


def _job(plan: Plan, config: ModelConfig, words: tuple[str, str, str, int | None]) -> Job:
    model, recipe, _, seed = words
    recipe = "" if recipe == PLAIN else recipe
    dataset = splitting.ensure_dataset(config.dataset)
    split = _split(dataset, config.split, config.split_seed)
    whole = config.replace(dataset=dataset, classes=split.manifest.classes)
    if whole.variant.name != "rgb":
        whole = whole.replace(
            variant=_with_reference(whole.variant.model_dump_json(), dataset, config.split, config.split_seed)
        )
    if whole.offline.active:
        _copies(whole.offline.model_dump_json(), dataset, config.split, config.split_seed)
    options = ["--dataset", dataset, "--split", config.split, "--profile", plan.profile, "--recipe", recipe]
    options += ["--seed", str(seed)] if seed is not None else []
    options += [part for each in plan.settings for part in ("--set", each)]
    several = config.split if config.split != schemes.DEFAULT else ""
    label = " ".join(filter(None, (model, recipe, several, f"seed {config.seed}")))
    ticket = Ticket(
        model, whole.hash(), split.manifest.hash, dataset, config.split, config.split_seed, tuple(options), label
    )
    return Job(ticket, sum(phase.epochs for phase in whole.phases()))


@cache
def _split(dataset: str, split: str, seed: int) -> splitting.SplitFolder:
    return splitting.prepare_split(dataset, split, seed)


@cache
def _with_reference(variant: str, *made: Any) -> Any:
    from data.preprocessing import Variant
    from models import training

    return training.with_reference(Variant.model_validate_json(variant), _split(*made))


@cache
def _copies(offline: str, *made: Any) -> None:
    """Make the copies of training images now: jobs side by side would all begin with it."""
    from data import offline as copies

    copies.prepare(_split(*made), copies.Offline.model_validate_json(offline))
