"""Values that the menu offers for a parameter: models, datasets, runs, classes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models
from data import catalog
from data.datasets import index
from data.splitting import given_split
from models.engine import settings_file
from models.engine.config import recipes
from models.engine.tracking import mlflow_client
from utils.errors import LeukoBenchError
from utils.paths import PROJECT, raw_dir, runs_dir
from utils.runs import lookup, run_folder, seal, split_spec
from utils.tables.table import percent

OWN_SPLIT = {split_spec.GIVEN: f"{split_spec.OWN}, as it came"}
SPLITS = {
    split_spec.DEFAULT: "percent for train, val, test; splits by image",
    "grouped": "the same percentages; keeps each group together",
    "capture": "tests on the last fifth of the file numbers of each class",
}
ALL_FOLDS = {
    "kfold:5": "five folds; splits by image",
    "grouped-kfold:5": "five folds; keeps each group together",
    "capture:5": "five blocks of file numbers, apart from each other",
}
ONE_FOLD = {
    "kfold:5:1": "first of five folds; splits by image",
    "grouped-kfold:5:1": "first of five folds; keeps each group together",
}
LISTED = 20  # newest runs shown in a list; older ones can still be chosen by number or name
SEEDS = {"seed": "seed", "split_seed": "split seed"}  # fields of a run and their names for display
DEFAULT_SEED = 42


@dataclass(frozen=True)
class Choices:
    """A numbered list.

    Attributes:
        listed: values for the command, with the text beside each of them.
        unlisted: further values, which can be chosen by number or name.
        check: raises an error for an invalid answer outside the list; None rejects every such answer.
        default: text that shows what an empty answer means; "" for that of the parameter.
    """

    listed: Mapping[str, str]
    unlisted: Sequence[str] = ()
    check: Callable[[str], Any] | None = None
    default: str = ""

    @property
    def values(self) -> list[str]:
        """All values in the order of their numbers."""
        return [*self.listed, *self.unlisted]


def choices_for(
    name: str, answers: Mapping[str, Any], root: Path, runs: str, all_folds: bool = False, plain: bool = False
) -> Choices | None:
    """Return the list for a parameter, or None if the menu asks for free text.

    Args:
        name: name of the parameter.
        answers: answers so far in this step.
        root: folder of the runs.
        runs: runs to offer: "finished", "unfinished" or "all".
        all_folds: whether the command accepts "kfold:5" for all folds.
        plain: whether the list of recipes contains "none".

    Raises:
        LeukoBenchError: there is nothing to choose from; the message says how to create it.
    """
    if name in ("model", "models"):
        # "keras:NAME" is not listed: dozens of architectures would fill the screen.
        return _names(models.names(), models.config_for)
    if name == "dataset":
        known = datasets()
        return Choices(known) if known else None
    if name == "split":
        default = given_split.default(str(answers.get("dataset") or ""))
        own = OWN_SPLIT if default == split_spec.GIVEN else {}
        splits = own | SPLITS | (ALL_FOLDS if all_folds else ONE_FOLD)
        return Choices(splits, check=split_spec.expand if all_folds else split_spec.parse, default=default)
    if name == "subset" and "run" in answers:
        return _subsets(answers["run"], root)
    if name == "recipe":
        listed = {"none": "no recipe"} if plain else {}
        listed |= {each: recipes.WORDS[each] for each in recipes.names()}
        return Choices(listed, check=recipes.settings)
    if name == "classes_are":
        from data.datasets import importer

        levels = importer.unclear_levels(answers["path"])
        return Choices({str(level): few(names) for level, names in levels.items()}) if levels else None
    if name in ("run", "runs", "resume"):
        return _runs(root, runs)
    if name in ("true", "predicted", "class_") and answers.get("run"):
        return _names(lookup.open_run(answers["run"], root).config()["classes"])
    if name == "profile":
        chosen = _models(answers) or models.names()
        found = [type(models.config_for(model)).PROFILES for model in chosen]
        shared = [profile for profile in found[0] if all(profile in each for each in found)]
        return _names(shared) if shared else None
    return None


def concerns(name: str, answers: Mapping[str, Any]) -> bool:
    """Return whether a parameter applies, given the answers so far (a run or a dataset was chosen)."""
    if "run" not in answers:
        return True
    return name not in ("dataset", "split", "seed") if answers["run"] else name != "outcome"


def check_answer(name: str, value: Any, answers: Mapping[str, Any]) -> None:
    """Check an answer against models, files and URIs.

    Raises:
        LeukoBenchError: the answer is not valid.
    """
    for model in _models(answers):
        if name == "set_" and value is not None:
            models.config_for(model, answers.get("profile", ""), value)
        if name == "config" and value is not None:
            settings_file.settings(value, model, answers.get("profile", ""))
    if name == "mlflow" and value:
        mlflow_client.check(value)
    if name in ("path", "paths", "image", "groups", "file"):
        for path in value if isinstance(value, list) else [value]:
            pattern = name == "paths" and set("*?[") & set(str(path))
            if path is not None and not pattern and not path.exists():
                raise LeukoBenchError(f"There is no {path}.")


def datasets() -> dict[str, str]:
    """Return the datasets in data/raw with a text about their number of images; real datasets first."""
    found = []
    for name in catalog.datasets():
        try:
            about = index.about(raw_dir(name))
            found.append((bool(about.get("synthetic")), name, f"{sum(about['images'].values()):,} images"))
        except (LeukoBenchError, TypeError):
            found.append((True, name, "damaged"))  # the command that uses it reports the reason
    return {name: words for _, name, words in sorted(found)}


def roots(current: Path) -> dict[Path, int]:
    """Return the folders with runs and their numbers of finished runs, `current` first."""
    nested = sorted(path for path in runs_dir().glob("*") if path.is_dir())
    candidates = dict.fromkeys([current, runs_dir(), *nested, PROJECT / "docs" / "results"])
    return {
        path: len(run_folder.find_runs(path, finished=True))
        for path in candidates
        if path == current or run_folder.find_runs(path)
    }


def short(path: Path) -> str:
    """Return a path relative to the project folder where possible."""
    try:
        return path.resolve().relative_to(PROJECT).as_posix()
    except ValueError:
        return str(path)


def few(texts: Sequence[str], most: int = 3) -> str:
    """Return the first of many texts and the number of the others."""
    rest = f" and {len(texts) - most:,} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + rest


def _names(names: Iterable[str], check: Callable[[str], Any] | None = None) -> Choices:
    return Choices(dict.fromkeys(names, ""), check=check)


def _subsets(name: str, root: Path) -> Choices | None:
    """Return the subsets with predictions of a run; without a run, free text."""
    if not name:
        return None
    try:
        found = run_folder.subsets(lookup.open_run(name, root).metrics())
    except LeukoBenchError:  # the command reports the reason
        found = [run_folder.TEST, "val"]
    return _names(sorted(found))


def _models(answers: Mapping[str, Any]) -> list[str]:
    """Return the models chosen so far; some commands take one, others a list."""
    model = answers.get("model")  # REQUIRED before it is answered
    return [model] if isinstance(model, str) else model if isinstance(model, list) else []


def _runs(root: Path, which: str) -> Choices:
    finished = {"finished": True, "unfinished": False, "all": None}[which]
    found = run_folder.find_runs(root, finished=finished)
    if not found:
        kind = "" if which == "all" else f" {which}"
        hint = "" if which == "unfinished" else " Train a model first (t), or choose another folder of runs (f)."
        raise LeukoBenchError(f"There are no{kind} runs in {short(root)}.{hint}")
    newest_first = sorted(found, key=lambda run: run.stamp, reverse=True)
    listed = newest_first[:LISTED]
    several = len({_dataset(run) for run in listed}) > 1
    return Choices(
        {run.id: _note(run, several) for run in listed},
        [run.id for run in newest_first[LISTED:]],
        lambda name: lookup.open_run(name, root),
    )


def _dataset(run: run_folder.Run) -> str:
    try:
        return str(run.config()["dataset"])
    except LeukoBenchError:
        return ""


def _note(run: run_folder.Run, with_dataset: bool) -> str:
    """Return test accuracy or state of a run, and its variant, split and seeds where they are not the default."""
    try:
        state = f"{percent(run.metrics()['test']['accuracy']):>6} %" if run.finished else "unfinished"
        config = run.config()
        words = [config["dataset"]] if with_dataset else []
        words += [run.label().removeprefix(run.model).strip(" ()")]
        words += [split] if (split := config.get("split") or split_spec.DEFAULT) != split_spec.DEFAULT else []
        words += [
            f"{word} {config[field]}"
            for field, word in SEEDS.items()
            if config.get(field, DEFAULT_SEED) != DEFAULT_SEED
        ]
        return f"{state}  {', '.join(filter(None, words))}".rstrip()
    except seal.Changed:
        return "changed"
    except (LeukoBenchError, KeyError, TypeError, ValueError):
        return "damaged" if run.finished else "unfinished"
