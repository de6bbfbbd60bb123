"""Which trainings an ablation of augmentation needs, and which of them lie in a folder of runs already."""

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

_MOVES = {"flips": True, "quarter_turns": True, "rotation": 15, "zoom": 0.1, "shift": 0.05}
_COLOURS = {"brightness": 0.1, "contrast": 0.1, "colour": 0.1}
SETTINGS = {
    "none": Augmentation(),
    "flips": Augmentation(flips=True),
    "geometry": Augmentation(**_MOVES),
    "colour": Augmentation(**_COLOURS),
    "all": Augmentation(**_MOVES, **_COLOURS),
}
DECIDED = ("augmentation", "offline")  # fields that the ablation itself sets


@dataclass(frozen=True)
class Arm:
    """One training that is compared: a setting, and when its changes are made.

    Attributes:
        setting: a name of SETTINGS.
        copies: of each training image, made before training; 0: the changes are drawn anew in every epoch.
        config: what is trained.
    """

    setting: str
    copies: int
    config: ModelConfig

    @property
    def name(self) -> str:
        """What a person calls it."""
        how = "made beforehand" if self.copies else "on the fly"
        return f"{self.setting}, {how}, seed {self.config.seed}" if self.setting != "none" else self._plain

    @property
    def overrides(self) -> list[str]:
        """The "field=value" texts that make this arm of any configuration."""
        fields = self.config.model_dump(mode="json")
        return [f"{name}={files.compact(fields[name])}" for name in DECIDED]

    @property
    def _plain(self) -> str:
        return f"none, seed {self.config.seed}"


def arms(config: ModelConfig, settings: Sequence[str], seeds: Sequence[int], copies: int) -> list[Arm]:
    """Return every training of an ablation, all of the first seed before those of the next.

    Args:
        config: what is trained but for augmentation and seed.
        settings: names of SETTINGS.
        seeds: each setting is trained once with each.
        copies: of each training image for the arms whose changes are made beforehand; 0 leaves those arms away.
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
        arm: whose configuration the run must have; an empty dataset fits any.
        manifest: hash of the manifest that the run must have been trained on; "" takes any.
        finished: only finished (True) or unfinished (False) runs.
    """
    from models.engine.run_io.run_loader import config_of

    for run in reversed(run_folder.find_runs(root, arm.config.model, finished)):
        try:
            if manifest in ("", run.environment()["manifest"]) and _same(config_of(run), arm.config):
                return run
        except LeukoBenchError:
            continue  # damaged, or of another version: it is no run of this arm
    return None


def _same(found: ModelConfig, wanted: ModelConfig) -> bool:
    """Say whether a run's configuration is the wanted one, apart from what training fills in."""

    def decided(config: ModelConfig) -> dict[str, Any]:
        fields = config.model_dump(mode="json")
        fields["variant"] = {k: v for k, v in fields["variant"].items() if k not in filled}
        return {name: value for name, value in fields.items() if name not in left}

    left = {"classes", "batch_size"}  # which is halved where a GPU has too little memory
    left |= set() if wanted.dataset else {"dataset"}
    filled = {"statistics"} if wanted.variant.reference else {"statistics", "reference"}
    return decided(found) == decided(wanted)
