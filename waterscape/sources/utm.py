"""Squares of ground in the zones of UTM: where they lie, and which give way where the grids of two zones meet.

UTM keeps angles everywhere and lengths to 0.1 % within a zone (Snyder 1987, doi:10.3133/pp1395, pp. 57–64). The plain
zones of 6° are used, without the exceptions for Norway and Svalbard.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

    Degrees = NDArray[np.float64]

LOWEST, HIGHEST = -80.0, 84.0  # degrees north between which UTM is defined
ZONES, ZONE_DEGREES = 60, 6
EASTING = 500_000.0  # metres of the central meridian
NORTHING = 10_000_000.0  # metres of the equator, in the southern half of a zone
EDGE_STEPS = 256  # points along an edge of a square
Shift: TypeAlias = tuple[float, float]
UNMOVED: Shift = (0.0, 0.0)
Square = TypeVar("Square")
"""Of any grid; squares have an order, so that the same ones give way each time."""


@dataclass(frozen=True, order=True)
class Cell:
    """A square of ground. A zone's squares are counted from where its central meridian crosses the equator.

    Their corners lie there or, all of them, `shift` metres east and north of it.
    """

    zone: int
    """1 to 60."""
    row: int
    """Northwards; the one north of the equator is 0."""
    column: int
    """Eastwards; the one east of the central meridian is 0."""

    def __str__(self) -> str:
        return f"{self.zone:02d}{'N' if self.row >= 0 else 'S'}{self.row:+06d}{self.column:+04d}"

    @property
    def crs(self) -> str:
        """WGS 84 / UTM of the zone's half."""
        return f"EPSG:{(32600 if self.row >= 0 else 32700) + self.zone}"

    def north_west(self, side: float, shift: Shift = UNMOVED) -> tuple[float, float]:
        """Easting and northing of the corner in `crs`, for squares of `side` metres."""
        north = (self.row + 1) * side + shift[1]
        return EASTING + self.column * side + shift[0], north + (0 if self.row >= 0 else NORTHING)

    def outline(self, side: float, shift: Shift = UNMOVED) -> tuple[Degrees, Degrees]:
        """Longitudes and latitudes along the four edges: 4 × (steps + 1), south, north, west, east.

        Longitudes are within 180° of the zone's central meridian.
        """
        along = np.linspace(0, side, EDGE_STEPS + 1)
        zero, full = np.zeros_like(along), np.full_like(along, side)
        east = np.stack([along, along, zero, full]) + EASTING + self.column * side + shift[0]
        north = np.stack([zero, full, along, along]) + self.row * side + shift[1]
        longitudes, latitudes = _zone(self.zone).transform(east, north, direction="INVERSE")
        return near(longitudes, meridian(self.zone)), latitudes


def near(longitude: Any, middle: float) -> Any:
    """The same longitude(s), counted within 180° of `middle`."""
    return (longitude - middle + 180) % 360 - 180 + middle


def meridian(zone: int) -> float:
    """The central meridian of a zone in degrees east, -177 to 177."""
    return zone * ZONE_DEGREES - 183.0


def cells_centred_in(
    west: float, south: float, east: float, north: float, side: float, shift: Shift = UNMOVED
) -> Iterator[Cell]:
    """All squares whose centre lies in a box of degrees, west and south edges included; `east` may be over 180.

    Each belongs to the zone that its centre lies in.
    """
    for number in range(math.floor((west + 180) / ZONE_DEGREES), math.ceil((east + 180) / ZONE_DEGREES)):
        zone = number % ZONES + 1
        start = number * ZONE_DEGREES - 180
        left, right = max(west, start), min(east, start + ZONE_DEGREES)
        across, up = np.linspace(left, right, 33), np.linspace(south, north, 33)
        edges = (
            np.concatenate([across, across, np.full(33, left), np.full(33, right)]),
            np.concatenate([np.full(33, south), np.full(33, north), up, up]),
        )
        eastings, northings = _zone(zone).transform(near(edges[0], 0), edges[1])
        columns = _span(np.asarray(eastings) - EASTING - shift[0], side)
        rows = _span(np.asarray(northings) - shift[1], side)
        column, row = (grid.ravel() for grid in np.meshgrid(columns, rows))
        longitude, latitude = _zone(zone).transform(
            EASTING + (column + 0.5) * side + shift[0], (row + 0.5) * side + shift[1], direction="INVERSE"
        )
        longitude = near(longitude, start + ZONE_DEGREES / 2)
        inside = (left <= longitude) & (longitude < right) & (south <= latitude) & (latitude < north)
        for at in np.flatnonzero(inside):
            yield Cell(zone, int(row[at]), int(column[at]))


def _span(metres: Degrees, side: float) -> NDArray[np.int64]:
    """Numbers of all squares that a stretch touches, and one more at either end."""
    return np.arange(math.floor(metres.min() / side) - 1, math.ceil(metres.max() / side) + 1)


def giving_way(cells: Collection[Cell], side: float, shift: Shift = UNMOVED) -> set[Cell]:
    """Squares to leave out so that no ground lies in two: grids of neighbouring zones do not fit at the edge."""
    overlaps: defaultdict[Cell, set[Cell]] = defaultdict(set)
    for cell in cells:
        for other in _western_overlaps(cell, cells, side, shift):
            overlaps[cell].add(other)
            overlaps[other].add(cell)
    return worst_first(overlaps)


def worst_first(overlaps: dict[Square, set[Square]]) -> set[Square]:
    """Squares to leave out, given those that each overlaps: always the one that overlaps most, until none does.

    `overlaps` is used up.
    """
    gone = set()
    while overlaps:
        worst = max(overlaps, key=lambda square: (len(overlaps[square]), square))
        gone.add(worst)
        for other in overlaps.pop(worst):
            overlaps[other].discard(worst)
            if not overlaps[other]:
                del overlaps[other]
    return gone


def _western_overlaps(cell: Cell, cells: Collection[Cell], side: float, shift: Shift) -> Iterator[Cell]:
    """Those of `cells` in the zone to the west that a square's edges touch."""
    longitudes, latitudes = cell.outline(side, shift)
    reach = 3 * side / (111_000 * math.cos(math.radians(np.abs(latitudes).max())))
    if longitudes.min() > meridian(cell.zone) - ZONE_DEGREES / 2 + reach:
        return
    zone = (cell.zone - 2) % ZONES + 1
    eastings, northings = _zone(zone).transform(near(longitudes, 0), latitudes)
    places = np.stack([np.ravel(northings) - shift[1], np.ravel(eastings) - EASTING - shift[0]], axis=1)
    for row, column in np.unique(np.floor(places / side).astype(int), axis=0).tolist():
        if Cell(zone, row, column) in cells:
            yield Cell(zone, row, column)


@cache
def _zone(zone: int) -> Any:
    """Degrees → metres of a zone's northern half, which goes on below the equator."""
    from pyproj import Transformer

    return Transformer.from_crs("EPSG:4326", f"EPSG:{32600 + zone}", always_xy=True)
