"""What a label is judged by: seven features of each pixel, and the patch around it that a network sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from waterscape.nn.pixel_network import MARGIN
from waterscape.sources.landsat.bands import BANDS, ELEVATION_METRES, mndwi

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEATURES = ("blue", "green", "red", "NIR", "NDVI", "MNDWI", "elevation")
BLUE, GREEN, RED, NIR, MNDWI, ELEVATION = (BANDS.index(name) for name in ("B2", "B3", "B4", "B5", "MNDWI", "elevation"))
PATCH = 2 * MARGIN + 1
HIGHEST_METRES = 1400.0
"""Pixels from here up are not taught: snow and the shadows of mountains pass for water there."""


def seven_features(bands: NDArray[np.float32]) -> NDArray[np.float32]:
    """The features (H W 7, in the order of `FEATURES`) of a tile's eight bands (H W 8); NaN where a band is NaN."""
    ndvi = mndwi(bands[..., NIR].astype(np.float64), bands[..., RED].astype(np.float64))  # a like quotient of its two
    chosen = [bands[..., number] for number in (BLUE, GREEN, RED, NIR)]
    return np.stack([*chosen, ndvi, bands[..., MNDWI], bands[..., ELEVATION]], axis=-1).astype(np.float32)


def low_ground(features: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where features (H W 7) lie below `HIGHEST_METRES` (H W)."""
    low: NDArray[np.bool_] = features[..., FEATURES.index("elevation")] < HIGHEST_METRES / ELEVATION_METRES
    return low


class Patches:
    """The 7 × 7 pixels around each pixel of a tile, which is mirrored at its edges.

    `known` (H W) tells where no pixel of the patch is nodata: only there can a network be taught or asked.
    """

    def __init__(self, features: NDArray[np.float32]) -> None:
        mirrored = np.pad(features.transpose(2, 0, 1), ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)), mode="reflect")
        whole = np.isfinite(mirrored).all(0)
        self.known: NDArray[np.bool_] = np.asarray(sliding_window_view(whole, (PATCH, PATCH)).all((2, 3)))
        self.raster: NDArray[np.float32] = np.nan_to_num(mirrored, nan=0.0, posinf=0.0, neginf=0.0)
        """The mirrored tile, C (H + 6) (W + 6), with 0 for nodata."""
        self._around = sliding_window_view(self.raster, (PATCH, PATCH), axis=(1, 2))

    def gather(self, pixels: NDArray[np.int64]) -> NDArray[np.float32]:
        """The patches (N C 7 7) of pixels, which are numbered row by row."""
        rows, columns = np.divmod(pixels, self.known.shape[1])
        return np.ascontiguousarray(self._around[:, rows, columns].swapaxes(0, 1))
