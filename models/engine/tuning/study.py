"""Hyperparameter search with Optuna: a study in a folder, which can be continued.

The search is TPE (Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization). Trials are compared by their best
validation accuracy and are not evaluated, so the test images have no influence on the choice.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from models.engine import launcher, settings_file
from models.engine.config.base import ModelConfig
from models.engine.tuning import search_space
from models.engine.tuning.search_space import Dimension
from utils.console import STOPPED, console, say
from utils.errors import LeukoBenchError
from utils.io import files, locks
from utils.runs import run_folder
from utils.runs.history import best_epoch
from utils.runs.run_folder import Run

if TYPE_CHECKING:
    import optuna

FOLDER = "tuning"  # below the folder of the runs; its runs are not compared
TRIALS, BEST, DATABASE, ABOUT, LOCK = "trials.csv", "best.json", "study.db", "study.json", "running.pid"
LOG = "output.txt"  # in the folder of a trial
RANDOM_TRIALS = 8  # before TPE is used
MIN_FOR_IMPORTANCES = 8  # finished trials
MAX_FAILURES = 3  # failures in a row, with no finished trial, that end a search
FINISHED, FAILED, CUT_OFF = "finished", "failed", "cut off"


@dataclass(frozen=True)
class TrialFolder:
    """The folder of a trial: config.json, output.txt and the run, as in any folder of runs."""

    path: Path

    @property
    def run(self) -> Run | None:
        """The run; None if the training ended before it was created."""
        return next(iter(run_folder.find_runs(self.path)), None)

    def train(self, config: ModelConfig, settings: Mapping[str, Any], title: str) -> int:
        """Train without evaluation, or resume after the last finished epoch; return the exit status.

        Args:
            config: source of the model and batch size.
            settings: fields for `--config`.
            title: shown on a terminal during training.
        """
        earlier = self.run
        options = ["--no-evaluate"]
        if earlier and earlier.file(run_folder.HISTORY).is_file():
            options += ["--resume", str(earlier.path.resolve())]
        else:
            shutil.rmtree(self.path, ignore_errors=True)  # interrupted before its first epoch ended
            path = self.path / run_folder.CONFIG
            files.write_json(path, dict(settings))
            options += ["--config", str(path.resolve()), "--root", str(self.path.resolve())]
        status = console.status(title) if console.is_terminal else nullcontext()

        def watch() -> None:
            if console.is_terminal and (rows := self._history()):
                status.update(f"{title}: epoch {rows[-1]['epoch']}, val accuracy {rows[-1]['val_accuracy']:.4f}")

        with status:
            return launcher.train_quietly(config.model, options, config.batch_size, self.path / LOG, watch)

    def result(self) -> dict[str, float]:
        """Return scores of the best epoch and the costs; {} without a finished epoch."""
        rows = self._history()
        if not rows:
            return {}
        best = best_epoch(rows)
        costs = {"epochs": len(rows), "seconds": sum(row["seconds"] for row in rows)}
        return {"val_accuracy": best["val_accuracy"], "val_loss": best["val_loss"]} | costs

    def reason(self) -> str:
        """Return the last error of the training."""
        log = self.path / LOG
        return launcher.error_of(log) or f"no error message; see {log}"

    def drop_weights(self) -> None:
        """Remove weights and checkpoints, which no later step needs."""
        if run := self.run:
            run.file(run_folder.WEIGHTS).unlink(missing_ok=True)
            shutil.rmtree(run.file(run_folder.STATE), ignore_errors=True)

    def _history(self) -> list[dict[str, Any]]:
        try:
            return self.run.history() if self.run else []
        except LeukoBenchError:  # missing or damaged
            return []


@dataclass(frozen=True)
class Study:
    """A search in a folder.

    Attributes:
        path: <root>/tuning/<model>/<dataset>-<key>/; the key is a hash of the data, the settings and the search space.
        whole: the configuration to improve.
        short: the same with the epochs of a trial.
        space: dimensions of the search.
    """

    path: Path
    whole: ModelConfig
    short: ModelConfig
    space: tuple[Dimension, ...]

    def search(self, trials: int, minutes: float = 0) -> bool:
        """Run trials until there are `trials` in total; start none after this number of minutes (0: no limit).

        Returns:
            False after Ctrl-C; the next search resumes the unfinished trial.

        Raises:
            LeukoBenchError: another process uses this study, it is damaged, or the first trials all fail.
        """
        end = monotonic() + minutes * 60 if minutes else float("inf")
        failures = 0
        with locks.alone(self.path / LOCK):
            study = self._open()
            while True:
                begun = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name != "WAITING"]
                cut_off = [trial for trial in begun if trial.state.name == "RUNNING"]
                if not cut_off and (len(begun) >= trials or monotonic() >= end):
                    return True
                number, drawn = (cut_off[0].number, cut_off[0].params) if cut_off else self._draw(study, len(begun))
                if len(drawn) < len(self.space):  # killed while values were drawn
                    _tell(study, number, {})
                    continue
                most = max(trials, number + 1)
                settings = settings_file.fields(self.short) | search_space.fields(self.space, drawn)
                status = self.trial(number).train(self.short, settings, f"Trial {number + 1} of {most}")
                if status == STOPPED:
                    return False
                result = self.trial(number).result() if status == 0 else {}
                _tell(study, number, result)
                rows = self._write(study)
                say(f"  {number + 1:>3}/{most}  {self._line(rows[number])}")
                failures = 0 if result else failures + 1
                if failures >= MAX_FAILURES and not finished(rows):
                    raise LeukoBenchError(f"{failures} trials failed and none finished: {rows[number]['reason']}")

    def rows(self) -> list[dict[str, Any]]:
        """Return all trials in order, as dicts with the columns of trials.csv."""
        return self._write(self._open())

    def trial(self, number: int) -> TrialFolder:
        """Return the folder of a trial, counted from 0."""
        return TrialFolder(self.path / "trials" / f"{number + 1:03d}")

    def importances(self) -> dict[str, float]:
        """Return the share of the accuracy's variance that each setting explains (fANOVA, Hutter et al. 2014).

        Empty with fewer than 8 finished trials, or if all have the same score.
        """
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances

        study = self._open()
        done = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
        if len(done) < MIN_FOR_IMPORTANCES or len({trial.value for trial in done}) < 2:
            return {}
        found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=self.whole.seed))
        return {name: float(share) for name, share in found.items()}

    def _open(self) -> "optuna.Study":
        """Open the study's database, or create it with the model's own settings as the first trial.

        Values without a default, as the strength of the model's own augmentation, are drawn.
        """
        import optuna
        from sqlalchemy.engine import URL
        from sqlalchemy.exc import SQLAlchemyError

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        path = self.path / DATABASE
        place = URL.create("sqlite", database=str(path)).render_as_string()
        try:
            study = optuna.create_study(storage=place, study_name=FOLDER, direction="maximize", load_if_exists=True)
            if not study.get_trials(deepcopy=False):
                study.enqueue_trial({each.name: each.default for each in self.space if each.default is not None})
        except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as problem:
            reason = str(problem.__cause__ or problem).splitlines()[0]
            raise LeukoBenchError(
                f"Cannot use {path} ({reason}). Remove it to start again, or choose another folder with --root."
            ) from None
        return study

    def _draw(self, study: "optuna.Study", number: int) -> tuple[int, dict[str, float]]:
        import optuna

        # Seeded for each trial: a continued search draws the same values as one without interruption.
        digest = hashlib.sha256(f"{self.whole.seed}/{number}".encode()).digest()
        seed = int.from_bytes(digest[:4], "big")
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)
        trial = study.ask()
        for each in self.space:
            each.suggest(trial)
        return trial.number, trial.params

    def _write(self, study: "optuna.Study") -> list[dict[str, Any]]:
        """Write trials.csv and best.json, remove the weights of all but the best trial, and return the rows."""
        trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name != "WAITING"]
        rows = [self._row(trial) for trial in trials]
        if rows:
            files.write_csv(self.path / TRIALS, rows)
        best = next((row["trial"] for row in finished(rows)), None)
        for row, trial in zip(rows, trials, strict=True):
            if row["trial"] == best:
                found = settings_file.fields(self.whole) | search_space.fields(self.space, trial.params)
                files.write_json(self.path / BEST, found)
            elif row["state"] != CUT_OFF:
                self.trial(trial.number).drop_weights()
        return rows

    def _row(self, trial: "optuna.trial.FrozenTrial") -> dict[str, Any]:
        state = {"COMPLETE": FINISHED, "RUNNING": CUT_OFF}.get(trial.state.name, FAILED)
        folder = self.trial(trial.number)
        result = folder.result() if state == FINISHED else {}  # {} if its files were removed
        numbers = {name: result.get(name) for name in ("val_accuracy", "val_loss", "epochs", "seconds")}
        values = {e.name: e.rounded(trial.params[e.name]) if e.name in trial.params else None for e in self.space}
        reason = folder.reason() if state == FAILED else ""
        return {"trial": trial.number + 1, "state": state} | numbers | values | {"reason": reason}

    def _line(self, row: Mapping[str, Any]) -> str:
        values = " ".join(f"{each.name}={row[each.name]:g}" for each in self.space)
        if row["state"] == FAILED:
            return f"failed: {row['reason']}  {values}"
        reached = f"val accuracy {row['val_accuracy']:.4f} loss {row['val_loss']:.4f}"
        return f"{reached}  {row['epochs']} epochs {row['seconds']:.0f} s  {values}"


def open_study(config: ModelConfig, settings: Sequence[str], epochs: int, root: Path) -> Study:
    """Return the study of a configuration: an existing one if data and settings are the same.

    Args:
        config: the configuration to improve.
        settings: "field=value" texts of the user; these fields are not searched.
        epochs: maximum epochs of a trial; 0 for those of the configuration.
        root: folder of the runs.

    Raises:
        LeukoBenchError: the data are missing, or nothing is left to search.
    """
    from models.engine.training import trainer

    whole, split = trainer.prepare(config)
    short = search_space.shortened(whole, epochs)
    space = search_space.dimensions(short, settings)
    about = {
        "model": config.model,
        "manifest": split.manifest.hash,
        "config": short.model_dump(mode="json"),
        "space": [[each.name, each.low, each.high, each.log, list(each.choices)] for each in space],
    }
    key = hashlib.sha256(files.compact(about).encode()).hexdigest()[:8]
    path = Path(root) / FOLDER / run_folder.folder_of(config.model) / f"{whole.dataset}-{key}"
    if not (path / ABOUT).is_file():
        files.write_json(path / ABOUT, about)
    return Study(path, whole, short, space)


def finished(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of finished trials, best first: by validation accuracy, loss, then order."""
    done = [row for row in rows if row["val_accuracy"] is not None]
    return sorted(done, key=lambda row: (-row["val_accuracy"], row["val_loss"], row["trial"]))


def _tell(study: "optuna.Study", number: int, result: Mapping[str, float]) -> None:
    """Report a trial to Optuna: its accuracy, with the loss as a tie-break below the resolution of the accuracy."""
    import optuna

    if result:
        study.tell(number, result["val_accuracy"] - 1e-6 * result["val_loss"] / (1 + result["val_loss"]))
    else:
        study.tell(number, state=optuna.trial.TrialState.FAIL)
