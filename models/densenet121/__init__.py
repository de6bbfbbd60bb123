"""DenseNet121 on contrast-enhanced smears, fine-tuned as a whole."""
