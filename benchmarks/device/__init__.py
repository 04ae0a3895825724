"""What G1, G2 and G3 are made of: checks, then times, on whatever device is there."""
