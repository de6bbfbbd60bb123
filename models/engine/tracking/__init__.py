"""Experiment tracking: TensorBoard and MLflow."""
