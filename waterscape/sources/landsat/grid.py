"""Tiles over a study area: squares of degrees, as is usual, or squares of metres in the zones of UTM.

A grid covers the Earth and does not depend on the area, so that tiles of two areas are the same or apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from waterscape.errors import UserError
from waterscape.sources.utm import HIGHEST, LOWEST, cells_centred_in, giving_way

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shapely import Geometry

    from waterscape.sources.area import Area
    from waterscape.sources.utm import Cell

Kind = Literal["degrees", "utm"]

PIXELS: dict[Kind, int] = {"degrees": 501, "utm": 512}
"""Side of a tile, where nothing else is wanted."""
DEGREES_PER_PIXEL = 0.135 / 501
"""30 m from north to south, and at the equator from west to east."""
METRES_PER_PIXEL = 30.0
ONTO_PIXELS = (-5.0, 15.0)
"""Metres east and north by which squares of UTM are moved, so that their pixels are Landsat's own and none lies between
two: those have their corners at odd multiples of 15 m, counted in the zone's northern half on both sides of the equator
(so in the southern half's own northings, which begin 10 000 km south of it, at 25 m beyond multiples of 30)."""
FEWEST_PIXELS, MOST_PIXELS = 32, 1024
MOST_TILES = 200_000
METRES_IN_DEGREE = 111_000.0
ROUNDING = 1e-9  # degrees; a tile's edge on the area's edge is no touch


@dataclass(frozen=True)
class GridTile:
    """A tile to ask for."""

    key: str
    """Its name everywhere: that of its south-western corner, or of a square of `utm`."""
    crs: str
    transform: tuple[float, float, float, float, float, float]
    """a b c d e f: column, row → x = a·column + c, y = e·row + f."""
    width: int
    height: int
    bounds: tuple[float, float, float, float]
    """West, south, east, north in degrees; beyond ±180 where it crosses the antimeridian."""

    @property
    def southern(self) -> bool:
        """Whether its centre lies south of the equator."""
        return self.bounds[1] + self.bounds[3] < 0


def tiles_over(area: Area, kind: Kind, pixels: int | None = None) -> list[GridTile]:
    """The tiles of `pixels` × `pixels` that share ground with an area, from the north-west to the south-east.

    Tiles of degrees share edges, and those at 180° E and at the poles are smaller. Squares of two zones of UTM do not
    fit at the zones' edge: those that overlap others give way, so a strip of ground there may be in none.

    Raises `UserError` where there are none, or more than `MOST_TILES`.
    """
    pixels = pixels or PIXELS[kind]
    if not FEWEST_PIXELS <= pixels <= MOST_PIXELS:
        raise UserError(f"tiles have {FEWEST_PIXELS} to {MOST_PIXELS} pixels a side, not {pixels}")
    _, south, _, north = area.shape.bounds
    narrow = 1.0 if kind == "degrees" else math.cos(math.radians(min(max(-south, north), HIGHEST)))
    if area.shape.area * narrow > MOST_TILES * (pixels * DEGREES_PER_PIXEL) ** 2:
        raise UserError(f"the area has more than {MOST_TILES} tiles: take a part of it at a time")
    found = list(_degrees(area, pixels) if kind == "degrees" else _utm(area, pixels))
    if not found:
        raise UserError(f"no tile lies on the area; UTM reaches from {LOWEST:g} to {HIGHEST:g}° north")
    return sorted(found, key=lambda tile: (-tile.bounds[3], tile.bounds[0]))


def _degrees(area: Area, pixels: int) -> Iterator[GridTile]:
    """Counted from 180° W, 90° S."""
    import shapely

    pixel, side = DEGREES_PER_PIXEL, pixels * DEGREES_PER_PIXEL
    shapely.prepare(area.shape)
    west, south, east, north = area.shape.bounds
    columns = np.arange(*_numbers(west + 180, east + 180, side))
    lefts, rights = columns * side - 180, np.minimum((columns + 1) * side - 180, 180)
    for row in range(*_numbers(south + 90, north + 90, side)):
        bottom, top = row * side - 90, min((row + 1) * side - 90, 90)
        boxes = shapely.box(lefts + ROUNDING, bottom + ROUNDING, rights - ROUNDING, top - ROUNDING)
        for at in np.flatnonzero(shapely.intersects(area.shape, boxes)):
            bounds = [round(float(edge), 12) for edge in (lefts[at], bottom, rights[at], top)]
            yield GridTile(
                key=f"{_compass(bounds[1], 'NS')}{_compass(bounds[0], 'EW')}",
                crs="EPSG:4326",
                transform=(pixel, 0.0, bounds[0], 0.0, -pixel, bounds[3]),
                width=round((bounds[2] - bounds[0]) / pixel),
                height=round((bounds[3] - bounds[1]) / pixel),
                bounds=(bounds[0], bounds[1], bounds[2], bounds[3]),
            )


def _numbers(start: float, end: float, side: float) -> tuple[int, int]:
    """First and past the last of the tiles between two places on an axis."""
    return math.floor(start / side + ROUNDING), math.ceil(end / side - ROUNDING)


def _compass(degrees: float, letters: str) -> str:
    """55.755 → N55.755: letters are those of positive and negative numbers."""
    number = round(degrees, 3)
    return f"{letters[number < 0]}{abs(number):0{6 if letters == 'NS' else 7}.3f}"


def _utm(area: Area, pixels: int) -> Iterator[GridTile]:
    import shapely

    side = pixels * METRES_PER_PIXEL
    shapely.prepare(area.shape)
    cells: set[Cell] = set()
    for part in area.shape.geoms:
        west, south, east, north = part.bounds
        up = side / METRES_IN_DEGREE
        south, north = max(south - up, LOWEST), min(north + up, HIGHEST)
        across = up / math.cos(math.radians(min(max(-south, north), HIGHEST)))
        if south < north:
            cells.update(
                cells_centred_in(
                    west - across, south, min(east + across, west - across + 360), north, side, ONTO_PIXELS
                )
            )
    touching = [cell for cell in cells if _touches(cell, area.shape, side)]
    gone = giving_way(touching, side, ONTO_PIXELS)
    for cell in touching:
        if cell not in gone:
            x, y = cell.north_west(side, ONTO_PIXELS)
            east, north = cell.outline(side, ONTO_PIXELS)
            yield GridTile(
                key=str(cell),
                crs=cell.crs,
                transform=(METRES_PER_PIXEL, 0.0, x, 0.0, -METRES_PER_PIXEL, y),
                width=pixels,
                height=pixels,
                bounds=(float(east.min()), float(north.min()), float(east.max()), float(north.max())),
            )


def outline(tile: GridTile) -> Iterable[tuple[float, float]]:
    """The corners of a tile in degrees, closed."""
    from pyproj import Transformer

    a, _, c, _, e, f = tile.transform
    xs, ys = [c, c + a * tile.width, c + a * tile.width, c, c], [f, f, f + e * tile.height, f + e * tile.height, f]
    if tile.crs != "EPSG:4326":
        xs, ys = Transformer.from_crs(tile.crs, "EPSG:4326", always_xy=True).transform(xs, ys)
    return zip(xs, ys, strict=True)


def _touches(cell: Cell, shape: Geometry, side: float) -> bool:
    """Whether a square shares ground with an area between −180 and 180 degrees."""
    import shapely
    from shapely.affinity import translate

    longitudes, latitudes = cell.outline(side, ONTO_PIXELS)
    south, north, west, east = (list(zip(x, y, strict=True)) for x, y in zip(longitudes, latitudes, strict=True))
    square = shapely.Polygon([*south, *east, *north[::-1], *west[::-1]])
    return any(shape.intersects(translate(square, turn)) for turn in (-360, 0, 360))
