"""Operations on pixels: colour, stain normalisation, nucleus segmentation, dataset variants."""
