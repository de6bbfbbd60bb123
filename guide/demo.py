"""Command `demo`: everything in minutes on synthetic smears."""

import time
from pathlib import Path
from typing import Annotated

import typer

from guide import audit, calibrate, compare, data, explain, leaderboard, stress, train
from utils.console import say
from utils.paths import runs_dir
from utils.runs import lookup, run_folder

DATASET = "demo"  # stain independent of the class
STAINED = "demo-stained"  # stain confounded with the class, as in the real images
MODELS = ("cnn", "resnet50", "efficientnetv2s")
PLAIN = "cnn"  # also trained on STAINED, without and with RECIPE
RECIPE = "stain_swap"
PROFILE = "demo"
PARTS = 6


def demo(
    root: Annotated[Path | None, typer.Option(help="Folder of the runs.", show_default="runs/demo")] = None,
) -> int:
    """Run everything in minutes: synthetic smears, small models, comparison, heatmaps, stress test and report."""
    from utils.tables import leaderboard as leaderboard_tables

    place = root or runs_dir() / "demo"
    began = time.monotonic()
    _heading(1, "Synthetic smears")
    data.synth(name=DATASET)
    data.split(dataset=DATASET)
    data.synth(name=STAINED, stain=data.Stain.confounded)
    _heading(2, f"Training {', '.join(MODELS)} with small settings")
    # Train on the stained smears first: a model's name means its latest run.
    for settings in ([], [f"recipe={RECIPE}"]):
        code = train.train([PLAIN], dataset=STAINED, profile=PROFILE, set_=settings, root=place)
        if code:
            return code
    code = train.train(list(MODELS), dataset=DATASET, profile=PROFILE, root=place)
    if code:
        return code
    runs = [lookup.open_run(name, place) for name in MODELS]
    _heading(3, "Heatmaps and calibration")
    for run in runs:
        explain.explain(run.id, root=place)
    calibrate.calibrate([*_on_stained(place), *(run.id for run in runs)], root=place)
    _heading(4, "Comparison")
    names = [run.id for run in runs]
    compare.compare(names, root=place)
    _heading(5, "Cells or stain? Two runs on smears whose stain depends on the class")
    audit.audit(dataset=STAINED, root=place)
    stained = _on_stained(place)
    families = ["grey", "stain swap"]
    stress.stress(stained, family=families, heatmaps=0, root=place)
    leaderboard.leaderboard(root=place)
    _heading(6, "Report")
    compare.report([*stained, *names], root=place)
    folder = place / compare.FOLDER
    say(f"\nFinished in {time.monotonic() - began:.0f} seconds:", style="bold")
    say(f"  tables       {', '.join(path.name for path in sorted(folder.glob('*.csv')))} in {folder}")
    say(f"  figures      {len(list((folder / run_folder.FIGURES).glob('*.png')))} in {folder / run_folder.FIGURES}")
    say(f"  heatmaps     {run_folder.FIGURES}/ of each run in {place}")
    say(f"  leaderboard  {place / leaderboard_tables.STEM}.html")
    say(f"  report       {folder / compare.REPORT}")
    say("  web page     python run_guide.py serve")
    say("Random initialisation and synthetic images: the results say nothing about the quality of the models.")
    return 0


def _on_stained(place: Path) -> list[str]:
    """Return the two newest runs on the stained smears: without and with the recipe."""
    runs = run_folder.find_runs(place, PLAIN, finished=True)
    return [run.id for run in runs if run.config()["dataset"] == STAINED][-2:]


def _heading(number: int, text: str) -> None:
    say(f"\n{number}/{PARTS}  {text}", style="bold")
