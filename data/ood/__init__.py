"""Out-of-distribution images and the reference distribution that they are compared with."""
