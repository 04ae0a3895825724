"""Shards to batches: the format, its writer, and the reader that feeds training in a planned order."""
