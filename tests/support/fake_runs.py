"""Run folders for tests: all files in their real formats, with random probabilities."""

import hashlib
import json
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

import models
from data import manifest as manifests
from models.engine.config.base import BackboneConfig, ModelConfig
from models.engine.config.overrides import build_config
from utils import paths
from utils.io import files
from utils.runs import faithfulness_file, run_folder, seal, shortcuts_file, split_spec, stress_file
from utils.runs.run_folder import Run
from utils.system import environment

PASS, FEATURES = 4.25, 512  # seconds of one pass through a frozen base, and its number of features
UNMEASURED = {"insertion_auc", "road", "pointing_game", "randomisation"}  # columns that older versions lack
CLASSES = ("Benign", "Early", "Pre", "Pro")
FILES = (
    run_folder.CONFIG,
    run_folder.ENVIRONMENT,
    run_folder.HISTORY,
    run_folder.WEIGHTS,
    run_folder.ARCHITECTURE,
    run_folder.PREDICTIONS,
    run_folder.TIMING,
    run_folder.METRICS,
)  # of a finished run, besides seal.json, heatmaps.npz and <root>/manifests/<hash>.csv


def fake_run(
    root: Path,
    model: str = "cnn",
    *,
    seed: int = 42,
    classes: Sequence[str] = CLASSES,
    images: int = 40,
    accuracy: float = 0.9,
    finished: bool = True,
    test_identity: str | None = None,
    dataset: str = "synthetic",
    weights: str = "none",
    epochs: int = 4,
    heatmaps: bool = False,
    pictures: bool = False,
    settings: Sequence[str] = (),
    head_epochs: int = 0,
    split: str = split_spec.DEFAULT,
    measured: bool = False,
    test_sets: Sequence[str] = ("test",),
    sealed: bool = False,
) -> Run:
    """Write a run folder and return its Run; each call for a root gets a later time stamp.

    Args:
        root: folder of the runs; the manifest goes to <root>/manifests/.
        model: any name; the folder is <root>/<model>/.
        seed: of the config, and of the random numbers.
        classes: class names, stored in sorted order as in a manifest.
        images: number of test images and of validation images; three times as many for training.
        accuracy: share of correctly classified test images, exact to the image.
        finished: False leaves out predictions, timing, heatmaps and metrics, as after a killed training.
        test_identity: of another test set (other image hashes).
        dataset: name written into the config.
        weights: "none", "imagenet" or a file name.
        epochs: rows of history.csv; the last but one is the best.
        heatmaps: also write heatmaps.npz (a panel of one image per class, and examples).
        pictures: also write a small PNG of every image into paths.raw_dir(dataset).
        settings: "field=value" texts for the config.
        head_epochs: number of first epochs with a frozen base, whose features were computed once.
        split: of the config; any other split than the default has other test images of the same dataset. The groups of
            a grouped split are in one subset each.
        test_sets: names of its test sets, each with `images` images, the main one first.
        measured: also write the files of stress test, faithfulness and shortcut baselines.
        sealed: also write seal.json, as runs have it that are not of an older version.
    """
    classes = tuple(sorted(classes))
    config = _config(model, seed, classes, dataset, weights, [f"split={split}", *settings])
    manifest = _manifest(classes, images, test_identity or "", split, test_sets)
    folder = Path(root) / run_folder.folder_of(model)
    earlier = len(list(Path(root).glob("*/*Z-*")))
    stamp = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=earlier)
    run = Run(folder / f"{stamp:%Y%m%dT%H%M%S}Z-{config.hash()[:8]}")

    manifest.write(Path(root) / "manifests" / f"{manifest.hash}.csv")
    if pictures:
        _write_pictures(manifest, dataset)
    fields = config.model_dump(mode="json")
    fields |= {"initialisation": config.initialisation, "flavour": list(config.flavour)}
    files.write_json(run.file(run_folder.CONFIG), fields)
    identity = test_identity or manifest.test_identity
    files.write_json(run.file(run_folder.ENVIRONMENT), _environment(manifest, identity, dataset))
    files.write_text(run.file(run_folder.HISTORY), _history(epochs, config.learning_rate, accuracy, head_epochs))
    files.write_bytes(run.file(run_folder.WEIGHTS), b"\x89HDF\r\n\x1a\n made-up weights")
    files.write_text(run.file(run_folder.ARCHITECTURE), json.dumps(_architecture(config)))
    if not finished:
        return run

    random = np.random.default_rng([seed, sum(model.encode())])
    predicted = ("val", *test_sets)
    rows = [row for subset in predicted for row in manifest.subset(subset)]
    probabilities = np.concatenate(
        [_probabilities([r.label for r in rows if r.split == s], classes, accuracy, random) for s in predicted]
    )
    table = [[r.image, r.split, r.label, *(f"{p:.9g}" for p in ps)] for r, ps in zip(rows, probabilities, strict=True)]
    header = ["image", "split", "label", *(f"p_{name}" for name in classes)]
    files.write_text(run.file(run_folder.PREDICTIONS), files.csv_text(header, table))
    files.write_json(run.file(run_folder.TIMING), _timing(epochs, random, head_epochs))
    if heatmaps:
        write_heatmaps(run)
    from utils.metrics.predictions import summary

    measures = {subset: summary(run.predictions(subset)) for subset in ("val", "test", *test_sets[1:])}
    files.write_json(run.file(run_folder.METRICS), measures)
    if measured:
        write_stress(run, {"grey": 0.4, "stain swap": 0.3, "blur": 0.7, "cells removed": 0.25}, flip_rate=0.5)
        write_faithfulness(run, {config.heatmap_method: 0.4, "random": 0.1})
        write_shortcuts(run, {"majority class": 0.25, "background": 0.6, "colour histogram": 0.8})
    if sealed:
        with seal.together(run, finish=True):
            pass
    return run


def write_heatmaps(run: Run, method: str = "gradcam", side: int = 8) -> Path:
    """Write heatmaps.npz: the first test image of each class as panel, two examples of each class."""
    table = run.predictions("test")
    classes = run.config()["classes"]
    likeliest = table[[f"p_{name}" for name in classes]].to_numpy().argmax(axis=1)
    chosen: list[tuple[int, str]] = []
    for name in classes:
        of_class = np.flatnonzero(table["label"].to_numpy() == name)
        right = [i for i in of_class if classes[likeliest[i]] == name]
        wrong = [i for i in of_class if classes[likeliest[i]] != name]
        chosen += [(int(i), "panel") for i in of_class[:1]]
        chosen += [(int(i), "example") for i in (*right[:1], *wrong[:1])]
    index = [i for i, _ in chosen]
    predicted = np.array([classes[k] for k in likeliest[index]])
    y, x = np.mgrid[0:side, 0:side] / (side - 1)
    maps = [np.exp(-((x - 0.2 - 0.6 * (k % 2)) ** 2 + (y - 0.5) ** 2) * 8) for k in range(len(index))]
    path = run.file(run_folder.HEATMAPS)
    with files.atomic(path) as temporary:
        np.savez_compressed(
            temporary,
            image=table["image"].to_numpy()[index].astype(str),
            method=np.full(len(index), method),
            layer=np.full(len(index), run.config()["heatmap_layer"]),
            target=predicted,
            predicted=predicted,
            purpose=np.array([purpose for _, purpose in chosen]),
            map=np.array(maps, dtype=np.float16),
        )
    return path


def write_stress(run: Run, accuracies: dict[str, float], flip_rate: float = 0.0) -> Path:
    """Write stress.csv: the unchanged images, then each family with the given accuracy; blur in five severities."""
    count = len(run.predictions("test"))
    plain = run.metrics()["test"]["accuracy"]
    rows = [("none", "none", 0, "", count, plain, plain, 0.02, "", 1.0)]
    for family, accuracy in accuracies.items():
        donor = "other" if family.endswith("swap") else ""
        for severity in range(1, 6) if family == "blur" else (0,):
            flips = flip_rate if donor else ""
            value = accuracy + 0.02 * (3 - severity) if severity else accuracy  # the mean is the accuracy
            rows.append((family, family, severity, donor, count, value, value, 0.1, flips, ""))
    with seal.together(run) as stage:
        files.write_text(stage / stress_file.FILE, files.csv_text(stress_file.HEADER, rows))
    return run.file(stress_file.FILE)


def write_faithfulness(run: Run, masses: dict[str, float]) -> Path:
    """Write faithfulness.csv: one row per method with the given share of its mass inside nuclei."""
    header = [name for name in faithfulness_file.HEADER if name not in UNMEASURED]
    rows = [(method, 10, 0.5, 0.1, 0.45, 0.55, mass, 0.15, 42) for method, mass in masses.items()]
    with seal.together(run) as stage:
        files.write_text(stage / faithfulness_file.FILE, files.csv_text(header, rows))
    return run.file(faithfulness_file.FILE)


def write_shortcuts(run: Run, accuracies: dict[str, float]) -> Path:
    """Write the shortcut baselines of a run's manifest, <root>/shortcuts/<hash>.csv."""
    count = len(run.predictions("test"))
    rows = [(name, count, round(a * count), a, a - 0.1, a + 0.1, 48, 0.5) for name, a in accuracies.items()]
    path = shortcuts_file.path(run.root, run.environment()["manifest"])
    files.write_text(path, files.csv_text(shortcuts_file.COLUMNS, rows))
    return path


def answer(run: Run, wrong: Collection[int]) -> Run:
    """Rewrite a run's test predictions: correct except for the images at these positions."""
    table, classes = run.predictions(), run.config()["classes"]
    for position, row in enumerate(np.flatnonzero(table["split"] == "test")):
        predicted = (classes.index(table.loc[row, "label"]) + (position in wrong)) % len(classes)
        table.loc[row, [f"p_{name}" for name in classes]] = np.eye(len(classes))[predicted] * 0.8 + 0.05
    with seal.together(run) as stage:
        files.write_text(stage / run_folder.PREDICTIONS, table.to_csv(index=False))
    return run


def read_table(path: Path) -> list[dict[str, str]]:
    """Read a written CSV table."""
    return files.read_csv(path, ())


def _config(model, seed, classes, dataset, weights, settings) -> ModelConfig:
    fields = {"model": model, "seed": seed, "classes": classes, "dataset": dataset, "weights": weights}
    if model in models.names():
        return models.config_for(model, settings=settings, **fields)
    return build_config(BackboneConfig, settings=settings, **fields)


def _manifest(
    classes: tuple[str, ...], images: int, salt: str, split: str, test_sets: Sequence[str]
) -> manifests.Manifest:
    sizes = (("train", 3 * images), *((name, images) for name in ("val", *test_sets)))
    pool = [(name, i) for name, count in sizes for i in range(count)]
    turn = images * (0 if split == split_spec.DEFAULT else 1 + sum(split.encode()) % 4)
    rows = []
    for (name, i), (subset, _) in zip(pool, pool[turn:] + pool[:turn], strict=True):
        label = classes[i % len(classes)]
        image = f"{label}/{name}-{i // len(classes):03d}.png"
        digest = hashlib.sha256(f"{salt}{image}".encode()).hexdigest()
        group = f"{subset}-{i % 5}" if split.startswith("grouped") else f"patient-{i % 5}"
        rows.append(manifests.Row(image, label, subset, group, digest))
    return manifests.from_rows(rows)


def _write_pictures(manifest: manifests.Manifest, dataset: str) -> None:
    from PIL import Image

    folder = paths.raw_dir(dataset)
    for row in manifest.rows:
        path = folder / row.image
        if path.is_file():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        red, green, blue = bytes.fromhex(row.sha256)[:3]
        picture = Image.new("RGB", (32, 32), (235, 215, 220))
        picture.paste((red // 2 + 60, green // 3, blue // 2 + 100), (8, 8, 24, 24))
        picture.save(path)
    counts = {name: sum(row.label == name for row in manifest.rows) for name in manifest.classes}
    about = {"name": dataset, "classes": list(manifest.classes), "images": counts, "source": "test", "synthetic": None}
    files.write_json(folder / "dataset.json", about)


def _probabilities(labels: list[str], classes: tuple[str, ...], accuracy: float, random: np.random.Generator):
    """Return float32 probabilities (images, classes) with exactly round(accuracy * images) correct answers."""
    count, width = len(labels), len(classes)
    right = np.zeros(count, bool)
    right[random.permutation(count)[: round(accuracy * count)]] = True
    answer = np.array([classes.index(label) for label in labels])
    if width > 1:
        answer = np.where(right, answer, (answer + random.integers(1, width, count)) % width)
    rest = random.dirichlet(np.ones(width), count)
    share = random.uniform(0.52, 0.98, (count, 1))
    return (share * np.eye(width)[answer] + (1 - share) * rest).astype(np.float32)


def _environment(manifest: manifests.Manifest, identity: str, dataset: str) -> dict:
    return {
        "manifest": manifest.hash,
        "test_identity": identity,
        "split_folder": f"{dataset}-64-16-20-seed42",
        "precision": "float32",
        "device": "CPU",
        "threads": 2,
        "deterministic": True,
        "started": "2026-01-01T00:00:00Z",
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "git_dirty": False,
        "python": "3.11.7",
        "platform": "Linux x86_64",
        "cpu": "Example CPU @ 2.60GHz",
        "cores": 2,
        "memory_gb": 8.0,
        "packages": dict.fromkeys(environment.PACKAGES, "1.2.3"),
    }


def _history(epochs: int, learning_rate: float, accuracy: float, head_epochs: int) -> str:
    header = ["epoch", "phase", "learning_rate", "seconds", "feature_seconds"]
    header += ["loss", "accuracy", "val_loss", "val_accuracy"]
    rows = []
    for epoch in range(1, epochs + 1):
        reached = min(epoch, max(epochs - 1, 1)) / max(epochs - 1, 1)
        value = round(0.25 + (accuracy - 0.25) * reached - (0.01 if epoch == epochs > 1 else 0), 4)
        phase = "head" if epoch <= head_epochs else "fine-tune" if head_epochs else "train"
        rate = learning_rate / 10 if phase == "fine-tune" else learning_rate
        once = PASS if epoch == 1 and head_epochs else 0.0
        rows.append((epoch, phase, rate, 10.5, once, round(1.4 - value, 4), value, round(1.5 - value, 4), value))
    return files.csv_text(header, rows)


def _timing(epochs: int, random: np.random.Generator, head_epochs: int) -> dict:
    best = max(epochs - 1, 1)
    latency = round(float(random.uniform(5, 50)), 3)
    return {
        "training": {
            "seconds": 10.5 * epochs,
            "seconds_to_best": 10.5 * best,
            "epochs": epochs,
            "best_epoch": best,
            "feature_reuse_saved_seconds": PASS * (head_epochs - 1) if head_epochs else None,
            "feature_pass_seconds": PASS if head_epochs else None,
            "features": FEATURES if head_epochs else None,
            "peak_memory_mb": 1100.5,
            "import_memory_mb": 700.25,
        },
        "inference": {
            "load_seconds": 0.8,
            "latency_ms_p50": latency,
            "latency_ms_p95": round(latency * 1.3, 3),
            "throughput": {b: round(k * 1000 / latency, 2) for k, b in ((1, "1"), (2, "8"), (3, "32"))},
            "warmup": 10,
            "iterations": 40,
            "peak_memory_mb": 900.0,
            "parameters": 4_288_068,
            "trainable_parameters": 4_288_068,
            "flops": 412_345_678,
            "bytes_on_disk": 51_500_000,
            "device": "CPU",
        },
    }


def _architecture(config: ModelConfig) -> dict:
    side, width = config.image_size, len(config.classes)
    layers = [
        {
            "class_name": "InputLayer",
            "name": "image",
            "config": {"name": "image", "batch_shape": [None, side, side, 3]},
        },
        {"class_name": "Conv2D", "name": "block3_conv", "config": {"name": "block3_conv", "filters": 128}},
        {"class_name": "Dense", "name": "class", "config": {"name": "class", "units": width, "activation": "softmax"}},
    ]
    return {"module": "keras", "class_name": "Functional", "config": {"name": config.model, "layers": layers}}
