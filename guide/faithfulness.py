"""The command that measures how faithful heatmaps are."""

from typing import Annotated

import typer

from guide.explain import Method
from models.scripts import Root
from utils import artifacts, console, tables
from utils.paths import runs_dir


def faithfulness(
    run: Annotated[str, typer.Argument(help="Run, or a model's name for its latest run.")],
    images: Annotated[int, typer.Option(min=2, help="Test images to measure on.")] = 100,
    method: Annotated[list[Method] | None, typer.Option(help="Methods; none: all that fit the model.")] = None,
    root: Root = None,
) -> None:
    """Measure how faithful a run's heatmaps are: the deletion AUC of each method, lower is better."""
    from models import faithfulness

    chosen = artifacts.open_run(run, root or runs_dir())
    scores = faithfulness.measure(chosen, images, [each.value for each in method or ()])
    rows = [
        [s.method, tables.number(s.mean, 4), tables.number(s.deviation, 4), "{:.4f}-{:.4f}".format(*s.interval())]
        for s in scores
    ]
    title = f"{chosen.label()}: deletion AUC on {len(scores[0].values)} test images, lower is more faithful"
    console.table(title, ["Method", "Mean", "SD of images", "95 % of the mean"], rows)
    console.say(faithfulness.verdict(scores))
    console.say(f"  {chosen.file(faithfulness.FILE)}")
