"""GET /api/v1/runs...: the content of the pages below "Compare" as JSON."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from utils.metrics import predictions
from utils.runs import stress_file
from webapp.http.problem_responses import documented
from webapp.runs import test_predictions
from webapp.runs.catalogue import Entry
from webapp.runs.config_sanitizer import clean

router = APIRouter(tags=["runs"])
UNCHANGED = {stress_file.NONE: "unchanged"}
ID = "cnn/20260101T000000Z-0123abcd"


class RunSummary(BaseModel):
    """One run folder. Fields that cannot be read, as of an unfinished run, are null."""

    id: str = Field(examples=[ID])
    model: str = Field(examples=["cnn"])
    label: str = Field(description="The model's name with its recipe or variant.", examples=["cnn (stain_swap)"])
    state: str = Field(pattern="^(finished|unfinished|changed|damaged)$")
    problem: str = Field(description="Why it is not finished, and what to do; empty where it is.")
    split: str | None = Field(examples=["64/16/20"])
    seed: int | None
    initialisation: str | None = Field(description="Initial weights.", examples=["random", "ImageNet"])
    variant: str | None = Field(description="Dataset variant applied to every image.", examples=["rgb"])
    image_size: int | None = Field(description="Side of the resized images in pixels.")
    dataset: str | None
    test_identity: str | None = Field(
        description="Hash of test images and labels; runs with the same hash are comparable."
    )
    images: int | None = Field(description="Number of test images.")
    accuracy: float | None = Field(description="Test accuracy, 0..1.")
    sealed: bool = Field(description="Whether it is finished and has a seal, which shows later changes of its files.")
    has_weights: bool = Field(description="Whether it can predict: POST /api/v1/predict.")


class ClassScores(BaseModel):
    """Scores of one class on the test images, 0..1; null where undefined."""

    name: str
    support: int = Field(description="Number of test images of the class.")
    precision: float | None
    recall: float | None
    f1: float | None
    auc: float | None


class Scores(BaseModel):
    """Scores on the test images, recomputed from predictions.csv; shares in 0..1, averages over classes are macro."""

    images: int
    accuracy: float
    accuracy_low: float = Field(description="Lower end of the 95 % Wilson interval.")
    accuracy_high: float
    balanced_accuracy: float
    precision: float
    recall: float
    f1: float
    auc: float | None
    log_loss: float


class TestSet(BaseModel):
    """Scores on a test set besides the main one, 0..1."""

    test_set: str = Field(examples=["test_night"])
    test_identity: str = Field(description="Hash of its images and labels; empty where the manifest is missing.")
    images: int
    accuracy: float
    accuracy_low: float = Field(description="Lower end of the 95 % Wilson interval.")
    accuracy_high: float
    f1_macro: float


class Calibration(BaseModel):
    """Calibration of the test predictions before and after temperature scaling, fitted on the validation images."""

    temperature: float
    ece: float
    ece_scaled: float
    brier: float
    brier_scaled: float


class Stress(BaseModel):
    """Accuracy on perturbed test images, 0..1; null where not measured on all of them."""

    grey: float | None
    stain_swap: float | None = Field(description="Accuracy with the stain of another class.")
    flip_rate: float | None = Field(description="Share of answers that changed to that class.")
    shortcut_margin: float | None = Field(description="Accuracy minus that of the best shortcut baseline.")
    families: dict[str, float] = Field(description="Accuracy by family of perturbation; empty without a stress test.")


class Timing(BaseModel):
    """Cost of training and prediction on the machine of the run."""

    training_seconds: float | None
    load_seconds: float | None
    latency_ms_p50: float | None = Field(description="For one image.")
    latency_ms_p95: float | None
    images_per_second: dict[str, float | None] = Field(description="By batch size.")
    parameters: int | float | None
    flops: int | float | None
    bytes_on_disk: int | float | None
    device: str | None
    cpu: str | None
    threads: int | None
    precision: str | None


class RunDetail(RunSummary):
    """One run. Fields beyond the summary and the configuration are null unless it is finished."""

    config: dict[str, Any] = Field(description="Its config.json; empty where it cannot be read.")
    metrics: Scores | None
    per_class: list[ClassScores] | None
    other_tests: list[TestSet] | None = Field(description="Test sets besides the main one, to which all else refers.")
    calibration: Calibration | None
    stress: Stress | None
    timing: Timing | None


class Confusion(BaseModel):
    """Confusion matrix of the test images."""

    run: str = Field(examples=[ID])
    images: int
    classes: list[str]
    matrix: list[list[int]] = Field(description="Counts; rows are true classes, columns predicted ones.")


@router.get("/api/v1/runs", summary="Every run, newest first")
def runs(request: Request) -> list[RunSummary]:
    """Return every run folder with its current state."""
    return [RunSummary(**_summary(entry)) for entry in request.app.state.services.catalogue.entries()]


@router.get("/api/v1/runs/{model}/{folder}", summary="One run", responses=documented(404, 422))
def run(request: Request, model: str, folder: str) -> RunDetail:
    """Return configuration, scores, calibration, stress test and timing of a run."""
    entry = request.app.state.services.catalogue.find(f"{model}/{folder}")
    with test_predictions.readable(entry):
        return RunDetail(**_summary(entry), config=entry.config, **_measured(entry))


@router.get(
    "/api/v1/runs/{model}/{folder}/confusion", summary="Confusion matrix of a run", responses=documented(404, 422)
)
def confusion(request: Request, model: str, folder: str) -> Confusion:
    """Return the confusion matrix of a finished run; 404 for any other."""
    entry = request.app.state.services.catalogue.find(f"{model}/{folder}")
    answers = test_predictions.of(entry)
    with test_predictions.readable(entry):
        matrix = predictions.confusion(answers.table).tolist()
    return Confusion(run=entry.id, images=len(answers.table), classes=list(answers.classes), matrix=matrix)


def _summary(entry: Entry) -> dict[str, Any]:
    config, row = entry.config, entry.record.row if entry.record else {}

    def told(key: str, kind: type) -> Any:
        value = row.get(key, config.get(key))
        return clean(value) if isinstance(value, kind) and not isinstance(value, bool) else None

    about = {key: getattr(entry, key) for key in ("id", "label", "state", "problem", "sealed", "has_weights")}
    texts = ("split", "initialisation", "variant", "dataset", "test_identity")
    numbers = ("seed", "image_size", "images")
    return {
        **clean(about),
        "model": entry.run.model,
        **{key: told(key, str) for key in texts},
        **{key: told(key, int) for key in numbers},
        "accuracy": row.get("accuracy"),
    }


def _measured(entry: Entry) -> dict[str, Any]:
    if not entry.record:
        return dict.fromkeys(("metrics", "per_class", "other_tests", "calibration", "stress", "timing"))
    row, found = clean(entry.record.row), clean(test_predictions.calibrated(entry))
    held = clean(entry.measured)
    same = ("images", "accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy", "log_loss")
    families = clean(stress_file.families(stress_file.read(entry.run)))
    costs = ("training_seconds", "load_seconds", "latency_ms_p50", "latency_ms_p95", "parameters", "flops")
    machine = {"device": str, "cpu": str, "threads": int, "precision": str}
    return {
        "metrics": {
            **{key: row[key] for key in same},
            **{key: row[f"{key}_macro"] for key in ("precision", "recall", "f1")},
            "auc": row["auc_ovr_macro"],
        },
        "per_class": [{"name": each["class"]} | clean(each) for each in entry.record.per_class],
        "other_tests": clean(entry.record.other_tests),
        "calibration": {
            "temperature": found["temperature"],
            **{key: found["before"][key] for key in ("ece", "brier")},
            **{f"{key}_scaled": found["after"][key] for key in ("ece", "brier")},
        },
        "stress": {key: held[key] for key in ("grey", "stain_swap", "flip_rate", "shortcut_margin")}
        | {"families": {UNCHANGED.get(name, name): value for name, value in families.items() if value is not None}},
        "timing": {
            **{key: row[key] for key in (*costs, "bytes_on_disk")},
            "images_per_second": {batch: row[f"images_per_second_{batch}"] for batch in ("1", "8", "32")},
            **{key: row[key] if isinstance(row[key], kind) else None for key, kind in machine.items()},
        },
    }
