"""The configuration of a model: its fields, how texts override them, and named recipes."""
