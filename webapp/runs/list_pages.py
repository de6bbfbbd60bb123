"""GET /compare: the leaderboard, every run with its state, and the form that puts two side by side."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from utils.tables import leaderboard as leaderboard_tables
from webapp.http.templates import render
from webapp.runs import confusion_cell_pages, detail_pages, leaderboard_columns, pairwise_pages
from webapp.runs.catalogue import Entry

router = APIRouter(include_in_schema=False)
for pages in (detail_pages, confusion_cell_pages, pairwise_pages):
    router.include_router(pages.router)


@router.get("/compare")
def compare(request: Request, sort: str = "", order: str = "") -> HTMLResponse:
    """Show the leaderboard in any order, and every run."""
    catalogue = request.app.state.services.catalogue
    entries, rows = catalogue.entries(), catalogue.leaderboard()
    if sort not in leaderboard_columns.BY_KEY:  # an address from elsewhere still gets the page
        sort, order = leaderboard_columns.DEFAULT, leaderboard_columns.DOWN
    elif order not in leaderboard_columns.ORDERS:
        order = leaderboard_columns.BY_KEY[sort].first
    groups = pairwise_pages.grouped(entries)
    known = [entry.id for _, members in groups[:1] for entry in members]
    return render(
        request, "compare.html", boards=_boards(rows, sort, order), heads=leaderboard_columns.heads(sort, order),
        sentences=leaderboard_tables.sentences(rows), unmeasured=leaderboard_tables.missing(rows), entries=entries,
        troubled=sum(not entry.finished for entry in entries), splits={e.id: _short(e) for e in entries if e.finished},
        groups=groups, first=known[0] if known else "", second=known[1] if len(known) > 1 else "",
    )  # fmt: skip


def _boards(rows: Sequence[dict[str, Any]], sort: str, order: str) -> list[dict[str, Any]]:
    """Return a board for each dataset: scores on different images do not compare."""
    datasets = dict.fromkeys(row["dataset"] for row in rows)
    return [
        {
            "dataset": dataset,
            "rows": leaderboard_columns.shown(leaderboard_columns.sorted_by(_of(rows, dataset), sort, order)),
        }
        for dataset in datasets
    ]


def _of(rows: Sequence[dict[str, Any]], dataset: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["dataset"] == dataset]


def _short(entry: Entry) -> str:
    return f"{entry.record.row['split'] or 'split unknown'}, seed {entry.record.row['seed']}"
