"""EfficientNetV2-S, the best published model on this dataset, in two phases."""
