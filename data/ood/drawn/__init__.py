"""Drawn pictures that are no blood smears: pages, patterns, photographs, other microscopy."""
