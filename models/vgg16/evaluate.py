"""Evaluate runs of `vgg16`: python -m models.vgg16.evaluate [RUN ...] [--help]."""

from models.engine.cli import run_evaluate

if __name__ == "__main__":
    run_evaluate("vgg16")
