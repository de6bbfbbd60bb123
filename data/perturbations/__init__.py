"""Image perturbations of the stress test: colour, stain, background, noise and artefacts."""
