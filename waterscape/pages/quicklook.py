"""A scene at a glance, beside the same with what was found to be water: a reduced picture in false colours."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from waterscape.rasters.cog import CACHE_BYTES
from waterscape.sheet import MISSING, save_png, sheet
from waterscape.sources.landsat.bands import UNKNOWN, WATER
from waterscape.sources.landsat.raster_file import opened

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from waterscape.sources.landsat.scene import Scene

SIDE = 900  # pixels of the longer side of each half
SHOWN = ("B6", "B5", "B4")  # as red, green and blue: water is dark, plants are green, bare ground is pink
BLUE = np.array([0.10, 0.38, 1.00])


def save_quicklook(scene: Scene, mask: Path, target: Path, title: str, facts: Mapping[str, str]) -> None:
    """Write the picture; `mask` is the finished file of water, land and nodata. `facts` become PNG text."""
    import rasterio

    height, width = scene.shape
    factor = max(1, math.ceil(max(height, width) / SIDE))
    size = (math.ceil(height / factor), math.ceil(width / factor))
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        colours = np.dstack([_stretched(_reduced(scene, name, size)) for name in SHOWN])
        with opened(mask) as dataset:
            water = dataset.read(1, out_shape=size)  # the nearest pixels
    colours[np.isnan(colours).any(2)] = np.array(MISSING) / 255
    found = np.where((water == WATER)[..., None], 0.25 * colours + 0.75 * BLUE, colours)
    found = np.where((water == UNKNOWN)[..., None], np.array(MISSING) / 255, found)
    scale = max(1, 400 // max(size))
    rows = {"SWIR, infrared\nand red; beside\nit what is water": np.stack([colours, found])}
    save_png(sheet(rows, title=title, scale=scale, columns=2), target, **facts)


def _reduced(scene: Scene, name: str, size: tuple[int, int]) -> NDArray[np.float64]:
    """A layer's numbers in fewer pixels, as stored; NaN is nodata."""
    layer = scene.layers[name]
    with opened(layer.path) as dataset:
        numbers = dataset.read(layer.band, out_shape=size).astype(np.float64)
        numbers[numbers == dataset.nodatavals[layer.band - 1]] = np.nan  # a mask would mean to decode all once more
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _stretched(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Numbers in 0..1, from the second to the 98th percentile, as an eye likes it."""
    if np.isnan(numbers).all():
        return numbers
    low, high = np.nanpercentile(numbers, (2, 98))
    bright: NDArray[np.float64] = np.sqrt(np.clip((numbers - low) / max(high - low, 1e-9), 0, 1))
    return bright
