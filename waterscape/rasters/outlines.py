"""Where water ends: the bodies of a mask as polygons with their area, however large the raster.

A mask is read in strips of rows. What touches a strip's last row waits for the next one; a body is put together and
written once nothing of it goes on. So only bodies that are still open are in memory, and the outlines are those that
the whole mask would give. Pixels that share an edge are of one body; those that share a corner are not.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from shapely import Polygon

    from waterscape.sources.landsat.raster_file import Grid

AT_ONCE = 2000  # bodies that are written together
AREA, PIXELS, LAYER = "area_m2", "pixels", "water"


def bodies(strips: Iterable[NDArray[np.bool_]]) -> Iterator[Polygon]:
    """The bodies of water of a mask (given as strips of whole rows, from the top) with their islands as holes.

    Coordinates are in pixels: x columns, y rows, from the upper left corner. A body comes when its last row is done.
    """
    waiting: dict[int, list[Polygon]] = {}  # group → its pieces so far
    above = np.zeros(0, np.int64)  # group of each pixel of the last row, 0: no water
    row, groups = 0, 0
    for strip in strips:
        labels, count = ndimage.label(strip)
        parents = _Sets()
        new = np.arange(count + 1) + groups  # a group for each piece, until it meets another
        groups += count
        if above.size:
            pairs = np.stack([above, new[labels[0]]])[:, (above > 0) & (labels[0] > 0)]
            for old, piece in np.unique(pairs, axis=1).T.tolist():
                parents.join(old, piece)
        joined: defaultdict[int, list[Polygon]] = defaultdict(list)
        for group, pieces in waiting.items():
            joined[parents.find(group)] += pieces
        for label, piece in _pieces(labels, row):
            joined[parents.find(int(new[label]))].append(piece)
        last = np.where(labels[-1] > 0, new[labels[-1]], 0)
        kinds, places = np.unique(last, return_inverse=True)
        above = np.array([parents.find(kind) if kind else 0 for kind in kinds.tolist()])[places]
        goes_on = set(above.tolist())
        yield from (_united(pieces) for group, pieces in joined.items() if group not in goes_on)
        waiting = {group: pieces for group, pieces in joined.items() if group in goes_on}
        row += len(strip)
    yield from map(_united, waiting.values())


def write_outlines(strips: Iterable[NDArray[np.bool_]], target: Path, grid: Grid) -> int:
    """Write the bodies of a mask as a GeoPackage in the CRS of `grid`; returns how many there are.

    Each has its `area_m2` on the ground (geodesic where the CRS is in degrees) and its number of `pixels`. Not atomic:
    write to a temporary name. `grid` must have a CRS.

    Raises:
        OSError: it cannot be written.
    """
    import pyogrio
    from pyogrio.errors import DataSourceError

    place, area = grid.transform, area_of(grid)
    written = 0
    waiting: list[Polygon] = []

    def write() -> None:
        corners = shapely.transform(
            np.array(waiting, object),
            lambda at: np.stack([place.a * at[:, 0] + place.c, place.e * at[:, 1] + place.f], axis=1),
        )
        try:
            pyogrio.raw.write(
                target,
                shapely.to_wkb(corners) if len(corners) else np.array([], object),
                field_data=[np.array([area(one) for one in corners]), shapely.area(waiting).astype(np.int64)],
                fields=[AREA, PIXELS],
                crs=grid.crs,
                geometry_type="Polygon",
                layer=LAYER,
                driver="GPKG",
                append=written > 0,
            )
        except (DataSourceError, RuntimeError) as error:
            raise OSError(f"{target.name} could not be written ({' '.join(str(error).split())[:200]})") from error

    for body in bodies(strips):
        waiting.append(body)
        if len(waiting) == AT_ONCE:
            write()
            written += len(waiting)
            waiting.clear()
    if waiting or not written:
        write()
    return written + len(waiting)


def area_of(grid: Grid) -> Callable[[Any], float]:
    """What computes the square metres of a polygon in the CRS of `grid`."""
    from pyproj import CRS

    crs = CRS.from_user_input(grid.crs)
    if grid.degrees:
        geod = crs.get_geod()
        assert geod is not None
        return lambda polygon: abs(geod.geometry_area_perimeter(polygon)[0])
    metres = math.prod(axis.unit_conversion_factor for axis in crs.axis_info[:2])
    return lambda polygon: float(polygon.area * metres)


class _Sets:
    """Disjoint sets of numbers; each is known by its smallest."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}

    def find(self, number: int) -> int:
        root = number
        while (parent := self._parents.get(root, root)) != root:
            root = parent
        while number != root:
            self._parents[number], number = root, self._parents.get(number, root)
        return root

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.find(one), self.find(other)))
        self._parents[high] = low


def _pieces(labels: NDArray[np.int32], row: int) -> Iterator[tuple[int, Polygon]]:
    """Each labelled piece of a strip that begins at `row`: its label and its polygon."""
    from rasterio.features import shapes

    for geometry, label in shapes(labels, mask=labels > 0, connectivity=4):
        shell, *holes = (np.add(ring, (0, row)) for ring in geometry["coordinates"])
        yield int(label), shapely.Polygon(shell, holes)


def _united(pieces: list[Polygon]) -> Polygon:
    """One polygon of pieces that meet, without the corners that the seams have left."""
    if len(pieces) == 1:
        return pieces[0]
    whole = shapely.union_all(pieces)
    return shapely.Polygon(_turns(whole.exterior), [_turns(ring) for ring in whole.interiors])


def _turns(ring: Any) -> NDArray[np.float64]:
    """The corners of a ring along pixels' edges at which it turns."""
    corners = shapely.get_coordinates(ring)[:-1]
    before, after = corners - np.roll(corners, 1, 0), np.roll(corners, -1, 0) - corners
    turned: NDArray[np.float64] = corners[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]
    return turned
