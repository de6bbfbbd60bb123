"""Train `resnet18`: python -m models.resnet18.train [--help]."""

from models.engine.cli import run_train

if __name__ == "__main__":
    run_train("resnet18")
