"""Atomic writing of files and folders, readers of JSON and CSV, locks."""
