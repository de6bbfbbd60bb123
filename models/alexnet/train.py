"""Train `alexnet`: python -m models.alexnet.train [--help]."""

from models.engine.cli import run_train

if __name__ == "__main__":
    run_train("alexnet")
