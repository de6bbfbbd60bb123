"""Datasets on disk: import, download, decoding, integrity check, index, summary."""
