"""Metrics and statistics from predictions: scores, calibration, intervals, significance tests."""
