"""How near samples of one split lie to those of another: neighbours in train and test make a test too easy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from waterscape.randomness import GOLDEN, hash64, mix64

EARTH_KM = 6371.0088  # mean radius (IUGG)

Degrees = NDArray[np.float64]


def unit_vectors(longitude: Degrees, latitude: Degrees) -> NDArray[np.float64]:
    """Points on the unit sphere, N × 3, of longitudes and latitudes in degrees (N)."""
    east, north = np.deg2rad(longitude), np.deg2rad(latitude)
    return np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=-1)


def nearest_km(places: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Great-circle distance in km from each place (N × 3) to the nearest of the others (M × 3); infinite without any.

    On a sphere of the Earth's mean radius: within 0.6 % of the distance on the ellipsoid.
    """
    if not len(places) or not len(others):
        return np.full(len(places), np.inf)
    from scipy.spatial import cKDTree  # half a second, for who only wants vectors

    chord, _ = cKDTree(others).query(places)
    distance: NDArray[np.float64] = 2 * EARTH_KM * np.arcsin(np.minimum(chord / 2, 1))
    return distance


def split_at_random(splits: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """The same number of samples in each split, dealt out sample by sample: what a split by place is held against."""
    words = np.arange(1, len(splits) + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    order = np.argsort(mix64(words + np.uint64(hash64(seed, "leakage"))), kind="stable")
    return splits[order]
