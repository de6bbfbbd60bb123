"""The pages and the API on runs: list, comparison, details, confusion cells."""
