"""The Predict page and its API."""
