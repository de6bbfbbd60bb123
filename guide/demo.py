"""The command that shows everything in minutes: synthetic smears, three small models, comparison, heatmaps, report."""

import time
from pathlib import Path
from typing import Annotated

import typer

from guide import compare, data, explain, train
from utils import artifacts
from utils.console import say
from utils.paths import runs_dir

DATASET = "demo"
MODELS = ("cnn", "resnet50", "efficientnetv2s")
PROFILE = "demo"


def demo(
    root: Annotated[Path | None, typer.Option(help="Folder of the runs.", show_default="runs/demo")] = None,
) -> int:
    """Show everything in minutes: synthetic smears, three small models, comparison, heatmaps and a report."""
    place = root or runs_dir() / "demo"
    began = time.monotonic()
    _heading(1, "Synthetic smears")
    data.synth(name=DATASET)
    data.split(dataset=DATASET)
    _heading(2, f"Training {', '.join(MODELS)} with small settings")
    code = train.train(list(MODELS), dataset=DATASET, profile=PROFILE, root=place)
    if code:
        return code
    runs = [artifacts.open_run(name, place) for name in MODELS]
    _heading(3, "Heatmaps")
    for run in runs:
        explain.explain(run.id, root=place)
    _heading(4, "Comparison")
    names = [run.id for run in runs]
    compare.compare(names, root=place)
    _heading(5, "Report")
    compare.report(names, root=place)
    folder = place / compare.FOLDER
    say(f"\nMade in {time.monotonic() - began:.0f} seconds:", style="bold")
    say(f"  tables    {', '.join(path.name for path in sorted(folder.glob('*.csv')))} in {folder}")
    say(f"  figures   {len(list((folder / artifacts.FIGURES).glob('*.png')))} in {folder / artifacts.FIGURES}")
    say(f"  heatmaps  {artifacts.FIGURES}/ of each run in {place}")
    say(f"  report    {folder / compare.REPORT}")
    say("Random initialisation and synthetic images: this shows how it works, not how good the models are.")
    return 0


def _heading(number: int, text: str) -> None:
    say(f"\n{number}/5  {text}", style="bold")
