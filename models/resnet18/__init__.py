"""ResNet18 with a deep classifier: a frozen extractor first, then the whole network."""
