"""Machine and packages: environment, timing, optional packages."""
