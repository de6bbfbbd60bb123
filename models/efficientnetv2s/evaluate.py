"""Evaluate runs of `efficientnetv2s`: python -m models.efficientnetv2s.evaluate [RUN ...] [--help]."""

from models.engine.cli import run_evaluate

if __name__ == "__main__":
    run_evaluate("efficientnetv2s")
