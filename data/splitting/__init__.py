"""Splits into train, val and test: by image or by group, with their folders and checks."""
