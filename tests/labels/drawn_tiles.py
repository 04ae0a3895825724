"""Drawn tiles of Landsat's bands: noise alone, and a lake."""

from __future__ import annotations

import numpy as np

from waterscape.sources.landsat.bands import band_stack


def scene(rows=20, columns=24, seed=0):
    """Bands (H W 8) of drawn reflectances."""
    draw = np.random.default_rng(seed)
    return band_stack(draw.uniform(0.01, 0.4, (rows, columns, 5)), draw.uniform(0, 3000, (rows, columns)))


def lake(side=28, metres=200.0):
    """Bands (H W 8) and the true water (H W): a dark lake on bright land."""
    draw = np.random.default_rng(1)
    water = np.hypot(*(np.indices((side, side)) - side / 2)) < side / 4
    reflectances = np.where(water[..., None], [0.06, 0.05, 0.04, 0.02, 0.01], [0.08, 0.1, 0.12, 0.3, 0.25])
    noisy = reflectances + draw.normal(0, 0.005, reflectances.shape)
    return band_stack(noisy, np.full((side, side), metres) + draw.normal(0, 5, (side, side))), water
