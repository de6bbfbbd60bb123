"""Images in batches for training and evaluation, with caching and augmentation."""
