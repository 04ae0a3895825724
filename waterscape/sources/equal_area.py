"""Blocks of ground, each in an equal-area projection about its own middle, and the squares of ground within them.

Lambert's azimuthal equal-area projection (Snyder 1987, doi:10.3133/pp1395, pp. 182–190): a square metre of the map is
one of the ground everywhere. Shapes pay for it: at a distance c from the middle, lengths along the radius are drawn
cos(c/2) times as long, across it 1/cos(c/2) times. A block is 12° high and about as wide on the ground, so its corners
are 9° from its middle at most, and lengths are off by 0.3 % there. One projection for the whole Earth, such as the
cylindrical one of EPSG:6933, would draw a pixel at 60° N three times as wide as high.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from waterscape.sources.utm import near, worst_first

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from waterscape.sources.utm import Degrees

    Places = NDArray[np.int64]

BAND = 12  # degrees from south to north
REACH = 84  # degrees from the equator to where blocks end
WIDTHS = (12, 18, 20, 24, 30, 36, 40, 60)  # degrees: even parts of the circle, so that middles are whole degrees
EDGE_STEPS = 64  # points along an edge of a square
BOX_STEPS = 33  # points along an edge of a box of degrees


@dataclass(frozen=True, order=True)
class Block:
    """A box of degrees; its squares are counted from its middle, where the corners of four of them meet."""

    latitude: int
    """Of its middle, degrees north."""
    longitude: int
    """Of its middle, degrees east, −180 to 180."""

    def __str__(self) -> str:
        north, east = "NS"[self.latitude < 0], "EW"[self.longitude < 0]
        return f"{abs(self.latitude):02d}{north}{abs(self.longitude):03d}{east}"

    @property
    def crs(self) -> str:
        """Metres from its middle, in the words of PROJ."""
        return f"+proj=laea +lat_0={self.latitude} +lon_0={self.longitude} +datum=WGS84 +units=m"

    @property
    def box(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees; they may lie beyond ±180."""
        across, up = width(self.latitude) / 2, BAND / 2
        return self.longitude - across, self.latitude - up, self.longitude + across, self.latitude + up

    def outlines(self, places: Places, side: float, along: Any) -> NDArray[np.float64]:
        """Points of squares in degrees: N × P × (longitude within 180° of the middle, latitude).

        Args:
            places: rows northwards and columns eastwards, N × 2; those north and east of the middle are 0.
            side: of a square, metres.
            along: the points in sides east and north of a square's south-western corner, P × 2.
        """
        along = np.asarray(along)
        x, y = ((places[:, at, None] + along[:, 1 - at]) * side for at in (1, 0))
        longitudes, latitudes = _metres(self).transform(x, y, direction="INVERSE")
        return np.stack([near(longitudes, self.longitude), latitudes], axis=-1)

    def places(self, longitudes: Degrees, latitudes: Degrees, side: float) -> Places:
        """Row and column of the squares that places lie in: … × 2."""
        x, y = _metres(self).transform(near(longitudes, self.longitude), latitudes)
        return np.floor(np.stack([y, x], axis=-1) / side).astype(np.int64)


class Square(NamedTuple):
    """A square of ground in a block."""

    block: Block
    row: int
    """Northwards."""
    column: int
    """Eastwards."""


def width(latitude: int) -> int:
    """Degrees from west to east of the blocks around a latitude: about as long on the ground as they are high."""
    return max(each for each in WIDTHS if each * math.cos(math.radians(latitude)) <= BAND)


def squares_centred_in(
    west: float, south: float, east: float, north: float, side: float
) -> Iterator[tuple[Block, Places]]:
    """All squares whose centre lies in a box of degrees, west and south edges included; `east` may be over 180.

    Yields a block with rows and columns, N × 2. Each square belongs to the block that its centre lies in.
    """
    first, last = (min(max(edge, -REACH), REACH) for edge in (south, north))
    for band in range(math.floor((first + REACH) / BAND), math.ceil((last + REACH) / BAND)):
        latitude = band * BAND - REACH + BAND // 2
        wide = width(latitude)
        for number in range(math.floor((west + 180) / wide), math.ceil((east + 180) / wide)):
            start = number * wide - 180
            block = Block(latitude, round(near(start + wide / 2, 0)))
            box = (
                max(west, start),
                max(first, latitude - BAND / 2),
                min(east, start + wide),
                min(last, latitude + BAND / 2),
            )
            found = _centred_in(block, start + wide / 2, box, side)
            if len(found):
                yield block, found


def _centred_in(block: Block, middle: float, box: tuple[float, float, float, float], side: float) -> Places:
    left, low, right, high = box
    across, up = np.linspace(left, right, BOX_STEPS), np.linspace(low, high, BOX_STEPS)
    longitudes = np.concatenate([across, across, np.full(BOX_STEPS, left), np.full(BOX_STEPS, right), [middle]])
    latitudes = np.concatenate([np.full(BOX_STEPS, low), np.full(BOX_STEPS, high), up, up, [block.latitude]])
    inside = (left <= longitudes) & (longitudes <= right) & (low <= latitudes) & (latitudes <= high)
    edges = block.places(longitudes[inside], latitudes[inside], side)
    rows, columns = (np.arange(edges[:, at].min() - 1, edges[:, at].max() + 2) for at in (0, 1))
    places = np.stack([each.ravel() for each in np.meshgrid(rows, columns, indexing="ij")], axis=1)
    longitude, latitude = block.outlines(places, side, [(0.5, 0.5)])[:, 0].T
    longitude = near(longitude, middle)
    there: Places = places[(left <= longitude) & (longitude < right) & (low <= latitude) & (latitude < high)]
    return there


def giving_way(squares: Iterable[Square], side: float) -> set[Square]:
    """Squares to leave out so that no ground lies in two: the grids of neighbouring blocks do not fit together.

    `squares`: those that are to be, at least all of them near the edge of their block.
    """
    by_block: defaultdict[Block, list[tuple[int, int]]] = defaultdict(list)
    for block, row, column in squares:
        by_block[block].append((row, column))
    standing = {block: set(places) for block, places in by_block.items()}
    overlaps: defaultdict[Square, set[Square]] = defaultdict(set)
    steps = np.linspace(0, 1, EDGE_STEPS + 1)
    zero, one = np.zeros_like(steps), np.ones_like(steps)
    edges = np.concatenate([np.stack(edge, 1) for edge in ((steps, zero), (steps, one), (zero, steps), (one, steps))])
    for block, places in by_block.items():
        outlines = block.outlines(np.array(places), side, edges)
        for other in by_block:
            if other == block or not _neighbours(block, other):
                continue
            found = other.places(outlines[..., 0], outlines[..., 1], side)
            for place, touched in zip(places, found, strict=True):
                for row, column in set(map(tuple, touched.tolist())) & standing[other]:
                    mine, theirs = Square(block, *place), Square(other, row, column)
                    overlaps[mine].add(theirs)
                    overlaps[theirs].add(mine)
    return worst_first(overlaps)


def _neighbours(one: Block, other: Block) -> bool:
    """Whether two blocks' boxes touch."""
    west, _, east, _ = one.box
    left, _, right, _ = other.box
    middle = near(other.longitude, one.longitude)
    apart = abs(middle - one.longitude) - (east - west + right - left) / 2
    return abs(one.latitude - other.latitude) <= BAND and apart <= 0


@cache
def _metres(block: Block) -> Any:
    """Degrees → metres of a block."""
    from pyproj import Transformer

    return Transformer.from_crs("EPSG:4326", block.crs, always_xy=True)
