"""Training: the loop over epochs, rates, cached features of frozen bases, progress."""
