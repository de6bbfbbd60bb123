"""Figures as PNG files: drawn when they are asked for, one at a time, and kept while the files of the run stay."""

from collections import OrderedDict
from threading import Lock

from visualization import style
from webapp.http.problem_responses import Problem
from webapp.runs.catalogue import Entry
from webapp.runs.figures import FIGURES
from webapp.runs.test_predictions import readable

KEPT = 32_000_000  # bytes of drawn figures


class Sheets:
    """Figures as PNG bytes: drawn under a lock, as matplotlib's settings are shared, and kept up to KEPT bytes."""

    def __init__(self) -> None:
        self._drawing, self._lock = Lock(), Lock()
        self._kept: OrderedDict[tuple, bytes] = OrderedDict()

    def png(self, entry: Entry, name: str) -> bytes:
        """Return a figure of a run.

        Raises:
            Problem: 404, there is no such figure, or the run does not hold what it needs.
        """
        key = entry.run, entry.signature, name
        found = self._get(key)
        if found is None:
            with self._drawing:  # whoever waited finds it drawn
                found = self._get(key) or self._draw(entry, name)
            with self._lock:
                self._kept[key] = found
                while sum(map(len, self._kept.values())) > KEPT and len(self._kept) > 1:
                    self._kept.popitem(last=False)
        return found

    def _get(self, key: tuple) -> bytes | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _draw(self, entry: Entry, name: str) -> bytes:
        drawn = FIGURES.get(name)
        with readable(entry):
            if drawn is None or not drawn.has(entry):
                raise Problem(404, "No such figure", f"Run {entry.id} has no figure of that name.")
            return style.png(drawn.draw(entry))
