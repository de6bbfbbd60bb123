"""Synthetic smears: cells, outlines, staining."""
