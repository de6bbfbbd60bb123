"""Train `efficientnetv2s`: python -m models.efficientnetv2s.train [--help]."""

from models.engine.cli import run_train

if __name__ == "__main__":
    run_train("efficientnetv2s")
