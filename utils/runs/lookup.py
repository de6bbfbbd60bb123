"""Find one run by a name that the user gives."""

from pathlib import Path

from utils.errors import LeukoBenchError, NoPermission, nearest
from utils.io import transaction
from utils.runs.records import about
from utils.runs.run_folder import FOLDER, Run, find_runs, folder_of, unreadable


def open_run(name: str, root: Path) -> Run:
    """Find one run by its folder, its id, the start of its id or folder, or a model's name or label (its latest).

    What killed processes left in its folder is finished or removed.

    Raises:
        LeukoBenchError: no run or several runs match; the line names existing runs. Or the run holds links out of the
            root, through which a command would write elsewhere.
    """
    run = _find(name, root)
    run.check_inside()
    transaction.tidy(run.path, deep=True)
    return run


def _find(name: str, root: Path) -> Run:
    path = Path(name)
    if path.is_dir() and FOLDER.match(path.resolve().name):
        return Run(path.resolve())
    runs = find_runs(root)
    closed = {folder.name: folder for folder in unreadable(root)}
    wanted = closed.get(folder_of(name.partition("/")[0])) or (not runs and next(iter(closed.values()), None))
    if wanted:
        raise NoPermission(wanted)
    if not runs:
        raise LeukoBenchError(
            f"There is no run '{name}': {root} holds no runs. Train one: python run_guide.py train cnn"
        )
    of_model = [run for run in runs if run.model == name] or [run for run in runs if label_of(run) == name]
    if of_model:
        return max([run for run in of_model if run.finished] or of_model, key=Run.started)
    matches = [run for run in runs if run.id.startswith(name) or run.path.name.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise LeukoBenchError(
            f"'{name}' fits {len(matches)} runs: {', '.join(r.id for r in matches[:5])}. Give a longer part."
        )
    valid = [run.id for run in runs] + sorted({run.model for run in runs})
    shown = ", ".join(run.id for run in runs[-5:]) + (", ..." if len(runs) > 5 else "")
    raise LeukoBenchError(f"There is no run '{name}' in {root}.{nearest(name, valid)} Runs there: {shown}.")


def open_finished(name: str, root: Path) -> Run:
    """Find one run as `open_run` does.

    Raises:
        LeukoBenchError: there is no such run, or it is not finished.
    """
    run = open_run(name, root)
    if not run.finished:
        raise LeukoBenchError(f"Run {run.id} is not finished. Finish it with: python run_guide.py evaluate {run.id}")
    return run


def label_of(run: Run) -> str:
    """Return the label of a run; the model's name if its config.json cannot be read."""
    for read in (lambda: about(run)["label"], run.label):  # the first is cached, but needs environment.json too
        try:
            return read()
        except LeukoBenchError:
            continue
    return run.model
