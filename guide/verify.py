"""Command `verify`: check that the stored predictions are those of the weights."""

from typing import Annotated

import typer

from models.engine.cli import Root
from utils import console
from utils.errors import LeukoBenchError
from utils.paths import runs_dir
from utils.runs import lookup, run_folder


def verify(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs or models. Default: every finished run.")] = None,
    root: Root = None,
) -> int:
    """Predict the test images again from the weights; pass if no probability differs by more than 1e-4.

    Each run is checked in a process of its own; nothing is written into the runs. A run whose weights or dataset are
    missing counts as not checked. The exit code is 0 only if all runs were checked and agree.
    """
    from models.engine.evaluation import reproducibility

    place = root or runs_dir()
    chosen = [lookup.open_run(name, place) for name in runs] if runs else run_folder.find_runs(place, finished=True)
    chosen = list({run.path.resolve(): run for run in chosen}.values())
    if not chosen:
        raise LeukoBenchError(f"{place} holds no finished runs. Train one: python run_guide.py train cnn")
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
