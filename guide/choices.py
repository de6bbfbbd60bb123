"""What the menu offers for a parameter, by the parameter's name: models, datasets, runs, classes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models
from data import catalog
from data.datasets import index
from models.engine import settings_file
from models.engine.config import recipes
from models.engine.tracking import mlflow_client
from utils.errors import LeukoBenchError
from utils.paths import PROJECT, raw_dir, runs_dir
from utils.runs import lookup, run_folder, split_spec
from utils.tables.table import percent

SPLITS = {
    split_spec.DEFAULT: "percent for train, val, test; by image",
    "grouped": "the same shares; a stain group stays on one side",
}
ALL_FOLDS = {"kfold:5": "every image tested once; by image", "grouped-kfold:5": "every image tested once; by group"}
ONE_FOLD = {"kfold:5:1": "the first of five folds; by image", "grouped-kfold:5:1": "the first of five folds; by group"}
LISTED = 20  # runs of a list, the newest; the others are chosen by number or name all the same
SEEDS = {"seed": "seed", "split_seed": "split seed"}  # fields of a run, and the words for them
USUAL = 42


@dataclass(frozen=True)
class Choices:
    """A numbered list.

    Attributes:
        values: what the command receives.
        notes: shown beside each value; values past the last note are not listed.
        check: judges an answer that is not in the list by raising; None refuses every such answer.
    """

    values: list[str]
    notes: list[str]
    check: Callable[[str], Any] | None = None


def choices_for(
    name: str, answers: Mapping[str, Any], root: Path, runs: str, all_folds: bool = False, plain: bool = False
) -> Choices | None:
    """Return the list for a parameter, or None where it is asked for as text.

    Args:
        name: of the parameter.
        answers: given so far in this step.
        root: folder of the runs.
        runs: "finished", "unfinished" or "all": the runs to offer.
        all_folds: whether the command takes "kfold:5", all folds of a split, beside one fold.
        plain: whether it takes "none" as one of several recipes.

    Raises:
        LeukoBenchError: there is nothing to choose from; the line says how to get it.
    """
    if name in ("model", "models"):
        # "keras:NAME" is typed: dozens of architectures would push the models of this project off the screen.
        return Choices(models.names(), [""] * len(models.names()), models.config_for)
    if name == "dataset":
        known = datasets()
        return Choices(list(known), list(known.values())) if known else None
    if name == "split":
        splits = SPLITS | (ALL_FOLDS if all_folds else ONE_FOLD)
        return Choices(list(splits), list(splits.values()), split_spec.expand if all_folds else split_spec.parse)
    if name == "recipe":
        listed = {"none": "changes nothing"} if plain else {}
        listed |= {each: recipes.WORDS[each] for each in recipes.names()}
        return Choices(list(listed), list(listed.values()), recipes.settings)
    if name in ("run", "runs", "resume"):
        return _runs(root, runs)
    if name in ("true", "predicted", "class_") and answers.get("run"):
        classes = list(lookup.open_run(answers["run"], root).config()["classes"])
        return Choices(classes, [""] * len(classes))
    if name == "profile":
        chosen = _models(answers) or models.names()
        found = [type(models.config_for(model)).PROFILES for model in chosen]
        shared = [profile for profile in found[0] if all(profile in each for each in found)]
        return Choices(shared, [""] * len(shared)) if shared else None
    return None


def concerns(name: str, answers: Mapping[str, Any]) -> bool:
    """Say whether a parameter means anything beside the answers so far: for a run that may be chosen, or a dataset."""
    if "run" not in answers:
        return True
    return name not in ("dataset", "split", "seed") if answers["run"] else name != "outcome"


def check_answer(name: str, value: Any, answers: Mapping[str, Any]) -> None:
    """Judge an answer that only the project can judge.

    Raises:
        LeukoBenchError: it is wrong.
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
    """Return the datasets below data/raw with their numbers of images in words, real ones before synthetic ones."""
    found = []
    for name in catalog.datasets():
        try:
            about = index.about(raw_dir(name))
            found.append((bool(about.get("synthetic")), name, f"{sum(about['images'].values()):,} images"))
        except (LeukoBenchError, TypeError):
            found.append((True, name, "damaged"))  # the command that uses it says why
    return {name: words for _, name, words in sorted(found)}


def roots(current: Path) -> dict[Path, int]:
    """Return the folders that hold runs with their numbers of finished runs; `current` comes first in any case."""
    nested = sorted(path for path in runs_dir().glob("*") if path.is_dir())
    candidates = dict.fromkeys([current, runs_dir(), *nested, PROJECT / "docs" / "results"])
    return {
        path: len(run_folder.find_runs(path, finished=True))
        for path in candidates
        if path == current or run_folder.find_runs(path)
    }


def short(path: Path) -> str:
    """Return a path as a person in the checkout would type it."""
    try:
        return path.resolve().relative_to(PROJECT).as_posix()
    except ValueError:
        return str(path)


def _models(answers: Mapping[str, Any]) -> list[str]:
    """Return the models answered so far; some commands take one, others a list."""
    given = answers.get("model")  # REQUIRED until it has been asked for
    return [given] if isinstance(given, str) else given if isinstance(given, list) else []


def _runs(root: Path, which: str) -> Choices:
    finished = {"finished": True, "unfinished": False, "all": None}[which]
    found = run_folder.find_runs(root, finished=finished)
    if not found:
        kind = "" if which == "all" else f" {which}"
        more = "" if which == "unfinished" else " Train a model first (t), or choose another folder of runs (f)."
        raise LeukoBenchError(f"There are no{kind} runs in {short(root)}.{more}")
    newest_first = sorted(found, key=lambda run: run.path.name, reverse=True)
    listed = newest_first[:LISTED]
    several = len({_dataset(run) for run in listed}) > 1
    return Choices(
        [run.id for run in newest_first],
        [_note(run, several) for run in listed],
        lambda name: lookup.open_run(name, root),
    )


def _dataset(run: run_folder.Run) -> str:
    try:
        return str(run.config()["dataset"])
    except LeukoBenchError:
        return ""


def _note(run: run_folder.Run, with_dataset: bool) -> str:
    """Return test accuracy or state, and what tells a run from its kin: flavours, unusual split and seeds."""
    try:
        state = f"{percent(run.metrics()['test']['accuracy']):>6} %" if run.finished else "unfinished"
        config = run.config()
        words = [config["dataset"]] if with_dataset else []
        words += [run.label().removeprefix(run.model).strip(" ()")]
        words += [split] if (split := config.get("split", split_spec.DEFAULT)) != split_spec.DEFAULT else []
        words += [f"{word} {config[field]}" for field, word in SEEDS.items() if config.get(field, USUAL) != USUAL]
        return f"{state}  {', '.join(filter(None, words))}".rstrip()
    except (LeukoBenchError, KeyError, TypeError, ValueError):
        return "damaged" if run.finished else "unfinished"
