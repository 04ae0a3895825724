"""waterscape: distributed training of small vision models on water and landscapes, from WebDataset shards."""

__version__ = "0.1.0"
