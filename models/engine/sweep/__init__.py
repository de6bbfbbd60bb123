"""Sweeps: many training jobs on this machine or on a Ray cluster, and ablations."""
