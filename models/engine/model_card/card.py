"""The model card of a run for Hugging Face: description, training, scores and limits.

Every number comes from the run folder and the files beside it (manifest, shortcut baselines, other runs); for missing
measurements, the card names the command. Format: Mitchell et al. (2019), with the front matter of
https://huggingface.co/docs/hub/model-cards.
"""

import importlib
from pathlib import Path
from typing import Any

import models
from data import all_dataset
from models.engine.export import store as export_store
from models.engine.model_card import sections
from models.engine.model_card.sections import KNOWN, SYNTHETIC, code, of_table
from utils import paths
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import calibration_file, run_folder, split_spec, stress_file
from utils.runs.comparison import compare
from utils.runs.records import Record, measure
from utils.runs.run_folder import Run
from utils.tables import hyperparameters
from utils.tables.table import Table, number, percent, quantity
from utils.tables.writers import markdown_text
from utils.text import MISSING, NOTICE

FILE = "README.md"  # in the folder of the exports
# For weights trained on real images: the licence of the code does not apply to them, and the data are for research.
RESEARCH = {"license": "other", "license_name": "weights-for-research-only"}
TERMS = {"license_link": f"https://www.kaggle.com/datasets/{all_dataset.HANDLE}"}
TASK = {"type": "image-classification", "name": "Image Classification"}
METRICS = {  # columns of table.csv by their names at Hugging Face
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced_accuracy",
    "f1": "f1_macro",
    "roc_auc": "auc_ovr_macro",
    "log_loss": "log_loss",
}
DIGITS = 6


def write(run: Run) -> Path:
    """Write the card of a finished run as <run>/export/README.md and return its path.

    Raises:
        LeukoBenchError: the run is not finished, or a file of it is damaged.
    """
    path = run.file(export_store.FOLDER) / FILE
    files.write_text(path, text(run))
    return path


def text(run: Run) -> str:
    """Return the card of a finished run as Markdown with front matter in YAML; raises the errors of `write`."""
    record, origin = measure(run), sections.origin(run)
    parts = [
        f"# {markdown_text(run.label())} on {markdown_text(record.row['dataset'])}",
        f"> **{NOTICE}.** This model is a result of a benchmark. It was not tested on patients, and a high accuracy "
        "does not show that it reads cells.",
        *_what(run, record),
        *sections.data(run, record, origin),
        *_training(run),
        *sections.scores(run, record),
        *sections.limits(record, origin),
        *_use(run),
        *_licence(origin),
        *_made_with(run),
    ]
    # Names of classes and datasets may be HTML, and a Markdown page would run it.
    body = "\n\n".join(parts).replace("\\<", "<").replace("<", "&lt;")
    return front_matter(run, record, origin) + body + "\n"


def _what(run: Run, record: Record) -> list[str]:
    config, row = run.config(), record.row
    names = markdown_text(", ".join(config["classes"]))
    return [
        "## Description",
        f"{_about(run.model)} It predicts, for one RGB image of a blood smear, a probability for each of "
        f"{len(config['classes'])} classes, in this order: {names}. Made with LeukoBench, as run {code(run.id)}.",
        of_table(
            Table(
                "",
                ("Property", "Value"),
                [
                    ["Input", f"{row['image_size']} x {row['image_size']} px, RGB in 0-255; scaling is in the graph"],
                    ["Variant of the images", hyperparameters.variant_in_words(config)],
                    ["Parameters", quantity(row["parameters"])],
                    ["Floating point operations an image", quantity(row["flops"])],
                    ["Weights on disk", f"{number(row['bytes_on_disk'], 1, 1e-6)} MB"],
                    ["One image at a time, median", f"{number(row['latency_ms_p50'], 1)} ms on {_machine(run)}"],
                ],
                frozenset({0, 1}),
            )
        ),
    ]


def _about(model: str) -> str:
    """Return the description in a model's folder."""
    if model.startswith(run_folder.APPLICATION):
        return f"The architecture {model.removeprefix(run_folder.APPLICATION)} of keras.applications."
    if model not in models.names():
        return f"The network {model}."
    return (importlib.import_module(f"models.{model}").__doc__ or "").strip().split("\n\n")[0]


def _machine(run: Run) -> str:
    about = run.environment()
    device = about.get("device") or "an unknown device"
    place = f"{about.get('cpu')} ({about.get('threads')} threads)" if device == "CPU" else device
    return " ".join(str(place).split())


def _training(run: Run) -> list[str]:
    (comparison,) = compare([run])
    row, (settings,) = comparison.rows[0], hyperparameters.records(comparison)
    config, costs = run.config(), run.timing()["training"]
    rows = [
        ["Initial weights", str(row["initialisation"])],
        ["Recipe", config.get("recipe") or "none"],
        ["Optimiser", settings["optimiser"]],
        ["Initial learning rate, head only", _plain(settings["rate_head"])],
        ["Initial learning rate, whole network", _plain(settings["rate_whole"])],
        ["Weight decay", _plain(settings["weight_decay"])],
        ["Learning rate schedule", settings["rate_drops"]],
        ["Base", settings["base"]],
        ["Dense units, dropout", f"{settings['dense']}, {settings['dropout']}"],
        ["Batch", number(config.get("batch_size"), 0)],
        ["Epochs", f"{row['epochs_ran']} ran, the weights are of epoch {number(row['epochs_best'], 0)}"],
        ["Class weights", str(settings["class_weights"])],
        ["Label smoothing", number(config.get("label_smoothing"), 2)],
        ["Augmentation in each epoch", settings["augmentation"]],
        ["Augmented copies", settings["offline"]],
        ["Seed", str(row["seed"])],
        ["Precision", str(row["precision"])],
        ["Time", f"{number(row['training_seconds'], 0)} s on {_machine(run)}"],
        ["Peak memory", f"{number(costs.get('peak_memory_mb'), 0)} MB"],
    ]
    return [
        "## Training",
        of_table(Table("", ("Setting", "Value"), rows, frozenset({0, 1}))),
        "`config.json` has every field; `python run_guide.py train --config config.json` repeats the training.",
    ]


def _plain(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3g}"


def _use(run: Run) -> list[str]:
    parts = ["## Usage", f"```sh\npython run_guide.py predict {run.id} PATH...\n```"]
    rows, problems = [], []
    for name in export_store.of(run):
        try:
            rows.append(_export(name, export_store.read(run, name)))
        except LeukoBenchError as problem:  # stale or damaged
            problems.append(str(problem))
    if rows:
        columns = ("Export", "MB", "Test images", "Agreement %", "Largest difference", "Accuracy %", "of weights %")
        below = "Validated on the test images against the predictions of the weights; difference: of a probability."
        parts += [f"Exports, in `{export_store.FOLDER}`:", of_table(Table("", columns, rows, words_below=below))]
    elif not problems:
        parts.append(
            f"Exports to other runtimes: none yet. {code(f'python run_guide.py export {run.id} --format onnx')}"
        )
    return [*parts, *map(markdown_text, problems)]


def _export(name: str, described: dict[str, Any]) -> list[str]:
    return [
        name,
        number(described.get("bytes"), 2, 1e-6),
        number(described.get("images"), 0),
        percent(described.get("agreement")),
        _plain(described.get("largest_difference")),
        *(percent(described.get(key)) for key in ("accuracy", "accuracy_of_weights")),
    ]


def _licence(origin: str) -> list[str]:
    weights = (
        "The weights were trained on synthetic images only and have the same licence."
        if origin == SYNTHETIC
        else "It does not apply to the weights: the training images have their own terms, for research."
    )
    return ["## Licence", f"The code of LeukoBench: {code_licence()}, see LICENSE there. {weights}"]


def _made_with(run: Run) -> list[str]:
    about = run.environment()
    commit = about.get("git_commit") or "unknown"
    if about.get("git_dirty"):
        commit += ", with uncommitted changes"
    rows = [
        ["LeukoBench commit", commit],
        ["Python, system", f"{about.get('python')}, {about.get('platform')}"],
        *([name, str(version)] for name, version in (about.get("packages") or {}).items() if version),
        ["Started", str(about.get("started"))],
        ["Manifest of the split", str(about["manifest"])],
        ["Test identity", str(about.get("test_identity"))],
        ["Run", run.id],
    ]
    return ["## Versions", of_table(Table("", ("What", "Which"), rows, frozenset({0, 1})))]


def front_matter(run: Run, record: Record, origin: str) -> str:
    """Return the front matter of a finished run, with its lines of dashes.

    Args:
        run: the run.
        record: of `utils.runs.records.measure`.
        origin: of `sections.origin`.
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

    class Dumper(yaml.SafeDumper):
        """Quotes a text with "<", which is then written as its code."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if "<" in value else None)

    Dumper.add_representer(str, text)
    dumped = yaml.dump(fields, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{dumped}---\n\n".replace("<", "\\x3C")


def code_licence() -> str:
    """Return the identifier of the code's licence at Hugging Face: the first word of LICENSE."""
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
        run.check(calibration_file.FILE)
        plain["expected_calibration_error"] = files.read_json(path)["before"]["ece"]
    results = [_result(run, record, "", plain)]
    # Only of the complete test set: the accuracy on a sample is not comparable.
    rows = stress_file.read_whole_test(run)
    changed = {
        "in grey": stress_file.grey_accuracy(rows),
        "in the stain of another class": stress_file.swap_accuracy(rows),
    }
    return results + [_result(run, record, what, {"accuracy": v}) for what, v in changed.items() if v is not None]


def _result(run: Run, record: Record, change: str, values: dict[str, float]) -> dict[str, Any]:
    row, about = record.row, run.environment()
    split = split_spec.words(row["split"])
    return {
        "task": dict(TASK),  # copies, as YAML would write references
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
