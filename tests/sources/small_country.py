"""A synthetic country of two parts on either side of 42° E, where two zones of UTM meet, and its synthetic waters."""

from __future__ import annotations

import numpy as np
import shapely
from loopback_earthengine import Raster
from loopback_earthengine.values import Feature, Geometry
from scipy import ndimage

BOUNDARIES, IMAGE, REFERENCE_IMAGE = (
    "USDOS/LSIB_SIMPLE/2017",
    "JRC/GSW1_4/GlobalSurfaceWater",
    "JRC/GSW1_3/GlobalSurfaceWater",
)
STEP = 0.0005  # degrees a pixel of the waters
WEST, SOUTH, EAST, NORTH = 41.2, 60.0, 42.8, 60.5
PARTS = (shapely.box(41.5, 60.1, 41.9, 60.35), shapely.box(41.9, 60.1, 42.5, 60.35))


def waters(seed=1, dry_west_of=41.6):
    """Percent 1–100 in blobs, masked between them; west of a meridian there is no water at all."""
    random = np.random.default_rng(seed)
    shape = round((NORTH - SOUTH) / STEP), round((EAST - WEST) / STEP)
    field = ndimage.gaussian_filter(random.normal(size=shape), 20)
    percent = np.clip(60 * field / field.std(), 0, 100).astype(np.uint8)
    percent[:, : round((dry_west_of - WEST) / STEP)] = 0
    return Raster({"occurrence": percent}, "EPSG:4326", (STEP, 0, WEST, 0, -STEP, NORTH), mask=percent > 0)


def country(code="LS", parts=PARTS):
    """Its features as the boundaries have them, beside another country's."""
    own = [Feature(Geometry(part), {"country_co": code, "country_na": "Synthetic Land"}) for part in parts]
    return [Feature(Geometry(shapely.box(0, 0, 1, 1)), {"country_co": "ZZ"}), *own]


def served(**more):
    """What to give to `serve`."""
    image = waters()
    return {"assets": {IMAGE: image, REFERENCE_IMAGE: image}, "collections": {BOUNDARIES: country()}, **more}


def sampled(raster, crs, transform, size):
    """What a tile must hold (size × size, 255: masked): the pixel that each centre lies in, by pyproj and numpy."""
    from pyproj import Transformer

    a, _, c, _, e, f = transform
    x, y = np.meshgrid(c + a * (np.arange(size) + 0.5), f + e * (np.arange(size) + 0.5))
    longitude, latitude = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
    column, row = ((longitude - WEST) / STEP).astype(int), ((NORTH - latitude) / STEP).astype(int)
    percent = raster.bands["occurrence"]
    inside = (column >= 0) & (row >= 0) & (column < percent.shape[1]) & (row < percent.shape[0])
    found = percent[np.clip(row, 0, percent.shape[0] - 1), np.clip(column, 0, percent.shape[1] - 1)]
    return np.where(inside & (found > 0), found, 255)
