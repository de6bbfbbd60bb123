"""Evaluate runs of `resnet50`: python -m models.resnet50.evaluate [RUN ...] [--help]."""

from models.engine.cli import run_evaluate

if __name__ == "__main__":
    run_evaluate("resnet50")
