"""A synthetic world of circular lakes, in tiles as Earth Engine exports them without a CRS: in degrees (EPSG:4326).

The lakes are circles on the ground, so in the exports of the north they are stretched by 1/cos(latitude). What
unstretches them (`true_scale`) is measured by how round they come out. Each latitude has two regions, one at 39° E, in
the middle of a UTM zone, and one across the antimeridian, whose longitudes run on above 180 as in an export.
"""

from __future__ import annotations

import json
import math
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.durable import sync, write_text
from waterscape.errors import UserError
from waterscape.sources.occurrence import SYNTHETIC_MARK
from waterscape.sources.world.export import being_made
from waterscape.sources.world.terrain import SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT = 1
DEGREES = 100 / (6_378_137 * math.pi / 180)  # of a pixel of 100 m, as Earth Engine counts
HIGHEST = 80.0  # degrees north or south, of a region's centre
ROWS = 3  # of tiles in a region, and so many columns that it is about as wide
PLACES = {"": 39.0, "-antimeridian": 180.0}
RADIUS, SHORE, APART = 3000.0, 500.0, 9000.0  # metres: of a lake, to either side of it, between two centres


def write_lakes(out: Path, latitudes: Sequence[float], *, replace: bool = False) -> int:
    """Write a world of circular lakes around each of the latitudes under `out`; returns the number of tiles.

    Raises:
        UserError: no latitude, or one beyond 80°; or `out` exists (and is no synthetic world, or `replace` is False).
    """
    if not latitudes or max(map(abs, latitudes)) > HIGHEST or len(set(latitudes)) < len(latitudes):
        raise UserError(f"--lakes-at {latitudes}: give distinct latitudes from -80 to 80 degrees, as in 45,60,70,78")
    with being_made(out, replace=replace) as beside:
        regions = [
            _write_region(beside, f"synthetic-lakes-{latitude:g}{ending}", longitude, latitude)
            for latitude in latitudes
            for ending, longitude in PLACES.items()
        ]
        facts = {
            "synthetic": True,
            "about": "Synthetic circular lakes: no tile shows a real place. Made by waterscape (tools/make_world.py).",
            "format": FORMAT,
            "lakes_at": list(latitudes),
            "radius_metres": RADIUS,
            "shore_metres": SHORE,
            "regions": regions,
        }
        write_text(beside / SYNTHETIC_MARK, json.dumps(facts, indent=1) + "\n")
    return sum(region["tiles"] for region in regions)


def _write_region(folder: Path, name: str, longitude: float, latitude: float) -> dict[str, Any]:
    """Write a region's tiles around a point; what `world.json` says of it."""
    columns = math.ceil(ROWS / math.cos(math.radians(latitude)))
    left, top = round(longitude / DEGREES) - columns * SIZE // 2, round(latitude / DEGREES) + ROWS * SIZE // 2
    lakes = lattice(longitude, latitude, ROWS * SIZE * 100 / 2)
    (folder / name).mkdir()
    for row in range(0, ROWS * SIZE, SIZE):
        for column in range(0, columns * SIZE, SIZE):
            pixels = np.arange(SIZE) + 0.5
            occurrence = draw((left + column + pixels) * DEGREES, (top - row - pixels) * DEGREES, lakes)
            corner = ((left + column) * DEGREES, (top - row) * DEGREES)
            _write_tile(folder / name / f"{name}-{row:010d}-{column:010d}.tif", occurrence, *corner)
    return {"name": name, "tiles": ROWS * columns, "lakes": [[round(x, 6), round(y, 6)] for x, y in lakes]}


def _write_tile(path: Path, occurrence: NDArray[np.uint8], west: float, north: float) -> None:
    import rasterio
    from rasterio import Affine

    place = {"crs": "EPSG:4326", "transform": Affine(DEGREES, 0, west, 0, -DEGREES, north), "nodata": 0}
    shape = {"count": 1, "height": SIZE, "width": SIZE, "dtype": "uint8", "compress": "deflate"}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place) as dataset:
        dataset.write(occurrence, 1)
        dataset.update_tags(synthetic="true", generator="waterscape synthetic world: circular lakes")
    sync(path)


def lattice(longitude: float, latitude: float, reach: float, apart: float = APART) -> list[tuple[float, float]]:
    """Centres of lakes in rows around a point, up to `reach` metres from it north, south, east and west."""
    steps = np.arange(-int(reach / apart), int(reach / apart) + 1) * apart
    centres = []
    for up in steps:
        _, y, _ = _ground().fwd(longitude, latitude, 0, up)
        for across in steps:
            x, level, _ = _ground().fwd(longitude, y, 90, across)
            centres.append((float(x), float(level)))
    return centres


def draw(
    longitudes: NDArray[np.floating[Any]],
    latitudes: NDArray[np.floating[Any]],
    lakes: Sequence[tuple[float, float]],
    radius: float = RADIUS,
    shore: float = SHORE,
) -> NDArray[np.uint8]:
    """Occurrence (H W, percent) at pixels of these longitudes and latitudes: 50 % at the radius on the ground.

    It rises from 0 to 100 % over the shore, from `shore` metres outside of the radius to as many inside.
    """
    drawn = np.zeros((len(latitudes), len(longitudes)))
    reach = (radius + shore) / 110_000  # in degrees of latitude
    for longitude, latitude in lakes:
        away = np.abs((longitudes - longitude + 180) % 360 - 180)
        rows = np.flatnonzero(np.abs(latitudes - latitude) < reach)
        columns = np.flatnonzero(away < 1.2 * reach / math.cos(math.radians(latitude)))
        if rows.size and columns.size:
            x, y = (grid.ravel() for grid in np.meshgrid(longitudes[columns], latitudes[rows]))
            metres = _ground().inv(x, y, np.full(x.size, longitude), np.full(x.size, latitude))[2]
            lake = np.clip(50 - 50 * (metres.reshape(rows.size, -1) - radius) / shore, 0, 100)
            part = np.ix_(rows, columns)
            drawn[part] = np.maximum(drawn[part], lake)
    return np.floor(drawn + 0.5).astype(np.uint8)


@cache
def _ground() -> Any:
    from pyproj import Geod

    return Geod(ellps="WGS84")
