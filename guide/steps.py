"""Every command once: the command line registers these functions, the menu asks for their parameters."""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A resumed training keeps its settings, so they are not asked for.
KEPT = ("model", "dataset", "split", "seed", "set_", "profile", "recipe", "config")


@dataclass(frozen=True)
class Step:
    """One line of the menu.

    Attributes:
        group: heading in the menu.
        key: the one letter or two that choose it.
        command: words of the command line ("data import"); "" for a step that only the menu words in its own way.
        title: what it does, at most 25 characters: the menu has two columns on 80.
        target: module of guide/ and name of the function that is the command, "train.train".
        ask: parameters with a default that the menu asks for at once; the others come on request.
        need: parameters with a default that the menu wants an answer for all the same.
        leave: parameters that the menu leaves at their default without asking.
        runs: which runs the menu offers: "finished", "unfinished" or "all".
        all_folds: whether a split may be "kfold:5", all five folds one after another.
        plain: whether "none" is one of several recipes.
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
        """The command. Its module is imported now: the menu and --help start in half the time without them all."""
        module, _, name = self.target.partition(".")
        return getattr(importlib.import_module(f"guide.{module}"), name)

    @property
    def summary(self) -> str:
        """First paragraph of the function's docstring on one line, for --help, read without importing its module."""
        module, _, name = self.target.partition(".")
        text = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
        found = re.search(rf'^def {name}\(.*?^    """(.*?)(?:\n\n|""")', text, re.DOTALL | re.MULTILINE)
        return " ".join(found[1].split()) if found else ""


STEPS = (
    Step("Start", "d", "demo", "Demo: everything, small", "demo.demo"),
    Step("Data", "i", "data import", "Import a folder or zip", "data.import_", ("name",)),
    Step("Data", "w", "data download", "Download from Kaggle", "data.download"),
    Step("Data", "y", "data synth", "Make synthetic smears", "data.synth", ("name",)),
    Step("Data", "k", "data check", "Check the images", "data.check", ("dataset",)),
    Step("Data", "s", "data split", "Split train, val and test", "data.split", ("dataset", "split")),
    Step(
        "Data", "au", "data augment", "Make changed copies", "augment.augment",
        ask=("dataset", "copies", "balance"),
    ),
    Step("Data", "v", "data figures", "Draw classes and samples", "data.figures", ("dataset",)),
    Step("Data", "va", "data preview", "Preview image variants", "preview.preview", ("dataset", "variant")),
    Step("Models", "l", "models", "List the models", "train.models_"),
    Step(
        "Models", "t", "train", "Train and evaluate models", "train.train",
        ask=("dataset", "split", "profile", "recipe"), need=("model",), leave=("resume",), all_folds=True,
    ),
    Step(
        "Models", "u", "", "Resume a training", "train.train",
        need=("resume",), leave=KEPT, runs="unfinished",
    ),
    Step(
        "Models", "tu", "tune", "Tune a model's settings", "tune.tune",
        ask=("dataset", "profile", "trials", "epochs"),
    ),
    Step(
        "Models", "sw", "sweep", "Sweep: many trainings", "sweep.sweep",
        ask=("dataset", "split", "profile", "recipe", "seed", "jobs"), need=("model",), all_folds=True, plain=True,
    ),
    Step("Models", "ab", "ablation", "Compare augmentations", "ablation.ablation", ask=("dataset", "settings")),
    Step("Models", "e", "evaluate", "Evaluate runs again", "train.evaluate", ask=("runs",), runs="all"),
    Step("Models", "ve", "verify", "Verify runs by weights", "verify.verify", ("runs",)),
    Step("Models", "tr", "track", "Send runs to MLflow", "track.track"),
    Step("Results", "r", "runs", "List the runs", "compare.runs_"),
    Step("Results", "c", "compare", "Compare: tables, figures", "compare.compare", ("runs",)),
    Step("Results", "m", "confusion", "Look into confusions", "compare.confusion", ("true", "predicted")),
    Step("Results", "cl", "classification", "Scores of every class", "classification.classification", ("subset",)),
    Step("Results", "h", "explain", "Explain with heatmaps", "explain.explain", ("image", "method")),
    Step("Results", "pr", "predict", "Predict new images", "predict.predict", ("output",)),
    Step("Results", "sa", "samples", "Find example images", "samples.samples", ("run", "outcome", "class_", "count")),
    Step("Results", "di", "diagram", "Draw architectures", "diagram.diagram", ("runs", "detail"), runs="all"),
    Step("Honesty", "a", "audit", "Audit: leaks, shortcuts", "audit.audit", ("dataset", "split")),
    Step("Honesty", "st", "stress", "Stress: stain, grey, blur", "stress.stress", ("images", "family")),
    Step("Honesty", "ca", "calibrate", "Calibrate probabilities", "calibrate.calibrate", ("errors",)),
    Step("Honesty", "fa", "faithfulness", "Judge the heatmaps", "faithfulness.faithfulness", ("images", "method")),
    Step("Honesty", "re", "refusal", "Refuse what is no smear", "refusal.refusal", ("pictures",)),
    Step("Honesty", "lb", "leaderboard", "Rank models and recipes", "leaderboard.leaderboard"),
    Step("Finish", "se", "serve", "Open the web page", "serve.serve"),
    Step("Finish", "ex", "export", "Export to other runtimes", "export.export", ("format", "precision")),
    Step("Finish", "bn", "bench", "Measure speed, memory", "bench.bench", ("names",), leave=("page",)),
    Step("Finish", "p", "report", "Write the HTML report", "compare.report", ("runs",)),
)  # fmt: skip
