"""The notebooks: run in a kernel of their own and checked by their results."""

import json
import sys
from pathlib import Path

import pytest

from utils.paths import PROJECT
from utils.runs import run_folder

nbformat = pytest.importorskip("nbformat", reason="notebooks need: pip install -r requirements-dev-all.txt")

FOLDER = PROJECT / "docs" / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
NOTICE = "Never use this, or any model trained with it, for a diagnosis."


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def execute(name, *more):
    """Run a notebook and then the lines `more`; return the notebook and the output of these lines."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    notebook = read(name)
    notebook.cells.append(nbformat.v4.new_code_cell("\n".join(more)))
    manager = AsyncKernelManager()
    # This Python, not an installed kernel.
    manager._kernel_spec = KernelSpec(
        argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        display_name="Python 3",
        language="python",
    )
    client = NotebookClient(notebook, km=manager, timeout=600, resources={"metadata": {"path": str(FOLDER)}})
    client.execute()
    (printed,) = notebook.cells[-1].outputs
    return notebook, printed["text"]


def images(notebook):
    return sum("image/png" in out.get("data", {}) for cell in notebook.cells for out in cell.get("outputs", ()))


@pytest.mark.parametrize("name", NAMES)
def test_notebook_has_no_outputs_and_no_paths(name):
    notebook = read(name)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code), "clear the outputs"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert text.count(NOTICE) == 2, "in the first and last cell"
    assert str(PROJECT) not in text and str(Path.home()) not in text
    assert sum(cell.cell_type == "markdown" for cell in notebook.cells) >= len(code) - 3


@pytest.mark.slow
def test_training_notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LEUKOBENCH_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook, printed = execute("train_and_explain", "print(run.id, work)")
    (run,) = run_folder.find_runs(tmp_path / "runs", finished=True)
    name, work = printed.split()
    assert name == run.id and Path(work).parent == tmp_path
    assert run.metrics()["test"]["accuracy"] > 0.6, "synthetic smears of four classes can be learned"
    assert run.file(run_folder.HEATMAPS).is_file()
    assert images(notebook) == 5, "distribution, samples, curves, matrix, heatmaps"
    assert run_folder.WEIGHTS in notebook.cells[-3].outputs[0]["data"]["text/plain"]


@pytest.mark.slow
def test_prediction_notebook(small_run, monkeypatch):
    from models.engine.serving import predict

    monkeypatch.setenv("LEUKOBENCH_RUNS", str(small_run.root))
    notebook, printed = execute("predict_new_images", "print(table.to_json(orient='split'))")
    held = json.loads(printed)
    expected = predict.predict_files(small_run, PROJECT / "docs" / "samples")
    assert held["columns"] == list(expected.columns)
    assert [row[:2] for row in held["data"]] == expected[["path", "predicted"]].to_numpy().tolist()
    assert [row[2:] for row in held["data"]] == [
        pytest.approx(row, abs=1e-5) for row in expected.iloc[:, 2:].to_numpy().tolist()
    ]
    assert images(notebook) == 1


@pytest.mark.slow
def test_notebook_without_a_run_names_the_command_to_train_one(tmp_path, monkeypatch):
    from nbclient.exceptions import CellExecutionError

    monkeypatch.setenv("LEUKOBENCH_RUNS", str(tmp_path))
    with pytest.raises(CellExecutionError) as caught:
        execute("predict_new_images")
    assert caught.value.ename == "LeukoBenchError"
    assert "Train one: python run_guide.py train cnn" in caught.value.evalue
