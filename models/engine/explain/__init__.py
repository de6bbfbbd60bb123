"""Explanations of predictions: class activation maps, attention, and tests of their faithfulness."""
