"""Command `sweep`: train many configurations as parallel jobs, on this machine or on a Ray cluster."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guide import splits
from models.engine import cli
from utils import console
from utils.errors import LeukoBenchError
from utils.paths import runs_dir
from utils.runs import split_spec
from utils.tables.table import percent
from utils.text import MISSING

if TYPE_CHECKING:
    from rich.table import Table

    from models.engine.sweep.local_executor import Resources
    from models.engine.sweep.plan import Job, Plan


ROWS = 15  # jobs in the table on a terminal: running, then failed, then the latest others


class Engine(StrEnum):
    """Where the jobs run."""

    LOCAL = "local"
    RAY = "ray"


def sweep(
    model: Annotated[list[str] | None, typer.Option(help="Model; repeat for several.")] = None,
    recipe: Annotated[
        list[str] | None, typer.Option(help="Recipe; repeat for several; none: without a recipe.", show_default="none")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="Split; repeat for several; kfold:5 means all five folds.", show_default=split_spec.DEFAULT_WORDS
        ),
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(min=0, max=cli.MAX_SEED, help="Seed; repeat for several.", show_default="42"),
    ] = None,
    set_: cli.Settings = None,
    profile: cli.Profile = "",
    dataset: cli.Dataset = "",
    file: Annotated[
        Path | None, typer.Option(help="YAML file with the same options; the command line overrides it.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, max=4096, help="Parallel jobs; 0: as many as fit.")] = 0,
    engine: Annotated[Engine, typer.Option(help="Processes on this machine, or a Ray cluster.")] = Engine.LOCAL,
    address: Annotated[
        str, typer.Option(help="Ray cluster: auto, or ray://HOST:PORT.", show_default="a new Ray on this machine")
    ] = "",
    cpus: Annotated[int, typer.Option(min=0, max=1024, help="CPU cores per job; 0: divided evenly.")] = 0,
    gpus: Annotated[float, typer.Option(min=0, max=64, help="GPUs per job; 0.5: two jobs share one.")] = 0,
    retries: Annotated[int, typer.Option(min=0, max=100, help="Restarts of a job that was killed.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Make the splits and list the jobs; train nothing.")
    ] = False,
    root: cli.Root = None,
    tensorboard: cli.TensorBoard = False,
    mlflow: cli.Mlflow = None,
    devices: cli.Devices = "",
) -> int:
    """Train all combinations of models, recipes, splits and seeds as parallel jobs; run again to continue."""
    from models.engine.sweep import plan as sweep_plan
    from models.engine.sweep import run_transfer
    from models.engine.sweep.local_executor import Resources
    from models.engine.tracking import tracker

    plan = replace(
        _plan(model, recipe, split, seed, set_, profile, dataset, file),
        other_options=[*(["--devices", devices] if devices else []), *cli.tracking_options(tensorboard, mlflow)],
    )
    if address and engine is not Engine.RAY:
        raise LeukoBenchError(f"--address {address} needs --engine ray.")
    tracker.check(tensorboard, mlflow)
    place = (root or runs_dir()).resolve()
    if not dry_run:
        run_transfer.restore(place, place / sweep_plan.FOLDER)
    found = sweep_plan.jobs(plan, copies=not dry_run)
    for each in dict.fromkeys((job.spec.dataset, job.spec.split, job.spec.split_seed) for job in found):
        splits.chosen(*each)  # prints a line for a split that came with the dataset
    sweep_plan.look(found, place)
    waiting = [job for job in found if job.state == sweep_plan.WAITING]
    begun = sum(job.run is not None for job in waiting)
    counts = f"{len(found)} jobs: {len(found) - len(waiting)} already finished, {len(waiting) - begun} to train"
    console.say(counts + (f", {begun} to continue" if begun else "") + f"; runs in {place}")
    if dry_run:
        rows = [(job.spec.label, _todo(job), job.run.id if job.run else None) for job in found]
        console.table("", ("job", "state", "run"), rows)
        return 0
    if waiting:
        if devices and not gpus and engine is Engine.LOCAL:
            jobs = jobs or 1  # each job may use all GPUs
        _train(found, place, Resources(jobs, cpus, gpus, retries), engine, address)
    return _ended(found, place)


def _plan(
    model: list[str] | None,
    recipe: list[str] | None,
    split: list[str] | None,
    seed: list[int] | None,
    set_: list[str] | None,
    profile: str,
    dataset: str,
    file: Path | None,
) -> "Plan":
    """Return the plan of options and file; an option replaces all values of the same name in the file."""
    import models
    from models.engine.sweep import plan as sweep_plan

    values = sweep_plan.read_file(file) if file else {}
    options = {"model": model, "recipe": recipe, "split": split, "seed": seed, "set": set_}
    options |= {"profile": profile, "dataset": dataset}
    values |= {name: value for name, value in options.items() if value}
    if not values.get("model"):
        raise LeukoBenchError(f"Name at least one model with --model: {', '.join(models.names())}.")
    models_, recipes, splits, seeds = (
        [*dict.fromkeys(values.get(name, ()))] for name in ("model", "recipe", "split", "seed")
    )
    settings, profile, dataset = values.get("set", ()), values.get("profile", ""), values.get("dataset", "")
    return sweep_plan.Plan(models_, recipes, splits, seeds, settings, profile, dataset)


def _train(found: "list[Job]", place: Path, room: "Resources", engine: Engine, address: str) -> None:
    from models.engine.training.progress_bar import StopSignal

    if engine is Engine.RAY:
        from models.engine.sweep import ray_executor

        launcher = ray_executor.launcher(address)
    else:
        from models.engine.sweep import local_executor

        launcher = local_executor.run
    board, stop = Board(found), StopSignal()
    with stop.listening(), board.shown():
        launcher(found, place, room, board.changed, stop)
    console.say(f"{board.summary()}.")


def _ended(found: "list[Job]", place: Path) -> int:
    """Print errors and results of the jobs; return the exit code."""
    from guide.train import show_repeats
    from models.engine.sweep import plan as sweep_plan

    failed = [job for job in found if job.state == sweep_plan.FAILED]
    for job in failed:
        console.error(f"{job.spec.label}: {job.reason}")
    if failed:
        console.say(f"Logs of failed jobs: {place / sweep_plan.FOLDER}")
    stopped = any(job.state == sweep_plan.STOPPED for job in found)
    if stopped:
        console.say("Finished epochs are kept. Run the same command to continue.")
    done = [job.run for job in found if job.run and job.state in (sweep_plan.BEFORE, sweep_plan.FINISHED)]
    if len(done) > 1:
        show_repeats(done)
    return console.STOPPED if stopped else 1 if failed else 0


def _todo(job: "Job") -> str:
    if job.run is None or job.state != "waiting":
        return job.state
    return f"continue after epoch {job.epoch}"


class Board:
    """Live table of a sweep's jobs; in a pipe, one line per change."""

    def __init__(self, jobs: "Sequence[Job]") -> None:
        self._jobs = jobs
        self._latest: dict[str, Job] = {}  # in order of their latest change
        self._said: dict[str, str] = {}
        self._live = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the table on the terminal while the block runs."""
        if not console.console.is_terminal:
            yield
            return
        from rich.live import Live

        with Live(self._table(), console=console.console, refresh_per_second=4) as self._live:
            yield
            self._live.update(self._table())

    def changed(self, job: "Job") -> None:
        """Show the new state of a job."""
        self._latest.pop(job.spec.key, None)
        self._latest[job.spec.key] = job
        if self._live:
            self._live.update(self._table())
        elif self._said.get(job.spec.key) != (line := self._line(job)):
            self._said[job.spec.key] = line
            console.say(line)

    def summary(self) -> str:
        """Return the number of jobs in each state."""
        counted = Counter(job.state for job in self._jobs)
        return ", ".join(f"{count:,} {state}" for state, count in counted.items())

    def _line(self, job: "Job") -> str:
        epoch = f", epoch {job.epoch}/{job.epochs}" if job.epoch else ""
        accuracy = f", {percent(job.accuracy)} %" if job.accuracy is not None else ""
        return f"{job.spec.label}: {job.state}{epoch}{accuracy}" + (f": {job.reason}" if job.reason else "")

    def _table(self) -> "Table":
        from rich.table import Table
        from rich.text import Text

        from models.engine.sweep.plan import FAILED, RUNNING

        rank = {RUNNING: 0, FAILED: 1}
        newest = list(reversed(self._latest.values()))
        shown = sorted(newest, key=lambda job: rank.get(job.state, 2))[:ROWS]
        made = Table(header_style="bold", caption=Text(self.summary()))
        for heading, side in (("job", "left"), ("state", "left"), ("epoch", "right"), ("accuracy %", "right")):
            made.add_column(heading, justify=side)
        for job in shown:
            epoch = f"{job.epoch}/{job.epochs}" if job.epoch else MISSING
            made.add_row(*map(Text, (job.spec.label, job.state, epoch, percent(job.accuracy))))
        return made
