"""The run folder: file names, readers of its files, list of the runs below a root."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils import paths
from utils.errors import LeukoBenchError, NoPermission, cut, nearest
from utils.io import files, transaction
from utils.runs import run_fields, seal

if TYPE_CHECKING:
    import pandas as pd

FOLDER = re.compile(r"^\d{8}T\d{6}(\d{3})?Z-[0-9a-f]{8}$")
SUBSET = re.compile(r"train|val|test(_[a-z0-9_]+)?")  # for fullmatch; a split may have several test sets
TEST = "test"  # the main test set, or what stands for it where there are only others

CONFIG = "config.json"
ENVIRONMENT = "environment.json"
HISTORY = "history.csv"
WEIGHTS = seal.WEIGHTS
NO_WEIGHTS = (".json", ".csv", ".npz", ".png")  # suffixes of a run's other files
ARCHITECTURE = "architecture.json"
PREDICTIONS = "predictions.csv"
TIMING = "timing.json"
METRICS = "metrics.json"
HEATMAPS = "heatmaps.npz"
FIGURES = "figures"
BESIDE = ("manifests", "reference")  # folders of the root with files of the runs' manifests
STATE = "state"
FEATURES = "state/features.json"  # cost of the pass through a frozen base, until training has finished

RANDOM_FEATURES = "random features"  # initialisation of a frozen base with random weights
HDF5, ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"  # beginnings of files of weights and of whole models
APPLICATION = "keras:"  # prefix of an architecture of keras.applications; "keras-" in folder names


def test_sets(names: Iterable[str]) -> list[str]:
    """Return the test sets among names of subsets, the main one first: "test", else the first "test_<name>"."""
    return sorted(name for name in set(names) if name.startswith(TEST) and SUBSET.fullmatch(name))


def subsets(names: Iterable[str]) -> list[str]:
    """Return subsets in the order in which they are shown: train, val, test sets."""
    found = set(names)
    return [*(name for name in ("train", "val") if name in found), *test_sets(found)]


def resolve(subset: str, names: Iterable[str]) -> str:
    """Return the name that a subset has among `names`: "test" stands for the main test set."""
    return next(iter(test_sets(names)), subset) if subset == TEST else subset


def folder_of(model: str) -> str:
    """Return the name of a model's folder of runs: "keras-VGG19", since Windows allows no colon."""
    return model.replace(":", "-")


@dataclass(frozen=True, order=True)
class Run:
    """One training of one model: the folder `<root>/<model>/<UTC stamp>-<config hash>/`."""

    path: Path

    @property
    def model(self) -> str:
        """Name of the model, from the parent folder."""
        name = self.path.parent.name
        return name.replace("-", ":", 1) if name.startswith(folder_of(APPLICATION)) else name

    @property
    def root(self) -> Path:
        """Folder of all runs and of manifests/."""
        return self.path.parent.parent

    @property
    def id(self) -> str:
        """Unique name, `<model>/<stamp>-<hash>`."""
        return f"{self.model}/{self.path.name}"

    @property
    def stamp(self) -> str:
        """When the run was begun, from the folder's name: "20261130T235959" or with milliseconds; sorts by time."""
        return self.path.name.partition("Z")[0]

    def started(self, environment: Mapping[str, Any] | None = None) -> list[str]:
        """Return when the run was begun, for sorting: the recorded time, or that of the folder's name; then `stamp`.

        Args:
            environment: content of environment.json, if it was read already.
        """
        if environment is None:
            try:
                environment = self.environment()
            except LeukoBenchError:
                environment = {}
        at = self.stamp
        return [str(environment.get("started") or f"{at[:4]}-{at[4:6]}-{at[6:11]}:{at[11:13]}:{at[13:15]}Z"), at]

    def label(self) -> str:
        """Return the model's name with the flavours of the run: "cnn (clahe)"."""
        config = self.config()
        before = [RANDOM_FEATURES] if config.get("initialisation") == RANDOM_FEATURES else []
        flavour = config.get("flavour", before)  # missing in runs of older versions
        return f"{self.model} ({', '.join(map(str, flavour))})" if flavour else self.model

    @property
    def finished(self) -> bool:
        """Whether metrics.json exists, which is written last; False if the folder cannot be searched."""
        return os.path.lexists(self.file(METRICS))  # what is no file is damaged, not missing

    @contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Put "Run <id>: " before the message of an error of the block that names neither this run nor its files.

        Any other error than of the system says that the run's files do not fit together.
        """
        try:
            yield
        except LeukoBenchError as error:
            if error.run == self.id or (error.path is not None and self.path in error.path.parents):
                raise
            raise LeukoBenchError(f"Run {self.id}: {error}", run=self.id, path=error.path) from None
        except OSError:
            raise
        except Exception as error:  # a folder from others may hold anything
            raise LeukoBenchError(
                f"Run {self.id} is damaged: its files do not fit together ({type(error).__name__}: {cut(error)}). "
                "Evaluate or train it again.",
                run=self.id,
            ) from error

    def file(self, name: str) -> Path:
        """Return the path of a file of this run; it may not exist."""
        return transaction.current(self.path, name)

    @property
    def weights(self) -> Path:
        """Path of the weights: model.weights.h5, else the only file with weights, as browsers and people rename it."""
        usual = self.file(WEIGHTS)
        if usual.is_file():
            return usual
        found = self.renamed_weights()
        return found[0] if len(found) == 1 else usual

    def renamed_weights(self) -> list[Path]:
        """Return the files that hold weights but are not named model.weights.h5."""
        found = sorted(path for path in _files(self.path) if path.suffix not in NO_WEIGHTS and path.name != WEIGHTS)
        return [path for path in found if _holds_weights(path)]

    def check(self, *names: str) -> None:
        """Check files, as paths from the run's folder, against its seal; every reader here does so with what it read.

        Raises:
            Changed: a file has changed since the run was measured.
            LeukoBenchError: a file cannot be read, or the seal is damaged.
        """
        if changed := seal.changed(self, names):
            raise seal.Changed(self.id, changed, self._remedy(changed[0]))

    def config(self) -> dict[str, Any]:
        """Read config.json: every field of the model's Config."""
        return self._object(CONFIG, ("model", "dataset", "seed", "classes", "image_size", "weights"))

    def environment(self) -> dict[str, Any]:
        """Read environment.json: versions, git commit, device, threads, precision, manifest hash."""
        return self._object(ENVIRONMENT, ("manifest",))

    def timing(self) -> dict[str, Any]:
        """Read timing.json: {"training": {...}, "inference": {...}}."""
        return self._object(TIMING, ("training", "inference"))

    def metrics(self) -> dict[str, Any]:
        """Read metrics.json: {"val": {...}, "test": {...}}, and an entry "test_<name>" for each further test set."""
        return self._object(METRICS, ("test",))

    def history(self) -> list[dict[str, Any]]:
        """Read history.csv: one dict per epoch, numbers as numbers.

        Raises:
            LeukoBenchError: the file is missing, damaged or has no finished epoch.
        """
        path = self.file(HISTORY)
        self._need(path)
        rows = files.read_csv(path, ("epoch", "phase", "learning_rate", "seconds", "val_accuracy"), whole=True)
        try:
            made = [
                {k: v if k == "phase" else int(v) if k == "epoch" else float(v) for k, v in r.items()} for r in rows
            ]
            for row in made:
                for key, value in row.items():
                    if key not in ("phase", "loss", "val_loss") and not isfinite(value):  # a loss may overflow
                        raise ValueError(f"{key} is {value}")
        except (TypeError, ValueError) as error:
            raise LeukoBenchError(f"{path} is damaged ({error}). Train the run again.", path=path) from None
        self.check(HISTORY)
        return made

    def epochs(self) -> list[dict[str, Any]]:
        """Read history.csv; [] if it does not exist yet.

        Raises:
            LeukoBenchError: the file is damaged or has no finished epoch.
        """
        return self.history() if files.exists(self.file(HISTORY)) else []

    def predictions(self, subset: str | None = None, path: Path | None = None) -> "pd.DataFrame":
        """Read predictions.csv: image, split, label, p_<Class>, ... in the manifest's class order.

        Args:
            subset: for the rows of one subset: "val", a test set, or "test" for the main test set.
            path: of new predictions that have not replaced predictions.csv yet.

        Raises:
            LeukoBenchError: the file is missing, lacks these columns or has no such subset.
        """
        import pandas as pd

        new, path = path is not None, path or self.file(PREDICTIONS)
        self._need(path)
        names = [f"p_{name}" for name in self.config()["classes"]]
        expected = ["image", "split", "label", *names]
        # A probability is a number whatever its text: "0", "1", "1e-30".
        types = {"image": str, "split": str, "label": str} | dict.fromkeys(names, "float64")
        try:
            with files.regular(path) as handle:
                files.check_end(handle, path)
                table = pd.read_csv(handle, dtype=types, keep_default_na=False)
        except (ValueError, OverflowError) as error:
            raise LeukoBenchError(
                f"{path} is damaged ({cut(error, 120)}). Evaluate the run again.", path=path
            ) from None
        if list(table.columns) != expected:
            raise LeukoBenchError(
                f"{path} should have numbers under {', '.join(expected)}; received "
                f"{cut(', '.join(map(str, table.columns)), 200)}. Evaluate the run again.",
                path=path,
            )
        for column, valid in (("image", paths.IMAGE), ("split", SUBSET)):
            wrong = next((text for text in dict.fromkeys(table[column].tolist()) if not valid.fullmatch(text)), None)
            if wrong is not None:
                raise LeukoBenchError(
                    f"{path} is damaged ({column} {cut(wrong)!r}). Evaluate the run again.", path=path
                )
        if not new:
            self.check(PREDICTIONS)
        return table if subset is None else self.select(table, subset)

    def select(self, table: "pd.DataFrame", subset: str) -> "pd.DataFrame":
        """Return the rows of one subset of this run's `predictions`; "test" is the main test set.

        Raises:
            LeukoBenchError: there is no such subset.
        """
        known = subsets(table["split"])
        if (name := resolve(subset, known)) not in known:
            raise LeukoBenchError(
                f"Run {self.id} has no predictions of the subset '{subset}'.{nearest(subset, known)} It has: "
                f"{', '.join(known) or 'none'}.",
                run=self.id,
                path=self.file(PREDICTIONS),
            )
        return table[table["split"] == name].reset_index(drop=True)

    def manifest_path(self) -> Path:
        """Return the path of the manifest of this run, `<root>/manifests/<hash>.csv`."""
        return self.root / "manifests" / f"{self.environment()['manifest']}.csv"

    def _object(self, name: str, keys: Sequence[str]) -> dict[str, Any]:
        path = self.file(name)
        self._need(path)
        try:
            value = files.read_json(path)
        except NoPermission:
            raise
        except LeukoBenchError as error:
            raise LeukoBenchError(f"{error} {self._remedy(name)}.", path=path) from None
        missing = [key for key in keys if not isinstance(value, dict) or key not in value]
        if missing:
            raise LeukoBenchError(
                f"{path} lacks '{missing[0]}'. Restore the file, or evaluate or train the run again.", path=path
            )
        if problem := run_fields.problem(name, value):
            raise LeukoBenchError(f"{path} holds {problem}. {self._remedy(name)}.", path=path)
        self.check(name)
        return value

    def check_inside(self) -> None:
        """Check that nothing that commands write into this run's folder, or beside it, goes elsewhere by a link.

        Raises:
            LeukoBenchError: a link leads out of the folder of the runs.
        """
        for place in (self.path, *(self.root / name for name in BESIDE)):
            paths.check_inside(place, self.root)

    def _need(self, path: Path) -> None:
        exists = files.exists(path)
        if path.is_symlink():
            paths.check_inside(path, self.root)
        if not exists:
            raise LeukoBenchError(f"Run {self.id} has no {path.name}. {self._remedy(path.name)}.", run=self.id)

    def _remedy(self, name: str) -> str:
        if name in (PREDICTIONS, TIMING, METRICS):
            return f"Make it with: python run_guide.py evaluate {self.id}"
        return "Restore it or train again"


def new_run(root: Path, model: str, config_hash: str) -> Run:
    """Return a new run, named by time and configuration; its folder is created with its first file.

    It is later than all runs of the model, also if they are of the same second or the clock was set back since.
    """
    place, now = Path(root) / folder_of(model), f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"[:-3]
    last = max((Run(place / name).stamp for name in _folders(place) if FOLDER.match(name)), default="")
    stamp = now[:-3] if last < now[:-3] else max(now, _after(last))
    return Run(place / f"{stamp}Z-{config_hash[:8]}")


def time_of(stamp: str) -> datetime:
    """Return the time of a run's stamp.

    Raises:
        ValueError: there is no such time.
    """
    return datetime.strptime(f"{stamp[:15]}{stamp[15:] or 0:0>3}+0000", "%Y%m%dT%H%M%S%f%z")


def _after(stamp: str) -> str:
    """Return a stamp that is a millisecond later; "" after a time that does not exist."""
    try:
        return f"{time_of(stamp) + timedelta(milliseconds=1):%Y%m%dT%H%M%S%f}"[:-3]
    except (ValueError, OverflowError):
        return ""


def find_runs(root: Path, model: str | None = None, finished: bool | None = None) -> list[Run]:
    """List the runs below a root, oldest first within each model, and finish what a killed process had begun there.

    Args:
        root: folder of the runs; it may not exist.
        model: only runs of this model.
        finished: only finished (True) or unfinished (False) runs; None: both.

    Raises:
        LeukoBenchError: no permission to read the root.
    """
    if Path(root).is_dir() and not os.access(root, os.R_OK | os.X_OK):
        raise LeukoBenchError(f"Cannot read {root}: permission denied. Choose a folder you may read with --root.")
    folders = [Path(root) / folder_of(model)] if model else [Path(root) / name for name in _folders(Path(root))]
    runs = [Run(folder / name) for folder in folders for name in _folders(folder) if FOLDER.match(name)]
    runs.sort(key=lambda run: (run.path.parent, run.stamp))
    for run in runs:
        transaction.recover(run.path)
    return [run for run in runs if finished is None or run.finished == finished]


def _files(place: Path) -> list[Path]:
    """Return the paths of the regular files in a folder; [] if it cannot be read."""
    try:
        with os.scandir(place) as found:
            return [place / each.name for each in found if each.is_file() and not each.name.startswith(".")]
    except OSError:
        return []


def _holds_weights(path: Path) -> bool:
    """Return whether a file is HDF5, or an archive with weights of Keras, whatever its name."""
    import zipfile

    try:
        with files.regular(path, 1 << 40) as handle:
            start = handle.read(len(HDF5))
            return start == HDF5 or (start.startswith(ZIP) and WEIGHTS in zipfile.ZipFile(handle).namelist())
    except (LeukoBenchError, ValueError, zipfile.BadZipFile):
        return False


def unreadable(root: Path) -> list[Path]:
    """Return the folders in a root that this user may not read: their runs are not listed."""
    folders = [Path(root) / name for name in _folders(Path(root))]
    return [folder for folder in folders if not os.access(folder, os.R_OK | os.X_OK)]


def _folders(place: Path) -> list[str]:
    """Return the sorted names of the subfolders of a folder; [] if it cannot be read."""
    try:
        with os.scandir(place) as found:
            return sorted(entry.name for entry in found if entry.is_dir())
    except OSError:
        return []
