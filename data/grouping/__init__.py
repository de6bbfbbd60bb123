"""Related images found without labels: near duplicates, overlapping fields, stain groups."""
