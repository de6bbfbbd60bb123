"""Diagrams of network architectures."""
