"""The datasets below data/raw: list them, and resolve which one a command uses."""

from pathlib import Path

from data.datasets import index
from utils.errors import LeukoBenchError, nearest
from utils.paths import data_dir


def ensure_dataset(dataset: str) -> str:
    """Return the name of an existing dataset.

    An empty name stands for the only dataset; where there is none, synthetic smears are generated.

    Raises:
        LeukoBenchError: the dataset does not exist, or the name is empty and there are several.
    """
    known = datasets()
    if not dataset:
        if len(known) > 1:
            raise LeukoBenchError(
                f"There are several datasets: {', '.join(known)}. Name the one to use, as in: "
                f"train cnn --dataset {known[0]}, or: data check {known[0]}"
            )
        if known:
            return known[0]
        from data.synthetic import generator

        return generator.make().name
    if dataset not in known:
        listed = f"There are: {', '.join(known)}." if known else "There is none yet."
        raise LeukoBenchError(
            f"There is no dataset '{dataset}'.{nearest(dataset, known)} {listed} "
            "Import one with: python run_guide.py data import PATH"
        )
    return dataset


def datasets() -> list[str]:
    """List the datasets below data/raw.

    Raises:
        LeukoBenchError: that folder cannot be read.
    """
    raw = data_dir() / "raw"
    try:
        folders = sorted(raw.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LeukoBenchError(f"Cannot read {raw}: {error.strerror}. Set LEUKOBENCH_DATA to another folder.") from None
    return [folder.name for folder in folders if not folder.name.startswith((".", "_")) and _is_dataset(folder)]


def _is_dataset(folder: Path) -> bool:
    try:
        return (folder / index.DATASET).is_file()
    except PermissionError:  # listed all the same: the command that uses it reports the reason
        return True
