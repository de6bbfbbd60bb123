"""GET /runs/...: the page of one run in any state, and its figures."""

import logging
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from webapp.http.templates import render
from webapp.runs import config_table, detail_content, test_predictions
from webapp.runs.catalogue import Entry
from webapp.runs.confusion_cell_pages import KEPT
from webapp.runs.figures import FIGURES, Drawn, FigureCache

router = APIRouter(include_in_schema=False)
_figure_cache = FigureCache()
_log = logging.getLogger(__name__)


@router.get("/runs/{model}/{folder}")
def run(request: Request, model: str, folder: str) -> HTMLResponse:
    """Show configuration and results of a run."""
    catalogue = request.app.state.services.catalogue
    entry = catalogue.find(f"{model}/{folder}")
    with test_predictions.readable(entry):
        context = _finished(entry, catalogue.leaderboard()) if entry.finished else {}
        return render(
            request,
            "run.html",
            entry=entry,
            figures=_figures(entry),
            settings=config_table.settings(entry),
            environment=config_table.environment(entry),
            files=config_table.files_of(entry),
            epochs=config_table.epochs(entry),
            **context,
        )


@router.get("/runs/{model}/{folder}/figures/{name}.png")
def figure(request: Request, model: str, folder: str, name: str) -> Response:
    """Return a figure of a run, drawn at the first request."""
    entry = request.app.state.services.catalogue.find(f"{model}/{folder}")
    return Response(_figure_cache.png(entry, name), media_type="image/png", headers=KEPT)


def _finished(entry: Entry, rows: list[dict[str, Any]]) -> dict[str, Any]:
    from utils.metrics import predictions

    answers = test_predictions.of(entry)
    counts = predictions.confusion(answers.table).tolist()
    return {
        "tiles": detail_content.tiles(entry),
        "siblings": detail_content.siblings(entry, rows),
        "classes": answers.classes,
        "matrix": detail_content.matrix(counts, answers.classes),
        "mistakes": sum(not answer.right for answer in answers.of.values()),
        "per_class": detail_content.per_class(entry),
        "test_set": answers.table["split"].iloc[0],
        "other_tests": detail_content.other_tests(entry),
        "calibration": detail_content.calibration(entry),
        "stress": detail_content.stress(entry),
        "faithfulness": detail_content.faithfulness(entry),
        "timing": detail_content.timing(entry),
    }


def _figures(entry: Entry) -> dict[str, tuple[Drawn, str]]:
    """Return the figures that can be drawn of a run, with alternative texts."""
    found = {}
    for name, drawn in FIGURES.items():
        try:
            if drawn.has(entry):
                found[name] = drawn, drawn.alt(entry)
        except Exception as error:  # an unreadable file removes its figure, not the page
            _log.info("Run %s has no figure '%s': %s", entry.id, name, error)
    return found
