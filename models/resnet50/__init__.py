"""ResNet50 with a frozen ImageNet base."""
