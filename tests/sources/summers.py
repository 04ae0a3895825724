"""A summer of synthetic Landsat scenes as the loopback Earth Engine serves it, and what its composite must be."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime

import numpy as np
from loopback_earthengine import Raster

COLLECTION, SRTM, GLO30 = "LANDSAT/LC08/C02/T1_L2", "CGIAR/SRTM90_V4", "COPERNICUS/DEM/GLO30"
BANDS = ("B2", "B3", "B4", "B5", "B6")
CLEAR, CLOUD, WATER = 1 << 6, 1 << 3, 1 << 7


def scene(crs, transform, day, seed, side, clouds=0.3):
    """Numbers of a product, random as they can be; `clouds`: the share of pixels under clouds."""
    random = np.random.default_rng(seed)
    quality = np.full((side, side), CLEAR) + WATER * (random.random((side, side)) < 0.4)
    quality += np.where(random.random((side, side)) < clouds, random.choice([1 << bit for bit in range(1, 5)]), 0)
    numbers = {f"SR_{band}": random.integers(6500, 40000, (side, side)).astype(np.uint16) for band in BANDS}
    when = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000
    bands = numbers | {"QA_PIXEL": quality.astype(np.uint16)}
    return Raster(bands, crs, transform, properties={"system:time_start": when, "system:index": f"{day}-{seed}"})


def heights(crs, transform, side, seed, name, void=None):
    """A model of elevations; `void`: rows and columns that it does not know."""
    metres = np.random.default_rng(seed).integers(-20, 3000, (side, side)).astype(np.float64)
    if void:
        metres[void] = np.nan
    return Raster({name: metres}, crs, transform)


def served(scenes, srtm, elsewhere=()):
    """What to give to `serve`."""
    return {"assets": {SRTM: srtm}, "collections": {COLLECTION: list(scenes), GLO30: list(elsewhere)}}


def expected(scenes, metres):
    """Reflectances (H W 5), elevation (H W) and share of water (H W): the median of scenes of one grid, in numpy."""
    clear = np.stack([(scene.bands["QA_PIXEL"] >> 1) & 15 == 0 for scene in scenes])
    measured = [
        np.where(clear, np.stack([scene.bands[f"SR_{band}"] for scene in scenes]) * 2.75e-5 - 0.2, np.nan)
        for band in BANDS
    ]
    water = np.where(clear, np.stack([(scene.bands["QA_PIXEL"] >> 7) & 1 for scene in scenes]), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where no scene is clear
        reflectances = np.dstack([np.nanmedian(band, axis=0) for band in measured])
        return reflectances, metres, np.nanmean(water, axis=0)
