"""What serves all models: configuration, layers, training, evaluation, and everything made from a run."""
