"""Train `vgg16`: python -m models.vgg16.train [--help]."""

from models.engine.cli import run_train

if __name__ == "__main__":
    run_train("vgg16")
