"""Synthetic photos of landscapes and towns, painted by rules: `scene` has the seven classes, by families of files."""
