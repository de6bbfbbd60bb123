"""Measurements of speed and memory: each module is a program that writes what it found into docs/results/benchmarks."""
