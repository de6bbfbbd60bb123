"""Command `explain`: draw heatmaps."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from models.engine.cli import Root
from utils import console, heatmap_methods
from utils.paths import raw_dir, runs_dir
from utils.runs import lookup
from utils.runs.run_folder import FIGURES

Method = StrEnum("Method", {name.upper(): name for name in heatmap_methods.names()})


def explain(
    run: Annotated[str, typer.Argument(help="Run, or a model's name for its latest run.")],
    image: Annotated[
        list[Path] | None, typer.Argument(help="Image files. Default: examples from the test images.")
    ] = None,
    method: Annotated[Method | None, typer.Option(help="Heatmap method. Default: the method of the model.")] = None,
    root: Root = None,
) -> None:
    """Draw heatmaps of images, or per class of a correct, a wrong and the least certain example."""
    from models.engine.explain import explainer
    from models.engine.run_io import run_loader
    from visualization.images import heatmap_sheets

    chosen = lookup.open_run(run, root or runs_dir())
    way = method.value if method else run_loader.config_of(chosen).heatmap_method
    if image:
        maps, probabilities = explainer.explain_images(chosen, image, way)
        classes = chosen.config()["classes"]
        for path, values in zip(image, probabilities, strict=True):
            shown = ", ".join(f"{name} {value:.3f}" for name, value in zip(classes, values, strict=True))
            console.say(f"  {path.name}: {shown}")
        target = chosen.file(FIGURES) / f"explain-{image[0].stem}-{way}.png"
        drawn = [heatmap_sheets.draw_images(chosen, image, maps, probabilities, target)]
    else:
        explainer.explain(chosen, way)
        drawn = heatmap_sheets.draw_examples(chosen)
        if not drawn:
            console.warn(f"No figure: the images are not in {raw_dir(chosen.config()['dataset'])}.")
    for path in drawn:
        console.say(f"  {path}")
    console.notice()
