"""The dataset audit: related images across subsets, and shortcut baselines that see no cell."""
