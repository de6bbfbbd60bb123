"""Train `smearnet`: python -m models.smearnet.train [--help]."""

from models.scripts import run_train

if __name__ == "__main__":
    run_train("smearnet")
