"""calibration.json of a run: file name and content."""

from typing import Any

from utils.metrics import calibration, selective_prediction
from utils.runs.run_folder import Run

FILE = "calibration.json"


def measure(run: Run, wanted: float = selective_prediction.WANTED) -> dict[str, Any]:
    """Return the content of calibration.json: `utils.metrics.calibration.measure` of the run's predictions.

    Args:
        run: with predictions.
        wanted: highest share of wrong answers among the given ones.

    Raises:
        LeukoBenchError: there are no validation or test predictions, or they are damaged; the line names the run.
    """
    with run.named_in_errors():
        return calibration.measure(run.predictions("val"), run.predictions("test"), wanted)
