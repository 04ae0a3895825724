"""The eight bands that a pixel network sees, computed one way: in packing, in prediction and on the servers.

Reflectances are those of Landsat 8, Collection 2, Level 2. The indices are taken of the composite's own reflectances,
never of the single scenes before it: so a file of reflectances is all that a prediction needs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

REFLECTANCES = ("B2", "B3", "B4", "B5", "B6")
"""Blue, green, red, near infrared, short-wave infrared 1."""
BANDS = (*REFLECTANCES, "MNDWI", "line", "elevation")
"""The order in `bands.npy`, in a network's input and on the servers."""
SCALE, OFFSET = 2.75e-5, -0.2
"""Reflectance = number · SCALE + OFFSET (USGS, Landsat Collection 2 Level 2)."""
ELEVATION_METRES = 4000.0
"""The elevation that is 1 in the last band."""
MARGIN = 2
"""Pixels at each edge of a raster of which the line enhancement is not known."""
WATER, LAND, UNKNOWN = 1, 0, 255
"""The values of `water.npy`: `UNKNOWN` is never trained on and never judged."""


def band_stack(reflectances: npt.ArrayLike, elevation: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """The eight bands (H W 8) of reflectances (H W 5, about 0 to 1) and elevations (H W, metres).

    NaN is nodata: it stays NaN in every band that is computed from it, and `MARGIN` pixels at the edges are NaN in
    the line enhancement.
    """
    measured = np.asarray(reflectances)
    index = mndwi(measured[..., 1].astype(np.float64), measured[..., 4].astype(np.float64))
    stack = np.empty((*index.shape, len(BANDS)), np.float32)
    for band in range(len(REFLECTANCES)):  # one at a time, twice as fast: bands are mostly stored one after another
        stack[..., band] = measured[..., band]
    stack[..., -3], stack[..., -2] = index, line_enhancement(index)
    stack[..., -1] = np.asarray(elevation, np.float64) / ELEVATION_METRES
    return stack


def mndwi(green: npt.NDArray[np.float64], infrared: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Modified normalised difference water index (Xu 2006) in −1..1: (green − SWIR1) / (green + SWIR1).

    Reflectances below zero, which sensors' noise and dark water give, count as zero; 0 where both are.
    """
    green, infrared = (np.maximum(band, 0.0) for band in (green, infrared))
    total = green + infrared
    total[total == 0] = 1.0
    return np.divide(green - infrared, total)


def line_enhancement(index: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How much a pixel of an index (H W) stands out of what lies two pixels off on either side of it.

    The largest of four kernels of 5 × 5 (centre 2, two opposite ends −1: vertical, horizontal, both diagonals): narrow
    rivers are ridges of the water index. NaN within `MARGIN` of the edges and where an end is NaN.
    """
    lines = np.full(index.shape, np.nan)
    height, width = index.shape
    if height <= 2 * MARGIN or width <= 2 * MARGIN:
        return lines

    def moved(down: int, right: int) -> npt.NDArray[np.float64]:
        return index[MARGIN + down : height - MARGIN + down, MARGIN + right : width - MARGIN + right]

    ends = ((MARGIN, 0), (0, MARGIN), (MARGIN, MARGIN), (MARGIN, -MARGIN))
    centre = 2 * moved(0, 0)
    highest = np.full_like(centre, -np.inf)
    for down, right in ends:  # one at a time: all of them would leave the processor's cache
        ridge = centre - moved(down, right)
        ridge -= moved(-down, -right)
        np.maximum(highest, ridge, out=highest)
    lines[MARGIN:-MARGIN, MARGIN:-MARGIN] = highest
    return lines
