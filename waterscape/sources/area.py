"""A study area: polygons on the Earth, of a GeoJSON file or a bounding box, cut where 180° meets −180°.

GeoJSON is read as RFC 7946 has it: longitude before latitude, in degrees of WGS 84. A polygon that crosses the
antimeridian may be cut there, as the RFC wants it, go on beyond 180°, or jump from 179 to −179.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from shapely import Geometry, MultiPolygon

MOST_BYTES = 256 << 20
PLAIN = ("Polygon", "MultiPolygon")
THIN = ("Point", "MultiPoint", "LineString", "MultiLineString")


@dataclass(frozen=True)
class Area:
    """A part of the Earth's surface."""

    shape: MultiPolygon
    """In degrees east and north, between −180 and 180, valid."""

    @property
    def digest(self) -> str:
        """A sha256 by which the same area is known again."""
        return hashlib.sha256(self.shape.normalize().wkb).hexdigest()

    def geojson(self) -> dict[str, Any]:
        """A `MultiPolygon`, cut at the antimeridian."""
        from shapely.geometry import mapping

        shape: dict[str, Any] = mapping(self.shape)
        return shape


def read_area(path: Path) -> Area:
    """The union of all polygons in a GeoJSON file: a geometry, a feature or a collection of either.

    Raises `UserError`, which names what is wrong and in which feature.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path} has more than {MOST_BYTES >> 20} MB: simplify the area")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): name a GeoJSON file") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: give the area as GeoJSON") from error
    return area_of(content, str(path))


def area_of(content: Any, name: str, *, mend: bool = False) -> Area:
    """The union of all polygons in GeoJSON that was read already.

    Args:
        content: a geometry, a feature or a collection of either.
        name: by which errors call it.
        mend: whether lines and points are passed over and polygons that cross themselves are made valid, as outlines of
            countries have them; else both are errors.

    Raises `UserError`, which names what is wrong and in which feature.
    """
    found = list(_geometries(content, name, polygons_alone=not mend))
    if not found:
        raise UserError(f"{name} holds no polygon: give the area as a Polygon or MultiPolygon")
    return joined([part for where, shape in found for part in _polygons(shape, where, mend=mend)], name)


def area_from(file: Path | None, box: Sequence[float]) -> Area:
    """What `--area FILE` or `--box S,W,N,E` says, one of the two. Raises `UserError`."""
    if (file is None) == (not box):
        raise UserError("give either --area FILE or --box S,W,N,E")
    if file is not None:
        return read_area(file)
    if len(box) != 4:
        raise UserError(f"--box has {len(box)} numbers; give S,W,N,E in degrees")
    return box_area(*box)


def box_area(south: float, west: float, north: float, east: float) -> Area:
    """The area of a bounding box in degrees; one whose west lies east of its east crosses the antimeridian.

    Raises `UserError`.
    """
    import shapely

    words = f"--box {south:g},{west:g},{north:g},{east:g}"
    if not all(map(math.isfinite, (south, west, north, east))) or not -90 <= south < north <= 90:
        raise UserError(f"{words}: give S,W,N,E in degrees, with −90 ≤ S < N ≤ 90")
    if not (-180 <= west <= 360 and -180 <= east <= 360) or west == east:
        raise UserError(f"{words}: give S,W,N,E in degrees, W and E within −180 … 180")
    east += 360 if east < west else 0
    if east - west > 360:
        raise UserError(f"{words} goes around the Earth more than once")
    return joined([shapely.box(west, south, east, north)], words)


def _geometries(content: Any, name: str, *, polygons_alone: bool = True) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The polygons in whatever GeoJSON holds, each with the place to name where it is at fault."""
    kind = content.get("type") if isinstance(content, dict) else None
    inner = {"FeatureCollection": "features", "GeometryCollection": "geometries"}.get(str(kind))
    if inner and isinstance(content.get(inner), list):
        for number, part in enumerate(content[inner], 1):
            where = f"{name}, {inner[:-1] if inner[0] == 'f' else 'geometry'} {number}"
            yield from _geometries(part, where, polygons_alone=polygons_alone)
    elif kind == "Feature" and isinstance(content.get("geometry", ""), dict | None):
        if content["geometry"] is not None:  # RFC 7946, 3.2: a feature without a place
            yield from _geometries(content["geometry"], name, polygons_alone=polygons_alone)
    elif kind in PLAIN and isinstance(content.get("coordinates"), list):
        yield name, content
    elif polygons_alone or kind not in THIN:
        found = "nothing that GeoJSON knows" if kind is None else f"a {kind}"
        raise UserError(f"{name} is {found}: an area is made of Polygon and MultiPolygon")


def _polygons(shape: Mapping[str, Any], name: str, *, mend: bool = False) -> Iterator[Geometry]:
    """The polygons of a geometry, longitudes without jumps. Raises `UserError`."""
    import shapely

    several = [shape["coordinates"]] if shape["type"] == "Polygon" else shape["coordinates"]
    for rings in several:
        if not isinstance(rings, list) or not rings:
            raise UserError(f"{name} has a polygon without an outline")
        shell, *holes = [_ring(ring, name) for ring in rings]
        middle = (min(x for x, _ in shell) + max(x for x, _ in shell)) / 2
        polygon = shapely.Polygon(shell, [_moved_near(hole, middle) for hole in holes])
        if mend:
            yield shapely.make_valid(polygon)
            continue
        if not polygon.is_valid or polygon.area == 0:
            raise UserError(f"{name} is no valid polygon: {shapely.is_valid_reason(polygon)}; mend it")
        yield polygon


def _ring(positions: Any, name: str) -> list[tuple[float, float]]:
    """A closed line in degrees, that goes on beyond 180 rather than jump."""
    try:
        ring = [(float(position[0]), float(position[1])) for position in positions]
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise UserError(f"{name} has a position that is not [longitude, latitude]") from error
    if len(ring) < 4 or ring[0] != ring[-1]:
        raise UserError(f"{name} has an outline that is not closed: the first of four or more positions is the last")
    for longitude, latitude in ring:
        if not (-360 <= longitude <= 360 and -90 <= latitude <= 90):
            raise UserError(
                f"{name} has the position [{longitude:g}, {latitude:g}]: GeoJSON is in degrees, longitude first"
            )
    turns = 0
    unrolled = [ring[0]]
    for (before, _), (longitude, latitude) in pairwise(ring):
        if abs(longitude - before) > 180:
            turns += 1 if longitude < before else -1
        unrolled.append((longitude + 360 * turns, latitude))
    if turns:
        raise UserError(f"{name} goes around a pole or has an edge of over 180°: cut it into parts at meridians")
    return unrolled


def _moved_near(ring: list[tuple[float, float]], middle: float) -> list[tuple[float, float]]:
    """A hole, counted on the same side of the antimeridian as its outline."""
    own = (min(x for x, _ in ring) + max(x for x, _ in ring)) / 2
    turns = round((middle - own) / 360)
    return [(x + 360 * turns, y) for x, y in ring]


def joined(polygons: Sequence[Geometry], name: str) -> Area:
    """The union of polygons whose longitudes may lie beyond ±180, cut at the antimeridian.

    Raises `UserError`, which calls them by `name`, where they have no area.
    """
    import shapely
    from shapely.affinity import translate

    parts = []
    for turn in (-360, 0, 360):
        world = shapely.box(turn - 180, -90, turn + 180, 90)
        parts += [translate(shapely.intersection(polygon, world), -turn) for polygon in polygons]
    joined = shapely.union_all(parts)
    whole = [part for part in shapely.get_parts(joined) if part.geom_type == "Polygon" and part.area > 0]
    if not whole:
        raise UserError(f"{name} has no area")
    return Area(shapely.MultiPolygon(whole))


def middle_longitude(shape: MultiPolygon) -> float:
    """Degrees east around which polygons lie: by their mean direction, since −180 is 180."""
    weights = np.array([piece.area for piece in shape.geoms])
    angles = np.radians([(piece.bounds[0] + piece.bounds[2]) / 2 for piece in shape.geoms])
    return float(np.degrees(np.arctan2(weights @ np.sin(angles), weights @ np.cos(angles))))
