"""Procedurally drawn images that are no smears: patterns, pages, photographs, other microscopy."""
