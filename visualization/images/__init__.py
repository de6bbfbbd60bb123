"""Sheets of images: heatmaps, samples, mistakes, variants."""
