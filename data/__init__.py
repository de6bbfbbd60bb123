"""From a folder of smears to batches: import, integrity, manifests, splits, the input pipeline."""
