"""Synthetic mosaics across the antimeridian, in the coordinate systems and ways of counting in which they come."""

from __future__ import annotations

import numpy as np
import rasterio
from pyproj import Transformer
from rasterio.transform import from_origin

LATITUDE = 66.0
METRES = 20.0
"""Of a pixel, about."""
FORMS = {
    "UTM 1": ("EPSG:32601", 20.0),
    "UTM 60": ("EPSG:32660", 20.0),
    "Mercator of the Pacific": ("EPSG:3832", 49.0),
    "web Mercator": ("EPSG:3857", 49.0),
    "degrees beyond 180": ("EPSG:4326", (179.73, 0.00044, 0.00018)),
    "degrees below -180": ("EPSG:4326", (-180.27, 0.00044, 0.00018)),
}
"""Coordinate system, and its units in a pixel; in degrees: the western edge, and a pixel's width and height."""
SIDE = 1200  # pixels


def ground(latitude, longitude):
    """Colours (3 H W, 0..255) of places: waves of some hundred metres, unlike on the two sides of the line."""
    east = (longitude % 360 - 180) * 111_320 * np.cos(np.radians(LATITUDE))
    north = (latitude - LATITUDE) * 111_320
    waves = [np.sin(2 * np.pi * east / 900), np.sin(2 * np.pi * north / 700), np.cos(2 * np.pi * (east + north) / 1100)]
    return np.rint(127.5 + 100 * np.stack(waves))


def write_across(path, form):
    """One of `FORMS`; it reaches 12 km to both sides."""
    crs, step = FORMS[form]
    if crs == "EPSG:4326":
        west, wide, high = step
        transform = from_origin(west, LATITUDE + SIDE / 2 * high, wide, high)
    else:
        x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(180, LATITUDE)
        transform = from_origin(x - SIDE / 2 * step, y + SIDE / 2 * step, step, step)
    x, y = transform @ np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    longitude, latitude = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
    shape = {"count": 3, "height": SIDE, "width": SIDE, "dtype": "uint8", "crs": crs, "transform": transform}
    with rasterio.open(path, "w", driver="GTiff", **shape) as dataset:
        dataset.write(ground(latitude, longitude).astype(np.uint8))
    return path


def expected(longitude, pixels, metres=METRES):
    """The tile (H W 3) around a point at `LATITUDE`, of pixels a side."""
    local = f"+proj=aeqd +lat_0={LATITUDE} +lon_0={longitude} +datum=WGS84"
    places = (np.arange(pixels) + 0.5 - pixels / 2) * metres
    east, north = Transformer.from_crs(local, "EPSG:4326", always_xy=True).transform(*np.meshgrid(places, -places))
    return ground(north, east).transpose(1, 2, 0)
