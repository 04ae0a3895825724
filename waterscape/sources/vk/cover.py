"""An area covered by circles of one radius: no gap, and little more overlap than a hexagonal lattice has in the plane.

Rows of circles lie along parallels, each row shifted by half a step against the one before. Within a zone all rows
have the same step of longitude, which divides 360°, so that the lattice closes around the Earth. Every triangle of
neighbouring centres has a circumscribed circle of at most the radius: whatever lies in a triangle is that near to one
of its corners. Poleward the steps shrink, and rows stand further apart instead; once a step has shrunk to
`LEAST_SHRUNK`, a new zone begins, whose first row reaches down to what the row before covers by itself. A pole gets a
circle of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from waterscape.sources.area import Area

EARTH = 6_371_008.8
"""Metres: the mean radius (IUGG)."""
SURE = 0.994
"""Of the radius: on the ellipsoid distances are up to 0.6 % longer than on the sphere; nobody says what VK takes."""
LEAST_SHRUNK = 0.85
"""A step of longitude, against the first one of its zone: costs 3 % more circles on average."""
MOST_CIRCLES = 2_000_000
CORNERS = 24  # of the polygon around a circle by which it is told whether that touches the area
AT_A_TIME = 50_000


@dataclass(frozen=True)
class Circle:
    """A place to ask for."""

    latitude: float
    """Degrees, of the centre."""
    longitude: float
    """Degrees, from −180 to below 180."""
    radius: int
    """Metres."""

    @property
    def name(self) -> str:
        """By which it is known in a ledger."""
        return f"{self.latitude:.6f},{self.longitude:.6f},{self.radius}"


@dataclass(frozen=True)
class Row:
    """Equally spaced centres on a parallel; all angles in radians."""

    latitude: float
    count: int
    """Around the Earth."""
    shifted: bool
    """By half a step."""

    @property
    def step(self) -> float:
        """Between two centres, of longitude."""
        return 2 * math.pi / self.count

    def longitudes(self, west: float, east: float) -> NDArray[np.float64]:
        """Of its centres from `west` to `east`, all of them where that is more than the Earth around."""
        shift = 0.5 * self.shifted
        first, last = math.ceil(west / self.step - shift), math.floor(east / self.step - shift)
        return (np.arange(first, min(last, first + self.count - 1) + 1, dtype=np.float64) + shift) * self.step


def cover(area: Area, radius: int) -> list[Circle]:
    """The circles that touch an area, of a cover without gaps, from south to north in rows from west to east.

    Args:
        area: to be covered.
        radius: in metres.

    Raises:
        UserError: there would be more than `MOST_CIRCLES`.
    """
    import shapely

    parts = list(area.shape.geoms)
    bounds = np.radians([part.bounds for part in parts])
    square_metres = EARTH**2 * sum((e - w) * (math.sin(n) - math.sin(s)) for w, s, e, n in bounds)
    if square_metres / (1.5 * math.sqrt(3) * radius**2) > MOST_CIRCLES:
        raise UserError(
            f"circles of {radius} m: over {MOST_CIRCLES} would cover the area; take a larger --radius, or smaller areas"
        )
    reach = radius / EARTH
    shapely.prepare(area.shape)
    found: list[NDArray[np.float64]] = []
    for row in rows(math.degrees(bounds[:, 1].min()), math.degrees(bounds[:, 3].max()), radius):
        wide = _half_width(row.latitude, reach)
        near = [row.longitudes(w - wide, e + wide) for w, s, e, n in bounds if s - reach <= row.latitude <= n + reach]
        if near:
            longitudes = (
                np.unique(np.round(np.degrees((np.concatenate(near) + math.pi) % (2 * math.pi)), 9) % 360) - 180
            )
            found.append(np.stack([np.full(longitudes.size, math.degrees(row.latitude)), longitudes], axis=1))
    centres = np.concatenate(found)
    touching = [
        _touches(area.shape, centres[start : start + AT_A_TIME], reach) for start in range(0, len(centres), AT_A_TIME)
    ]
    return [Circle(float(y), float(x), radius) for y, x in centres[np.concatenate(touching)]]


def rows(south: float, north: float, radius: int) -> list[Row]:
    """Rows of circles that cover everything between two parallels (degrees), from south to north."""
    reach, low, high = SURE * radius / EARTH, math.radians(south), math.radians(north)
    northern = list(_poleward(max(low, 0.0), high, reach)) if high > 0 or low >= 0 else []
    southern = list(_poleward(max(-high, 0.0), -low, reach)) if low < 0 else []
    return [Row(-row.latitude, row.count, row.shifted) for row in reversed(southern)] + northern


def _poleward(low: float, high: float, reach: float) -> Iterator[Row]:
    """Rows that cover from one northern parallel to another one, towards the pole."""
    if low >= math.pi / 2 - reach:
        yield Row(math.pi / 2, 1, shifted=False)
        return
    row = _first_row(low, reach)
    fullest = math.cos(row.latitude)
    yield row
    while _alone(row, reach)[1] < high:
        if math.pi / 2 - reach <= _alone(row, reach)[1]:
            yield Row(math.pi / 2, 1, shifted=False)
            return
        latitude = _greatest(partial(_joined, row, reach), row.latitude + reach / 2, row.latitude + 2 * reach)
        if math.cos(latitude) >= LEAST_SHRUNK * fullest and latitude < math.pi / 2 - reach:
            row = Row(latitude, row.count, shifted=not row.shifted)
        else:
            row = _first_row(_alone(row, reach)[1], reach)
            fullest = math.cos(row.latitude)
        yield row


def _first_row(edge: float, reach: float) -> Row:
    """The row furthest to the pole that covers everything from a parallel on by itself."""
    latitude = _greatest(lambda y: _alone(_full(y, reach), reach)[0] <= edge, edge, edge + reach)
    return _full(latitude, reach)


def _full(latitude: float, reach: float) -> Row:
    """A row with the largest step: the width of a hexagonal lattice."""
    widest = math.sin(math.sqrt(3) * reach / 2) / max(math.cos(latitude), 1e-12)
    return Row(
        latitude, 3 if widest >= math.sin(math.pi / 3) else math.ceil(math.pi / math.asin(widest)), shifted=False
    )


def _alone(row: Row, reach: float) -> tuple[float, float]:
    """The parallels between which a row leaves no gap: through the points where the circles of neighbours meet."""
    half = math.asin(math.sin(row.step / 2) * math.cos(row.latitude))  # of the way between two centres
    high = math.cos(reach) / math.cos(half)
    if high >= 1:
        return row.latitude, row.latitude
    middle = math.atan2(math.tan(row.latitude), math.cos(row.step / 2))
    return middle - math.acos(high), min(middle + math.acos(high), math.pi / 2)


def _joined(row: Row, reach: float, latitude: float) -> bool:
    """Whether a row and one shifted by half a step leave no gap between them."""
    if latitude >= math.pi / 2:
        return False
    half = row.step / 2
    for two, one in ((row.latitude, latitude), (latitude, row.latitude)):
        if _circumradius(_point(two, -half), _point(two, half), _point(one, 0)) > reach:
            return False
    return True


def _point(latitude: float, longitude: float) -> NDArray[np.float64]:
    around = math.cos(latitude)
    return np.array([around * math.cos(longitude), around * math.sin(longitude), math.sin(latitude)])


def _circumradius(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]) -> float:
    """Of a small triangle on the sphere, as an angle."""
    normal = np.cross(b - a, c - a)
    length = float(np.linalg.norm(normal))
    sides = [float(np.linalg.norm(side)) for side in (b - a, c - b, a - c)]
    return math.asin(min(1.0, math.prod(sides) / (2 * length)))  # the chords' plane circle lies within the sphere's


def _greatest(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The greatest number for which something holds that holds for `low`, and for smaller numbers than it does not."""
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _half_width(latitude: float, reach: float) -> float:
    """How far a circle goes east and west of its centre, in radians of longitude."""
    sine = math.sin(reach) / max(math.cos(latitude), 1e-12)
    return math.asin(sine) * 1.01 if sine < 1 else math.pi


def _touches(shape: Any, centres: NDArray[np.float64], reach: float) -> NDArray[np.bool_]:
    """Whether circles (N of latitude, longitude in degrees) touch a shape; a few that nearly do count as touching."""
    import shapely

    y, x = np.radians(centres).T[..., None]
    azimuth = np.arange(CORNERS) * 2 * math.pi / CORNERS
    away = reach / math.cos(math.pi / CORNERS) * 1.001
    latitude = np.arcsin(np.sin(y) * math.cos(away) + np.cos(y) * math.sin(away) * np.cos(azimuth))
    longitude = x + np.arctan2(
        np.sin(azimuth) * math.sin(away) * np.cos(y), math.cos(away) - np.sin(y) * np.sin(latitude)
    )
    outlines = shapely.polygons(np.degrees(np.stack([longitude, latitude], axis=-1)))
    polar = np.abs(y[:, 0]) + away >= math.pi / 2
    if polar.any():
        edge = np.degrees(np.where(y[polar, 0] > 0, 1, -1) * (np.abs(y[polar, 0]) - away))
        outlines[polar] = shapely.box(
            -180, np.minimum(edge, np.sign(edge) * 90), 180, np.maximum(edge, np.sign(edge) * 90)
        )
    turned = [shapely.transform(outlines, partial(np.add, (turn, 0))) for turn in (-360, 0, 360)]
    touching: NDArray[np.bool_] = np.any([shapely.intersects(shape, one) for one in turned], axis=0)
    return touching


def points(latitudes: Sequence[float | None], longitudes: Sequence[float | None]) -> NDArray[np.float64]:
    """Places as points on a sphere of radius 1 (N 3), of degrees."""
    y, x = np.radians(np.array(latitudes, float)), np.radians(np.array(longitudes, float))
    return np.stack([np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)], axis=1)
