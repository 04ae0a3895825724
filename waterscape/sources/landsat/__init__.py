"""Landsat scenes → the eight bands that tell water from land, and shards of them."""
