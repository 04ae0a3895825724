"""The study: for each model what was found better against what was published, the table by which to choose."""
