"""What the report says beside its tables and figures: settings, commands, origin of the images, what is missing."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data import all_dataset as known
from utils import paths
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import run_folder, shortcuts_file
from utils.runs.comparison import Comparison
from utils.runs.records import identity, recipe
from utils.runs.run_folder import HEATMAPS, Run
from utils.tables import hyperparameters
from utils.tables.table import Table
from utils.text import MISSING
from visualization import compared_runs as members
from visualization.images import heatmap_overlay
from visualization.report import validity_sections

HIDDEN = frozenset({"started", "test_identity", "model", "classes"})  # said elsewhere, or different in every run
GIVEN = frozenset({"model", "dataset", "seed", "classes", "initialisation", "flavour"})  # no --set says these


def settings(comparison: Comparison) -> list[Table]:
    """Return configuration and machine of every run: hyper-parameters in words, then all else.

    Of that, what differs stands beside each other, and once what all share.
    """
    subjects = members.subjects(comparison)
    columns = [
        {key: value for key, value in _flat(s.run.config() | _environment(s.run)).items() if not _said(key)}
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


def _said(field: str) -> bool:
    """Say whether the hyper-parameters say a field already; of a variant's reference they do not."""
    return field.partition(".")[0] in hyperparameters.SAID and field != "variant.reference"


def _environment(run: Run) -> dict[str, Any]:
    return {key: value for key, value in run.environment().items() if key not in HIDDEN}


def _flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{above}{key}.")
        elif above or key not in HIDDEN:
            flat[f"{above}{key}"] = value
    return flat


def _text(value: Any) -> str:
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def missing(comparison: Comparison, root: Path) -> list[str]:
    """Return one sentence for each thing that the page would hold if the runs, or their root, held it."""
    found = []
    subjects = members.subjects(comparison)
    if len(subjects) == 1:
        found.append("Only one run: there is nothing to compare it with.")
    if not comparison.seeds:
        found.append(
            "Only one seed of each model is shown; --all-seeds adds the others."
            if _other_seeds(comparison, root)
            else "No model was trained with several seeds on this test set: what of a difference is luck is unknown."
        )
    for subject in subjects:
        if not subject.run.file(HEATMAPS).is_file():
            found.append(f"{subject.name} is not explained: python run_guide.py explain {subject.run.id}")
    found += _unmeasured(comparison, root)
    if members.manifest_of(comparison) is None:
        found.append("The manifest of the split is not beside the runs, so the data are not drawn.")
    if not paths.raw_dir(comparison.dataset).is_dir():
        found.append(
            f"The images of '{comparison.dataset}' are not at hand: no samples, mistakes or heatmaps are drawn."
        )
    empty = [row["class"] for row in subjects[0].per_class if not row["support"]]
    if empty:
        found.append(f"No test image of: {', '.join(empty)}. Their scores are not defined.")
    return found


def _unmeasured(comparison: Comparison, root: Path) -> list[str]:
    """Return one sentence for each split of the runs without shortcut baselines, with what measures them."""
    said = []
    for run in comparison.runs:
        manifest, split = validity_sections.split_of(run)
        if not shortcuts_file.read(run.root, manifest):
            seed = run.config().get("split_seed", 42)
            words = ["audit", comparison.dataset, "--split", split, *(["--seed", str(seed)] if seed != 42 else [])]
            command = shlex.join(["python", "run_guide.py", *words, *_place(root)])
            said.append(f"The shortcut baselines of split {split} are not measured: {command}")
    return list(dict.fromkeys(said))


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
        except LeukoBenchError:  # a damaged run is said elsewhere
            continue
    return found


def commands(comparison: Comparison, root: Path) -> list[str]:
    """Return the commands that make the runs of this part and this page again."""
    place = _place(root)
    train = []
    for run in comparison.runs:
        config = run.config()
        settings = {k: v for k, v in config.items() if k not in GIVEN}
        given = [f"{name}={_value(value)}" for name, value in _plain(settings).items()]
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
    """Return the options of each `explain` that the heatmaps of a run come from."""
    if not run.file(HEATMAPS).is_file():
        return []
    try:
        methods = dict.fromkeys(heatmap.method for heatmap in heatmap_overlay.read(run))
    except LeukoBenchError:
        return [[]]
    usual = run.config().get("heatmap_method", "gradcam")
    return [[] if method == usual else ["--method", method] for method in methods]


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        inner = _plain(value) if isinstance(value, dict) else None
        flat |= {name: value} if inner is None else {f"{name}.{key}": v for key, v in inner.items()}
    return {name: value for name, value in flat.items() if value not in ("", None)}


def _value(value: Any) -> str:
    return value if isinstance(value, str) else files.compact(value)


def _place(root: Path) -> list[str]:
    """Return the --root option: none for the usual place, never a path of this machine."""
    root = Path(root).resolve()
    if root == paths.runs_dir().resolve():
        return []
    inside = root.is_relative_to(paths.PROJECT)
    return ["--root", root.relative_to(paths.PROJECT).as_posix() if inside else root.name]


def origin(dataset: str) -> str:
    """Return where the images come from, as far as the dataset's folder says it."""
    try:
        about = files.read_json(paths.raw_dir(dataset) / "dataset.json")
    except LeukoBenchError:
        return ""
    if not isinstance(about, dict):
        return ""
    if about.get("synthetic"):
        return (
            "The images are synthetic: drawn by a program, of no patient. Scores on them say nothing about real smears."
        )
    source = about.get("source")
    return f"Source of the images: {source}" if source and source != dataset else ""


def citation(groups: Sequence[Comparison]) -> str:
    """Return the citation of the ALL dataset where a comparison has its classes."""
    ours = any(set(group.runs[0].config()["classes"]) == set(known.PUBLISHED) for group in groups)
    return known.CITATION if ours else ""
