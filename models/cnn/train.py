"""Train `cnn`: python -m models.cnn.train [--help]."""

from models.engine.cli import run_train

if __name__ == "__main__":
    run_train("cnn")
