"""Landsat files for tests: synthetic scenes written as many kinds of GeoTIFF."""

from __future__ import annotations

from functools import cache

import numpy as np
import rasterio
from PIL import Image
from rasterio import Affine

from waterscape.sources.landsat.bands import OFFSET, REFLECTANCES, SCALE
from waterscape.sources.world.landsat import draw_scene

MEASURED = (*REFLECTANCES, "elevation")
UTM, NORTH_UP = "EPSG:32643", Affine(30, 0, 300_000, 0, -30, 6_800_000)


@cache
def scene(seed=1, side=96):
    """A small synthetic scene; its arrays are shared, so do not write into them."""
    return draw_scene(seed, side)


def numbers(drawn, scale=SCALE, offset=OFFSET):
    """Layer → whole numbers (H W) as a product stores them."""
    stored = np.rint((drawn.reflectances.astype(np.float64) - offset) / scale)
    layers = dict(zip(REFLECTANCES, stored.transpose(2, 0, 1), strict=True))
    return layers | {"elevation": np.rint(drawn.elevation), "cover": drawn.cover.astype(np.float64)}


def layers_of(drawn):
    """Layer → reflectances and metres (H W), as floating point."""
    layers = dict(zip(REFLECTANCES, drawn.reflectances.transpose(2, 0, 1), strict=True))
    return layers | {"elevation": drawn.elevation}


def write_tif(path, layers, *, dtype="int32", crs=UTM, transform=NORTH_UP, nodata=None, described=True, tags=None):
    """A GeoTIFF of layers (name → H W), in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.stack(list(layers.values()))
    shape = {"count": len(pixels), "height": pixels.shape[1], "width": pixels.shape[2], "dtype": dtype}
    place = {"crs": crs, "transform": transform} if crs else {}
    with rasterio.open(path, "w", driver="GTiff", nodata=nodata, **shape, **place) as dataset:
        dataset.write(pixels.astype(dtype))
        if described:
            dataset.descriptions = tuple(layers)
        dataset.update_tags(**(tags or {}))
    return path


def write_mask(path, label):
    """A PNG of a label (H W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(label, np.uint8)).save(path)
    return path


def apart(number):
    """The place of a scene far from those of other numbers."""
    return Affine(30, 0, 300_000 + 40_000 * (number % 8), 0, -30, 3_000_000 + 40_000 * (number // 8))
