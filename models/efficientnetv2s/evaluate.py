"""Evaluate runs of `efficientnetv2s`: python -m models.efficientnetv2s.evaluate [RUN ...] [--help]."""

from models.scripts import run_evaluate

if __name__ == "__main__":
    run_evaluate("efficientnetv2s")
