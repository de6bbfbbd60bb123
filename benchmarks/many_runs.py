"""Folders with thousands of runs: those of docs/results again and again, each with a seed and a stamp of its own."""

import hashlib
import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from utils import paths
from utils.runs import run_folder

SOURCE = paths.PROJECT / "docs" / "results"
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
LINKS = 30_000  # names that a file may have; ext4 gives 65,000


def make(root: Path, count: int) -> Path:
    """Make a root with so many finished runs and return it; files that do not differ are links to one another.

    Args:
        root: new folder.
        count: runs, as evenly as may be of every committed run.
    """
    originals = run_folder.find_runs(SOURCE, finished=True)
    shutil.copytree(SOURCE / "manifests", root / "manifests")
    names = (run_folder.ENVIRONMENT, run_folder.HISTORY, run_folder.TIMING, run_folder.PREDICTIONS, run_folder.METRICS)
    held: dict[tuple[Path, str], Path] = {}
    weights = root / "weights"  # a stand-in: those of committed runs are not committed
    weights.write_bytes(b"")
    texts = {run: json.loads(run.file(run_folder.CONFIG).read_text(encoding="utf-8")) for run in originals}
    for number in range(count):
        run, again = originals[number % len(originals)], number // len(originals)
        config = texts[run] | {"seed": texts[run]["seed"] + 1000 * again}
        digest = hashlib.sha256(f"{run.id} {again}".encode()).hexdigest()[:8]
        folder = root / run.path.parent.name / f"{FIRST + timedelta(minutes=number):%Y%m%dT%H%M%SZ}-{digest}"
        folder.mkdir(parents=True)
        (folder / run_folder.CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
        for name in names:
            if again % LINKS == 0:
                held[run.path, name] = Path(shutil.copy2(run.file(name), folder / name))
            else:
                os.link(held[run.path, name], folder / name)
        if number % LINKS == 0:
            weights = Path(shutil.copy2(weights, folder / run_folder.WEIGHTS))
        else:
            os.link(weights, folder / run_folder.WEIGHTS)
    return root
