"""Splits into train, val and test: assignment of images or groups, folders, checks."""
