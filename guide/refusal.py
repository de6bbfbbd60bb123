"""Command `refusal`: test whether pictures that are not smears are rejected (out-of-distribution detection)."""

from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from guide.views import show_table
from models.engine.cli import Root
from utils import console
from utils.paths import runs_dir
from utils.runs import lookup

if TYPE_CHECKING:
    from data.ood.reference_distribution import Reference


def refusal(
    runs: Annotated[list[str], typer.Argument(help="Runs or models. Runs on the same split use the same pictures.")],
    pictures: Annotated[int, typer.Option(min=1, help="Pictures per family.")] = 100,
    root: Root = None,
) -> None:
    """Measure how many pictures that are not smears are rejected, and how many test images are."""
    from data.ood import reference_distribution
    from models.engine.robustness import ood_benchmark
    from utils.runs import ood_file
    from utils.tables import ood as ood_tables

    chosen = list(dict.fromkeys(lookup.open_finished(name, root or runs_dir()) for name in runs))
    made = ood_benchmark.measure(chosen, pictures)
    wanted = {run.id for run in chosen}
    for path in made:
        rows = ood_file.read(path.parent.parent, path.stem)
        tables = [ood_tables.table(rows, run) for run in ood_file.runs(rows) if run in wanted]
        for shown in tables:
            console.say()
            show_table(shown, words=shown is tables[-1])
        console.say()
        show_table(ood_tables.summary(rows, f"Methods on the split of manifest {path.stem}"))
        for sentence in ood_tables.sentences(rows):
            console.say(sentence)
        known = reference_distribution.read(path.parent.parent, path.stem)
        if known:
            console.say(f"Statistics and verdict of a picture of 224 x 224 px: {_milliseconds(known):.1f} ms.")
        console.say(f"  {path}")
        console.say(f"  {path.with_suffix('.npz')}")
    console.notice()


def _milliseconds(known: "Reference") -> float:
    """Return the median time of a verdict in ms, from pixels to verdict."""
    from statistics import median

    from data.ood import image_statistics, ood_images

    seconds = []
    for number in range(50):
        picture = ood_images.draw("noise", number, 224)
        start = perf_counter()
        known.judge(image_statistics.statistics(picture))
        seconds.append(perf_counter() - start)
    return 1000 * median(seconds)
