"""The small map beside a photo: where the photos of a ledger lie. It is drawn from nothing but their own places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MOST_CELLS = 4000
STEPS = (0.0001, 0.001, 0.01, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # degrees
PLACES = 4  # decimals of a degree: some 10 m


def map_of(places: Sequence[tuple[float, float]], *, exact: bool = False) -> dict[str, Any]:
    """Photos counted in cells of latitude and longitude, few enough to be drawn at once.

    Args:
        places: latitude, longitude in degrees.
        exact: cells may be finer than 0.1°.

    Returns:
        `west`: a longitude in the widest gap between the photos: a map from there eastwards cuts no group of them,
        over the antimeridian neither. `step`: the side of a cell in degrees. `cells`: latitude and longitude of
        each cell's middle, the latter from `west` on eastwards (it may be above 180), and how many photos it holds.
    """
    latitudes, longitudes = np.array(places, float).reshape(-1, 2).T
    west = western_edge(longitudes)
    eastward = west + (longitudes - west) % 360
    for step in STEPS if exact else STEPS[STEPS.index(0.1) :]:
        rounded = np.round(np.stack([latitudes, eastward], axis=1) / step).astype(np.int64)
        cells, photos = np.unique(rounded, axis=0, return_counts=True)
        if len(cells) <= MOST_CELLS:
            break
    middles = np.round(cells * step, PLACES).tolist()
    return {
        "west": round(west, PLACES),
        "step": step,
        "cells": [[*middle, count] for middle, count in zip(middles, photos.tolist(), strict=True)],
    }


def western_edge(longitudes: NDArray[np.float64]) -> float:
    """Where a map begins: the middle of the widest gap between longitudes, degrees from -180 to 180."""
    if not longitudes.size:
        return -180.0
    there = np.unique(longitudes)
    gaps = np.diff(there, append=there[0] + 360)
    widest = int(gaps.argmax())
    return float((there[widest] + gaps[widest] / 2 + 180) % 360 - 180)
