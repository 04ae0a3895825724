"""Synthetic pairs: what a satellite shows of a place, and what somebody who stands there sees; made up, and called so.

A place is a pure function of (seed, number): the satellite tile and the photo are two views of one ground (see
`ground`). The photo looks north from the middle of the tile. On disk they are what a collector of real
pairs would leave: `photos/55.1234,37.5678.jpg` and `satellite/55.1234,37.5678.jpg`, latitude first, beside the latter a
`.json` with coordinates and metres per pixel; `tools/pack_pairs.py` joins them. `mosaic.tif` is a larger piece of
ground from above, to cut tiles from. `world.json` says that all of it is synthetic.

    from waterscape.sources.world.views.place import place
    made = place(seed=7, number=0)
    made.satellite, made.photo, made.ground.setting
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from PIL import Image

from waterscape.durable import sync, write_text
from waterscape.errors import UserError
from waterscape.sources.parallel import Workers, progress
from waterscape.sources.world.export import FACTS, being_made, listed
from waterscape.sources.world.noise import Lot
from waterscape.sources.world.views.above import from_above
from waterscape.sources.world.views.ground import Ground, ground
from waterscape.sources.world.views.within import EYE, FIELD_OF_VIEW, from_within

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

FORMAT = 1
METRES_PER_PIXEL = 2.5  # near that of a web map's zoom 15 at 58° north
TILE_PIXELS = 450  # a side of a satellite tile
PHOTO_PIXELS = 192  # a side of a photo
GROUND_PIXELS = 720  # a side of the ground, which reaches beyond the tile: a photo looks farther
MOSAIC, MOSAIC_PIXELS = "mosaic.tif", 1600  # a side: 4 km
QUALITY = 92  # of the JPEG files
SOUTH, WEST = 54.0, 36.5  # degrees of place 0
ROW, COLUMN = 0.12, 0.24  # degrees between places: 12 km and more
COLUMNS, ROWS = 20, 100


@dataclass(frozen=True)
class Place:
    """A synthetic place: its ground, and the two views of it."""

    number: int
    longitude: float
    """Degrees east of where it pretends to lie."""
    latitude: float
    ground: Ground
    satellite: NDArray[np.uint8]
    """H W 3, north up."""
    photo: NDArray[np.uint8]
    """H W 3, from the middle of the tile to the north."""


def place(seed: int, number: int) -> Place:
    """Make place `number` of the world `seed`."""
    lot = Lot(seed, "views", number)
    around = ground(lot, GROUND_PIXELS, METRES_PER_PIXEL)
    longitude, latitude = coordinates(number)
    above, within = from_above(around, TILE_PIXELS), from_within(around, lot, PHOTO_PIXELS)
    return Place(number, longitude, latitude, around, above, within)


def coordinates(number: int) -> tuple[float, float]:
    """Longitude and latitude where a place pretends to lie: rows of 20 northwards, the next 2000 further east."""
    lap, within = divmod(number, COLUMNS * ROWS)
    row, column = divmod(within, COLUMNS)
    longitude = (WEST + COLUMN * (column + COLUMNS * lap) + 180) % 360 - 180
    return round(longitude, 5), round(SOUTH + ROW * row, 5)


def write_views(out: Path, views: int, seed: int = 0, *, replace: bool = False, processes: int = 1) -> dict[str, Any]:
    """Write so many places under `out`, and return what its `world.json` says.

    The same seed gives the same bytes, for any number of `processes`. `out` appears once all of it is on the disk.

    Raises:
        UserError: fewer than one place, or `out` exists (and is no synthetic world, or `replace` is False).
    """
    if views < 1:
        raise UserError(f"--views is {views}; give 1 or more")
    with being_made(out, replace=replace) as beside, Workers(processes) as workers:
        for folder in ("photos", "satellite"):
            (beside / folder).mkdir()
        write = partial(_write, directory=beside, seed=seed)
        mosaic = _write_mosaic(beside / MOSAIC, seed)
        files = list(progress(workers.in_order(write, range(views)), views, "making synthetic views", "place"))
        facts = _facts(seed, views) | {"mosaic": mosaic, "files": files}
        write_text(beside / FACTS, listed(facts))
    return facts


def _write(number: int, directory: Path, seed: int) -> dict[str, Any]:
    """Make and write one place; what `world.json` says of it."""
    made = place(seed, number)
    name = f"{made.latitude:.4f},{made.longitude:.4f}"
    for folder, picture in (("photos", made.photo), ("satellite", made.satellite)):
        path = directory / folder / f"{name}.jpg"
        Image.fromarray(picture).save(path, quality=QUALITY, subsampling=0, comment="synthetic: shows no real place")
        sync(path)
    where = {"longitude": made.longitude, "latitude": made.latitude, "metres_per_pixel": METRES_PER_PIXEL}
    (directory / "satellite" / f"{name}.json").write_text(json.dumps({**where, "synthetic": True}) + "\n")
    return {"file": f"{name}.jpg", "number": number, "setting": made.ground.setting, "shares": made.ground.shares()}


def _write_mosaic(path: Path, seed: int) -> dict[str, Any]:
    """Write a piece of ground from above as GeoTIFF, south of all places; what `world.json` says of it."""
    import rasterio
    from pyproj import Transformer
    from rasterio import Affine

    longitude, latitude = coordinates(0)[0] + COLUMN, SOUTH - 10 * ROW
    crs, half = "EPSG:32637", MOSAIC_PIXELS / 2 * METRES_PER_PIXEL
    east, north = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(longitude, latitude)
    bands = from_above(ground(Lot(seed, "mosaic"), MOSAIC_PIXELS, METRES_PER_PIXEL), MOSAIC_PIXELS).transpose(2, 0, 1)
    options: dict[str, Any] = {"count": 3, "height": MOSAIC_PIXELS, "width": MOSAIC_PIXELS, "dtype": "uint8"}
    options |= {"crs": crs, "transform": Affine(METRES_PER_PIXEL, 0, east - half, 0, -METRES_PER_PIXEL, north + half)}
    with rasterio.open(path, "w", driver="GTiff", compress="deflate", photometric="rgb", **options) as dataset:
        dataset.write(bands)
        dataset.update_tags(synthetic="true", generator="waterscape synthetic views", seed=seed)
    sync(path)
    return {"file": path.name, "longitude": longitude, "latitude": round(latitude, 5), "metres": 2 * half}


def _facts(seed: int, views: int) -> dict[str, Any]:
    return {
        "synthetic": True,
        "about": "Synthetic views: no tile and no photo shows a real place. Made by waterscape (tools/make_world.py).",
        "format": FORMAT,
        "seed": seed,
        "views": views,
        "metres_per_pixel": METRES_PER_PIXEL,
        "satellite": {"pixels": TILE_PIXELS, "north": "up"},
        "photos": {
            "pixels": PHOTO_PIXELS,
            "from": "the middle of the tile",
            "eye_metres_above_ground": EYE,
            "looking": "north",
            "field_of_view_degrees": FIELD_OF_VIEW,
        },
    }
