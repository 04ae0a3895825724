"""How much of the ground lies in no tile: where the grids of two zones or blocks meet, or where degrees end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from waterscape.sources.utm import near

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from waterscape.sources.occurrence_export.parts import Part
    from waterscape.sources.occurrence_export.sheets import Sheet

PLACES = 200_000  # of all parts together
FEWEST = 1000  # of a part
STEPS = np.array([0.7548776662466927, 0.5698402909980532])
"""Of a sequence that fills a square evenly: Roberts 2018, "The unreasonable effectiveness of quasirandom sequences"."""
BESIDE = 0.5  # degrees by which a tile's edge may bend


def uncovered(parts: Sequence[Part], sheets: Sequence[Sheet]) -> float:
    """The share of the parts' ground that lies in no tile, 0 to 1, by places that are spread evenly over it."""
    found = [_places(part, max(FEWEST, PLACES // len(parts))) for part in parts]
    places = np.concatenate(found)
    inside = np.zeros(len(places), bool)
    for sheet in sheets:
        inside |= _inside(sheet, places)
    lost, whole, start = 0.0, 0.0, 0
    for part, mine in zip(parts, found, strict=True):
        if len(mine):
            lost += part.km2 * float((~inside[start : start + len(mine)]).mean())
            whole += part.km2
        start += len(mine)
    return lost / whole if whole else 0.0


def _places(part: Part, count: int) -> NDArray[np.float64]:
    """Those of so many places (longitude, latitude) in the box around a part that lie in it, as many a km²."""
    import shapely

    shape = part.area.shape
    west, south, east, north = shape.bounds
    low, high = np.sin(np.radians((south, north)))
    across, up = ((0.5 + np.arange(count)[:, None] * STEPS) % 1).T
    places = np.stack([west + across * (east - west), np.degrees(np.arcsin(low + up * (high - low)))], axis=1)
    shapely.prepare(shape)
    there: NDArray[np.float64] = places[shapely.contains_xy(shape, places)]
    return there


def _inside(sheet: Sheet, places: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which places lie in one of a sheet's tiles."""
    from pyproj import Transformer

    rings = sheet.rings_in_degrees().reshape(-1, 2)
    middle = float(rings[0, 0])
    longitudes = near(rings[:, 0], middle)
    inside: NDArray[np.bool_] = (places[:, 1] > rings[:, 1].min() - BESIDE) & (
        places[:, 1] < rings[:, 1].max() + BESIDE
    )
    own = near(places[:, 0], middle)
    inside &= (own > longitudes.min() - BESIDE) & (own < longitudes.max() + BESIDE)
    x, y = places[inside].T
    if sheet.crs != "EPSG:4326":
        x, y = Transformer.from_crs("EPSG:4326", sheet.crs, always_xy=True).transform(x, y)
    row, column = (np.floor(each / sheet.side).astype(int) for each in (sheet.top - y, x - sheet.left))
    rows, columns = sheet.shape
    exported = np.zeros((rows + 1, columns + 1), bool)  # the last row and column stand for all that lies beyond
    exported[tuple(np.transpose(sheet.tiles))] = True
    beyond = (row < 0) | (row >= rows) | (column < 0) | (column >= columns)
    inside[inside] = exported[np.where(beyond, rows, row), np.where(beyond, columns, column)]
    return inside
