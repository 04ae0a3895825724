"""How true to scale each tile will be, before anything is asked for: Tissot's indicatrix of its projection.

Snyder 1987 (doi:10.3133/pp1395), pp. 20–26. In degrees a pixel is 1/cos latitude as high as wide on the ground; in a
zone of UTM, which keeps angles, lengths are 0.9996 at its middle and 1.001 at its edge at the equator. An equal-area
projection keeps areas, and draws lengths in one direction as many times longer as it draws them shorter in the other.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from waterscape.durable import write_text
from waterscape.sources.occurrence_export.parts import ECCENTRICITY_2

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from waterscape.sources.occurrence_export.sheets import Sheet

HIGHEST = 89.9  # degrees; the projection of the poles is a line


@dataclass(frozen=True)
class Distortion:
    """Of each tile of a sheet, in its order."""

    longitude: NDArray[np.float64]
    """Of its centre, −180 to 180."""
    latitude: NDArray[np.float64]
    scale_least: NDArray[np.float64]
    """Metres of the map for a metre of the ground, in the direction and place of the tile where they are fewest."""
    scale_most: NDArray[np.float64]
    stretch: NDArray[np.float64]
    """How many times longer the one direction is drawn than the other, at most: 1 where shapes are kept."""
    area: NDArray[np.float64]
    """Square metres of the map for one of the ground, where that is furthest from 1."""

    @property
    def worst(self) -> NDArray[np.float64]:
        """How far lengths are off, as a share: 0.001 is a metre in a kilometre."""
        return np.maximum(np.abs(self.scale_least - 1), np.abs(self.scale_most - 1))


def distortion(sheet: Sheet) -> Distortion:
    """Of the tiles of a sheet, at eight places of their edges and at their centres."""
    from pyproj import Proj

    rings = sheet.rings_in_degrees()
    centre = rings.mean(1)
    places = np.concatenate([rings, centre[:, None]], axis=1)
    longitudes, latitudes = places[..., 0], np.clip(places[..., 1], -HIGHEST, HIGHEST)
    if sheet.crs == "EPSG:4326":
        along = _degrees(latitudes)
        least, most = np.minimum(*along), np.maximum(*along)
    else:
        found = Proj(sheet.crs).get_factors((longitudes.ravel() + 180) % 360 - 180, latitudes.ravel())
        least, most = (np.reshape(each, latitudes.shape) for each in (found.tissot_semiminor, found.tissot_semimajor))
    area = least * most
    furthest = np.abs(area - 1).argmax(1)[:, None]
    return Distortion(
        longitude=(centre[:, 0] + 180) % 360 - 180,
        latitude=centre[:, 1],
        scale_least=least.min(1),
        scale_most=most.max(1),
        stretch=(most / least).max(1),
        area=np.take_along_axis(area, furthest, 1)[:, 0],
    )


def _degrees(latitudes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale along parallels and meridians, where a degree is drawn as long as one of the equator (eq. 4-20, 4-22)."""
    shrunk = 1 - ECCENTRICITY_2 * np.sin(np.radians(latitudes)) ** 2
    return np.sqrt(shrunk) / np.cos(np.radians(latitudes)), shrunk**1.5 / (1 - ECCENTRICITY_2)


def write_table(path: Path, sheets: Sequence[Sheet], found: Sequence[Distortion]) -> None:
    """Write what is predicted of each tile as CSV, whole or not at all."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file", "part", "crs", "longitude", "latitude", "scale_least", "scale_most", "stretch", "area"])
    for sheet, each in zip(sheets, found, strict=True):
        columns = (each.longitude, each.latitude, each.scale_least, each.scale_most, each.stretch, each.area)
        for tile, *numbers in zip(sheet.tiles, *columns, strict=True):
            table.writerow([sheet.path(tile), sheet.part, sheet.crs, *(f"{number:.6f}" for number in numbers)])
    write_text(path, text.getvalue())
