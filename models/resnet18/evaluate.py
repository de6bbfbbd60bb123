"""Evaluate runs of `resnet18`: python -m models.resnet18.evaluate [RUN ...] [--help]."""

from models.engine.cli import run_evaluate

if __name__ == "__main__":
    run_evaluate("resnet18")
