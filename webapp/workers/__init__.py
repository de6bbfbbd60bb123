"""Processes that decode images and run models."""
