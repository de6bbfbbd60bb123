"""The plain convolutional baseline of the field."""
