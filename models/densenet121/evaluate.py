"""Evaluate runs of `densenet121`: python -m models.densenet121.evaluate [RUN ...] [--help]."""

from models.engine.cli import run_evaluate

if __name__ == "__main__":
    run_evaluate("densenet121")
