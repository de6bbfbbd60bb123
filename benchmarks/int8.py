"""What eight bits cost: bytes and accuracy of the exports of trained runs, beside their weights."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import trained_run
from benchmarks.recording import Claim, Column, Options, Result, Sheet, Spread, entry
from data import catalog
from data.splitting import splits
from models.engine.export import quantization
from models.engine.export import store as export_store
from utils import console
from utils.errors import LeukoBenchError
from utils.runs import run_folder
from utils.runs.run_folder import Run

INT8 = ("onnx-int8", "litert-int8")  # OpenVINO's has the numbers of ONNX's
BESIDE = "onnx-float32"
TURNED = ("augmentation.flips=true", "augmentation.quarter_turns=true")
# Model, profile and settings: networks of each kind, as large and as long as some minutes allow.
TRAINED = (
    ("smearnet", "fast", ()),
    ("cnn", "", ("image_size=64", "epochs=15")),
    ("vit_b16", "tiny", ("epochs=20", *TURNED)),
    ("resnet18", "", ("weights=none", "image_size=64", "epochs=8", "fine_tune_learning_rate=0.001", *TURNED)),
)
QUICK = (("cnn", "", ("image_size=32", "epochs=1", "filters=[4,8,8]", "dense=8")),)


def measure(options: Options) -> Result:
    """Train every network once, then export it and hold the exports against its own answers."""
    for format in ("onnx", "litert"):
        export_store.need(format, to_make=True)  # said before minutes of training
    dataset = catalog.ensure_dataset(options.dataset)
    rows = []
    with tempfile.TemporaryDirectory() as root:
        for model, profile, settings in options.pick(TRAINED, QUICK):
            words = [model, "--dataset", dataset, *(["--profile", profile] if profile else [])]
            words += [word for setting in settings for word in ("--set", setting)]
            console.say(f"train {' '.join(words)}")
            rows += _exports(trained_run.train(words, Path(root)))
    return Result(
        "Int8: bytes and accuracy",
        f"Networks trained on {dataset}, split {splits.DEFAULT} with seed 42, seed 42, random initialisation, each "
        f"exported in int8 calibrated on {quantization.CALIBRATION} training images, and in float32. Answers are those "
        "for the test images. Bytes are those of all files that the runtime reads.",
        _claims(rows), [_sheet(rows)], notes=[row["refused"] for row in rows if "refused" in row],
    )  # fmt: skip


def _exports(run: Run) -> list[dict[str, Any]]:
    from models.engine.export import exporter

    source, rows, config = exporter.Source(run), [], run.config()
    label = f"{run.label()}, {config['image_size']} px, {config['epochs']} epochs"
    for name in (BESIDE, *INT8):
        format, _, precision = name.rpartition("-")
        row: dict[str, Any] = {"run": label}
        try:
            made = exporter.export(source, format, precision)
        except exporter.Refused as problem:  # its figures count: the claims are not about what passed the check alone
            made, row["refused"] = problem.described, str(problem).replace(run.id, label)
        except LeukoBenchError as problem:
            rows.append(row | {"refused": str(problem)})
            continue
        rows.append(row | {"export": name, "lost": made["accuracy_of_weights"] - made["accuracy"]} | made)
        console.say(f"  {name}: {100 * rows[-1]['lost']:.2f} points lost, {made['bytes'] / 1e6:.2f} MB")
    return rows


def _claims(rows: Sequence[Mapping[str, Any]]) -> list[Claim]:
    eight = [row for row in rows if row.get("export") in INT8]
    if not eight:
        raise LeukoBenchError(f"Nothing could be exported in int8. {' '.join(row.get('refused', '') for row in rows)}")
    largest, dearest = (max(eight, key=lambda row: row[key]) for key in ("share_of_weights", "lost"))
    sizes, losses = ([100 * row[key] for row in eight] for key in ("share_of_weights", "lost"))
    return [
        Claim(
            f"Bytes of int8, of the run's {run_folder.WEIGHTS}, the most of {len(eight)} exports", "%", 25,
            Spread(max(sizes), min(sizes), max(sizes), len(sizes)), True,
            "The weights are a quarter; the graph with the names of its layers and the scales of every channel comes "
            f"on top, which counts the more the fewer weights there are: {largest['run']} as {largest['export']}, "
            f"{largest['bytes'] / 1e6:.2f} MB",
        ),
        Claim(
            f"Accuracy lost by int8, the most of {len(eight)} exports, refused ones too", "points", 0.5,
            Spread(max(losses), min(losses), max(losses), len(losses)), True,
            f"{dearest['run']} as {dearest['export']} loses the most: {_images(dearest)} test images. `export` refuses "
            "what loses more than was asked",
        ),
    ]  # fmt: skip


def _images(row: Mapping[str, Any]) -> str:
    return f"{round(row['lost'] * row['images'])} of {row['images']:,}"


def _sheet(rows: Sequence[Mapping[str, Any]]) -> Sheet:
    columns = (
        Column("run", "Network"), Column("export", "Export"), Column("mb", "MB", 2), Column("share", "% of weights", 1),
        Column("same", "Same answers, %", 2), Column("difference", "Largest difference", 6),
        Column("before", "Accuracy of the weights, %", 2), Column("accuracy", "Accuracy, %", 2),
        Column("lost", "Points lost", 2),
    )  # fmt: skip
    shown = [
        {
            "run": row["run"], "export": row["export"], "mb": row["bytes"] / 1e6,
            "share": 100 * row["share_of_weights"], "same": 100 * row["agreement"],
            "difference": row["largest_difference"], "before": 100 * row["accuracy_of_weights"],
            "accuracy": 100 * row["accuracy"], "lost": 100 * row["lost"],
        }
        for row in rows if "export" in row
    ]  # fmt: skip
    return Sheet("Exports on the test images", columns, shown)


if __name__ == "__main__":
    entry("int8", measure)
