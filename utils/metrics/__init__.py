"""Metrics of predictions: scores, calibration, conformal sets, selective prediction, significance, DeLong."""
