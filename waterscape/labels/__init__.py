"""Labels that are partly wrong, and their correction."""
