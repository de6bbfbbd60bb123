"""The model card of a run, as Hugging Face reads them: what it is, how it was made, honest scores, limits.

Every number comes from the run's folder and from what lies beside it (manifest, shortcut baselines, other runs); what
was not measured is said, with the command that measures it. The form: Mitchell et al. (2019), and the front matter that
https://huggingface.co/docs/hub/model-cards describes.
"""

import importlib
from pathlib import Path
from typing import Any

import models
from models.engine.export import store as export_store
from models.engine.model_card import data_section, front_matter, score_sections
from models.engine.model_card.score_sections import of_table
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import run_folder
from utils.runs.comparison import compare
from utils.runs.records import Record, measure
from utils.runs.run_folder import Run
from utils.tables import hyperparameters
from utils.tables.table import Table, number, percent, quantity
from utils.text import MISSING, NOTICE

FILE = "README.md"  # in the folder of the exports


def write(run: Run) -> Path:
    """Write the card of a finished run as <run>/export/README.md and return its path.

    Raises:
        LeukoBenchError: the run is not finished, or a file of it is damaged.
    """
    path = run.file(export_store.FOLDER) / FILE
    files.write_text(path, text(run))
    return path


def text(run: Run) -> str:
    """Return the card of a finished run as Markdown with a front matter in YAML; fails as `write` does."""
    record, origin = measure(run), data_section.origin(run)
    parts = [
        f"# {run.label()} on {record.row['dataset']}",
        f"> **{NOTICE}.** This model is a result of a benchmark. It was never tested on patients, and a high accuracy "
        "below does not mean that it reads cells.",
        *_what(run, record),
        *data_section.data(run, record, origin),
        *_training(run),
        *score_sections.sections(run, record),
        *data_section.limits(record, origin),
        *_use(run),
        *_licence(origin),
        *_made_with(run),
    ]
    return front_matter.front_matter(run, record, origin) + "\n\n".join(parts) + "\n"


def _what(run: Run, record: Record) -> list[str]:
    config, row = run.config(), record.row
    names = ", ".join(config["classes"])
    return [
        "## What it is",
        f"{_about(run.model)} It takes one RGB image of a blood smear and gives a probability for each of "
        f"{len(config['classes'])} classes, in this order: {names}. Made with LeukoBench, as run `{run.id}`.",
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
    """Return the sentence that a model's folder has about it."""
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
    row, (made,) = comparison.rows[0], hyperparameters.records(comparison)
    config, costs = run.config(), run.timing()["training"]
    told = [
        ["Initial weights", str(row["initialisation"])],
        ["Recipe", config.get("recipe") or "none"],
        ["Optimiser", made["optimiser"]],
        ["First rate, head alone", _plain(made["rate_head"])],
        ["First rate, whole network", _plain(made["rate_whole"])],
        ["Weight decay", _plain(made["weight_decay"])],
        ["Rate drops", made["rate_drops"]],
        ["Base", made["base"]],
        ["Dense units, dropout", f"{made['dense']}, {made['dropout']}"],
        ["Batch", number(config.get("batch_size"), 0)],
        ["Epochs", f"{row['epochs_ran']} ran, the weights are of epoch {number(row['epochs_best'], 0)}"],
        ["Class weights", str(made["class_weights"])],
        ["Label smoothing", number(config.get("label_smoothing"), 2)],
        ["Changes in each epoch", made["augmentation"]],
        ["Copies made beforehand", made["offline"]],
        ["Seed", str(row["seed"])],
        ["Precision", str(row["precision"])],
        ["Time", f"{number(row['training_seconds'], 0)} s on {_machine(run)}"],
        ["Peak memory", f"{number(costs.get('peak_memory_mb'), 0)} MB"],
    ]
    return [
        "## Training",
        of_table(Table("", ("Setting", "Value"), told, frozenset({0, 1}))),
        "`config.json` holds every field; `python run_guide.py train --config config.json` trains it again.",
    ]


def _plain(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3g}"


def _use(run: Run) -> list[str]:
    said = ["## How to use it", f"```sh\npython run_guide.py predict {run.id} PATH...\n```"]
    rows, problems = [], []
    for name in export_store.of(run):
        try:
            rows.append(_export(name, export_store.read(run, name)))
        except LeukoBenchError as problem:  # stale or damaged
            problems.append(str(problem))
    if rows:
        columns = ("Export", "MB", "Test images", "Same answers %", "Largest difference", "Accuracy %", "of weights %")
        below = (
            "Each was checked on the test images against the predictions of the weights; difference: of a probability."
        )
        said += [f"Exports, in `{export_store.FOLDER}`:", of_table(Table("", columns, rows, words_below=below))]
    elif not problems:
        said.append(f"Exports to other runtimes: none yet. `python run_guide.py export {run.id} --format onnx`")
    return [*said, *problems]


def _export(name: str, held: dict[str, Any]) -> list[str]:
    return [
        name,
        number(held.get("bytes"), 2, 1e-6),
        number(held.get("images"), 0),
        percent(held.get("agreement")),
        _plain(held.get("largest_difference")),
        *(percent(held.get(key)) for key in ("accuracy", "accuracy_of_weights")),
    ]


def _licence(origin: str) -> list[str]:
    weights = (
        "The weights come from drawn images alone, and are under the same licence."
        if origin == data_section.SYNTHETIC
        else "It says nothing of the weights: the images behind them have terms of their own, for research."
    )
    return ["## Licence", f"The code of LeukoBench: {front_matter.code_licence()}, see LICENSE there. {weights}"]


def _made_with(run: Run) -> list[str]:
    about = run.environment()
    commit = (
        f"{about.get('git_commit') or 'unknown'}{', with changes that are in no commit' * bool(about.get('git_dirty'))}"
    )
    told = [
        ["LeukoBench commit", commit],
        ["Python, system", f"{about.get('python')}, {about.get('platform')}"],
        *([name, str(version)] for name, version in (about.get("packages") or {}).items() if version),
        ["Started", str(about.get("started"))],
        ["Manifest of the split", str(about["manifest"])],
        ["Test identity", str(about.get("test_identity"))],
        ["Run", run.id],
    ]
    return ["## Versions", of_table(Table("", ("What", "Which"), told, frozenset({0, 1})))]
