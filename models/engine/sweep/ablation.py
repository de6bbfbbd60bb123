"""The trainings of an ablation of augmentation, and the search for existing runs of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.loading.augmentation_config import Augmentation
from data.loading.offline_copies import Offline
from models.engine.config.base import ModelConfig
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import run_folder
from utils.runs.run_folder import Run

_GEOMETRY = {"flips": True, "quarter_turns": True, "rotation": 15, "zoom": 0.1, "shift": 0.05}
_COLOUR = {"brightness": 0.1, "contrast": 0.1, "colour": 0.1}
SETTINGS = {
    "none": Augmentation(),
    "flips": Augmentation(flips=True),
    "geometry": Augmentation(**_GEOMETRY),
    "colour": Augmentation(**_COLOUR),
    "all": Augmentation(**_GEOMETRY, **_COLOUR),
}
DECIDED = ("augmentation", "offline")  # fields that the ablation sets


@dataclass(frozen=True)
class Arm:
    """One training of the comparison: a setting, applied before or during training.

    Attributes:
        setting: key of SETTINGS.
        copies: augmented copies of each training image, made before training; 0 to augment in every epoch.
        config: configuration to train.
    """

    setting: str
    copies: int
    config: ModelConfig

    @property
    def name(self) -> str:
        """Name for messages."""
        if self.setting == "none":
            return f"none, seed {self.config.seed}"
        how = "made beforehand" if self.copies else "on the fly"
        return f"{self.setting}, {how}, seed {self.config.seed}"

    @property
    def overrides(self) -> list[str]:
        """The "field=value" texts that turn any configuration into this arm."""
        fields = self.config.model_dump(mode="json")
        return [f"{name}={files.compact(fields[name])}" for name in DECIDED]


def arms(config: ModelConfig, settings: Sequence[str], seeds: Sequence[int], copies: int) -> list[Arm]:
    """Return every training of an ablation, all of the first seed before those of the next.

    Args:
        config: configuration without augmentation and seed.
        settings: keys of SETTINGS.
        seeds: each setting is trained once with each seed.
        copies: copies of each training image in arms with augmentation before training; 0 for no such arms.
    """
    found = []
    for seed in dict.fromkeys(seeds):
        for setting in dict.fromkeys(settings):
            change = SETTINGS[setting]
            found.append(Arm(setting, 0, config.replace(seed=seed, augmentation=change, offline=Offline())))
            if copies and change.active:
                made = Offline(copies=copies, augmentation=change)
                found.append(Arm(setting, copies, config.replace(seed=seed, augmentation=Augmentation(), offline=made)))
    return found


def find(root: Path, arm: Arm, manifest: str = "", finished: bool | None = True) -> Run | None:
    """Return the latest run of an arm, or None.

    Args:
        root: folder of the runs.
        arm: the configuration to find; an empty dataset or split matches any.
        manifest: hash of the manifest of the run; "" matches any.
        finished: only finished (True) or unfinished (False) runs.
    """
    from models.engine.run_io.run_loader import config_of

    for run in reversed(run_folder.find_runs(root, arm.config.model, finished)):
        try:
            if manifest in ("", run.environment()["manifest"]) and _same(config_of(run), arm.config):
                return run
        except LeukoBenchError:
            continue  # damaged, or of another version
    return None


def _same(found: ModelConfig, wanted: ModelConfig) -> bool:
    """Return whether a run's configuration is the wanted one, apart from values set during training."""

    def decided(config: ModelConfig) -> dict[str, Any]:
        fields = config.model_dump(mode="json")
        fields["variant"] = {k: v for k, v in fields["variant"].items() if k not in filled}
        return {name: value for name, value in fields.items() if name not in left}

    left = {"classes", "batch_size"}  # halved where a GPU has too little memory
    left |= {name for name in ("dataset", "split") if not getattr(wanted, name)}
    filled = {"statistics"} if wanted.variant.reference else {"statistics", "reference"}
    return decided(found) == decided(wanted)
