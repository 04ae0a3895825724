"""Georeferenced rasters of any size through a network, and what comes out of it as files for maps."""
