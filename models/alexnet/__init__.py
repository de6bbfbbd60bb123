"""AlexNet, from the paper."""
