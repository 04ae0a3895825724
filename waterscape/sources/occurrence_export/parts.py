"""The parts of a country or an area: their names, their ground, and how they are cut.

`--cut NAME=S,W,N,E` takes a box out of all parts, `--cut PART/NAME=S,W,N,E` out of one; what no box takes stays with
its part. A part that is larger than wanted is halved, across its longer side, into halves of equal ground.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from waterscape.errors import UserError
from waterscape.sources.area import Area, box_area, joined, middle_longitude
from waterscape.sources.utm import near

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from shapely import Geometry, MultiPolygon

UNFIT = re.compile(r"[^A-Za-z0-9_]+")
LONGEST_NAME = 40
DENSE = 0.25  # degrees: of an edge that is straight in degrees and becomes straight in kilometres
AXIS_KM, ECCENTRICITY_2 = 6378.137, 0.00669437999014  # of WGS 84
SMALLEST_KM2 = 1e-3  # of what is left of a part

REFERENCE_COUNTRY = "RS"
REFERENCE_KM2 = {
    "moscow": 2_525_323,
    "peterburg": 1_393_477,
    "baikal-tyumen": 3_570_597,
    "surgut": 3_976_821,
    "lena": 3_626_835,
    "okhotsk": 1_730_610,
}
"""Names and areas of the parts of Russia in `USDOS/LSIB_SIMPLE/2017` as the reference lists them."""
REFERENCE_CUTS = (
    "lena/dezhnev_north=66.30313636189791,115.37264142588786,78.45588887032271,193.06795392588788",
    "lena/dezhnev_south=40.66346060639304,105.69523911164026,67.4493976081097,197.45305161164026",
)
"""The two boxes by which the reference cut a part that was too large for one export; both cross the antimeridian."""
NEARLY = 0.015  # by which an area may differ from the reference's and be that part


@dataclass(frozen=True)
class Part:
    """A part of what is exported: a folder of its own."""

    name: str
    """Letters, digits, `_` and `-`; no two differ by case alone."""
    area: Area

    @property
    def km2(self) -> float:
        """On the ellipsoid of WGS 84."""
        return ground_km2(self.area.shape)


def ground_km2(shape: Geometry) -> float:
    """The area of polygons in degrees, edges straight in degrees, on the ellipsoid of WGS 84, in km².

    By the cylindrical projection that keeps its areas (Snyder 1987, doi:10.3133/pp1395, eq. 3-12 and 10-15).
    """
    import shapely

    return float(shapely.transform(shapely.segmentize(shape, DENSE), _ground).area)


def _ground(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees → kilometres (N 2)."""
    longitude, sine = np.radians(places[:, 0]), np.sin(np.radians(places[:, 1]))
    e = math.sqrt(ECCENTRICITY_2)
    q = sine / (1 - ECCENTRICITY_2 * sine**2) + np.arctanh(e * sine) / e
    return np.stack([AXIS_KM * longitude, AXIS_KM * (1 - ECCENTRICITY_2) * q / 2], axis=1)


def safe_name(text: str) -> str:
    """A name that folders, Drive, buckets and tasks take: `Čukotka / Анадырь` → `Cukotka`, or `part`."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return UNFIT.sub("-", plain).strip("-")[:LONGEST_NAME].rstrip("-") or "part"


def named(found: Iterable[tuple[str, Area]]) -> list[Part]:
    """Parts with fit names: those that are the same but for case get -2, -3 and so on."""
    parts, taken = [], set[str]()
    for text, area in found:
        name = plain = safe_name(text)
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.lower())
        parts.append(Part(name, area))
    return parts


def reference_names(areas: Sequence[Area]) -> list[str] | None:
    """The reference's name for each part of Russia, by its area; None where they are not those six."""
    left, names = dict(REFERENCE_KM2), []
    for km2 in (ground_km2(area.shape) for area in areas):
        name = min(left, key=lambda each: abs(left[each] - km2), default=None)
        if name is None or abs(left.pop(name) / km2 - 1) > NEARLY:
            return None
        names.append(name)
    return None if left else names


@dataclass(frozen=True)
class Cut:
    """A box that makes a part of its own."""

    part: str | None
    """What it is taken out of; None: of all."""
    name: str
    box: tuple[float, float, float, float]
    """South, west, north, east in degrees; longitudes above 180 go on beyond the antimeridian."""

    @classmethod
    def read(cls, words: str) -> Cut:
        """`NAME=S,W,N,E` or `PART/NAME=S,W,N,E`. Raises `UserError`."""
        name, equals, numbers = words.rpartition("=")
        part, slash, name = name.rpartition("/")
        try:
            south, west, north, east = map(float, numbers.split(","))
        except ValueError:
            equals = ""
        if not equals or not name or (slash and not part):
            raise UserError(f"--cut {words}: give NAME=S,W,N,E in degrees, or PART/NAME=S,W,N,E")
        return cls(part or None, safe_name(name), (south, west, north, east))


def apply_cuts(parts: Sequence[Part], cuts: Sequence[Cut]) -> list[Part]:
    """The parts with each box taken out, one after the other, as a part behind those that it was taken from.

    Raises `UserError` for a box without ground, or a name that is there already.
    """
    made = list(parts)
    for cut in cuts:
        names = [part.name for part in made]
        if cut.part is not None and cut.part not in names:
            raise UserError(f"--cut {cut.part}/{cut.name}: there is no such part; there are {', '.join(names)}")
        if cut.name.lower() in (name.lower() for name in names if name != cut.part):
            raise UserError(f"--cut {cut.name}=…: a part has that name already; give another one")
        made = _apply(made, cut)
    return made


def _apply(parts: Sequence[Part], cut: Cut) -> list[Part]:
    import shapely

    box = box_area(*cut.box).shape
    made, taken, place = [], [], 0
    for part in parts:
        if cut.part not in (None, part.name) or not shapely.intersects(part.area.shape, box):
            made.append(part)
            continue
        inside, rest = (_polygons(found) for found in (part.area.shape & box, part.area.shape - box))
        taken += inside
        place = len(made) + bool(rest) if inside else place
        if rest:
            made.append(Part(part.name, joined(rest, part.name)))
    if not taken:
        whose = f"of {cut.part}" if cut.part else "of the area"
        raise UserError(f"--cut {cut.name}={','.join(f'{edge:g}' for edge in cut.box)}: it holds no ground {whose}")
    made.insert(place, Part(cut.name, joined(taken, cut.name)))
    return made


def _polygons(shape: Geometry) -> list[Geometry]:
    """Polygons among what an overlay leaves: a touch leaves lines, rounding leaves slivers."""
    import shapely

    found = [piece for piece in shapely.get_parts(shape) if piece.geom_type == "Polygon"]
    return [piece for piece in found if ground_km2(piece) > SMALLEST_KM2]


def halved(part: Part, most_km2: float) -> list[Part]:
    """A part in pieces of at most so many km², named by where they lie: `lena-west`, `lena-east-north`."""
    if part.km2 <= most_km2:
        return [part]
    return [piece for half in _halves(part) for piece in halved(half, most_km2)]


def _halves(part: Part) -> list[Part]:
    """Two halves of equal ground: cut across the longer side, by a meridian or a parallel.

    The place is found on the ground, where areas are true; the outline is cut in degrees, where its edges are straight.
    """
    import shapely

    shape = _together(part.area.shape)
    west, south, east, north = shape.bounds
    across = (east - west) * math.cos(math.radians((south + north) / 2)) > north - south
    ground = shapely.transform(shapely.segmentize(shape, DENSE), _ground)
    low, high = (west, east) if across else (south, north)
    for _ in range(40):
        at = (low + high) / 2
        under = (west, south, at, north) if across else (west, south, east, at)
        box = shapely.box(*_ground(np.reshape(under, (2, 2))).ravel())
        if shapely.intersection(ground, box).area < ground.area / 2:
            low = at
        else:
            high = at
    boxes = {"west": (west, south, at, north), "east": (at, south, east, north)}
    if not across:
        boxes = {"north": (west, at, east, north), "south": (west, south, east, at)}
    halves = []
    for word, bounds in boxes.items():
        pieces = shapely.get_parts(shapely.intersection(shape, shapely.box(*bounds)))
        halves.append(Part(f"{part.name}-{word}", joined([each for each in pieces if each.area > 0], part.name)))
    return halves


def _together(shape: MultiPolygon) -> Geometry:
    """Polygons moved by whole turns, so that those on either side of the antimeridian lie beside one another."""
    import shapely
    from shapely.affinity import translate

    middle = middle_longitude(shape)
    centres = [(piece.bounds[0] + piece.bounds[2]) / 2 for piece in shape.geoms]
    moved = [translate(piece, near(at, middle) - at) for piece, at in zip(shape.geoms, centres, strict=True)]
    return shapely.union_all(moved)
