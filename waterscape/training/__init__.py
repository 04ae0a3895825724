"""The engine: the only training loop, its checkpoints, its options and what it writes down."""
