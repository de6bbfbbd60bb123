"""Learning rate and phase of the next epoch, computed from history.csv alone, so that a resumed run agrees."""

from collections.abc import Sequence
from math import cos, pi

from models.engine.config.base import ModelConfig, Phase
from utils.runs.history import Row, best_epoch

LOWEST = 0.01  # share of a phase's rate at the end of the cosine decay


def rate(history: Sequence[Row], phase: Phase, config: ModelConfig) -> float:
    """Return the learning rate of the next epoch of a phase: warm-up, then steps or half a cosine."""
    passed = sum(row["phase"] == phase.name for row in history)
    value = phase.learning_rate
    if config.rate_drop_every:
        value *= config.rate_drop ** (passed // config.rate_drop_every)
    if passed < config.warmup_epochs:
        return value * (passed + 1) / (config.warmup_epochs + 1)
    if config.cosine:
        share = (passed - config.warmup_epochs) / max(phase.epochs - config.warmup_epochs, 1)
        value *= max((1 + cos(pi * share)) / 2, LOWEST)
    return value


def next_phase(history: Sequence[Row], phases: Sequence[Phase], patience: int) -> Phase | None:
    """Return the phase of the next epoch; None when training is over.

    A phase ends after its epochs, or when `patience` epochs have passed without a better validation accuracy in it.
    """
    rows_of = {phase.name: [row for row in history if row["phase"] == phase.name] for phase in phases}
    started = [phase for phase in phases if rows_of[phase.name]]
    if started:
        rows = rows_of[started[-1].name]
        waited = rows[-1]["epoch"] - best_epoch(rows)["epoch"]
        if len(rows) < started[-1].epochs and waited < patience:
            return started[-1]
    return phases[len(started)] if len(started) < len(phases) else None
