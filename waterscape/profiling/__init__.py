"""Where the time of a training step goes, how near that is to what the machine can do, and what makes it shorter."""
