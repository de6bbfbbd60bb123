"""The dataset audit: duplicates, leakage between subsets, shortcut baselines."""
