"""Evaluate runs of `cnn`: python -m models.cnn.evaluate [RUN ...] [--help]."""

from models.engine.cli import run_evaluate

if __name__ == "__main__":
    run_evaluate("cnn")
