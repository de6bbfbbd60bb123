"""The command that measures whether pictures that are no smears are refused, and smears are not."""

from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from guide.views import show_table
from models.scripts import Root
from utils import artifacts, console
from utils.errors import LeukoBenchError
from utils.paths import runs_dir

if TYPE_CHECKING:
    from data.reference import Reference


def refusal(
    runs: Annotated[list[str], typer.Argument(help="Runs or models; those of one split share every picture.")],
    pictures: Annotated[int, typer.Option(min=1, help="Pictures of each family, drawn or changed.")] = 100,
    root: Root = None,
) -> None:
    """Measure how well pictures that are no smears are refused, and whether test images are not."""
    from data import reference
    from models import refusing
    from utils import refusal_tables

    chosen = list(dict.fromkeys(artifacts.open_run(name, root or runs_dir()) for name in runs))
    for run in chosen:
        if not run.finished:
            raise LeukoBenchError(
                f"Run {run.id} is not finished. Finish it with: python run_guide.py evaluate {run.id}"
            )
    made = refusing.measure(chosen, pictures)
    wanted = {run.id for run in chosen}
    for path in made:
        rows = refusal_tables.read(path.parent.parent, path.stem)
        tables = [refusal_tables.table(rows, run) for run in refusal_tables.runs(rows) if run in wanted]
        for shown in tables:
            console.say()
            show_table(shown, words=shown is tables[-1])
        console.say()
        show_table(refusal_tables.summary(rows, f"Methods on the split of manifest {path.stem}"))
        for sentence in refusal_tables.sentences(rows):
            console.say(sentence)
        known = reference.read(path.parent.parent, path.stem)
        if known:
            console.say(f"Statistics and verdict of a picture of 224 x 224 px: {_milliseconds(known):.1f} ms.")
        console.say(f"  {path}")
        console.say(f"  {path.with_suffix('.npz')}")
    console.notice()


def _milliseconds(known: "Reference") -> float:
    """Return the median time of a verdict, from pixels on."""
    from statistics import median

    from data import likeness, non_smears

    seconds = []
    for number in range(50):
        picture = non_smears.draw("noise", number, 224)
        start = perf_counter()
        known.judge(likeness.statistics(picture))
        seconds.append(perf_counter() - start)
    return 1000 * median(seconds)
