"""Train one job of a sweep in this process: claim it, look what there is of it, then run the model's own training.

`python -m models.sweep_job ROOT TICKET`, started by `models.sweep_process`. The claim is a lock of the system on a file
beside the runs: it goes when this process ends, also by SIGKILL, and no second process can have it meanwhile.
"""

import json
import os
import runpy
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from threading import Thread

import models
from models.engine.sweep.job_process import BUSY, CLAIM
from models.engine.sweep.plan import FOLDER, Ticket, run_of
from utils.console import run_safely, say
from utils.errors import LeukoBenchError
from utils.io import locks
from utils.paths import splits_dir


def main() -> int:
    """Return the exit status: 0 finished, BUSY, 130 stopped, or what the training ended with."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs would ignore it
    Thread(target=_end_with_supervisor, daemon=True).start()
    root, ticket = Path(sys.argv[1]), Ticket.of(json.loads(sys.argv[2]))
    held = locks.take(root / FOLDER / f"{ticket.key}{CLAIM}")
    if held is None:
        return BUSY
    run = run_of(root, ticket)
    if run and run.finished:
        return 0
    if run:
        words = ["--resume", str(run.path.resolve())]
        say(f"Going on with {run.id}")
    else:
        _check_split(ticket)
        words = [*ticket.options, "--root", str(root.resolve())]
    _, module, *before = models.command(ticket.model, "train")
    sys.argv = [module, *before, *words, *ticket.told]
    runpy.run_module(module, run_name="__main__", alter_sys=True)  # which leaves with its own exit status
    return 0


def _check_split(ticket: Ticket) -> None:
    """Refuse a dataset that is not the one the sweep was planned on: on another machine there may be another.

    Raises:
        LeukoBenchError: the dataset is missing or gives another manifest.
    """
    from data import catalog
    from data.splitting import splits

    place = splits_dir()
    writable = os.access(place if place.is_dir() else place.parent, os.W_OK)
    # Jobs of one machine would lay the same split out at once.
    with locks.waited(place / ".sweep.lock") if writable else nullcontext():
        made = splits.prepare_split(catalog.ensure_dataset(ticket.dataset), ticket.split, ticket.split_seed)
    if made.manifest.hash != ticket.manifest:
        raise LeukoBenchError(
            f"Dataset '{ticket.dataset}' gives manifest {made.manifest.hash} here, but {ticket.manifest} where the "
            "sweep was started. Import the same images in both places."
        )


def _end_with_supervisor() -> None:
    """End this process when the pipe from its supervisor is closed: nobody would know of it any more."""
    while os.read(0, 1024):
        pass
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(run_safely(main))
