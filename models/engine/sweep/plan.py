"""A sweep: models x recipes x splits x seeds as jobs, each known by what it trains, wherever and whenever it is run.

A job's key is the hash of its configuration with that of its manifest. What was done is read from the run folders: a
finished run of that key is never trained again, an unfinished one is gone on with. There is no other state. A field
that a run's config.json does not know yet counts as its default, which is what that run was trained with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Self

import models
from data import catalog
from data.splitting import splits as splitting
from models.engine.config.base import ModelConfig
from models.engine.sweep.run_lookup import farthest, trained
from utils.errors import LeukoBenchError
from utils.runs import run_folder, split_spec
from utils.runs.run_folder import Run

FOLDER = ".sweep"  # below the root: locks, and what jobs say
PLAIN = "none"  # the recipe that changes nothing
WAITING, QUEUED, RUNNING, ELSEWHERE = "waiting", "queued", "running", "in another sweep"
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
    told: Sequence[str] = ()  # options of every training that change no result: trackers, devices


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
        told: options of a training that is begun as of one that is gone on with, and no part of the key.
    """

    model: str
    config: str
    manifest: str
    dataset: str
    split: str
    split_seed: int
    options: tuple[str, ...]
    label: str
    told: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Name of its files in FOLDER, and what no two jobs share."""
        return f"{run_folder.folder_of(self.model)}-{self.config}-{self.manifest}"

    def plain(self) -> dict[str, Any]:
        """Return it as a dict for JSON; `of` brings it back."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """Return the ticket that `plain` gave, also where JSON made lists of its tuples."""
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()})


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


def jobs(plan: Plan, copies: bool = True) -> list[Job]:
    """Return a job for every combination, with its split laid out, so that jobs side by side do not make it at once.

    Args:
        plan: what is to be trained.
        copies: also make the changed copies of training images that configurations ask for.

    Raises:
        LeukoBenchError: a model, recipe, split, setting or dataset is unknown, a file of weights is missing, or two
            combinations are the same.
    """
    combinations = product(plan.models, plan.recipes or ("",), plan.splits or ("",), plan.seeds or (None,))
    wanted = [(_config(plan, *each), each) for each in combinations]  # every mistake is found before any image is read
    made = [
        _job(plan, config.replace(split=split) if split != config.split else config, each, copies)
        for config, each in wanted
        for split in split_spec.expand(config.split)
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
    runs: dict[tuple[str, ...], list[Run]] = {}
    for model in {job.ticket.model for job in found}:
        for run in run_folder.find_runs(root, model):
            runs.setdefault((model, *trained(run)), []).append(run)
    for job in found:
        chosen = farthest(runs.get((job.ticket.model, job.ticket.config, job.ticket.manifest), []))
        if chosen:
            update(job, chosen)
            job.state = BEFORE if chosen.finished else WAITING


def run_of(root: Path, ticket: Ticket, named: bool = False) -> Run | None:
    """Return the run of a job: a finished one, else the unfinished one with most epochs; None where it was not begun.

    Args:
        root: folder of the runs.
        ticket: of the job.
        named: look only at folders that bear the hash, as those that are made now do: cheap among thousands.
    """
    runs, wanted = run_folder.find_runs(root, ticket.model), (ticket.config, ticket.manifest)
    found = farthest([run for run in runs if run.path.name.endswith(ticket.config[:8]) and trained(run) == wanted])
    if named or (found and found.finished):
        return found
    return farthest([run for run in runs if trained(run) == wanted])


def update(job: Job, run: Run) -> None:
    """Read from a run's folder how far its job is; a file that is just being made says nothing yet."""
    job.run = run
    try:
        rows = run.epochs()
        job.epoch = len(rows)
        job.accuracy = max((row["val_accuracy"] for row in rows), default=None)
        if run.finished:
            job.accuracy = run.metrics()["test"]["accuracy"]
    except LeukoBenchError:
        return


def _config(plan: Plan, model: str, recipe: str, split: str, seed: int | None) -> ModelConfig:
    given = {"dataset": plan.dataset, "split": split, "seed": seed, "recipe": "" if recipe == PLAIN else recipe}
    values = {name: value for name, value in given.items() if value not in ("", None)}
    config = models.config_for(model, plan.profile, plan.settings, **values)
    split_spec.expand(config.split)
    if config.weights not in ("imagenet", "none"):
        from models.engine.layers import pretrained

        pretrained.check_file(config.weights)
    return config


def _job(plan: Plan, config: ModelConfig, words: tuple[str, str, str, int | None], copies: bool) -> Job:
    model, recipe, _, seed = words
    recipe = "" if recipe == PLAIN else recipe
    dataset = catalog.ensure_dataset(config.dataset)
    split = _split(dataset, config.split, config.split_seed)
    whole = config.replace(dataset=dataset, classes=split.manifest.classes)
    if whole.variant.name != "rgb":
        whole = whole.replace(
            variant=_with_reference(whole.variant.model_dump_json(), dataset, config.split, config.split_seed)
        )
    if whole.offline.active and copies:
        _copies(whole.offline.model_dump_json(), dataset, config.split, config.split_seed)
    options = ["--dataset", dataset, "--split", config.split, "--profile", plan.profile, "--recipe", recipe]
    options += ["--seed", str(seed)] if seed is not None else []
    options += [part for each in plan.settings for part in ("--set", each)]
    several = config.split if config.split != split_spec.DEFAULT else ""
    label = " ".join(filter(None, (model, recipe, several, f"seed {config.seed}")))
    ticket = Ticket(
        model, whole.hash(), split.manifest.hash, dataset, config.split, config.split_seed, tuple(options), label,
        tuple(plan.told),
    )  # fmt: skip
    return Job(ticket, sum(phase.epochs for phase in whole.phases()))


@cache
def _split(dataset: str, split: str, seed: int) -> splitting.SplitFolder:
    return splitting.prepare_split(dataset, split, seed)


@cache
def _with_reference(variant: str, *made: Any) -> Any:
    from data.imaging.variants import Variant
    from models.engine.training import trainer

    return trainer.with_reference(Variant.model_validate_json(variant), _split(*made))


@cache
def _copies(offline: str, *made: Any) -> None:
    """Make the copies of training images now: jobs side by side would all begin with it."""
    from data.loading import offline_copies as copies

    copies.prepare(_split(*made), copies.Offline.model_validate_json(offline))
