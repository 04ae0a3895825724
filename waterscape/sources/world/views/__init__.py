"""Synthetic places seen from above and from within: `place`; a plot of land, its ground, and two looks at it."""
