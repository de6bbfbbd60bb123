"""The command that trains many configurations as jobs side by side, on this machine or on a Ray cluster."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.engine import cli
from utils import console
from utils.errors import LeukoBenchError
from utils.paths import runs_dir

if TYPE_CHECKING:
    from models.engine.sweep.local_executor import Resources
    from models.engine.sweep.plan import Job, Plan


class Engine(StrEnum):
    """What runs the jobs."""

    LOCAL = "local"
    RAY = "ray"


def sweep(
    model: Annotated[list[str] | None, typer.Option(help="Model; given again, one more.")] = None,
    recipe: Annotated[
        list[str] | None, typer.Option(help="Recipe; given again, one more; none: without one.", show_default="none")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="Split; given again, one more; kfold:5 is all five folds.", show_default="64/16/20"),
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(min=0, max=cli.MAX_SEED, help="Seed; given again, one more.", show_default="42"),
    ] = None,
    set_: cli.Settings = None,
    profile: cli.Profile = "",
    dataset: cli.Dataset = "",
    file: Annotated[Path | None, typer.Option(help="YAML file of the same words; options decide over it.")] = None,
    jobs: Annotated[int, typer.Option(min=0, max=4096, help="Jobs at once; 0: as many as fit.")] = 0,
    engine: Annotated[Engine, typer.Option(help="Processes of this machine, or a Ray cluster.")] = Engine.LOCAL,
    address: Annotated[
        str, typer.Option(help="Ray cluster: auto, or ray://HOST:PORT.", show_default="a Ray of its own, here")
    ] = "",
    cpus: Annotated[int, typer.Option(min=0, max=1024, help="Cores of a job; 0: shared out.")] = 0,
    gpus: Annotated[float, typer.Option(min=0, max=64, help="GPUs of a job; 0.5: two jobs on one.")] = 0,
    retries: Annotated[int, typer.Option(min=0, max=100, help="Times a job is begun again that was killed.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only make splits and say what is to train.")] = False,
    root: cli.Root = None,
    tensorboard: cli.TensorBoard = False,
    mlflow: cli.Mlflow = None,
    devices: cli.Devices = "",
) -> int:
    """Train models x recipes x splits x seeds as jobs side by side; the same command goes on where it stopped."""
    from models.engine.sweep import plan as sweep_plan
    from models.engine.sweep import run_transfer
    from models.engine.sweep.local_executor import Resources
    from models.engine.tracking import tracker

    plan = replace(
        _plan(model, recipe, split, seed, set_, profile, dataset, file),
        other_options=[*(["--devices", devices] if devices else []), *cli.tracking_options(tensorboard, mlflow)],
    )
    if address and engine is not Engine.RAY:
        raise LeukoBenchError(f"--address {address} is of a Ray cluster: give --engine ray with it.")
    tracker.check(tensorboard, mlflow)
    place = (root or runs_dir()).resolve()
    if not dry_run:
        run_transfer.restore(place, place / sweep_plan.FOLDER)
    found = sweep_plan.jobs(plan, copies=not dry_run)
    sweep_plan.look(found, place)
    waiting = [job for job in found if job.state == sweep_plan.WAITING]
    begun = sum(job.run is not None for job in waiting)
    words = f"{len(found)} jobs: {len(found) - len(waiting)} finished before, {len(waiting) - begun} to train"
    console.say(words + (f", {begun} to go on with" if begun else "") + f"; runs in {place}")
    if dry_run:
        rows = [(job.spec.label, _todo(job), job.run.id if job.run else None) for job in found]
        console.table("", ("job", "state", "run"), rows)
        return 0
    if waiting:
        if devices and not gpus and engine is Engine.LOCAL:
            jobs = jobs or 1  # which may have all cards of the machine
        _train(found, place, Resources(jobs, cpus, gpus, retries), engine, address)
    return _ended(found, place)


def _plan(
    model: list[str] | None, recipe: list[str] | None, split: list[str] | None, seed: list[int] | None,
    set_: list[str] | None, profile: str, dataset: str, file: Path | None,
) -> "Plan":  # fmt: skip
    """Return the plan of options and file: an option that is given stands for all that the file says of its word."""
    import models
    from models.engine.sweep import plan as sweep_plan
    from models.engine.sweep import plan_file

    held = plan_file.read(file) if file else {}
    given = {"model": model, "recipe": recipe, "split": split, "seed": seed, "set": set_}
    held |= {word: value for word, value in (given | {"profile": profile, "dataset": dataset}).items() if value}
    if not held.get("model"):
        raise LeukoBenchError(f"Name at least one model with --model: {', '.join(models.names())}.")
    lists = ([*dict.fromkeys(held.get(word, ()))] for word in ("model", "recipe", "split", "seed"))
    return sweep_plan.Plan(*lists, held.get("set", ()), held.get("profile", ""), held.get("dataset", ""))


def _train(found: "list[Job]", place: Path, room: "Resources", engine: Engine, address: str) -> None:
    from guide.sweep_board import Board
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
    """Say what the jobs came to; return the exit code."""
    from guide import repeating
    from models.engine.sweep import plan as sweep_plan

    failed = [job for job in found if job.state == sweep_plan.FAILED]
    for job in failed:
        console.error(f"{job.spec.label}: {job.reason}")
    if failed:
        console.say(f"What failed jobs said: {place / sweep_plan.FOLDER}")
    stopped = any(job.state == sweep_plan.STOPPED for job in found)
    if stopped:
        console.say("Finished epochs are kept: the same command goes on.")
    done = [job.run for job in found if job.run and job.state in (sweep_plan.BEFORE, sweep_plan.FINISHED)]
    if len(done) > 1:
        repeating.show(done)
    return console.STOPPED if stopped else 1 if failed else 0


def _todo(job: "Job") -> str:
    if job.run is None or job.state != "waiting":
        return job.state
    return f"go on after epoch {job.epoch}"
