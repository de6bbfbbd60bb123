"""Logits and labels whose calibration is known."""

import numpy as np
from scipy.special import softmax


def simulated(images, temperature=1.0, seed=0):
    """Draw logits and labels from their softmax: calibrated, until the logits are multiplied by a temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (images, 4))
    truth = softmax(logits, axis=1)
    labels = (truth.cumsum(axis=1) < random.random((images, 1))).sum(axis=1).clip(max=3)
    return softmax(logits * temperature, axis=1), labels
