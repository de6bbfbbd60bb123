"""Run a benchmark as a program: python -m benchmarks.NAME [--quick] [--dataset NAME] [--output DIR]."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer

from benchmarks import page, results
from benchmarks.results import Result
from utils import console

Seconds = dict[str, list[float]]


@dataclass(frozen=True)
class Options:
    """Options of a benchmark: the dataset ("" for the only one, else synthetic smears) and whether to be quick."""

    dataset: str = ""
    quick: bool = False

    def pick(self, usual: Any, quick: Any) -> Any:
        """Return the second value for a quick benchmark, else the first."""
        return quick if self.quick else usual


def alternate(ways: Mapping[str, Callable[[], float | None]], repetitions: int) -> Seconds:
    """Time several ways in turn, so that a slow moment of the machine affects all of them.

    A way that returns a number has measured its own time in seconds.
    """
    seconds: Seconds = {name: [] for name in ways}
    for number in range(1, repetitions + 1):
        for name, call in ways.items():
            start = perf_counter()
            own = call()
            seconds[name].append(perf_counter() - start if own is None else own)
            console.say(f"  [{number}/{repetitions}] {name}: {seconds[name][-1]:.3g} s")
    return seconds


def entry(name: str, measure: Callable[[Options], Result]) -> None:
    """Run a benchmark with the options of the command line, print its tables and store the result."""

    def main(
        dataset: Annotated[str, typer.Option(help="Dataset in data/raw. Default: the only one, or synthetic.")] = "",
        quick: Annotated[bool, typer.Option(help="A tiny run that only shows that the benchmark works.")] = False,
        output: Annotated[
            Path | None, typer.Option(help="Folder for the results.", show_default="docs/results/benchmarks")
        ] = None,
    ) -> None:
        result = measure(Options(dataset, quick))
        for table in page.tables(result):
            console.table(table.title, table.columns, table.rows)
        for note in result.notes:
            console.say(note)
        if quick and output is None:
            return
        keras_backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        command = f"python run_guide.py bench {name}"
        if keras_backend != "tensorflow":
            command = f"KERAS_BACKEND={keras_backend} {command}"
        if dataset:
            command += f" --dataset {dataset}"
        if quick:
            command += " --quick"
        console.say(f"Written: {results.record(name, result, output or results.FOLDER, command)}")
        if output is None:
            console.say(f"Written: {page.write()}")

    main.__doc__ = sys.modules["__main__"].__doc__
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(main)
    sys.exit(console.run_app(app, name=f"python -m benchmarks.{name}"))
