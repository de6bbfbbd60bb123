"""Prediction on new images with models that stay loaded."""
