"""Command `ablation`: train one model with a list of augmentations and compare the results."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import models
from data import catalog
from data.splitting import given_split, splits
from guide.compare import FOLDER as COMPARISON
from guide.splits import chosen
from models.engine import cli, launcher
from models.engine.layers import pretrained
from utils import console
from utils.console import STOPPED
from utils.errors import LeukoBenchError
from utils.paths import runs_dir
from utils.runs import run_folder, split_spec

if TYPE_CHECKING:
    from models.engine.config.base import ModelConfig
    from models.engine.sweep.ablation import Arm

FOLDER = "ablation"  # folder of its runs; `compare` must not take one of them as the latest run of the model


class Setting(StrEnum):
    """Augmentation to compare; models/engine/sweep/ablation.py has the strengths."""

    none = "none"
    flips = "flips"
    geometry = "geometry"
    colour = "colour"
    all = "all"


ALL = list(Setting)
SEEDS = [42]


def ablation(
    model: Annotated[str, typer.Argument(help="Model to train.")],
    dataset: cli.Dataset = "",
    settings: Annotated[list[Setting], typer.Option(help="Augmentations to compare. Default: all.")] = ALL,
    offline: Annotated[bool, typer.Option(help="Also train with augmented copies made before training.")] = True,
    copies: Annotated[int, typer.Option(min=1, max=100, help="Augmented copies per image.")] = 3,
    split: cli.Split = None,
    seeds: Annotated[list[int], typer.Option("--seed", min=0, max=2**31 - 1, help="Seed; repeat for several.")] = SEEDS,
    set_: cli.Settings = None,
    profile: cli.Profile = "",
    table_only: Annotated[
        bool, typer.Option("--table-only", help="Print the table of finished runs; train nothing.")
    ] = False,
    root: cli.Root = None,
) -> int:
    """Train a model with and without augmentation, during training and as copies, and compare the results."""
    from models.engine.sweep import ablation as ablations

    place = (root or runs_dir()).resolve()
    place = place if place.name == FOLDER else place / FOLDER
    config = _config(model, dataset, split, set_, profile, not table_only)
    chosen = [str(Setting(each).value) for each in settings]
    arms = ablations.arms(config, chosen, seeds, copies if offline else 0)
    options = ["--profile", profile] + [part for each in set_ or () for part in ("--set", each)]
    failed: list[str] = []
    status = 0
    if not table_only:
        status, failed = _train(arms, place, options)
    if len(failed) < len(arms) and status != STOPPED:
        _show(arms, place)
    if failed:
        console.error(f"Not finished: {'; '.join(failed)}. Run the command again: finished runs are not repeated.")
    return status or int(bool(failed))


def _config(
    model: str, dataset: str, split: str | None, set_: Sequence[str] | None, profile: str, training: bool
) -> "ModelConfig":
    """Return the configuration; errors of the user are found before the first training starts."""
    from models.engine.sweep.ablation import DECIDED

    for each in set_ or ():
        if each.partition("=")[0].partition(".")[0].strip() in (*DECIDED, "seed"):
            raise LeukoBenchError(
                f"The ablation itself sets augmentation, offline and seed; received --set '{each}'. "
                "Use --settings, --copies and --seed."
            )
    values = cli.given({"dataset": dataset, "split": split})
    config = models.config_for(model, profile, set_ or (), **values)
    if config.split:
        split_spec.parse(config.split)
    if not training:
        return config.replace(split=config.split or given_split.default(config.dataset))
    if config.weights not in ("imagenet", "none"):
        pretrained.check_file(config.weights)
    name = catalog.ensure_dataset(config.dataset)
    return config.replace(dataset=name, split=chosen(name, config.split, config.split_seed))


def _train(arms: Sequence["Arm"], place: Path, options: list[str]) -> tuple[int, list[str]]:
    """Train every arm without a finished run; return the last exit status and the names of failed arms."""
    from models.engine.sweep import ablation as ablations

    config = arms[0].config
    manifest = splits.prepare_split(config.dataset, config.split, config.split_seed).manifest.hash
    failed = []
    for position, arm in enumerate(arms, start=1):
        title = f"[{position}/{len(arms)}] {arm.name}"
        there = ablations.find(place, arm, manifest)
        if there:
            console.say(f"{title}: already trained, {there.id}")
            continue
        console.say(title)
        begun = ablations.find(place, arm, manifest, finished=False)
        if begun:
            words = ["--resume", str(begun.path)]
        else:
            words = ["--root", str(place), "--dataset", config.dataset, "--split", config.split, *options]
            words += ["--seed", str(arm.config.seed)]
            words += [part for each in arm.overrides for part in ("--set", each)]
        outcome = launcher.train_each([config.model], words, {config.model: config.batch_size})[-1]
        if outcome.status == STOPPED:
            return STOPPED, failed
        if outcome.status:
            failed.append(arm.name)
    return 0, failed


def _show(arms: Sequence["Arm"], place: Path) -> None:
    from models.engine.sweep import ablation as ablations
    from utils.runs.records import measure
    from utils.tables import ablation as views
    from visualization.displays import ablation as ablation_figures

    measured = {(arm.setting, arm.copies): [] for arm in arms}
    for arm in arms:
        run = ablations.find(place, arm)
        if run:
            measured[arm.setting, arm.copies].append(measure(run))
    found = views.rows([views.Measured(*key, tuple(records)) for key, records in measured.items()])
    if not found:
        raise LeukoBenchError(f"{place} holds no finished runs of this ablation. Train them: omit --table-only.")
    first = found[0]
    title = f"Ablation of augmentation: {first['model']} on {first['dataset']}, {first['images']:,} test images"
    shown = views.table(found, title)
    console.say()
    console.table(shown.title, shown.columns, shown.rows)
    for sentence in views.sentences(found):
        console.say(sentence)
    folder = place / COMPARISON / f"{run_folder.folder_of(first['model'])}-{first['dataset']}"
    written = views.write(folder, found, title)
    console.say(f"Table: {', '.join(path.name for path in written)} in {folder}")
    console.say(f"Figure: {ablation_figures.draw(found, folder / run_folder.FIGURES / 'ablation.png')}")
