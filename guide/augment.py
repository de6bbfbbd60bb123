"""Command `data augment`: make augmented copies of training images before training."""

import shlex
from collections import Counter
from typing import Annotated

import typer

from guide import splits as guide_splits
from guide.data import Dataset, Seed, Split
from utils import console
from utils.errors import LeukoBenchError
from utils.runs import split_spec


def augment(
    dataset: Dataset = "",
    copies: Annotated[int, typer.Option(min=0, max=100, help="Augmented copies per training image.")] = 3,
    balance: Annotated[bool, typer.Option(help="Add copies until all classes are as large as the largest.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Random seed of the augmentation.")] = 42,
    split: Split = "",
    split_seed: Seed = 42,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Field of the augmentation: flips=false, rotation=30.")
    ] = None,
) -> None:
    """Make augmented copies of the training images before training; never of validation or test images."""
    from data import catalog
    from data.loading import offline_copies
    from data.loading.offline_copies import Offline
    from data.splitting import splits
    from models.engine.backend import keras_backend
    from models.engine.config.base import ModelConfig
    from models.engine.config.overrides import build_config

    values = {"copies": copies, "balance": balance, "seed": seed}
    changed = {key: value for key, value in values.items() if value != Offline.model_fields[key].default}
    settings = [f"offline.{key}={str(value).lower()}" for key, value in changed.items()]
    settings += [f"offline.augmentation.{each}" for each in set_ or ()]
    wanted = build_config(ModelConfig, settings=settings).offline
    if not wanted.active:
        raise LeukoBenchError("No copies were requested: give --copies of at least 1, or --balance.")
    name = catalog.ensure_dataset(dataset)
    chosen = guide_splits.chosen(name, split, split_seed)
    folder = splits.prepare_split(name, chosen, split_seed)
    keras_backend.start()
    with console.progress() as bar:
        task = bar.add_task("Copying", total=None)
        made = offline_copies.prepare(folder, wanted, lambda done, total: bar.update(task, completed=done, total=total))
    copied = Counter(label for _, label in offline_copies.files(made))
    images = folder.manifest.counts()["train"]
    rows = [(label, count, copied[label], count + copied[label]) for label, count in images.items()]
    rows.append(("all", *(sum(row[k] for row in rows) for k in (1, 2, 3))))
    rows = [(label, *(f"{n:,}" for n in numbers)) for label, *numbers in rows]
    title = f"{name}: training images, {split_spec.words(chosen)}"
    console.table(title, ("class", "images", "copies", "total"), rows)
    if not copied:
        console.say("All classes already have the same number of images: nothing to copy.")
        return
    size = sum(path.stat().st_size for path, _ in offline_copies.files(made))
    console.say(f"Copies: {size / 1e6:,.1f} MB in {made}")
    words = ["train", "cnn", "--dataset", name, *(["--split", split] if split else [])]
    if split_seed != 42:
        settings.append(f"split_seed={split_seed}")
    console.say(f"Next: python run_guide.py {shlex.join([*words, *(w for each in settings for w in ('--set', each))])}")
