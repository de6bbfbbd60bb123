"""Command `stress`: measure predictions on changed test images (other stains, grey, blur, no cells)."""

from enum import StrEnum
from typing import Annotated

import typer

from guide.views import show_table
from models.engine.cli import Root
from utils import console
from utils.paths import runs_dir
from utils.runs import lookup
from utils.runs.run_folder import FIGURES, Run

# As in data/perturbations/registry.py, whose import is too slow for --help.
FAMILIES = (
    *("grey", "hue", "saturation", "brightness", "stain swap", "stain reference", "macenko swap", "background"),
    *("cells removed", "scale bar", "blur", "defocus", "jpeg", "noise", "deposit", "bubbles"),
    *("same-class swap", "tinted grey", "other corner", "other camera", "other background"),
)
Family = StrEnum("Family", {name.upper().replace(" ", "_"): name for name in FAMILIES})


def stress(
    runs: Annotated[
        list[str], typer.Argument(help="Runs or models. Runs on the same split use the same changed images.")
    ],
    images: Annotated[int, typer.Option(min=0, help="Number of test images, selected by hash; 0: all.")] = 0,
    family: Annotated[
        list[Family] | None,
        typer.Option(
            metavar="<family>", help=f"Families of changes: {', '.join(FAMILIES)}.", show_default="all but the controls"
        ),
    ] = None,
    controls: Annotated[
        bool, typer.Option("--controls", help="Add the controls: matched donors, tinted grey, judging families.")
    ] = False,
    heatmaps: Annotated[int, typer.Option(min=0, help="Number of images whose heatmaps are compared; 0: none.")] = 32,
    root: Root = None,
) -> None:
    """Stress test: predict test images in other stains, in grey, blurred or without cells."""
    from models.engine.robustness import stress_test
    from utils.runs import stress_controls, stress_file
    from utils.tables import stress as stress_tables
    from visualization.displays import stress as stress_figures

    place = root or runs_dir()
    chosen = list(dict.fromkeys(lookup.open_finished(name, place) for name in runs))
    stress_test.stress(chosen, [str(each) for each in family or ()], images, heatmaps, controls)
    _measure_shortcuts(chosen)
    for run in chosen:
        rows = stress_file.read(run)
        shown = stress_tables.table(run, rows)
        console.say()
        show_table(shown, words=run is chosen[-1])
        controlled = stress_tables.controls(stress_controls.read(run))
        if controlled:
            console.say()
            show_table(controlled)
        for sentence in stress_tables.sentences(run, rows):
            console.say(sentence)
        console.say(f"  {run.file(stress_file.FILE)}")
        console.say(f"  {stress_figures.draw(run, run.file(FIGURES) / stress_figures.FILE)}")
    console.notice()


def _measure_shortcuts(runs: list[Run]) -> None:
    """Measure the shortcut baselines of every split that has none; the shortcut margin needs them."""
    from data.auditing import shortcut_baselines
    from models.engine.run_io.run_loader import split_of
    from utils.runs import shortcuts_file

    for run in runs:
        if not shortcuts_file.best(run.root, run.environment()["manifest"]):
            console.say("  measuring the shortcut baselines of this split, once")
            shortcut_baselines.evaluate(split_of(run), run.root)
