"""What pictures and models are worth, in numbers."""
