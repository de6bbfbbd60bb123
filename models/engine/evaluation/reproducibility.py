"""Check a run: load its weights, predict its test images again, compare with predictions.csv."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.engine import launcher
from models.engine.backend import keras_backend
from models.engine.run_io import run_loader
from utils.console import run_safely
from utils.errors import LeukoBenchError
from utils.runs import run_folder
from utils.runs.run_folder import Run

if TYPE_CHECKING:
    import pandas as pd

# Another number of threads, device or release of TensorFlow adds in another order, which changes a probability by some
# 1e-6; other weights, other images or another decoder change it by far more.
TOLERANCE = 1e-4

SAME, AGREES, DIFFERS, UNCHECKED = "same bytes", "within 1e-4", "DIFFERS", "not checked"


@dataclass(frozen=True)
class Check:
    """The result for one run.

    Attributes:
        run: its id.
        verdict: SAME where every recorded digit is reproduced, AGREES within TOLERANCE, DIFFERS, or UNCHECKED.
        images: number of test images predicted again; None where there was no prediction, likewise below.
        largest: largest difference of a probability.
        changed: images with another predicted class.
        reason: of a verdict DIFFERS or UNCHECKED; "" otherwise.
    """

    run: str
    verdict: str
    images: int | None = None
    largest: float | None = None
    changed: int | None = None
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether the run was checked and agrees."""
        return self.verdict in (SAME, AGREES)


def check(run: Run) -> Check:
    """Predict the test images of a run again and compare; writes nothing into the run."""
    try:
        config = run_loader.config_of(run)
        recorded = run.predictions("test")
        if not run.weights.is_file():  # checked before the images are read and the model is built
            raise LeukoBenchError(f"No {run_folder.WEIGHTS}: copy it into {run.path}, or train the run again.")
        split = run_loader.split_of(run)
        model = run_loader.open_model(run)
        images = run_loader.read(config, split, "test")
        found = compare(
            run.id,
            recorded,
            images.names,
            [config.classes[k] for k in images.labels],
            run_loader.predict(model, images),
        )
        return found if found.passed else _with_device(found, run)
    except (LeukoBenchError, OSError) as problem:
        return Check(run.id, UNCHECKED, reason=" ".join(str(problem).split()))


def compare(run: str, recorded: "pd.DataFrame", names: Sequence[str], labels: Sequence[str], now: np.ndarray) -> Check:
    """Compare recorded predictions with new ones.

    Args:
        run: id for the result.
        recorded: test rows of predictions.csv.
        names: n images predicted now.
        labels: n class names.
        now: (n, classes) float32 probabilities in the column order of `recorded`.
    """
    listed, images = list(recorded["image"]), list(names)
    if sorted(listed) != sorted(images):
        odd = min(set(listed) ^ set(images), default="one of them twice")
        reason = f"{run_folder.PREDICTIONS} lists {len(listed)} test images, the split has {len(images)} ({odd})."
        return Check(run, DIFFERS, reason=reason)
    recorded = recorded.set_index("image").loc[images]
    wrong = [name for name, old, new in zip(images, recorded["label"], labels, strict=True) if old != new]
    if wrong:
        reason = f"{len(wrong)} labels are not those of the split, the first that of {wrong[0]}."
        return Check(run, DIFFERS, len(images), reason=reason)
    # Nine digits in the file represent every float32 exactly.
    before = recorded.filter(regex="^p_").to_numpy().astype(np.float32)
    distance = np.abs(before.astype(np.float64) - now).max(axis=1)
    distance[~np.isfinite(distance)] = np.inf
    far = int((distance > TOLERANCE).sum())
    verdict = SAME if np.array_equal(before, now) else DIFFERS if far else AGREES
    largest = f"{far} of {len(images)} images differ by more than {TOLERANCE:g}, most {images[distance.argmax()]}."
    changed = int((before.argmax(1) != now.argmax(1)).sum())
    return Check(run, verdict, len(images), float(distance.max()), changed, largest if far else "")


def check_apart(run: Run) -> Check:
    """Check a run in a separate process: its memory is freed, and a crash does not end this process."""
    done = subprocess.run(
        [sys.executable, "-m", "models.engine.evaluation.reproducibility", str(run.path.resolve())],
        env=launcher.environment(),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    try:
        return Check(**json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, TypeError, ValueError):
        return Check(run.id, UNCHECKED, reason=_how_it_ended(done))


def _how_it_ended(done: "subprocess.CompletedProcess[str]") -> str:
    if done.returncode < 0:
        return f"The check was ended by {launcher.ended_by(done.returncode)}"
    last = ([line.strip() for line in done.stderr.splitlines() if line.strip()] or ["no output"])[-1]
    return f"The check failed: {last.removeprefix('Error: ')[:200]}"


def _with_device(found: Check, run: Run) -> Check:
    """Add the device of the training to the reason where it is not the present one."""
    made, here = run.environment().get("device"), keras_backend.device_name()
    other = f" Trained on {made}, checked on {here}." if made and made != here else ""
    return Check(**asdict(found) | {"reason": found.reason + other})


def _main() -> None:
    print(json.dumps(asdict(check(Run(Path(sys.argv[1]))))))


if __name__ == "__main__":
    sys.exit(run_safely(_main))
