"""Records of finished runs, read from their folders without Keras or images."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from utils.errors import LeukoBenchError, cut
from utils.io import files
from utils.metrics import predictions
from utils.runs import cache as run_cache
from utils.runs import run_fields, run_folder, seal, split_spec
from utils.runs.run_folder import Run
from utils.runs.split_spec import Scheme

if TYPE_CHECKING:
    import pandas as pd

MACHINE = ("device", "cpu", "threads", "precision")  # seconds are averaged only over runs that agree in these
MADE_FROM = (
    *(run_folder.CONFIG, run_folder.ENVIRONMENT, run_folder.HISTORY, run_folder.TIMING),
    *(run_folder.PREDICTIONS, run_folder.METRICS, seal.FILE),
)  # files of a record, besides the manifest
AT_ONCE = 1_000_000_000  # bytes of weights that a process reads to check seals, in about a second
_read_weights = 0  # bytes
MODULES = (  # modules whose code decides the content of a record
    *(f"utils.runs.{name}" for name in ("records", "cache", "run_fields", "run_folder", "seal", "split_spec")),
    *(f"utils.metrics.{name}" for name in ("predictions", "significance")),
    "utils.io.files",
)


class RunRow(TypedDict):
    """The columns of table.csv for one run. Shares and scores are in 0..1; None where the run lacks the number."""

    model: str
    run: str
    split: str
    seed: int
    initialisation: str
    variant: str
    image_size: int
    epochs_best: float | None
    epochs_ran: int
    images: int  # of the test set
    accuracy: float
    accuracy_low: float  # 95 % Wilson interval over images
    accuracy_high: float
    balanced_accuracy: float
    precision_macro: float
    recall_macro: float
    f1_macro: float
    precision_weighted: float
    recall_weighted: float
    f1_weighted: float
    auc_ovr_macro: float | None
    log_loss: float
    training_seconds: float | None
    training_seconds_to_best: float | None
    feature_reuse_saved_seconds: float | None
    training_peak_memory_mb: float | None
    import_memory_mb: float | None
    load_seconds: float | None
    latency_ms_p50: float | None
    latency_ms_p95: float | None
    images_per_second_1: float | None  # by batch size
    images_per_second_8: float | None
    images_per_second_32: float | None
    parameters: float | None
    trainable_parameters: float | None
    flops: float | None
    bytes_on_disk: float | None
    inference_peak_memory_mb: float | None
    device: str | None
    cpu: str | None
    threads: int | None
    precision: str | None
    dataset: str
    test_identity: str


class OtherTest(TypedDict):
    """Scores of one run on a test set besides the main one; shares in 0..1.

    `test_identity` is the hash of its images and labels; "" where the manifest is missing.
    """

    test_set: str
    test_identity: str
    images: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    f1_macro: float


@dataclass(frozen=True)
class Record:
    """One finished run: a row of the table, a row for each class, and its configuration.

    Attributes:
        per_class: class, precision, recall, f1, support, auc of each class.
        other_tests: scores on each further test set, columns of OtherTest.
        label: the model's name with its flavour, "cnn (clahe)".
        recipe: the configuration without the seed, as text.
        unchecked: path of the manifest if it is missing, so that the test images were not checked; else None.
    """

    run: Run
    row: RunRow
    per_class: list[dict[str, Any]]
    label: str
    recipe: str = field(repr=False)
    unchecked: Path | None = None
    other_tests: list[OtherTest] = field(default_factory=list)

    @property
    def split(self) -> Scheme:
        """The parsed split."""
        return split_spec.of_run(self.row)


def measure(run: Run) -> Record:
    """Read one finished run and recompute its metrics from predictions.csv.

    Raises:
        Changed: a file has changed since the run was measured.
        LeukoBenchError: the run is not finished, or a file is missing or damaged; the line names the run.
    """
    if not run.finished:
        raise LeukoBenchError(
            f"Run {run.id} is not finished: it has no {run_folder.METRICS}. Finish it with: python run_guide.py "
            + (f"evaluate {run.id}" if files.exists(run.file(run_folder.PREDICTIONS)) else f"train --resume {run.id}")
        )
    try:
        with run.named_in_errors():
            manifest = about(run)["manifest"]
            made_from = (*MADE_FROM, run_folder.WEIGHTS, beside(manifest))
            held = run_cache.kept(run, "record", made_from, lambda: _measured(run), _code())
            missing = run.manifest_path() if held["unchecked"] else None
            parts = held["row"], held["per_class"], held["label"], held["recipe"]
            return Record(run, *parts, missing, held["other_tests"])
    except OSError as error:
        raise LeukoBenchError(f"Cannot read {error.filename or run.path}: {error.strerror or error}.") from error


def check_seal(run: Run, manifest: str, *names: str) -> None:
    """Check the manifest, the weights and files that were not read yet, which checks them, against the seal of a run.

    Weights are read as long as those of all runs are not more than AT_ONCE bytes: whoever opens a model checks them
    anyway.

    Args:
        run: finished.
        manifest: its hash.
        names: files of the run.

    Raises:
        Changed: a file has changed since the run was measured.
        LeukoBenchError: a file cannot be read, or the seal is damaged.
    """
    global _read_weights
    sealed = seal.read(run)
    if sealed is None:
        return
    run.check(*names, beside(manifest))
    weights, stamp = sealed.get(run_folder.WEIGHTS), files.stamp(run.weights)
    if weights and stamp and stamp[1] == weights.bytes:
        if _read_weights + weights.bytes > AT_ONCE:
            return
        _read_weights += weights.bytes
    run.check(run_folder.WEIGHTS)


def about(run: Run) -> dict[str, Any]:
    """Return the identity of a run, finished or not: label, initialisation, identity (of its test set), manifest.

    Also started, recipe (hash of its configuration without the seed), seed, split and dataset.

    Raises:
        LeukoBenchError: config.json or environment.json is missing or damaged.
    """

    def read() -> dict[str, Any]:
        config, environment = run.config(), run.environment()
        return {
            "label": run.label(),
            "initialisation": config.get("initialisation", ""),
            "identity": identity(run),
            "manifest": environment["manifest"],
            "started": run.started(environment),
            "recipe": digest(recipe(config)),
            "split": config.get("split", ""),
            **{key: config[key] for key in ("seed", "dataset")},
        }

    with run.named_in_errors():
        return run_cache.kept(run, "about", (run_folder.CONFIG, run_folder.ENVIRONMENT), read, _code())


def digest(text: str) -> str:
    """Return a hash of a text, such as a recipe, as 16 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def identity(run: Run) -> str:
    """Return the hash of a run's test images and labels.

    Raises:
        LeukoBenchError: environment.json is missing, damaged or lacks it.
    """
    value = run.environment().get("test_identity")
    if not isinstance(value, str) or not value:
        raise LeukoBenchError(
            f"{run.file(run_folder.ENVIRONMENT)} lacks 'test_identity'. Restore it or train again.",
            path=run.file(run_folder.ENVIRONMENT),
        )
    return value


def recipe(config: dict[str, Any]) -> str:
    """Return a configuration without its seed as text."""
    return files.compact({key: value for key, value in config.items() if key != "seed"})


def variant_of(config: dict[str, Any]) -> str:
    """Return the name of a run's dataset variant; runs of older versions have none and used plain RGB."""
    variant = config.get("variant") or {}
    return str(variant.get("name", "rgb")) if isinstance(variant, dict) else str(variant)


def images_by_class(run: Run) -> dict[str, int]:
    """Return the number of images of each class in the manifest of a run; {} if the manifest is missing."""
    path = run.manifest_path()
    return dict(Counter(label for label, *_ in _rows(path, files.stamp(path)).values())) if path.is_file() else {}


def beside(manifest: str) -> str:
    """Return the path of a manifest from a run's folder."""
    return f"{seal.UP}manifests/{manifest}.csv"


def _code() -> str:
    return run_cache.code_of(*MODULES)


def _measured(run: Run) -> dict[str, Any]:
    config, environment, history, timing = run.config(), run.environment(), run.history(), run.timing()
    training, inference = timing["training"], timing["inference"]
    split_spec.of_run(config)  # refuses an invalid split
    if not history:
        raise LeukoBenchError(
            f"{run.file(run_folder.HISTORY)} holds no epoch. Train the run again.", path=run.file(run_folder.HISTORY)
        )
    if not isinstance(training, dict) or not isinstance(inference, dict):
        raise LeukoBenchError(
            f"{run.file(run_folder.TIMING)} is damaged. Make it with: python run_guide.py evaluate {run.id}",
            run=run.id,
        )
    table = run.predictions()
    score = predictions.summary(run.select(table, run_folder.TEST))
    unchecked = _check_images(run, table)

    def number(source: dict[str, Any], key: str) -> float | None:
        value = source.get(key)
        if value is not None and not run_fields.is_number(value):
            raise LeukoBenchError(
                f"{run.file(run_folder.TIMING)} should hold a number under '{key}'; received {cut(value)!r}.",
                path=run.file(run_folder.TIMING),
            )
        return value

    speed = inference.get("throughput") or {}
    macro, weighted = score["macro"], score["weighted"]
    row: RunRow = {
        "model": run.model,
        "run": run.id,
        "split": config.get("split", ""),
        "seed": config["seed"],
        "initialisation": config.get("initialisation") or config["weights"],
        "variant": variant_of(config),
        "image_size": config["image_size"],
        "epochs_best": number(training, "best_epoch"),
        "epochs_ran": len(history),
        "images": score["images"],
        "accuracy": score["accuracy"],
        "accuracy_low": score["accuracy_low"],
        "accuracy_high": score["accuracy_high"],
        "balanced_accuracy": score["balanced_accuracy"],
        "precision_macro": macro["precision"],
        "recall_macro": macro["recall"],
        "f1_macro": macro["f1"],
        "precision_weighted": weighted["precision"],
        "recall_weighted": weighted["recall"],
        "f1_weighted": weighted["f1"],
        "auc_ovr_macro": score["auc_ovr_macro"],
        "log_loss": score["log_loss"],
        "training_seconds": number(training, "seconds"),
        "training_seconds_to_best": number(training, "seconds_to_best"),
        "feature_reuse_saved_seconds": number(training, "feature_reuse_saved_seconds"),
        "training_peak_memory_mb": number(training, "peak_memory_mb"),
        "import_memory_mb": number(training, "import_memory_mb"),
        "load_seconds": number(inference, "load_seconds"),
        "latency_ms_p50": number(inference, "latency_ms_p50"),
        "latency_ms_p95": number(inference, "latency_ms_p95"),
        "images_per_second_1": number(speed, "1"),
        "images_per_second_8": number(speed, "8"),
        "images_per_second_32": number(speed, "32"),
        "parameters": number(inference, "parameters"),
        "trainable_parameters": number(inference, "trainable_parameters"),
        "flops": number(inference, "flops"),
        "bytes_on_disk": number(inference, "bytes_on_disk"),
        "inference_peak_memory_mb": number(inference, "peak_memory_mb"),
        "device": _device(environment),
        "cpu": environment.get("cpu"),
        "threads": environment.get("threads"),
        "precision": environment.get("precision"),
        "dataset": config["dataset"],
        "test_identity": identity(run),
    }
    check_seal(run, environment["manifest"], run_folder.METRICS)
    return {
        "row": row,
        "per_class": score["per_class"],
        "label": run.label(),
        "recipe": recipe(config),
        "unchecked": unchecked is not None,
        "other_tests": _other_tests(run, table),
    }


def _other_tests(run: Run, table: "pd.DataFrame") -> list[OtherTest]:
    path, found = run.manifest_path(), []
    rows = _rows(path, files.stamp(path)).values() if path.is_file() else ()
    for name in run_folder.test_sets(table["split"])[1:]:
        score = predictions.summary(table[table["split"] == name])
        lines = sorted(f"{sha256},{label}" for label, split, sha256 in rows if split == name)
        found.append(
            OtherTest(
                test_set=name,
                test_identity=digest("\n".join(lines)) if lines else "",
                images=score["images"],
                accuracy=score["accuracy"],
                accuracy_low=score["accuracy_low"],
                accuracy_high=score["accuracy_high"],
                f1_macro=score["macro"]["f1"],
            )
        )
    return found


def _device(environment: dict[str, Any]) -> Any:
    """Return the recorded device, with the number of devices if there were several, and "JAX" for that backend."""
    several, more = environment.get("devices"), []
    if isinstance(several, list) and len(several) > 1:
        more.append(f"{len(several)} devices")
    if environment.get("backend") == "jax":
        more.append("JAX")
    return ", ".join([str(environment.get("device")), *more]) if more else environment.get("device")


def _check_images(run: Run, table: "pd.DataFrame") -> Path | None:
    """Check the images of every test set against the manifest; return its path if it is missing, else None."""
    path = run.manifest_path()
    if not path.is_file():
        return path
    tested = table[table["split"].isin(run_folder.test_sets(table["split"]))]
    expected = _test_labels(path, files.stamp(path))
    keys = zip(tested["split"].tolist(), tested["image"].tolist(), strict=True)
    received = dict(zip(keys, tested["label"].tolist(), strict=True))
    if expected != received or len(tested) != len(received):
        raise LeukoBenchError(
            f"{run.file(run_folder.PREDICTIONS)} does not hold the test images of its manifest: {len(tested):,} rows, "
            f"expected {len(expected):,} ({path.name}). Make it with: python run_guide.py evaluate {run.id}",
            run=run.id,
        )
    return None


@lru_cache(maxsize=64)
def _test_labels(path: Path, stamp: files.Stamp) -> dict[tuple[str, str], str]:
    """Return the label of each (test set, image) of a manifest."""
    rows = _rows(path, stamp)
    known = run_folder.test_sets(split for _, split, _ in rows.values())
    return {(split, image): label for image, (label, split, _) in rows.items() if split in known}


@lru_cache(maxsize=64)
def _rows(path: Path, stamp: files.Stamp) -> dict[str, tuple[str, str, str]]:
    """Return label, subset and hash of every image of a manifest; `stamp` invalidates the cache."""
    rows = files.read_csv(path, ("image", "label", "split", "sha256"))
    return {row["image"]: (row["label"], row["split"], row["sha256"]) for row in rows}
