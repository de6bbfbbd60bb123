"""Out-of-distribution detection: the distribution of the training images, and images that are no smears."""
