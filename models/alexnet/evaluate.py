"""Evaluate runs of `alexnet`: python -m models.alexnet.evaluate [RUN ...] [--help]."""

from models.scripts import run_evaluate

if __name__ == "__main__":
    run_evaluate("alexnet")
