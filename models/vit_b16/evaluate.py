"""Evaluate runs of `vit_b16`: python -m models.vit_b16.evaluate [RUN ...] [--help]."""

from models.engine.cli import run_evaluate

if __name__ == "__main__":
    run_evaluate("vit_b16")
