"""Exports as Earth Engine writes them without a CRS: tiles in EPSG:4326, with lakes that are circles on the ground."""

from __future__ import annotations

import numpy as np
import rasterio
from rasterio.transform import Affine

from waterscape.sources.world.circles import DEGREES, draw, lattice

RADIUS, BLUR, APART = 1200.0, 300.0, 3500.0  # metres: of a lake, of its shore, between two lakes


def write_tile(path, occurrence, west, north, degrees=DEGREES, **options):
    """One GeoTIFF in EPSG:4326; bands if three-dimensional."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = occurrence if occurrence.ndim == 3 else occurrence[None]
    profile = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype}
    profile |= {"crs": "EPSG:4326", "transform": Affine(degrees, 0, west, 0, -degrees, north), **options}
    with rasterio.open(path, "w", driver="GTiff", **profile) as dataset:
        dataset.write(bands)


def lakes_around(longitude, latitude, rows, columns, size=64):
    """Centres of lakes on the ground of so many rows and columns of tiles."""
    reach = max(rows, columns * np.cos(np.radians(latitude))) * size * 100 / 2
    return lattice(longitude, latitude, reach, APART)


def write_region(
    folder, region, longitude, latitude, rows, columns, size=64, lakes=None, change=None, left=None, **options
):
    """A region's tiles around a point, on Earth Engine's grid; returns the drawn picture.

    `change` turns a tile's percent into the bands to write; `left` is the first column in the grid, else as it follows.
    """
    left = round(longitude / DEGREES) - columns * size // 2 if left is None else left
    top = round(latitude / DEGREES) + rows * size // 2
    west, north = left * DEGREES, top * DEGREES
    lakes = lakes_around(longitude, latitude, rows, columns, size) if lakes is None else lakes
    x = west + (np.arange(columns * size) + 0.5) * DEGREES
    y = north - (np.arange(rows * size) + 0.5) * DEGREES
    picture = draw(x, y, lakes, RADIUS, BLUR)
    for row in range(0, rows * size, size):
        for column in range(0, columns * size, size):
            tile = picture[row : row + size, column : column + size]
            name = f"{region}-{row:010d}-{column:010d}.tif"
            place = (west + column * DEGREES, north - row * DEGREES)
            write_tile(folder / region / name, tile if change is None else change(tile), *place, **options)
    return picture
