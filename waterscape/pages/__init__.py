"""What people look at: curves, strips over time, sheets of samples."""
