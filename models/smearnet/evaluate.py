"""Evaluate runs of `smearnet`: python -m models.smearnet.evaluate [RUN ...] [--help]."""

from models.engine.cli import run_evaluate

if __name__ == "__main__":
    run_evaluate("smearnet")
