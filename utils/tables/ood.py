"""Tables and sentences of the out-of-distribution rejection test (`refusal`)."""

from collections.abc import Sequence
from statistics import fmean

from utils.metrics.significance import wilson
from utils.runs.ood_file import CHANGED, DRAWN, METHODS, STATISTICS, TEST, Refused, share
from utils.tables.table import HYPHEN, Table, interval, number, percent

MOST, LEAST = 0.02, 0.98  # false refusals of test images, and catches of held-out families, that are wanted
WORDS = (
    "Refused, in %. Test images should not be; pictures that are no smears should. Held out: kept apart while the "
    "method and its limit were chosen. Statistics: colours and texture, without a model; the web page uses them. "
    "Features: distance of the model's last features. Energy: of its logits. Probability: the highest one. Every limit "
    "comes from the validation images alone. Changed test images may go either way."
)
SUMMARY_WORDS = (
    "Refused test images, and pictures caught: of the families that were looked at, of those held out, and of the "
    "held-out family of the fewest. AUROC: chance that a held-out picture scores higher than a test image, whatever "
    "the limit; mean over the families."
)


def summary(rows: Sequence[Refused], title: str) -> Table:
    """Return a line for every method and run: false refusals, catches, and the fewest catches of a family."""
    lines = []
    for method, run in dict.fromkeys((row.method, row.run) for row in rows):
        mine = [row for row in rows if (row.method, row.run) == (method, run)]
        drawn = [row for row in mine if row.kind == DRAWN]
        apart = [row for row in drawn if row.held_out]
        lines.append(
            [
                method,
                _short(run),
                percent(share(mine, lambda row: row.kind == TEST)),
                percent(share(drawn, lambda row: not row.held_out), 1),
                percent(share(apart, lambda row: True), 1),
                percent(min(row.share for row in apart), 1),
                number(fmean(row.auroc or 0 for row in apart), 4),
            ]
        )
    columns = ("Method", "Run", "Test\n%", "Seen\n%", "Held\nout %", "Fewest\n%", "AUROC")
    return Table(title, columns, lines, frozenset({0, 1}), SUMMARY_WORDS)


def table(rows: Sequence[Refused], run: str) -> Table:
    """Return what each method refuses of every family, with one run's model."""
    mine = [row for row in rows if row.run in ("", run)]
    lines = []
    for kind, family, held_out, images in dict.fromkeys((r.kind, r.family, r.held_out, r.images) for r in mine):
        found = {row.method: row.share for row in mine if (row.kind, row.family) == (kind, family)}
        said = {TEST: "smears", CHANGED: "changed"}.get(kind, "yes" if held_out else "no")
        lines.append([family, said, str(images), *(percent(found.get(method), 1) for method in METHODS)])
    heads = (f"Statis{HYPHEN}tics", "Features", "Energy", f"Proba{HYPHEN}bility")
    columns = ("Pictures", "Held\nout", "Images", *heads)
    return Table(f"Refused %, with {run}", columns, lines, frozenset({0, 1}), WORDS)


def sentences(rows: Sequence[Refused]) -> list[str]:
    """Say whether the statistics hold what is wanted of them, with 95 % Wilson intervals."""
    mine = [row for row in rows if row.method == STATISTICS]
    smears = _counted([row for row in mine if row.kind == TEST])
    others = _counted([row for row in mine if row.kind == DRAWN and row.held_out])
    return [
        f"Statistics refuse {smears} test images; at most {percent(MOST, 0)} % is wanted.",
        f"They catch {others} pictures of the families held out; at least {percent(LEAST, 0)} % is wanted.",
    ]


def _counted(rows: Sequence[Refused]) -> str:
    refused, images = sum(row.refused for row in rows), sum(row.images for row in rows)
    return f"{percent(refused / images)} % ({interval(*wilson(refused, images))}) of {images:,}"


def _short(run: str) -> str:
    """Return model and time of a run on two lines; "no model" for none."""
    model, _, folder = run.partition("/")
    return f"{model}\n{folder.partition('-')[0]}" if run else "no model"
