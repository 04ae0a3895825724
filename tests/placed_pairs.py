"""Synthetic pairs of tile and photo that say where they lie, and a mosaic of the ground around them."""

from __future__ import annotations

import numpy as np
import rasterio
from pyproj import Transformer
from rasterio.transform import from_origin
from small_pairs import jpeg

from waterscape.data.pack import SetWriter

LATITUDE, LONGITUDE = 54.96, 38.18
OWNER = 424242
METRES = 2.5
SIDE = 500  # pixels of the mosaic


def places(count=9):
    """Latitude and longitude of each pair: a row from west to east, 200 m apart, through the middle of the mosaic."""
    step = 200 / (111_320 * np.cos(np.radians(LATITUDE)))
    return [(LATITUDE, LONGITUDE + step * (number - count // 2)) for number in range(count)]


def write_placed_pairs(out, **told):
    """Pairs of which every third is held out; a photo's red tells its number."""
    facts = {"synthetic": True, "licence": "CC0", "tiles": {"pixels": [160, 160], "metres_per_pixel": METRES}}
    with SetWriter(out, facts=facts, samples_per_shard=4) as writer:
        for number, (latitude, longitude) in enumerate(places()):
            tile, photo = (np.full((side, side, 3), (20 * number, 90, 60), np.uint8) for side in (160, 64))
            json = {"latitude": latitude, "longitude": longitude, "synthetic": True, "owner": OWNER, **told}
            values = {"satellite.jpg": jpeg(tile), "photo.jpg": jpeg(photo), "json": json}
            writer.add("test" if number % 3 == 2 else "train", values)
        writer.finish()
    return out


def write_mosaic(path, side=SIDE, **profile):
    """A GeoTIFF of coarse random colours, of pixels of 2.5 m in UTM, around the pairs; returns its pixels (H W 3)."""
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32637", always_xy=True).transform(LONGITUDE, LATITUDE)
    coarse = np.random.default_rng(0).integers(40, 215, (3, 1 + side // 20, 1 + side // 20))
    pixels = np.kron(coarse, np.ones((20, 20), int)).astype(np.uint8)[:, :side, :side]
    place = from_origin(x - side / 2 * METRES, y + side / 2 * METRES, METRES, METRES)
    shape = {"count": 3, "height": side, "width": side, "dtype": "uint8", "crs": "EPSG:32637", "transform": place}
    with rasterio.open(path, "w", driver="GTiff", **shape, **profile) as dataset:
        dataset.write(pixels)
    return pixels.transpose(1, 2, 0)
