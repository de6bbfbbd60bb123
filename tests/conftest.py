"""What the tests share: folders of their own, tiny synthetic smears, and one training of each model."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder and a runs folder for the whole session, with the dataset `tiny` in it."""
    from data import synthetic

    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEUKOBENCH_DATA", str(folder / "data"))
        patch.setenv("LEUKOBENCH_RUNS", str(folder / "runs"))
        synthetic.make("tiny", images_per_class=20, size=48, patients=2, seed=7)
        yield folder


@pytest.fixture(scope="session")
def guide(home: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Run `run_guide.py` (or another command) as a person would, in the session's folders."""

    def run(
        *arguments: str, command: tuple[str, ...] = ("run_guide.py",), **variables: str
    ) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, *command, *arguments], cwd=PROJECT, env=os.environ | variables,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    return run
