"""Train `densenet121`: python -m models.densenet121.train [--help]."""

from models.engine.cli import run_train

if __name__ == "__main__":
    run_train("densenet121")
