"""Synthetic blood smears: cell shapes, staining, and the dataset generator."""
