"""Training a head on a frozen base: features computed once, compared with a plain fit that runs the base each epoch."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

import models
from benchmarks.program import Options, alternate, entry
from benchmarks.results import Claim, Column, Result, Sheet, ratios, spread
from data import catalog
from data.datasets import importer, integrity_check
from data.loading.augmentation_config import Augmentation
from data.loading.image_set import View
from data.loading.pipeline import loader
from models.engine.backend import keras_backend
from models.engine.config.base import ModelConfig
from models.engine.layers import backbone
from models.engine.run_io import run_loader
from models.engine.training import feature_cache, trainer
from models.engine.training.loop import seed_dropout
from utils.paths import raw_dir

if TYPE_CHECKING:
    from utils.runs.run_folder import Run

MODEL = "resnet50"
CHANGES = Augmentation(flips=True, quarter_turns=True)
VIEWS = (1, 4)  # and one view per epoch
SAMPLE = "sample"  # name of the dataset of sampled images


def measure(options: Options) -> Result:
    """Train the head both ways, with and without augmentation, and compare times and predictions."""
    keras_backend.start(42)
    count, epochs, size = options.pick((540, 20, 224), (24, 3, 64))
    with _sampled(options.dataset, count) as (dataset, about), tempfile.TemporaryDirectory() as place:
        settings = {"dataset": dataset, "weights": "none", "freeze": "always", "epochs": epochs, "patience": epochs}
        config = models.config_for(MODEL, settings=[f"image_size={size}"], **settings)
        same = _without_augmentation(config, Path(place), options.pick(3, 2))
        varied = _with_augmentation(config.replace(augmentation=CHANGES), Path(place), options.pick(VIEWS, (1,)))
    seconds, difference = same
    ratio = ratios(seconds["plain fit"], seconds["LeukoBench"])
    claims = [
        Claim(f"{epochs} epochs of {MODEL}'s head: plain fit over the frozen model / LeukoBench", "x", 12, ratio),
        Claim("Largest difference of a test probability between the two", "", 1e-4, spread([difference]), True),
    ]
    rows = [{"way": way, "seconds": spread(times).median} for way, times in seconds.items()]
    sheets = [
        Sheet("Seconds of the whole training", (Column("way", "Way"), Column("seconds", "Seconds", 1)), rows),
        Sheet(
            f"With augmentation ({_names(CHANGES)}), {epochs} epochs",
            (
                Column("way", "Images"),
                Column("seconds", "Seconds", 1),
                Column("ratio", "Times faster", 1),
                Column("loss", "Last training loss", 4),
                Column("test", "Test accuracy in %", 2),
            ),
            varied,
            "With one view per epoch, each epoch sees the images of the plain fit: same predictions, same time. With "
            "fewer views, images repeat (`--set feature_views=K`).",
        ),
    ]
    return Result(
        "Frozen base: features once",
        f"{MODEL} with random weights (random features), base frozen, {epochs} epochs, {size} px, batch "
        f"{config.batch_size}, {about}, split {config.split} with seed {config.split_seed}, seed {config.seed}. The "
        "baseline is a plain `fit` of the model with a frozen base, on decoded images in memory; both use the same "
        "image order and dropout. The time of LeukoBench includes the pass over the base, with an empty cache. With "
        "more images the ratio approaches the number of epochs.",
        claims,
        sheets,
    )


@contextmanager
def _sampled(dataset: str, count: int) -> Iterator[tuple[str, str]]:
    """Make a dataset of about `count` images in a data folder of its own, so that no cached feature helps.

    Args:
        dataset: source of the images; "" for the only dataset, else synthetic smears.
        count: number of images; every k-th of the sorted images is taken.

    Yields:
        Name and description of the dataset.
    """
    name = catalog.ensure_dataset(dataset)
    rows = sorted(integrity_check.current_index(name))
    step = max(1, len(rows) // count)
    chosen = [raw_dir(name) / row.image for row in rows][::step]
    before = os.environ.get("LEUKOBENCH_DATA")
    with tempfile.TemporaryDirectory() as place:
        for path in chosen:
            copy = Path(place, "source", path.parent.name, path.name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        os.environ["LEUKOBENCH_DATA"] = str(Path(place, "data"))
        try:
            importer.import_dataset(Path(place, "source"), SAMPLE)
            yield SAMPLE, f"{len(chosen):,} of the {len(rows):,} images of {name}, every {step}th"
        finally:
            if before is None:
                del os.environ["LEUKOBENCH_DATA"]
            else:
                os.environ["LEUKOBENCH_DATA"] = before


def _names(augmentation: Augmentation) -> str:
    return ", ".join(name.replace("_", " ") for name, value in augmentation.model_dump().items() if value)


def _without_augmentation(config: ModelConfig, place: Path, repetitions: int) -> tuple[dict[str, list[float]], float]:
    answers = {}

    def plain() -> float:
        seconds, answers["plain"], _ = _plain(config)
        return seconds

    def ours() -> float:
        seconds, run = _ours(config, place)
        answers["ours"] = run
        return seconds

    seconds = alternate({"plain fit": plain, "LeukoBench": ours}, repetitions)
    config, split = trainer.prepare(config)
    images = run_loader.read(config, split, "test")
    predicted = run_loader.predict(run_loader.open_model(answers["ours"]), images)
    return seconds, float(np.abs(predicted - answers["plain"]).max())


def _plain(config: ModelConfig) -> tuple[float, np.ndarray, float]:
    """Fit the model with a frozen base; return seconds, test probabilities of the best epoch, and the last loss."""
    import keras

    keras.utils.clear_session()
    keras.utils.set_random_seed(config.seed)
    start = perf_counter()
    config, split = trainer.prepare(config)
    train, val = (run_loader.read(config, split, subset) for subset in ("train", "val"))
    model = models.build(config)
    backbone.prepare_phase(model, config.phases()[0], pretrained=False)
    frozen = backbone.with_frozen_base(model)
    frozen.compile(keras.optimizers.Adam(config.learning_rate), "categorical_crossentropy", metrics=["accuracy"])
    validation = loader().fixed_batches(val, config.batch_size)
    best, weights, loss = (-1.0, 0.0), model.get_weights(), 0.0
    for epoch in range(1, config.epochs + 1):
        seed_dropout(model, config.seed, epoch)
        batches = loader().training_batches(train, config.batch_size, View(config.augmentation, config.seed, epoch))
        history = frozen.fit(batches, epochs=1, verbose=0, validation_data=validation).history
        reached = history["val_accuracy"][0], -history["val_loss"][0]
        if reached > best:
            best, weights = reached, model.get_weights()
        loss = history["loss"][0]
    seconds = perf_counter() - start
    model.set_weights(weights)
    return seconds, run_loader.predict(model, run_loader.read(config, split, "test")), loss


def _ours(config: ModelConfig, place: Path) -> "tuple[float, Run]":
    shutil.rmtree(feature_cache.features_dir(), ignore_errors=True)
    start = perf_counter()
    run = trainer.train(config, place)
    return perf_counter() - start, run


def _with_augmentation(config: ModelConfig, place: Path, views: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return a row for the plain fit and one for every number of views."""
    whole, split = trainer.prepare(config)
    images = run_loader.read(whole, split, "test")

    def accuracy(answers: np.ndarray) -> float:
        return 100 * float((answers.argmax(1) == images.labels).mean())

    plain, answers, loss = _plain(config)

    def row(way: str, seconds: float, answers: np.ndarray, loss: float) -> dict[str, Any]:
        return {"way": way, "seconds": seconds, "ratio": plain / seconds, "loss": loss, "test": accuracy(answers)}

    rows = [row("new each epoch, plain fit", plain, answers, loss)]
    for count in (*views, config.epochs):
        seconds, run = _ours(config.replace(feature_views=count), place)
        answers = run_loader.predict(run_loader.open_model(run), images)
        rows.append(
            row(f"{count} cached view{'' if count == 1 else 's'} of each", seconds, answers, run.history()[-1]["loss"])
        )
    return rows


if __name__ == "__main__":
    entry("frozen", measure)
