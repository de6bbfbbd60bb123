"""Draws what the run folders hold; never imports Keras."""
