"""Plan of a sweep: models x recipes x splits x seeds as jobs, and their state, read from the run folders.

The key of a job is the hash of its configuration with that of its manifest. A finished run with that key is not trained
again, an unfinished one is resumed; there is no other state. A field that is missing in the config.json of an older run
has its default, with which that run was trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Self

import models
from data import catalog
from data.splitting import given_split
from data.splitting import splits as dataset_splits
from models.engine.config.base import ModelConfig
from utils.errors import LeukoBenchError, cut, nearest
from utils.io import files
from utils.runs import cache as run_cache
from utils.runs import run_folder, split_spec
from utils.runs.run_folder import Run

FOLDER = ".sweep"  # below the root: locks and logs of jobs
PLAIN = "none"  # the recipe that changes nothing
WAITING, QUEUED, RUNNING, ELSEWHERE = "waiting", "queued", "running", "in another sweep"
BEFORE, FINISHED, FAILED, STOPPED = "finished before", "finished", "failed", "stopped"
FILE_LISTS = ("model", "recipe", "split", "seed", "set")  # keys of a plan file
FILE_KEYS = (*FILE_LISTS, "profile", "dataset")
MOST_BYTES = 200_000  # of a plan file
MOST_JOBS = 10_000
# Modules that define the meaning of config.json, besides those of the model.
FIELDS = (
    *("models.engine.sweep.plan", "models.engine.run_io.run_loader", "models.engine.config.recipes"),
    *("models.engine.config.base", "models.engine.config.overrides", "data.imaging.variants"),
)
FIELDS += ("data.loading.augmentation_config", "data.loading.offline_copies")


@dataclass(frozen=True)
class Plan:
    """What to train: every combination of the lists; an empty list leaves the value to the configuration."""

    models: Sequence[str]
    recipes: Sequence[str] = ()
    splits: Sequence[str] = ()
    seeds: Sequence[int] = ()
    settings: Sequence[str] = ()  # "field=value", for every job
    profile: str = ""
    dataset: str = ""
    other_options: Sequence[str] = ()  # options that do not change results: trackers, devices


@dataclass(frozen=True)
class JobSpec:
    """The description of a job that its process needs, as plain values.

    Attributes:
        model: name of the model.
        config: hash of the configuration, with all values that come from the data.
        manifest: hash of the split's manifest.
        dataset, split, split_seed: source of the split.
        options: of `python -m models.<model>.train` for a new run, without the root.
        label: name for messages.
        other_options: for new and resumed runs; not part of the key.
    """

    model: str
    config: str
    manifest: str
    dataset: str
    split: str
    split_seed: int
    options: tuple[str, ...]
    label: str
    other_options: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Unique name of the job's files in FOLDER."""
        return f"{run_folder.folder_of(self.model)}-{self.config}-{self.manifest}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON; see `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the spec with the fields of `as_dict`, also after JSON has turned tuples into lists."""
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})


@dataclass
class Job:
    """The state of a job: finished epochs / total epochs, accuracy, and the reason of a failure."""

    spec: JobSpec
    epochs: int
    state: str = WAITING
    epoch: int = 0
    accuracy: float | None = None  # 0..1, on validation images while it runs, on test images at the end
    reason: str = ""
    tries: int = 0
    run: Run | None = field(default=None, repr=False)


def jobs(plan: Plan, copies: bool = True) -> list[Job]:
    """Return a job for every combination, and create the splits; parallel jobs would create them at once.

    Args:
        plan: what to train.
        copies: also make the augmented copies of training images of the configurations.

    Raises:
        LeukoBenchError: a model, recipe, split, setting or dataset is unknown, a file of weights is missing, or two
            combinations are equal.
    """
    combined = prod(len(each) or 1 for each in (plan.models, plan.recipes, plan.splits, plan.seeds))
    _check_number(combined)
    combinations = product(plan.models, plan.recipes or ("",), plan.splits or ("",), plan.seeds or (None,))
    wanted = [
        (_config(plan, *each), each) for each in combinations
    ]  # all settings are checked before any image is read
    _check_number(sum(len(split_spec.expand(config.split)) for config, _ in wanted))
    found = [
        _job(plan, config.replace(split=split) if split != config.split else config, each, copies)
        for config, each in wanted
        for split in split_spec.expand(config.split)
    ]
    keys: dict[str, Job] = {}
    for job in found:
        other = keys.setdefault(job.spec.key, job)
        if other is not job:
            raise LeukoBenchError(
                f"{job.spec.label} and {other.spec.label} are the same training. Name each model, recipe, split "
                "and seed once."
            )
    return found


def _check_number(jobs: int) -> None:
    if jobs > MOST_JOBS:
        raise LeukoBenchError(
            f"The sweep has {jobs:,} jobs; at most {MOST_JOBS:,} are possible. Name fewer models, recipes, "
            "splits or seeds."
        )


def look(found: Sequence[Job], root: Path) -> None:
    """Set the state of jobs from the run folders: finished before, or the epochs of unfinished runs."""
    runs: dict[tuple[str, ...], list[Run]] = {}
    for model in {job.spec.model for job in found}:
        for run in run_folder.find_runs(root, model):
            runs.setdefault((model, *trained(run)), []).append(run)
    for job in found:
        chosen = farthest(runs.get((job.spec.model, job.spec.config, job.spec.manifest), []))
        if chosen:
            update(job, chosen)
            job.state = BEFORE if chosen.finished else WAITING


def run_of(root: Path, spec: JobSpec, named: bool = False) -> Run | None:
    """Return the run of a job: a finished one, else the unfinished one with most epochs, else None.

    Args:
        root: folder of the runs.
        spec: of the job.
        named: look only at folders with the hash in their name, which all new ones have: fast with thousands of runs.
    """
    runs, wanted = run_folder.find_runs(root, spec.model), (spec.config, spec.manifest)
    found = farthest([run for run in runs if run.path.name.endswith(spec.config[:8]) and trained(run) == wanted])
    if named or (found and found.finished):
        return found
    return farthest([run for run in runs if trained(run) == wanted])


def update(job: Job, run: Run) -> None:
    """Update epochs and accuracy of a job from its run folder; incomplete files change nothing."""
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
    config = config.replace(split=config.split or given_split.default(config.dataset))
    split_spec.expand(config.split)
    if config.weights not in ("imagenet", "none"):
        from models.engine.layers import pretrained

        pretrained.check_file(config.weights)
    return config


def _job(plan: Plan, config: ModelConfig, combination: tuple[str, str, str, int | None], copies: bool) -> Job:
    model, recipe, _, seed = combination
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
    split_name = config.split if config.split != split_spec.DEFAULT else ""
    label = " ".join(filter(None, (model, recipe, split_name, f"seed {config.seed}")))
    spec = JobSpec(
        model=model,
        config=whole.hash(),
        manifest=split.manifest.hash,
        dataset=dataset,
        split=config.split,
        split_seed=config.split_seed,
        options=tuple(options),
        label=label,
        other_options=tuple(plan.other_options),
    )
    return Job(spec, sum(phase.epochs for phase in whole.phases()))


@cache
def _split(dataset: str, split: str, seed: int) -> dataset_splits.SplitFolder:
    return dataset_splits.prepare_split(dataset, split, seed)


@cache
def _with_reference(variant: str, *split: Any) -> Any:
    from data.imaging.variants import Variant
    from models.engine.training import trainer

    return trainer.with_reference(Variant.model_validate_json(variant), _split(*split))


@cache
def _copies(offline: str, *split: Any) -> None:
    """Make the copies of training images now, as parallel jobs would all make them."""
    from data.loading import offline_copies as copies

    copies.prepare(_split(*split), copies.Offline.model_validate_json(offline))


def epochs_of(run: Run) -> int:
    """Return the number of finished epochs of a run; 0 where its history cannot be read."""
    try:
        return len(run.epochs())
    except LeukoBenchError:
        return 0


def farthest(runs: Sequence[Run]) -> Run | None:
    """Return the finished one of runs, else the one with most epochs; None without runs."""
    if len(runs) < 2:
        return runs[0] if runs else None
    return max(runs, key=lambda run: (run.finished, epochs_of(run), run.path.name))


def trained(run: Run) -> tuple[str, str]:
    """Return the hashes of a run's configuration, with the current fields, and of its manifest; "" if unreadable."""

    def read() -> list[str]:
        from models.engine.run_io import run_loader

        return [run_loader.config_of(run).hash(), run.environment()["manifest"]]

    try:
        config, manifest = run_cache.kept(
            run, "sweep", (run_folder.CONFIG, run_folder.ENVIRONMENT), read, _fields(run.model)
        )
    except LeukoBenchError:  # damaged or incomplete
        return "", ""
    return config, manifest


@cache
def _fields(model: str) -> str:
    """Return a hash of the sources that define the fields of a model's configuration and their defaults."""
    modules = {each.__module__ for each in type(models.config_for(model)).__mro__}
    return run_cache.code_of(*FIELDS, *sorted(name for name in modules if name.startswith("models.")))


def read_file(path: Path) -> dict[str, Any]:
    """Read a plan from a YAML file, whose keys are the options of the command line.

    Models, recipes, splits, seeds and settings are lists, or single values; `set` may also be a mapping of fields to
    values. Profile and dataset are strings.

    Raises:
        LeukoBenchError: the file is missing or not YAML, or has an unknown key or a wrong value.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Reads no alias: a few lines of them can stand for more values than fit into memory."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            event = self.peek_event()
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise LeukoBenchError(
                    f"{path} uses an alias or anchor, '{cut(event.anchor)}' (line {event.start_mark.line + 1}). Write "
                    "the values out."
                )
            return super().compose_node(parent, index)

    try:
        with files.regular(path, MOST_BYTES) as handle:
            content = yaml.load(handle.read().decode(), Loader)
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # The YAML reader raises more than YAMLError: a date of month 13 is a ValueError.
        place = getattr(error, "problem_mark", None)
        where = f" (line {place.line + 1})" if place else ""
        raise LeukoBenchError(f"{path} is not valid YAML{where}. Write lines such as: model: [cnn, resnet18]") from None
    if not isinstance(content, dict):
        raise LeukoBenchError(f"{path} must contain keys with values, such as: model: [cnn, resnet18]")
    for key in content:
        if key not in FILE_KEYS:
            raise LeukoBenchError(
                f"{path}: unknown key '{cut(key)}'.{nearest(str(key), FILE_KEYS)} Valid: {', '.join(FILE_KEYS)}."
            )
    return {key: _file_value(path, key, value) for key, value in content.items() if value is not None}


def _file_value(path: Path, key: str, value: Any) -> Any:
    if key == "set" and isinstance(value, dict):
        for name, each in value.items():
            if each is None:
                raise LeukoBenchError(f"{path}: 'set' gives '{cut(name)}' no value. Write one, or leave the line out.")
        value = [f"{name}={_text(each)}" for name, each in value.items()]
    values = value if isinstance(value, list) else [value]
    for each in values:
        plain = type(each) is int if key == "seed" else each is not None and not isinstance(each, dict | list)
        if not plain:
            kind = "a whole number" if key == "seed" else "a text"
            raise LeukoBenchError(f"{path}: '{key}' takes {kind}, or several in a list; received {cut(repr(each))}.")
    if key in FILE_LISTS:
        return values if key == "seed" else [_text(each) for each in values]
    if len(values) != 1:
        raise LeukoBenchError(f"{path}: '{key}' takes one value; received {len(values)}.")
    return _text(values[0])


def _text(value: Any) -> str:
    """Return a value as the text of an option: YAML turns `true` and `1.0` into other types."""
    return str(value).lower() if isinstance(value, bool) else str(value)
