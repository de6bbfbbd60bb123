"""The HTML report and the figures it holds."""
