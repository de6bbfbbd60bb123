"""Provenance in the report: settings, commands, origin of the images, missing parts."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data import all_dataset as known
from utils import paths
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import run_folder, seal, shortcuts_file, split_spec
from utils.runs.comparison import Comparison
from utils.runs.records import identity, recipe
from utils.runs.run_folder import HEATMAPS, Run
from utils.tables import hyperparameters
from utils.tables.table import Table
from utils.text import MISSING, dotted
from visualization import compared_runs as members
from visualization.images import heatmap_overlay
from visualization.report import validity_sections

HIDDEN = frozenset({"started", "test_identity", "model", "classes"})  # shown elsewhere, or different in every run
GIVEN = frozenset({"model", "dataset", "seed", "classes", "initialisation", "flavour"})  # not given by --set


def settings(comparison: Comparison) -> list[Table]:
    """Return configuration and machine of every run: hyperparameters, other settings that differ, shared ones."""
    subjects = members.subjects(comparison)
    columns = [
        {key: value for key, value in dotted(s.run.config() | s.run.environment()).items() if not _shown(key)}
        for s in subjects
    ]
    names = sorted({name for column in columns for name in column})
    texts = {name: [_text(column.get(name)) for column in columns] for name in names}
    same = [[name, values[0]] for name, values in texts.items() if len(set(values)) == 1]
    other = [[name, *values] for name, values in texts.items() if len(set(values)) > 1]
    title = "Other settings that all runs share" if len(columns) > 1 else "Other settings"
    shared = Table(title, ("Field", "Value"), same, frozenset({0, 1}))
    first = hyperparameters.tables(hyperparameters.records(comparison))
    if not other:
        return [*first, shared]
    heads = ("Field", *(s.name for s in subjects))
    return [*first, Table("Other settings that differ", heads, other, frozenset(range(len(heads)))), shared]


def _shown(field: str) -> bool:
    """Return whether a field is shown elsewhere; the hyperparameters do not show a variant's reference."""
    return field in HIDDEN or (field.partition(".")[0] in hyperparameters.SAID and field != "variant.reference")


def _text(value: Any) -> str:
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def missing(comparison: Comparison, root: Path) -> list[str]:
    """Return one sentence for each part of the report whose input is missing."""
    found = []
    subjects = members.subjects(comparison)
    if len(subjects) == 1:
        found.append("Only one run: no comparison.")
    if not comparison.seeds:
        found.append(
            "Only one seed of each model is shown; --all-seeds adds the others."
            if _other_seeds(comparison, root)
            else "No model was trained with several seeds on this test set: the variation between seeds is unknown."
        )
    for subject in subjects:
        if not subject.run.file(HEATMAPS).is_file():
            found.append(f"{subject.name} is not explained: python run_guide.py explain {subject.run.id}")
    found += _unmeasured(comparison, root)
    if unsealed := [subject.name for subject in subjects if seal.read(subject.run) is None]:
        found.append(f"Unsealed, so that changes since the measurement cannot be noticed: {', '.join(unsealed)}.")
    if members.manifest_of(comparison) is None:
        found.append("The manifest of the split is missing: no figures of the data.")
    if not paths.raw_dir(comparison.dataset).is_dir():
        found.append(
            f"The images of '{comparison.dataset}' are not available: no figures of samples, mistakes or heatmaps."
        )
    empty = [row["class"] for row in subjects[0].per_class if not row["support"]]
    if empty:
        found.append(f"No test image of: {', '.join(empty)}. The scores of these classes are undefined.")
    return found


def _unmeasured(comparison: Comparison, root: Path) -> list[str]:
    """Return one sentence for each split without shortcut baselines, with the command that measures them."""
    found = []
    for run in comparison.runs:
        manifest, split = validity_sections.split_of(run)
        if not shortcuts_file.read(run.root, manifest):
            seed = run.config().get("split_seed", 42)
            words = ["audit", comparison.dataset, "--split", split, *(["--seed", str(seed)] if seed != 42 else [])]
            command = shlex.join(["python", "run_guide.py", *words, *_place(root)])
            found.append(f"The shortcut baselines of {split_spec.words(split)} are not measured: {command}")
    return list(dict.fromkeys(found))


def _other_seeds(comparison: Comparison, root: Path) -> list[Run]:
    """Return the finished runs of a root that differ from one of a comparison only in their seed."""
    wanted = {(recipe(run.config()), run.config()["seed"]) for run in comparison.runs}
    recipes = {each for each, _ in wanted}
    found = []
    for run in run_folder.find_runs(root, finished=True):
        try:
            mark, seed = recipe(run.config()), run.config().get("seed")
            if mark in recipes and (mark, seed) not in wanted and identity(run) == comparison.test_identity:
                found.append(run)
        except LeukoBenchError:  # a damaged run is reported elsewhere
            continue
    return found


def commands(comparison: Comparison, root: Path) -> list[str]:
    """Return the commands that reproduce the runs of this part and the report."""
    place = _place(root)
    train = []
    for run in comparison.runs:
        config = run.config()
        settings = dotted({key: value for key, value in config.items() if key not in GIVEN})
        given = [f"{name}={_value(value)}" for name, value in settings.items() if value not in ("", None)]
        words = ["train", run.model, "--dataset", config["dataset"], "--seed", str(config["seed"])]
        words += [word for text in given for word in ("--set", text)]
        train.append(shlex.join(["python", "run_guide.py", *words, *place]))
    explain = [
        shlex.join(["python", "run_guide.py", "explain", run.id, *options, *place])
        for run in comparison.runs
        for options in _methods(run)
    ]
    seeds = {(row["model"], row["seed"]) for row in comparison.rows}
    several = ["--all-seeds"] if len(seeds) > len({model for model, _ in seeds}) else []
    return [*train, *explain, shlex.join(["python", "run_guide.py", "report", *several, *place])]


def _methods(run: Run) -> list[list[str]]:
    """Return the options of each `explain` command behind the heatmaps of a run."""
    if not run.file(HEATMAPS).is_file():
        return []
    try:
        methods = dict.fromkeys(heatmap.method for heatmap in heatmap_overlay.read(run))
    except LeukoBenchError:
        return [[]]
    usual = run.config().get("heatmap_method", "gradcam")
    return [[] if method == usual else ["--method", method] for method in methods]


def _value(value: Any) -> str:
    return value if isinstance(value, str) else files.compact(value)


def _place(root: Path) -> list[str]:
    """Return the --root option: none for the default folder, never an absolute path."""
    root = Path(root).resolve()
    if root == paths.runs_dir().resolve():
        return []
    inside = root.is_relative_to(paths.PROJECT)
    return ["--root", root.relative_to(paths.PROJECT).as_posix() if inside else root.name]


def origin(dataset: str) -> str:
    """Return the source of the images from dataset.json; "" where it is unknown."""
    try:
        about = files.read_json(paths.raw_dir(dataset) / "dataset.json")
    except LeukoBenchError:
        return ""
    if not isinstance(about, dict):
        return ""
    if about.get("synthetic"):
        return "The images are synthetic, drawn by a program. Scores on them do not transfer to real smears."
    source = about.get("source")
    return f"Source of the images: {source}" if source and source != dataset else ""


def citation(groups: Sequence[Comparison]) -> str:
    """Return the citation of the ALL dataset if a comparison has its classes; otherwise ""."""
    ours = any(set(group.runs[0].config()["classes"]) == set(known.PUBLISHED) for group in groups)
    return known.CITATION if ours else ""
