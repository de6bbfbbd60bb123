"""Training from scratch: accuracy against time, compared with a plain Keras network."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import Any

import models
from benchmarks.program import Options, entry
from benchmarks.results import Claim, Column, Plot, Result, Series, Sheet, Spread, spread
from data import catalog
from data.splitting import given_split
from models.engine import launcher
from models.engine.backend import keras_backend
from models.engine.config.base import ModelConfig
from models.engine.training import trainer
from utils import console
from utils.errors import LeukoBenchError
from utils.runs import run_folder
from utils.runs.run_folder import Run

PLAIN, OURS = "cnn", "smearnet"
FAST = f"{OURS} --profile fast"
PUBLISHED = 98.93  # % accuracy of EfficientNetV2-S as its authors claim it (data/published.csv)
SEEDS = (42, 43, 44)
# Settings to compare, fastest first; one of them is the profile `fast`.
POINTS = (
    ("48 px, 8 epochs", ("image_size=48", "epochs=8")),
    ("64 px, 8 epochs", ("epochs=8",)),
    ("64 px, 10 epochs: fast", ()),
    ("64 px, 10 epochs, bfloat16", ("precision=mixed_bfloat16",)),
    ("64 px, 14 epochs", ("epochs=14",)),
    ("96 px, 10 epochs", ("image_size=96",)),
)


def measure(options: Options) -> Result:
    """Train the plain network once and smearnet with three seeds for each setting."""
    dataset = catalog.ensure_dataset(options.dataset)
    epochs, size = options.pick((17, 224), (2, 32))
    seeds = options.pick(SEEDS, SEEDS[:1])
    points = options.pick(POINTS, (("16 px", ("image_size=32", "epochs=2")),))
    config = models.config_for(PLAIN, dataset=dataset, split=given_split.default(dataset))
    with tempfile.TemporaryDirectory() as place:
        rows = [_point(label, settings, dataset, seeds, Path(place)) for label, settings in points]
    ours = next((row for row in rows if row["label"].endswith("fast")), rows[0])
    plain = _plain(config.replace(image_size=size), epochs)
    ratio = [plain["seconds"] / seconds for seconds in ours["all_seconds"]]
    slowest = Spread(max(ours["all_seconds"]), min(ours["all_seconds"]), max(ours["all_seconds"]), len(seeds))
    reached = Spread(ours["accuracy"], ours["lowest"], ours["highest"], len(seeds))
    claims = [
        Claim(f"{FAST}: test accuracy, mean of the seeds", "%", PUBLISHED, reached),
        Claim(f"{FAST}: seconds of the whole command, slowest seed", "s", 60, slowest, True),
        Claim(f"{epochs} epochs of the plain {PLAIN} / the whole command of {FAST}", "x", 4, spread(ratio)),
    ]
    rows.insert(0, plain)
    columns = (
        Column("label", "Network"),
        Column("seconds", "Seconds of the command", 1),
        Column("training", "Seconds of training", 1),
        Column("accuracy", "Test accuracy in %", 2),
        Column("lowest", "Lowest", 2),
        Column("highest", "Highest", 2),
        Column("seeds", "Seeds", 0),
    )
    frontier = [row for row in rows if row is not plain]
    plots = [
        Plot(
            "Accuracy against seconds of the whole command",
            "Seconds",
            "Test accuracy in percent",
            [
                Series(
                    OURS,
                    [row["seconds"] for row in frontier],
                    [row["accuracy"] for row in frontier],
                    [row["lowest"] for row in frontier],
                    [row["highest"] for row in frontier],
                    False,
                    [row["label"].removeprefix(f"{OURS}: ") for row in frontier],
                ),
            ],
            asked=PUBLISHED,
        )
    ]
    return Result(
        "From scratch: accuracy against seconds",
        f"{dataset}, split {config.split} with seed {config.split_seed}, random initialisation. {OURS} by the whole "
        f"command `train {FAST}`, including process start, decoding, training, evaluation and timing, with seeds "
        f"{', '.join(map(str, seeds))}; the other rows change the settings named. The plain {PLAIN}, one run: "
        f"`image_dataset_from_directory` at {size} px, batch 32, `fit` for {epochs} epochs and `evaluate`.",
        claims,
        [
            Sheet("Accuracy against seconds", columns, rows),
        ],
        plots,
    )


def _point(label: str, settings: tuple[str, ...], dataset: str, seeds: tuple[int, ...], root: Path) -> dict[str, Any]:
    """Train one setting with every seed, each by a command of its own."""
    whole, trained, right = [], [], []
    for seed in seeds:
        words = [OURS, "--profile", "fast", "--dataset", dataset, "--seed", str(seed)]
        words += [part for setting in settings for part in ("--set", setting)]
        start = perf_counter()
        run = _train(words, root)
        whole.append(perf_counter() - start)
        trained.append(run.timing()["training"]["seconds"])
        right.append(100 * run.metrics()["test"]["accuracy"])
        console.say(f"  {label}, seed {seed}: {right[-1]:.2f} % in {whole[-1]:.1f} s")
    return {
        "label": f"{OURS}: {label}",
        "seconds": spread(whole).median,
        "training": spread(trained).median,
        "accuracy": mean(right),
        "lowest": min(right),
        "highest": max(right),
        "seeds": len(seeds),
        "all_seconds": whole,
    }


def _train(words: Sequence[str], root: Path) -> Run:
    """Run the command `train` in a process of its own and return the finished run.

    Args:
        words: model, options and settings.
        root: folder of the runs.

    Raises:
        LeukoBenchError: the training failed.
    """
    before = set(run_folder.find_runs(root))
    done = subprocess.run(
        [sys.executable, "run_guide.py", "train", *words, "--root", str(root)],
        env=launcher.environment(),
        cwd=launcher.PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LeukoBenchError(f"train {' '.join(words)} failed: {done.stderr.strip()[-200:] or 'no error message'}")
    (run,) = set(run_folder.find_runs(root, finished=True)) - before
    return run


def _plain(config: ModelConfig, epochs: int) -> dict[str, Any]:
    """Fit the plain network as a Keras tutorial does."""
    keras_backend.start(config.seed)
    import keras

    _, split = trainer.prepare(config)
    config = config.replace(classes=split.manifest.classes)
    start = perf_counter()

    def images(subset: str, shuffle: bool) -> Any:
        return keras.utils.image_dataset_from_directory(
            split.path / subset,
            label_mode="categorical",
            image_size=(config.image_size,) * 2,
            batch_size=32,
            class_names=list(config.classes),
            shuffle=shuffle,
            seed=config.seed,
            verbose=False,
        )

    model = models.build(config)
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    begun = perf_counter()
    model.fit(images("train", True), validation_data=images("val", False), epochs=epochs, verbose=2)
    trained = perf_counter() - begun
    _, accuracy = model.evaluate(images("test", False), verbose=0)
    accuracy *= 100
    return {
        "label": f"plain {PLAIN}, {config.image_size} px, {epochs} epochs",
        "seconds": perf_counter() - start,
        "training": trained,
        "accuracy": accuracy,
        "lowest": accuracy,
        "highest": accuracy,
        "seeds": 1,
    }


if __name__ == "__main__":
    entry("scratch", measure)
