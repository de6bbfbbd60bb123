"""A head on a frozen base: the base run once, beside the plain fit that runs it in every epoch."""

import shutil
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

import models
from benchmarks import samples
from benchmarks.recording import Claim, Column, Options, Result, Sheet, alternate, entry, ratios, spread
from data.loading import tf_loader
from data.loading.augmentation_config import Augmentation
from models.engine.backend import keras_backend
from models.engine.config.base import ModelConfig
from models.engine.layers import backbone
from models.engine.run_io import run_loader
from models.engine.training import feature_cache, trainer
from models.engine.training.loop import seed_dropout

if TYPE_CHECKING:
    from utils.runs.run_folder import Run

MODEL = "resnet50"
CHANGES = Augmentation(flips=True, quarter_turns=True)
VIEWS = (1, 4)  # and as many as there are epochs


def measure(options: Options) -> Result:
    """Train the head both ways, with and without changed images, and compare seconds and answers."""
    keras_backend.start(42)
    count, epochs, size = options.pick((540, 20, 224), (24, 3, 64))
    with samples.sampled(options.dataset, count) as (dataset, about), tempfile.TemporaryDirectory() as place:
        settings = {"dataset": dataset, "weights": "none", "freeze": "always", "epochs": epochs, "patience": epochs}
        config = models.config_for(MODEL, settings=[f"image_size={size}"], **settings)
        same = _both(config, Path(place), options.pick(3, 2))
        varied = _views(config.replace(augmentation=CHANGES), Path(place), options.pick(VIEWS, (1,)))
    seconds, difference = same
    ratio = ratios(seconds["plain fit"], seconds["ours"])
    claims = [
        Claim(f"{epochs} epochs of {MODEL}'s head: plain fit over the frozen model / ours", "x", 12, ratio),
        Claim("the largest difference of a test probability between the two", "", 1e-4, spread([difference]), True),
    ]
    rows = [{"way": way, "seconds": spread(times).median} for way, times in seconds.items()]
    sheets = [
        Sheet("Seconds of the whole training", (Column("way", "Way"), Column("seconds", "Seconds", 1)), rows),
        Sheet(
            f"Changed images ({_words(CHANGES)}), {epochs} epochs",
            (
                Column("way", "Images"), Column("seconds", "Seconds", 1), Column("ratio", "Times faster", 1),
                Column("loss", "Last training loss", 4), Column("test", "Test accuracy in %", 2),
            ),
            varied,
            "With as many views as epochs, each epoch sees what it would have drawn: the same answers at the same "
            "price. With fewer, views come again, as `--set feature_views=K` says.",
        ),
    ]  # fmt: skip
    return Result(
        "Frozen base: features once",
        f"{MODEL} with random weights (random features), base frozen, {epochs} epochs, {size} px, batch "
        f"{config.batch_size}, {about}, split {config.split} with seed {config.split_seed}, seed {config.seed}. The "
        "plain way is `fit` over the model whose base is frozen, on images that are already decoded and in memory; "
        "both see the same order and the same dropout. Ours includes the pass over the base; nothing is kept from "
        "before. The more images, the nearer the ratio comes to the number of epochs.",
        claims,
        sheets,
    )


def _words(augmentation: Augmentation) -> str:
    return ", ".join(name.replace("_", " ") for name, value in augmentation.model_dump().items() if value)


def _both(config: ModelConfig, place: Path, repetitions: int) -> tuple[dict[str, list[float]], float]:
    answers = {}

    def plain() -> float:
        seconds, answers["plain"], _ = _plain(config)
        return seconds

    def ours() -> float:
        seconds, run = _ours(config, place)
        answers["ours"] = run
        return seconds

    seconds = alternate({"plain fit": plain, "ours": ours}, repetitions)
    config, split = trainer.prepare(config)
    images = run_loader.read(config, split, "test")
    ours_says = run_loader.predict(run_loader.open_model(answers["ours"]), images)
    return seconds, float(np.abs(ours_says - answers["plain"]).max())


def _plain(config: ModelConfig) -> tuple[float, np.ndarray, float]:
    """Fit over the frozen model; return seconds, the best epoch's test probabilities, and the last loss."""
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
    validation = tf_loader.fixed_batches(val, config.batch_size)
    best, weights, loss = (-1.0, 0.0), model.get_weights(), 0.0
    for epoch in range(1, config.epochs + 1):
        seed_dropout(model, config.seed, epoch)
        batches = tf_loader.training_batches(train, config.batch_size, config.augmentation, config.seed, epoch)
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


def _views(config: ModelConfig, place: Path, views: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return a row for the plain way, and one for every number of views."""
    whole, split = trainer.prepare(config)
    images = run_loader.read(whole, split, "test")

    def right(answers: np.ndarray) -> float:
        return 100 * float((answers.argmax(1) == images.labels).mean())

    plain, answers, loss = _plain(config)

    def row(way: str, seconds: float, answers: np.ndarray, loss: float) -> dict[str, Any]:
        return {"way": way, "seconds": seconds, "ratio": plain / seconds, "loss": loss, "test": right(answers)}

    rows = [row("changed anew each epoch, plain fit", plain, answers, loss)]
    for count in (*views, config.epochs):
        seconds, run = _ours(config.replace(feature_views=count), place)
        answers = run_loader.predict(run_loader.open_model(run), images)
        rows.append(row(f"{count} view{'s' * (count > 1)} of each, kept", seconds, answers, run.history()[-1]["loss"]))
    return rows


if __name__ == "__main__":
    entry("frozen", measure)
