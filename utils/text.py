"""Texts shared by the terminal, tables, figures and the web page."""

NOTICE = "Research only, not a diagnosis"
MISSING = "–"  # shown for a value that is not available
