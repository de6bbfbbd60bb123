"""Robustness: the stress test and the rejection of out-of-distribution images."""
