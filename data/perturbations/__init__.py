"""The perturbations of the stress test: stain, colour, background, noise."""
