"""Evaluate runs of `alexnet`: python -m models.alexnet.evaluate [RUN ...] [--help]."""

from models.engine.cli import run_evaluate

if __name__ == "__main__":
    run_evaluate("alexnet")
