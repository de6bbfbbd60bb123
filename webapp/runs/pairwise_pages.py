"""GET /versus: two runs side by side, and the images on which they differ."""

from collections.abc import Sequence

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from utils.tables.significance import chance
from webapp.http.templates import render
from webapp.runs import pairwise, test_predictions
from webapp.runs.catalogue import Entry
from webapp.runs.confusion_cell_pages import explained, paged

router = APIRouter(include_in_schema=False)


@router.get("/versus")
def side_by_side(
    request: Request, a: str = "", b: str = "", show: str = "all", page: int = Query(1, ge=1, le=100_000)
) -> HTMLResponse:
    """Show the numbers of two runs, how they agree and where they do not; without two runs the form alone."""
    catalogue = request.app.state.services.catalogue
    groups = grouped(catalogue.entries())
    chosen = [catalogue.find(id) for id in (a, b) if id]
    unusable = [entry for entry in chosen if not entry.finished]
    context = {"groups": groups, "first": a, "second": b, "unusable": unusable, "agreement": None}
    if len(chosen) < 2 or unusable:
        return render(request, "versus.html", pair=None, **context)
    first, second = chosen
    show = show if show in pairwise.SHOWN else "all"
    with test_predictions.readable(first), test_predictions.readable(second):
        context["agreement"] = agreement = pairwise.agreement(first, second)
    found = agreement.shown(show) if agreement else []
    shown, pages = paged(found, page)
    return render(
        request, "versus.html", pair=(first, second), lines=pairwise.numbers(first, second),
        settings=pairwise.settings(first, second), classes=first.config["classes"], which=pairwise.SHOWN, show=show,
        counts={key: len(agreement.shown(key)) for key in pairwise.SHOWN} if agreement else {}, count=len(found),
        shown=[(one, two, test_predictions.at_hand(first, one)) for one, two in shown], page=page, pages=pages,
        p=chance(agreement.p) if agreement else "", explained=[explained(entry) for entry in chosen], **context,
    )  # fmt: skip


def grouped(entries: Sequence[Entry]) -> list[tuple[str, list[Entry]]]:
    """Put finished runs with the same test images together, largest group first, each by accuracy."""
    sets: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.record:
            sets.setdefault(entry.record.row["test_identity"], []).append(entry)
    ordered = sorted(sets.values(), key=lambda group: (-len(group), group[0].id))
    return [(_title(group), sorted(group, key=lambda e: -e.record.row["accuracy"])) for group in ordered]


def _title(group: Sequence[Entry]) -> str:
    row = group[0].record.row
    splits = " and ".join(sorted({entry.record.row["split"] for entry in group}))
    return f"{row['dataset']}, split {splits}: {row['images']:,} test images"
