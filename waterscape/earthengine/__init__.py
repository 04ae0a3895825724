"""A torch network as a graph of Earth Engine's own operations, and its deployment there."""
