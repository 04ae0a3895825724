"""A synthetic region on the loopback Earth Engine: summers of Landsat scenes, heights, JRC's water occurrence."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
from loopback_earthengine import Raster
from pyproj import Transformer

from waterscape.sources.landsat.bands import OFFSET, REFLECTANCES, SCALE
from waterscape.sources.world.landsat import draw_scene

CRS, SIDE = "EPSG:32637", 100
TRANSFORM = (30.0, 0.0, 400_035.0, 0.0, -30.0, 6_100_035.0)  # corners where Landsat's pixels have theirs
ASSET = "projects/demo-water/assets/rivers/water"


def services(years=(2019, 2020), seed=1):
    """What to give to `serve`: three clouded scenes a summer, the same heights, and an occurrence that mostly fits."""
    drawn, random = draw_scene(seed, SIDE), np.random.default_rng(seed)
    scenes = []
    for year in years:
        for number, day in enumerate((f"{year}-06-10", f"{year}-07-10", f"{year}-08-10")):
            noise = 0.003 * np.random.default_rng([year, number]).normal(size=drawn.reflectances.shape)
            dn = np.clip((drawn.reflectances + noise - OFFSET) / SCALE, 1, 65535).round().astype(np.uint16)
            clouded = np.random.default_rng([year, number, 1]).random((SIDE, SIDE)) < 0.05
            bands = {f"SR_{band}": dn[..., place] for place, band in enumerate(REFLECTANCES)}
            quality = np.where(clouded, 1 << 3, 1 << 6) + (drawn.water.astype(int) << 7)
            time = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000
            bands["QA_PIXEL"] = quality.astype(np.uint16)
            scenes.append(Raster(bands, CRS, TRANSFORM, properties={"system:time_start": time, "CLOUD_COVER": number}))
    occurrence = np.where(drawn.water, 90.0, np.nan)
    occurrence[random.random((SIDE, SIDE)) < 0.02] = 30.0
    heights = Raster({"elevation": drawn.elevation.astype(float)}, CRS, TRANSFORM)
    elsewhere = Raster({"DEM": drawn.elevation.astype(float)}, CRS, TRANSFORM)
    known = Raster({"occurrence": occurrence}, CRS, TRANSFORM)
    assets = {"CGIAR/SRTM90_V4": heights, "JRC/GSW1_4/GlobalSurfaceWater": known}
    return {"assets": assets, "collections": {"LANDSAT/LC08/C02/T1_L2": scenes, "COPERNICUS/DEM/GLO30": [elsewhere]}}


def write_region(path, inset=8):
    """The scenes' square without its edge, as GeoJSON."""
    low, high = inset * 30, (SIDE - inset) * 30
    x0, y0 = TRANSFORM[2], TRANSFORM[5]
    corners = [(x0 + low, y0 - low), (x0 + high, y0 - low), (x0 + high, y0 - high), (x0 + low, y0 - high)]
    back = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    ring = [list(back.transform(x, y)) for x, y in corners]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [[*ring, ring[0]]]}))
    return path
