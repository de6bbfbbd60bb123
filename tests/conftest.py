"""Shared fixtures: folders for data and runs, tiny synthetic smears, one trained run."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import run_guide, run_python
from export_bounds import loose_bounds

import models
from utils.paths import PROJECT

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Every test below tests/web and tests/extra has the folder's marker; without these packages the folder is left out.
FOLDERS = {
    "web": ("fastapi", "playwright", "schemathesis", "httpx"),
    "extra": ("onnx", "openvino", "ray", "mlflow", "jax"),
}
MISSING = {
    folder: [name for name in names if importlib.util.find_spec(name) is None] for folder, names in FOLDERS.items()
}
OF_KERAS_HUB = {name for name in models.names() if models.config_for(name).NEEDS}
collect_ignore = [folder for folder, names in MISSING.items() if names]


def pytest_report_header() -> list[str]:
    """Say which folders of tests are left out, and what they need."""
    return [
        f"tests/{folder} is left out without {', '.join(names)}: pip install -r requirements-dev-all.txt"
        for folder, names in MISSING.items()
        if names
    ]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of tests/web and tests/extra, and those with a model of keras-hub as a parameter."""
    for item in items:
        folder = item.path.relative_to(PROJECT / "tests").parts[0]
        if folder in FOLDERS:
            item.add_marker(folder)
        elif hasattr(item, "callspec") and OF_KERAS_HUB & {str(value) for value in item.callspec.params.values()}:
            item.add_marker("extra")


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder and a runs folder for the whole session, with the dataset `tiny` in it."""
    from data.synthetic import generator as synthetic

    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEUKOBENCH_DATA", str(folder / "data"))
        patch.setenv("LEUKOBENCH_RUNS", str(folder / "runs"))
        synthetic.make("tiny", images_per_class=20, size=48, patients=2, seed=7)
        yield folder


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use the test's own folder, which is empty, as the data folder."""
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that every user of the machine may read; pytest's own may only be read by the user of the tests."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def guide(home: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Run `run_guide.py` in the session's folders: in this process, or `command` in a process of its own."""

    def run(*arguments: str, command: tuple[str, ...] = (), **variables: str) -> subprocess.CompletedProcess:
        if command:
            return run_python(*command, *arguments, **variables)
        return run_guide(*arguments, **variables)

    return run


@pytest.fixture
def small_backbone(monkeypatch, tmp_path):
    """Replace ResNet50 by a tiny network with BatchNorm and dropout in its base; return a configuration."""

    import models
    from models.engine.layers import head as model_head

    def build(config, initial_weights=True, logits=False):
        import keras

        inputs = model_head.image_input(config)
        x = keras.layers.Rescaling(1 / 255, name="rescale")(inputs)
        x = keras.layers.Conv2D(6, 3, strides=2, name="conv")(x)
        x = keras.layers.Activation("relu", name="relu")(keras.layers.BatchNormalization(name="norm")(x))
        x = keras.layers.Dropout(0.3, noise_shape=(None, 1, 1, 1), name="drop")(x)
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        return keras.Model(inputs, model_head.classifier(x, config, logits), name="small")

    monkeypatch.setattr(models, "build", build)
    file = tmp_path / "initial.weights.h5"
    file.write_bytes(b"the stand-in reads no file")
    fields = {
        "dataset": "tiny",
        "image_size": 32,
        "weights": str(file),
        "head_epochs": 3,
        "epochs": 6,
        "batch_size": 8,
        "dense": 8,
    }
    return models.config_for("resnet50", **fields, fine_tune_learning_rate=1e-2, heatmap_layer="relu")


@pytest.fixture(scope="session")
def small_run(home):
    """Train and evaluate a tiny network once: a finished run below a root of its own. Copy it to change its files."""
    import models
    from models.engine.evaluation import evaluator
    from models.engine.training import trainer

    fields = {"dataset": "tiny", "image_size": 32, "filters": (4, 8, 8), "dense": 8, "epochs": 1, "batch_size": 8}
    return evaluator.evaluate(trainer.train(models.config_for("cnn", **fields), home / "small-runs"))


@pytest.fixture
def run(small_run, tmp_path):
    """Copy the small run into a root of its own, without its seal, so that its files may change."""
    from utils.runs import seal
    from utils.runs.run_folder import Run

    shutil.copytree(small_run.root, tmp_path / "runs", ignore=shutil.ignore_patterns(seal.FILE))
    return Run(tmp_path / "runs" / small_run.path.relative_to(small_run.root))


@pytest.fixture(scope="session")
def exported(small_run, tmp_path_factory):
    """Export a copy of the small run to everything that there is; return it with the descriptions."""
    from web_server import calibrated

    from models.engine.export import exporter, validation
    from models.engine.export import store as export_store

    run = calibrated(small_run, tmp_path_factory.mktemp("exported") / "runs")
    source = exporter.Source(run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "BOUNDS", validation.BOUNDS | {export_store.INT8: loose_bounds()[export_store.INT8]})
        parts = {name: name.rpartition("-") for name in export_store.names()}
        made = {name: exporter.export(source, format, precision) for name, (format, _, precision) in parts.items()}
    return run, made
