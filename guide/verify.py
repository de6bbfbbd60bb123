"""The command that proves that the recorded predictions are those of the weights."""

from typing import Annotated

import typer

from models.engine.cli import Root
from utils import console
from utils.errors import LeukoBenchError
from utils.paths import runs_dir
from utils.runs import lookup, run_folder


def verify(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs or models; none: every finished run.")] = None,
    root: Root = None,
) -> int:
    """Predict each run's test images again from its weights; pass if no probability moved by more than 1e-4.

    One run after the other, each in a process of its own; nothing is written into the runs. A run whose weights or
    dataset are missing counts as not checked, and the command ends with 1 unless all were checked and agree.
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
    console.table("Test images: largest difference of a probability, answers that changed", heads, rows)
    failed = [each for each in checks if not each.passed]
    for each in failed:
        console.say(f"{each.run}: {each.verdict}. {each.reason}")
    if failed:
        console.error(f"{len(failed)} of {len(checks)} runs do not agree or could not be checked.")
    return 1 if failed else 0
