"""All commands: the command line registers these functions, and the menu asks for their parameters."""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A resumed training keeps its settings, so the menu does not ask for them.
KEPT = ("model", "dataset", "split", "seed", "set_", "profile", "recipe", "config")


@dataclass(frozen=True)
class Step:
    """One line of the menu.

    Attributes:
        group: heading in the menu.
        key: one or two letters that choose it.
        command: words of the command line ("data import"); "" for a step that exists only in the menu.
        title: title in the menu, at most 25 characters (two columns on 80).
        target: module of guide/ and function of the command, "train.train".
        ask: optional parameters that the menu asks for at once; the others are asked on request.
        need: optional parameters for which the menu requires an answer.
        leave: parameters that the menu never asks for.
        runs: which runs the menu offers: "finished", "unfinished" or "all".
        all_folds: whether the split may be "kfold:5", which means all five folds.
        plain: whether the list of recipes contains "none".
    """

    group: str
    key: str
    command: str
    title: str
    target: str
    ask: tuple[str, ...] = ()
    need: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    runs: str = "finished"
    all_folds: bool = False
    plain: bool = False

    @property
    def function(self) -> Callable[..., Any]:
        """The function of the command. Its module is imported only now, so that menu and --help start fast."""
        module, _, name = self.target.partition(".")
        return getattr(importlib.import_module(f"guide.{module}"), name)

    @property
    def summary(self) -> str:
        """First paragraph of the function's docstring, for --help; read without importing the module."""
        module, _, name = self.target.partition(".")
        text = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
        found = re.search(rf'^def {name}\(.*?^    """(.*?)(?:\n\n|""")', text, re.DOTALL | re.MULTILINE)
        return " ".join(found[1].split()) if found else ""


STEPS = (
    Step("Start", "d", "demo", "Demo: everything, small", "demo.demo"),
    Step("Data", "i", "data import", "Import a folder or zip", "data.import_", ("name",), ("classes_are",)),
    Step("Data", "w", "data download", "Download from Kaggle", "data.download"),
    Step("Data", "y", "data synth", "Generate synthetic smears", "data.synth", ("name",)),
    Step("Data", "k", "data check", "Check the images", "data.check", ("dataset",)),
    Step("Data", "s", "data split", "Split train, val and test", "data.split", ("dataset", "split")),
    Step("Data", "pu", "purge", "Leaks by file number", "purge.purge", ("dataset", "features")),
    Step("Data", "au", "data augment", "Augmented copies", "augment.augment", ask=("dataset", "copies", "balance")),
    Step("Data", "v", "data figures", "Draw classes and samples", "data.figures", ("dataset",)),
    Step("Data", "va", "data preview", "Preview image variants", "preview.preview", ("dataset", "variant")),
    Step("Models", "l", "models", "List the models", "train.models_"),
    Step(
        "Models",
        "t",
        "train",
        "Train and evaluate models",
        "train.train",
        ask=("dataset", "split", "profile", "recipe"),
        need=("model",),
        leave=("resume",),
        all_folds=True,
    ),
    Step("Models", "u", "", "Resume a training", "train.train", need=("resume",), leave=KEPT, runs="unfinished"),
    Step("Models", "tu", "tune", "Tune hyperparameters", "tune.tune", ask=("dataset", "profile", "trials", "epochs")),
    Step(
        "Models",
        "sw",
        "sweep",
        "Sweep: many trainings",
        "sweep.sweep",
        ask=("dataset", "split", "profile", "recipe", "seed", "jobs"),
        need=("model",),
        all_folds=True,
        plain=True,
    ),
    Step("Models", "ab", "ablation", "Compare augmentations", "ablation.ablation", ask=("dataset", "settings")),
    Step("Models", "e", "evaluate", "Evaluate runs", "evaluate.evaluate", ask=("runs",), runs="all"),
    Step("Models", "ve", "verify", "Verify predictions", "verify.verify", ("runs",)),
    Step("Models", "tr", "track", "Send runs to MLflow", "track.track"),
    Step("Results", "r", "runs", "List the runs", "compare.runs_"),
    Step("Results", "c", "compare", "Compare: tables, figures", "compare.compare", ("runs",)),
    Step("Results", "m", "confusion", "Confusion matrix, images", "confusion.confusion", ("true", "predicted")),
    Step("Results", "cl", "classification", "Scores by class", "confusion.classification", ("subset",)),
    Step("Results", "h", "explain", "Explain with heatmaps", "explain.explain", ("image", "method")),
    Step("Results", "pr", "predict", "Predict new images", "predict.predict", ("output",)),
    Step("Results", "sa", "samples", "Find example images", "samples.samples", ("run", "outcome", "class_", "count")),
    Step("Results", "di", "diagram", "Draw architectures", "diagram.diagram", ("runs", "detail"), runs="all"),
    Step("Checks", "a", "audit", "Audit: leaks, shortcuts", "audit.audit", ("dataset", "split")),
    Step("Checks", "st", "stress", "Stress test", "stress.stress", ("images", "family")),
    Step("Checks", "ca", "calibrate", "Calibrate probabilities", "calibrate.calibrate", ("errors",)),
    Step("Checks", "fa", "faithfulness", "Faithfulness of heatmaps", "faithfulness.faithfulness", ("images", "method")),
    Step("Checks", "re", "refusal", "Out-of-distribution test", "refusal.refusal", ("pictures",)),
    Step("Checks", "lb", "leaderboard", "Rank models and recipes", "leaderboard.leaderboard"),
    Step("Output", "se", "serve", "Open the web page", "serve.serve"),
    Step("Output", "ex", "export", "Export to other runtimes", "export.export", ("format", "precision")),
    Step("Output", "bn", "bench", "Measure speed, memory", "bench.bench", ("names",), leave=("page",)),
    Step("Output", "p", "report", "Write the HTML report", "compare.report", ("runs",)),
)
