"""The demo's main claim: its plain network reads the drawn morphology, since nothing else tells the classes apart."""

import json

import pytest

from utils import artifacts


@pytest.mark.parametrize("seed", [42])
def test_the_demo_cnn_reads_the_cells(home, guide, seed):
    from guide.demo import PROFILE

    root = home / "demo-runs"
    assert guide("data", "synth", "--name", "demo").returncode == 0
    done = guide("train", "cnn", "--dataset", "demo", "--profile", PROFILE, "--seed", str(seed), "--root", str(root))
    assert done.returncode == 0, done.stderr
    (run,) = artifacts.find_runs(root, finished=True)
    # 80 % is what the morphology must give; a histogram of the colours stays under 40 % (tests/test_synthetic.py).
    assert run.metrics()["test"]["accuracy"] >= 0.8
    assert (
        json.loads((home / "data" / "raw" / "demo" / "dataset.json").read_text())["synthetic"]["stain"] == "independent"
    )
