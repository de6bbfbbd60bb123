"""Train `resnet50`: python -m models.resnet50.train [--help]."""

from models.engine.cli import run_train

if __name__ == "__main__":
    run_train("resnet50")
