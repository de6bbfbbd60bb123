"""What one finished run says, read from its folder alone: no Keras, no images."""

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils import artifacts, files, metrics
from utils.artifacts import Run
from utils.errors import LeukoBenchError

if TYPE_CHECKING:
    import pandas as pd

MACHINE = ("device", "cpu", "threads", "precision")  # seconds are averaged only where these agree


@dataclass(frozen=True)
class Record:
    """What one finished run says: a row of the table, a row for each class, and what tells it from its kin.

    Attributes:
        row: the columns of table.csv by name; None where a run holds no such number.
        per_class: class, precision, recall, f1, support, auc of each class.
        label: the model's name with its flavour, "cnn (clahe)".
        recipe: the configuration without the seed, as text.
        unchecked: the manifest that should say which images were tested but is not there; None where it is.
    """

    run: Run
    row: dict[str, Any]
    per_class: list[dict[str, Any]]
    label: str
    recipe: str = field(repr=False)
    unchecked: Path | None = None


def measure(run: Run) -> Record:
    """Read one finished run and recompute its metrics from predictions.csv.

    Raises:
        LeukoBenchError: the run is not finished, or a file is missing or damaged; the line names the run.
    """
    if not run.finished:
        raise LeukoBenchError(
            f"Run {run.id} is not finished: it has no {artifacts.METRICS}. Finish it with: python run_guide.py "
            + (f"evaluate {run.id}" if run.file(artifacts.PREDICTIONS).is_file() else f"train --resume {run.id}")
        )
    try:
        return _measured(run)
    except LeukoBenchError as error:
        known = run.id in str(error) or str(run.path) in str(error)
        raise error if known else LeukoBenchError(f"Run {run.id}: {error}") from None
    except OSError as error:
        raise LeukoBenchError(f"Cannot read {error.filename or run.path}: {error.strerror or error}.") from error


def identity(run: Run) -> str:
    """Return the hash of the test images and labels that a run was tested on.

    Raises:
        LeukoBenchError: environment.json is missing, damaged or does not say.
    """
    value = run.environment().get("test_identity")
    if not isinstance(value, str) or not value:
        raise LeukoBenchError(f"{run.file(artifacts.ENVIRONMENT)} lacks 'test_identity'. Restore it or train again.")
    return value


def recipe(config: dict[str, Any]) -> str:
    """Return a configuration without its seed as text: equal for runs that differ only in their seed."""
    return files.compact({key: value for key, value in config.items() if key != "seed"})


def variant_of(config: dict[str, Any]) -> str:
    """Return the name of the dataset variant that a run saw; runs from before there were variants saw plain RGB."""
    variant = config.get("variant") or {}
    return str(variant.get("name", "rgb")) if isinstance(variant, dict) else str(variant)


def images_by_class(run: Run) -> dict[str, int]:
    """Return how many images of each class the manifest of a run holds; empty where it is not beside the runs."""
    path = run.manifest_path()
    return dict(Counter(label for label, _ in _rows(path).values())) if path.is_file() else {}


def _measured(run: Run) -> Record:
    config, environment, history, timing = run.config(), run.environment(), run.history(), run.timing()
    training, inference = timing["training"], timing["inference"]
    if not history:
        raise LeukoBenchError(f"{run.file(artifacts.HISTORY)} holds no epoch. Train the run again.")
    if not isinstance(training, dict) or not isinstance(inference, dict):
        raise LeukoBenchError(
            f"{run.file(artifacts.TIMING)} is damaged. Make it with: python run_guide.py evaluate {run.id}"
        )
    table = run.predictions("test")
    unchecked = _check_images(run, table)
    score = metrics.summary(table)

    def number(source: dict[str, Any], key: str) -> float | None:
        value = source.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise LeukoBenchError(
                f"{run.file(artifacts.TIMING)} should hold a number under '{key}'; received {value!r}."
            )
        return value

    speed = inference.get("throughput") or {}
    row = {
        "model": run.model,
        "run": run.id,
        "split": config.get("split", ""),
        "seed": config["seed"],
        "initialisation": config.get("initialisation") or config["weights"],
        "variant": variant_of(config),
        "image_size": config["image_size"],
        "epochs_best": number(training, "best_epoch"),
        "epochs_ran": len(history),
        **{key: score[key] for key in ("images", "accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy")},
        **{
            f"{key}_{kind}": score[kind][key] for kind in ("macro", "weighted") for key in ("precision", "recall", "f1")
        },
        **{key: score[key] for key in ("auc_ovr_macro", "log_loss")},
        "training_seconds": number(training, "seconds"),
        "training_seconds_to_best": number(training, "seconds_to_best"),
        "feature_reuse_saved_seconds": number(training, "feature_reuse_saved_seconds"),
        "training_peak_memory_mb": number(training, "peak_memory_mb"),
        "import_memory_mb": number(training, "import_memory_mb"),
        **{key: number(inference, key) for key in ("load_seconds", "latency_ms_p50", "latency_ms_p95")},
        **{f"images_per_second_{batch}": number(speed, batch) for batch in ("1", "8", "32")},
        **{key: number(inference, key) for key in ("parameters", "trainable_parameters", "flops", "bytes_on_disk")},
        "inference_peak_memory_mb": number(inference, "peak_memory_mb"),
        **{key: environment.get(key) for key in MACHINE},
        "dataset": config["dataset"],
        "test_identity": identity(run),
    }
    return Record(run, row, score["per_class"], run.label(), recipe(config), unchecked)


def _check_images(run: Run, table: "pd.DataFrame") -> Path | None:
    """Hold the tested images against the manifest; return its path where it is missing and nothing can be held."""
    path = run.manifest_path()
    if not path.is_file():
        return path
    expected, received = _test_labels(path), dict(zip(table["image"], table["label"], strict=True))
    if expected != received or len(table) != len(received):
        raise LeukoBenchError(
            f"{run.file(artifacts.PREDICTIONS)} does not hold the test images of its manifest: {len(table):,} rows, "
            f"expected {len(expected):,} ({path.name}). Make it with: python run_guide.py evaluate {run.id}"
        )
    return None


def _test_labels(path: Path) -> dict[str, str]:
    return {image: label for image, (label, split) in _rows(path).items() if split == "test"}


@lru_cache(maxsize=64)
def _rows(path: Path) -> dict[str, tuple[str, str]]:
    """Return label and subset of every image of a manifest."""
    return {row["image"]: (row["label"], row["split"]) for row in files.read_csv(path, ("image", "label", "split"))}
