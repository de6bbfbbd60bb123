"""Benchmarks of time and memory: each program writes its result into docs/results/benchmarks."""
