"""The machine and its packages: environment, timing, optional packages."""
