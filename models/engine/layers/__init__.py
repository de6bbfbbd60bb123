"""Building blocks that models share: heads, residual blocks, pretrained backbones."""
