"""The front matter of a model card: the YAML that Hugging Face reads licence, tags and results from."""

from typing import Any

from data import all_dataset
from models.engine.model_card.data_section import KNOWN, SYNTHETIC
from utils import paths
from utils.io import files
from utils.runs import calibration_file, stress_file
from utils.runs.records import Record
from utils.runs.run_folder import Run

# Of weights that real images went into: the code's licence says nothing of them, and the data are there for research.
RESEARCH = {"license": "other", "license_name": "weights-for-research-only"}
TERMS = {"license_link": f"https://www.kaggle.com/datasets/{all_dataset.HANDLE}"}
TASK = {"type": "image-classification", "name": "Image Classification"}
METRICS = {  # the columns of table.csv by the names that Hugging Face has for them
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced_accuracy",
    "f1": "f1_macro",
    "roc_auc": "auc_ovr_macro",
    "log_loss": "log_loss",
}
DIGITS = 6


def front_matter(run: Run, record: Record, origin: str) -> str:
    """Return the front matter of a finished run, with its lines of dashes.

    Args:
        run: the run.
        record: what `utils.run_records.measure` said of it.
        origin: of its images, as `models.card_data.origin` says it.
    """
    import yaml

    dataset = record.row["dataset"]
    fields = {
        **({"license": code_licence()} if origin == SYNTHETIC else RESEARCH),
        **(TERMS if origin == KNOWN else {}),
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": _tags(run, origin),
        "datasets": [dataset],
        "metrics": [name for name, column in METRICS.items() if record.row[column] is not None],
        "model-index": [{"name": run.id, "results": _results(run, record)}],
    }
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=1000)}---\n\n"


def code_licence() -> str:
    """Return the licence of the code as Hugging Face names it: the first word of LICENSE."""
    path = paths.PROJECT / "LICENSE"
    return path.read_text(encoding="utf-8").split()[0].lower() if path.is_file() else "unknown"


def _tags(run: Run, origin: str) -> list[str]:
    tags = ["leukobench", "blood-smear", "image-classification", "not-for-diagnosis"]
    tags += {SYNTHETIC: ["synthetic-images"], KNOWN: ["acute-lymphoblastic-leukemia"]}.get(origin, [])
    return [*tags, run.model.replace(":", "-"), *(str(name) for name in run.config().get("flavour") or ())]


def _results(run: Run, record: Record) -> list[dict[str, Any]]:
    row = record.row
    plain = {name: row[column] for name, column in METRICS.items() if row[column] is not None}
    path = run.file(calibration_file.FILE)
    if path.is_file():
        plain["expected_calibration_error"] = files.read_json(path)["before"]["ece"]
    results = [_result(run, record, "", plain)]
    # The whole test set alone: an accuracy on a sample of it would stand beside others as their equal.
    rows = stress_file.read_whole_test(run)
    changed = {
        "in grey": stress_file.grey_accuracy(rows),
        "in the stain of another class": stress_file.swap_accuracy(rows),
    }
    return results + [_result(run, record, what, {"accuracy": v}) for what, v in changed.items() if v is not None]


def _result(run: Run, record: Record, change: str, values: dict[str, float]) -> dict[str, Any]:
    row, about = record.row, run.environment()
    split = f"split {row['split']}"
    return {
        "task": dict(TASK),  # a copy each, which YAML would name otherwise
        "dataset": {
            "type": row["dataset"],
            "name": f"{row['dataset']}, {split}{f', test images {change}' if change else ''}",
            "config": f"{row['split']} {change}".strip(),
            "split": "test",
            "args": {"manifest": about["manifest"], "test_identity": about.get("test_identity")},
        },
        "metrics": [
            {"type": name, "value": round(float(value), DIGITS), "name": name.replace("_", " ")}
            for name, value in values.items()
        ],
    }
