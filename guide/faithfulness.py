"""Command `faithfulness`: measure how faithful heatmaps are."""

from typing import Annotated

import typer

from guide.explain import Method
from guide.views import show_table
from models.engine.cli import Root
from utils import console
from utils.paths import runs_dir
from utils.runs import lookup


def faithfulness(
    run: Annotated[str, typer.Argument(help="Run, or a model's name for its latest run.")],
    images: Annotated[int, typer.Option(min=2, help="Number of test images.")] = 100,
    method: Annotated[
        list[Method] | None, typer.Option(help="Heatmap method; repeat for several.", show_default="all for the model")
    ] = None,
    root: Root = None,
) -> None:
    """Measure whether heatmaps mark pixels that matter, lie in nuclei and depend on the weights."""
    from data.imaging.nucleus_masks import knows_nuclei
    from models.engine.explain import faithfulness
    from utils.runs import faithfulness_file
    from utils.tables import faithfulness as faithfulness_tables
    from visualization.displays import faithfulness as figures

    chosen = lookup.open_run(run, root or runs_dir())
    scores = faithfulness.measure(chosen, images, [each.value for each in method or ()])
    config, rows = chosen.config(), faithfulness_file.read(chosen)
    count = f"{len(scores[0].deletion)} test images"
    nuclei = "from the drawing" if knows_nuclei(config["dataset"]) else "segmented by stain colour"
    table = faithfulness_tables.table(rows, f"{chosen.label()}: faithfulness of heatmaps on {count}, nuclei {nuclei}")
    show_table(table)
    for sentence in faithfulness_tables.sentences(rows, config.get("heatmap_method", "gradcam")):
        console.say(sentence)
    by_name = {score.method: score for score in scores}
    first, second = (by_name[row["method"]] for row in faithfulness_tables.order(rows)[:2])
    console.say(faithfulness.against(first, second))
    for path in (chosen.file(faithfulness_file.FILE), figures.draw(chosen)):
        console.say(f"  {path}")
