"""GET /runs/...: the page of one run, whatever its state, and its figures."""

import logging
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from webapp import run_answers, run_facts, run_settings
from webapp.catalogue import Entry
from webapp.cell_pages import KEPT
from webapp.figures import FIGURES, Drawn
from webapp.sheets import Sheets
from webapp.templating import render

router = APIRouter(include_in_schema=False)
_sheets = Sheets()
_log = logging.getLogger(__name__)


@router.get("/runs/{model}/{folder}")
def run(request: Request, model: str, folder: str) -> HTMLResponse:
    """Show what a run is and what was measured of it."""
    catalogue = request.app.state.services.catalogue
    entry = catalogue.find(f"{model}/{folder}")
    with run_answers.readable(entry):
        context = _finished(entry, catalogue.leaderboard()) if entry.finished else {}
        return render(
            request, "run.html", entry=entry, figures=_figures(entry), settings=run_settings.settings(entry),
            environment=run_settings.environment(entry), files=run_settings.files_of(entry),
            epochs=run_settings.epochs(entry), **context,
        )  # fmt: skip


@router.get("/runs/{model}/{folder}/figures/{name}.png")
def figure(request: Request, model: str, folder: str, name: str) -> Response:
    """Return a figure of a run, drawn when it is asked for the first time."""
    entry = request.app.state.services.catalogue.find(f"{model}/{folder}")
    return Response(_sheets.png(entry, name), media_type="image/png", headers=KEPT)


def _finished(entry: Entry, rows: list[dict[str, Any]]) -> dict[str, Any]:
    from utils import metrics

    answers = run_answers.of(entry)
    counts = metrics.confusion(answers.table).tolist()
    return {
        "tiles": run_facts.tiles(entry),
        "siblings": run_facts.siblings(entry, rows),
        "classes": answers.classes,
        "matrix": run_facts.matrix(counts, answers.classes),
        "mistakes": sum(not answer.right for answer in answers.of.values()),
        "per_class": run_facts.per_class(entry),
        "calibration": run_facts.calibration(entry),
        "stress": run_facts.stress(entry),
        "faithfulness": run_facts.faithfulness(entry),
        "timing": run_facts.timing(entry),
    }


def _figures(entry: Entry) -> dict[str, tuple[Drawn, str]]:
    """Return the figures that a run holds enough for, each with its words for those who do not see it."""
    found = {}
    for name, drawn in FIGURES.items():
        try:
            if drawn.has(entry):
                found[name] = drawn, drawn.alt(entry)
        except Exception as error:  # a file half written or of any content costs its figure, not the page
            _log.info("Run %s has no figure '%s': %s", entry.id, name, error)
    return found
