"""Command `verify`: check that the stored predictions are those of the weights, or the seals of all files."""

from collections.abc import Sequence
from typing import Annotated

import typer

from models.engine.cli import Root
from utils import console
from utils.errors import LeukoBenchError
from utils.paths import runs_dir
from utils.runs import lookup, run_folder
from utils.runs.run_folder import Run

MAY_LACK = {run_folder.WEIGHTS}  # a run without its weights can still be compared


def verify(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs or models. Default: every finished run.")] = None,
    root: Root = None,
    seals: Annotated[
        bool, typer.Option("--seal", help="Only compare the files with the seals of the runs, which takes seconds.")
    ] = False,
) -> int:
    """Predict the test images again from the weights; pass if no probability differs by more than 1e-4.

    Each run is checked in a process of its own; nothing is written into the runs. A run whose weights or dataset are
    missing counts as not checked. The exit code is 0 only if all runs were checked and agree.

    With --seal, every byte of every sealed file is read instead; the exit code is 1 if a run has changed since it was
    measured.
    """
    place = root or runs_dir()
    chosen = [lookup.open_run(name, place) for name in runs] if runs else run_folder.find_runs(place, finished=True)
    chosen = list({run.path.resolve(): run for run in chosen}.values())
    if not chosen:
        raise LeukoBenchError(f"{place} holds no finished runs. Train one: python run_guide.py train cnn")
    return _check_seals(chosen) if seals else _predict_again(chosen)


def _check_seals(runs: Sequence[Run]) -> int:
    """Compare the files of runs with their seals and print the result."""
    from concurrent.futures import ThreadPoolExecutor

    from utils.runs import seal

    with ThreadPoolExecutor() as pool:  # hashing runs in parallel
        verdicts = dict(zip(runs, pool.map(seal.examine, runs), strict=True))
    changed = [run for run, each in verdicts.items() if each.changed or each.problem or set(each.missing) - MAY_LACK]
    for run in changed:
        each = verdicts[run]
        parts = {"changed": each.changed, "missing": each.missing, "damaged": (each.problem,) if each.problem else ()}
        found = "; ".join(f"{word}: {', '.join(names)}" for word, names in parts.items() if names)
        console.say(f"{run.id}: {found.replace(seal.UP, '')}")
    unsealed = sum(not verdict.sealed for verdict in verdicts.values())
    console.say(f"{len(runs) - unsealed - len(changed):,} sealed and unchanged")
    console.say(f"{len(changed):,} changed since they were measured")
    console.say(f"{unsealed:,} unsealed: made by an older version, so changes cannot be noticed")
    return 1 if changed else 0


def _predict_again(chosen: Sequence[Run]) -> int:
    """Predict the test images of runs again and print the comparison with their predictions."""
    from models.engine.evaluation import reproducibility

    checks = []
    for number, run in enumerate(chosen, start=1):
        console.say(f"[{number}/{len(chosen)}] {run.id}")
        checks.append(reproducibility.check_apart(run))
        console.say(f"  {checks[-1].verdict}")
    heads = ("Run", "Images", "Difference", "Changed", "Verdict")
    rows = [
        (
            each.run.replace("/", "/\n"),
            each.images,
            None if each.largest is None else f"{each.largest:.1e}",
            each.changed,
            each.verdict,
        )
        for each in checks
    ]
    console.say()
    console.table("Test images: largest difference of a probability, changed predictions", heads, rows)
    failed = [each for each in checks if not each.passed]
    for each in failed:
        console.say(f"{each.run}: {each.verdict}. {each.reason}")
    if failed:
        console.error(f"{len(failed)} of {len(checks)} runs do not agree or could not be checked.")
    return 1 if failed else 0
