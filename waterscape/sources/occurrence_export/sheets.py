"""What is exported of each part: sheets of tiles, each sheet a rectangle of pixels in one coordinate system.

True to scale, a sheet is what lies of a part in one zone of UTM, or in one block of an equal-area projection of its own
(see `equal_area`), and its tiles are squares of metres; ground beyond 84° N, and 80° S or 84° S, is in none. The
reference's way, a sheet is in degrees (EPSG:4326), and its pixels are as many degrees wide as high. Tiles that hold
nothing of the part are left out, and no ground is in two tiles of squares.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from waterscape.errors import UserError
from waterscape.sources import equal_area
from waterscape.sources.equal_area import Block, Square
from waterscape.sources.true_scale import METRES_PER_DEGREE
from waterscape.sources.utm import EASTING, HIGHEST, LOWEST, NORTHING, Cell, cells_centred_in, giving_way, near

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from waterscape.sources.occurrence_export.parts import Part

Way = Literal["utm", "equal-area", "degrees"]
Ground = TypeVar("Ground", Cell, Square)
MOST_TILES = 500_000
MOST_PIXELS = 2_000_000_000
"""Of one sheet: the reference's `maxPixels`."""
RING = ((0, 0), (0.5, 0), (1, 0), (1, 0.5), (1, 1), (0.5, 1), (0, 1), (0, 0.5))  # of a tile's edge, in sides
RING_AND_CENTRE = np.array([*RING, (0.5, 0.5)])
TOUCH = 1e-9  # degrees; a tile's edge on the part's edge is no touch


@dataclass(frozen=True)
class Sheet:
    """A rectangle of tiles, of which some are exported."""

    name: str
    """Begins the names of its files: `moscow-37N`."""
    part: str
    crs: str
    pixel: float
    """Side, in units of the coordinate system."""
    left: float
    top: float
    tile_size: int
    """Pixels."""
    tiles: tuple[tuple[int, int], ...]
    """Rows and columns of tiles, from the north-western corner, in order."""

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return max(row for row, _ in self.tiles) + 1, max(column for _, column in self.tiles) + 1

    @property
    def pixels(self) -> int:
        """Of the whole rectangle."""
        rows, columns = self.shape
        return rows * columns * self.tile_size**2

    @property
    def side(self) -> float:
        """Of a tile, in units of the coordinate system."""
        return self.pixel * self.tile_size

    def path(self, tile: tuple[int, int]) -> str:
        """A tile's file below the folder, named as Earth Engine names the files of an export."""
        if self.shape == (1, 1):
            return f"{self.part}/{self.name}.tif"
        row, column = (place * self.tile_size for place in tile)
        return f"{self.part}/{self.name}-{row:010d}-{column:010d}.tif"

    def transform(self, tile: tuple[int, int] = (0, 0)) -> tuple[float, float, float, float, float, float]:
        """Of the pixels from a tile's corner on: a b c d e f, as x = a·column + c, y = e·row + f."""
        row, column = tile
        return (self.pixel, 0.0, self.left + column * self.side, 0.0, -self.pixel, self.top - row * self.side)

    def rings(self) -> NDArray[np.float64]:
        """The tiles' edges in the coordinate system: N × 8 × (x, y)."""
        rows, columns = np.array(self.tiles).T
        along = np.array(RING)
        x = self.left + (columns[:, None] + along[:, 0]) * self.side
        y = self.top - (rows[:, None] + along[:, 1]) * self.side
        return np.stack([x, y], axis=2)

    def rings_in_degrees(self) -> NDArray[np.float64]:
        """The same, N × 8 × (longitude, latitude); a tile over the antimeridian goes on beyond ±180."""
        rings = self.rings()
        if self.crs != "EPSG:4326":
            from pyproj import Transformer

            to_degrees = Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True)
            longitudes, latitudes = to_degrees.transform(rings[..., 0], rings[..., 1])
            rings = np.stack([near(longitudes, longitudes[:, :1]), latitudes], axis=2)
        return rings


def sheets_over(parts: Sequence[Part], way: Way, metres: float, tile_size: int) -> list[Sheet]:
    """The sheets of all parts, in their order.

    Args:
        parts: a name of theirs begins their sheets' names.
        way: `utm` or `equal-area` for squares of metres, `degrees` for the reference's.
        metres: side of a pixel (of degrees: from north to south, and at the equator from west to east).
        tile_size: pixels a side.

    Raises `UserError` where no tile has ground, or there are more than `MOST_TILES`.
    """
    rough = sum(part.km2 for part in parts) / (metres * tile_size / 1000) ** 2
    if rough > MOST_TILES:
        raise UserError(f"about {rough:,.0f} tiles: more than {MOST_TILES:,}; take a smaller area, or more --metres")
    made, reach = {
        "utm": (_utm, f"zones of UTM reach from {LOWEST:g}° to {HIGHEST:g}° north"),
        "equal-area": (_equal_area, f"blocks reach to {equal_area.REACH}° north and south"),
        "degrees": (_degrees, "the last whole tiles end before ±180° and ±90°; take a smaller --tile-size"),
    }[way]
    sheets = [piece for sheet in made(parts, metres, tile_size) for piece in _strips(sheet)]
    if not sheets:
        raise UserError(f"no tile lies on the area: {reach}")
    for kind, names in (("parts", [part.name for part in parts]), ("sheets", [sheet.name for sheet in sheets])):
        (name, count), *_ = Counter(map(str.lower, names)).most_common(1)
        if count > 1:
            raise UserError(f"{count} {kind} would be called {name}: give a part or a box another name")
    return sheets


def _strips(sheet: Sheet) -> Iterator[Sheet]:
    """A sheet in strips from north to south that Earth Engine takes as one export each."""
    rows, columns = sheet.shape
    high = max(1, MOST_PIXELS // (columns * sheet.tile_size**2))
    if rows <= high:
        yield sheet
        return
    for number, first in enumerate(range(0, rows, high), 1):
        tiles = tuple((row - first, column) for row, column in sheet.tiles if first <= row < first + high)
        if tiles:
            yield replace(sheet, name=f"{sheet.name}-{number}", top=sheet.top - first * sheet.side, tiles=tiles)


def _sheet(name: str, part: str, crs: str, pixel: float, size: int, places: Iterable[tuple[int, int]]) -> Sheet:
    """Of tiles by their rows southwards and columns eastwards from the origin of a coordinate system."""
    there = np.array(sorted(places))
    row, column = there.min(0).tolist()
    tiles = tuple(map(tuple, (there - (row, column)).tolist()))
    return Sheet(name, part, crs, pixel, column * size * pixel, -row * size * pixel, size, tiles)


def _degrees(parts: Sequence[Part], metres: float, tile_size: int) -> Iterator[Sheet]:
    """Tiles counted from 0° N, 0° E, as Earth Engine's pixels are; a part beyond 180° E has a sheet on either side.

    What does not fit between ±180° and ±90° is no tile: half of it would be ground of the other side, or none.
    """
    import shapely

    pixel = metres / METRES_PER_DEGREE
    side = pixel * tile_size
    most_across, most_up = (math.floor(edge / side + TOUCH) for edge in (180, 90))
    for part in parts:
        places = set[tuple[int, int]]()
        for polygon in part.area.shape.geoms:
            west, south, east, north = polygon.bounds
            shapely.prepare(polygon)
            columns = np.arange(max(math.floor(west / side), -most_across), min(math.ceil(east / side), most_across))
            for row in range(max(math.floor(-north / side), -most_up), min(math.ceil(-south / side), most_up)):
                low, high = -(row + 1) * side, -row * side
                boxes = shapely.box(columns * side + TOUCH, low + TOUCH, (columns + 1) * side - TOUCH, high - TOUCH)
                places.update((row, int(column)) for column in columns[shapely.intersects(polygon, boxes)])
        eastern = {(row, column) for row, column in places if column >= 0}
        torn = bool(eastern) and len(eastern) < len(places)
        torn = torn and part.area.shape.bounds[2] > 180 - side and part.area.shape.bounds[0] < side - 180
        if torn:
            yield _sheet(f"{part.name}-E", part.name, "EPSG:4326", pixel, tile_size, eastern)
            yield _sheet(f"{part.name}-W", part.name, "EPSG:4326", pixel, tile_size, places - eastern)
        elif places:
            yield _sheet(part.name, part.name, "EPSG:4326", pixel, tile_size, places)


def _utm(parts: Sequence[Part], metres: float, tile_size: int) -> Iterator[Sheet]:
    """Squares of the zones of UTM."""
    side = tile_size * metres
    owners, edge = _owners(parts, lambda part: _cells_touching(part, side))
    gone = giving_way(edge, side)
    sheets: defaultdict[tuple[int, int, bool], list[Cell]] = defaultdict(list)
    for cell, number in owners.items():
        if cell not in gone:
            sheets[number, cell.zone, cell.row >= 0].append(cell)
    for number, zone, northern in sorted(sheets, key=lambda key: (key[0], key[1], not key[2])):
        cells = sheets[number, zone, northern]
        name = f"{parts[number].name}-{zone:02d}{'N' if northern else 'S'}"
        places = [(-cell.row - 1, cell.column) for cell in cells]
        sheet = _sheet(name, parts[number].name, cells[0].crs, metres, tile_size, places)
        yield replace(sheet, left=sheet.left + EASTING, top=sheet.top + (0 if northern else NORTHING))


def _equal_area(parts: Sequence[Part], metres: float, tile_size: int) -> Iterator[Sheet]:
    """Squares of blocks, each block in an equal-area projection of its own."""
    side = tile_size * metres
    owners, edge = _owners(parts, lambda part: _squares_touching(part, side))
    gone = equal_area.giving_way(edge, side)
    sheets: defaultdict[tuple[int, Block], list[tuple[int, int]]] = defaultdict(list)
    for square, number in owners.items():
        if square not in gone:
            sheets[number, square.block].append((-square.row - 1, square.column))
    for (number, block), places in sorted(sheets.items()):
        name = parts[number].name
        yield _sheet(f"{name}-{block}", name, block.crs, metres, tile_size, places)


def _owners(
    parts: Sequence[Part], touching: Callable[[Part], Iterator[tuple[Ground, bool, bool]]]
) -> tuple[dict[Ground, int], set[Ground]]:
    """Each square's part, by its number: that which its centre is in, else the first that it touches.

    Second, the squares near the edge of a zone or block.

    Args:
        parts: all.
        touching: a part's squares, whether their centre is in it, and whether they lie near an edge.
    """
    owners: dict[Ground, int] = {}
    edge: set[Ground] = set()
    for number, part in enumerate(parts):
        for square, centred, near_edge in touching(part):
            if centred or square not in owners:
                owners[square] = number
            if near_edge:
                edge.add(square)
    return owners, edge


def _cells_touching(part: Part, side: float) -> Iterator[tuple[Cell, bool, bool]]:
    """Squares of UTM that share ground with a part (see `_owners`)."""
    found: defaultdict[int, set[Cell]] = defaultdict(set)
    for box in _boxes(part, side, LOWEST, HIGHEST):
        for cell in cells_centred_in(*box, side):
            found[cell.zone].add(cell)
    for zone in sorted(found):
        cells = sorted(found[zone])
        outlines = _outlines(zone, cells, side)
        middle = zone * 6 - 183
        reach = 1.5 * np.ptp(outlines[..., 0], axis=1)
        near_edge = np.abs(outlines[..., 0] - middle).max(1) + reach > 3
        for at, centred in _touching(part, outlines):
            yield cells[at], centred, bool(near_edge[at])


def _squares_touching(part: Part, side: float) -> Iterator[tuple[Square, bool, bool]]:
    """Squares of blocks that share ground with a part (see `_owners`)."""
    found: defaultdict[Block, list[NDArray[np.int64]]] = defaultdict(list)
    for box in _boxes(part, side, -equal_area.REACH, equal_area.REACH):
        for block, places in equal_area.squares_centred_in(*box, side):
            found[block].append(places)
    for block in sorted(found):
        places = np.unique(np.concatenate(found[block]), axis=0)
        outlines = block.outlines(places, side, RING_AND_CENTRE)
        low, high = np.array(block.box).reshape(2, 2)
        reach = 1.5 * np.ptp(outlines, axis=1)
        near_edge = ((outlines.min(1) - reach < low) | (outlines.max(1) + reach > high)).any(1)
        for at, centred in _touching(part, outlines):
            yield Square(block, *places[at].tolist()), centred, bool(near_edge[at])


def _touching(part: Part, outlines: NDArray[np.float64]) -> Iterator[tuple[int, bool]]:
    """Which squares share ground with a part, by number, and whether their centre does; N × 9 × degrees."""
    import shapely
    from shapely.affinity import translate

    shape = part.area.shape
    turns = [translate(shape, turn) for turn in (-360, 360)] if max(map(abs, shape.bounds[::2])) > 170 else []
    shapes = [shape, *turns]
    for each in shapes:
        shapely.prepare(each)
    squares = shapely.polygons(outlines[:, :-1])
    touching = np.any([shapely.intersects(each, squares) for each in shapes], axis=0)
    centred = np.any([shapely.contains_xy(each, *outlines[:, -1].T) for each in shapes], axis=0)
    for at in np.flatnonzero(touching).tolist():
        yield at, bool(centred[at])


def _boxes(part: Part, side: float, lowest: float, highest: float) -> Iterator[tuple[float, float, float, float]]:
    """The boxes of degrees around a part's polygons and a side beyond them: west, south, east, north."""
    up = side / METRES_PER_DEGREE
    for polygon in part.area.shape.geoms:
        west, south, east, north = polygon.bounds
        south, north = max(south - up, lowest), min(north + up, highest)
        if south >= north:
            continue
        across = up / math.cos(math.radians(min(max(-south, north), highest)))
        west, east = west - across, min(east + across, west - across + 360)
        yield west, south, east, north


def _outlines(zone: int, cells: Sequence[Cell], side: float) -> NDArray[np.float64]:
    """Eight points of each square's edge and its centre, N × 9 × (longitude, latitude), about the zone's meridian."""
    from pyproj import Transformer

    x = EASTING + (np.array([cell.column for cell in cells])[:, None] + RING_AND_CENTRE[:, 0]) * side
    y = (np.array([cell.row for cell in cells])[:, None] + RING_AND_CENTRE[:, 1]) * side
    to_degrees = Transformer.from_crs(f"EPSG:{32600 + zone}", "EPSG:4326", always_xy=True)
    longitudes, latitudes = to_degrees.transform(x, y)
    return np.stack([near(longitudes, zone * 6 - 183), latitudes], axis=2)
