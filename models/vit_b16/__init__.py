"""ViT-B/16, fine-tuned from ImageNet."""
