"""Train `vit_b16`: python -m models.vit_b16.train [--help]."""

from models.engine.cli import run_train

if __name__ == "__main__":
    run_train("vit_b16")
