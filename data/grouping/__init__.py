"""Related images: near duplicates, overlapping fields of view, stain groups as a stand-in for patients."""
