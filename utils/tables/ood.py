"""Tables and sentences of the out-of-distribution rejection test (`refusal`)."""

from collections.abc import Sequence
from statistics import fmean

from utils.metrics.significance import wilson
from utils.runs.ood_file import CHANGED, DRAWN, METHODS, STATISTICS, TEST, Refused, share
from utils.tables.table import HYPHEN, Table, interval, number, percent

MOST, LEAST = 0.02, 0.98  # wanted rates: false rejections of test images, rejections of held-out families
WORDS = (
    "Rejected pictures, in %. Test images should be accepted, pictures that are no smears rejected. Held out: not used "
    "to choose the method and its threshold. Statistics: colours and texture, without a model; used by the web page. "
    "Features: distance of the model's last features. Energy: of its logits. Probability: the highest one. All "
    "thresholds come from the validation images. For changed test images both answers are acceptable."
)
SUMMARY_WORDS = (
    "Rejected test images, and rejected pictures: of the families used for development, of those held out, and of the "
    "held-out family with the lowest rate. AUROC: probability that a held-out picture scores higher than a test image, "
    "mean over the families."
)


def summary(rows: Sequence[Refused], title: str) -> Table:
    """Return one line per method and run: false rejections, correct rejections, and the lowest rate of a family."""
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
    """Return the rejection rate of each method on every family, with one run's model."""
    mine = [row for row in rows if row.run in ("", run)]
    lines = []
    for kind, family, held_out, images in dict.fromkeys((r.kind, r.family, r.held_out, r.images) for r in mine):
        found = {row.method: row.share for row in mine if (row.kind, row.family) == (kind, family)}
        kind_text = {TEST: "smears", CHANGED: "changed"}.get(kind, "yes" if held_out else "no")
        lines.append([family, kind_text, str(images), *(percent(found.get(method), 1) for method in METHODS)])
    heads = (f"Statis{HYPHEN}tics", "Features", "Energy", f"Proba{HYPHEN}bility")
    columns = ("Pictures", "Held\nout", "Images", *heads)
    return Table(f"Rejected %, with {run}", columns, lines, frozenset({0, 1}), WORDS)


def sentences(rows: Sequence[Refused]) -> list[str]:
    """Return the rates of the statistics beside the wanted ones, with 95 % Wilson intervals."""
    mine = [row for row in rows if row.method == STATISTICS]
    smears = _counted([row for row in mine if row.kind == TEST])
    others = _counted([row for row in mine if row.kind == DRAWN and row.held_out])
    return [
        f"Statistics reject {smears} test images; the target is at most {percent(MOST, 0)} %.",
        f"They reject {others} pictures of the held-out families; the target is at least {percent(LEAST, 0)} %.",
    ]


def _counted(rows: Sequence[Refused]) -> str:
    refused, images = sum(row.refused for row in rows), sum(row.images for row in rows)
    return f"{percent(refused / images)} % ({interval(*wilson(refused, images))}) of {images:,}"


def _short(run: str) -> str:
    """Return model and time of a run on two lines; "no model" for ""."""
    model, _, folder = run.partition("/")
    return f"{model}\n{folder.partition('-')[0]}" if run else "no model"
