"""Every command once: the command line registers these functions, the menu asks for their parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from guide import compare, data, demo, explain, train

# A resumed training keeps its settings, so they are not asked for.
KEPT = ("model", "dataset", "split", "seed", "set_", "profile")


@dataclass(frozen=True)
class Step:
    """One line of the menu.

    Attributes:
        group: heading in the menu.
        key: letter that chooses it.
        command: words of the command line ("data import"); "" for a step that only the menu words in its own way.
        title: what it does, at most 60 characters.
        function: the command.
        ask: parameters with a default that the menu asks for at once; the others come on request.
        need: parameters with a default that the menu wants an answer for all the same.
        leave: parameters that the menu leaves at their default without asking.
        runs: which runs the menu offers: "finished", "unfinished" or "all".
    """

    group: str
    key: str
    command: str
    title: str
    function: Callable[..., Any]
    ask: tuple[str, ...] = ()
    need: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    runs: str = "finished"

    @property
    def summary(self) -> str:
        """First paragraph of the function's docstring on one line, for --help."""
        return " ".join((self.function.__doc__ or "").strip().split("\n\n")[0].split())


STEPS = (
    Step("Start", "d", "demo", "Demo: everything, small, on synthetic smears", demo.demo),
    Step("Data", "i", "data import", "Import a folder or a zip of images", data.import_, ("name",)),
    Step("Data", "w", "data download", "Download the real dataset from Kaggle", data.download),
    Step("Data", "y", "data synth", "Make synthetic smears", data.synth, ("name",)),
    Step("Data", "k", "data check", "Check the images, put broken ones aside", data.check, ("dataset",)),
    Step("Data", "s", "data split", "Split into training, validation and test", data.split, ("dataset", "split")),
    Step("Data", "v", "data figures", "Draw the class distribution and samples", data.figures, ("dataset",)),
    Step("Models", "l", "models", "List the models", train.models_),
    Step(
        "Models", "t", "train", "Train and evaluate models", train.train,
        ask=("dataset", "profile"), need=("model",), leave=("resume",),
    ),
    Step(
        "Models", "u", "", "Resume a training that was cut short", train.train,
        need=("resume",), leave=KEPT, runs="unfinished",
    ),
    Step("Models", "e", "evaluate", "Evaluate runs again", train.evaluate, ask=("runs",), runs="all"),
    Step("Results", "r", "runs", "List the runs", compare.runs_),
    Step("Results", "c", "compare", "Compare runs: tables and figures", compare.compare, ("runs",)),
    Step("Results", "m", "confusion", "Look into a confusion matrix", compare.confusion, ("true", "predicted")),
    Step("Results", "h", "explain", "Explain predictions with heatmaps", explain.explain, ("image", "method")),
    Step("Results", "p", "report", "Write the report, one HTML page", compare.report, ("runs",)),
)  # fmt: skip
