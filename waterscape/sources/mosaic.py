"""Exports in degrees (EPSG:4326) as one picture: the header of each file, and which files a piece of ground touches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.errors import UserError
from waterscape.sources.occurrence import is_synthetic, open_geotiff, read_percent, region_and_offsets
from waterscape.sources.utm import HIGHEST, LOWEST, near

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LARGEST_WHOLE = 1 << 19  # pixels; a larger file is read by windows
REMEMBERED = 64  # small files, decoded, since neighbours share them


@dataclass(frozen=True)
class Export:
    """One file: its size in pixels, and its box in degrees; `west` may be over 180."""

    name: str
    path: str
    region: str
    synthetic: bool
    bands: int
    width: int
    height: int
    west: float
    north: float
    pixel_width: float
    """Degrees of longitude."""
    pixel_height: float
    """Degrees of latitude."""

    @property
    def east(self) -> float:
        """Longitude of the last column's far edge."""
        return self.west + self.width * self.pixel_width

    @property
    def south(self) -> float:
        """Latitude of the last row's far edge."""
        return self.north - self.height * self.pixel_height

    def pixels(
        self, row: int, column: int, height: int, width: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """A window: percent (masked 0), and what was observed where the file knows of a mask."""
        if self.width * self.height > LARGEST_WHOLE:
            return _read(self.path, (row, column, height, width))
        percent, observed = _read_whole(self.path, Path(self.path).stat().st_mtime_ns)
        part = np.s_[row : row + height, column : column + width]
        return percent[part], None if observed is None else observed[part]


def _read(path: str, window: tuple[int, int, int, int] | None) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    from rasterio.windows import Window

    with open_geotiff(Path(path)) as dataset:
        asked = None if window is None else Window(window[1], window[0], window[3], window[2])
        return read_percent(Path(path), dataset, asked)


@lru_cache(REMEMBERED)
def _read_whole(path: str, _changed: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    return _read(path, None)


def header(item: tuple[str, Path]) -> dict[str, Any]:
    """What the header of a file, given as (name, path), says: the fields of `Export` but its path.

    Raises:
        UserError: no GeoTIFF of water occurrence, or one that is not in EPSG:4326, north up, within UTM's latitudes.
    """
    name, path = item
    if path.suffix.lower() == ".png":
        raise UserError(f"{path} is a PNG and has no place on the Earth: leave --true-scale out, or give GeoTIFF")
    with open_geotiff(path) as dataset:
        affine, crs = dataset.transform, dataset.crs
        size = {"bands": dataset.count, "width": dataset.width, "height": dataset.height}
    if crs is None or crs.to_epsg() != 4326:
        named = crs.to_string() if crs else "no CRS"
        raise UserError(f"{path} is in {named}: --true-scale takes exports in EPSG:4326; leave it out")
    if affine.b or affine.d or affine.a <= 0 or affine.e >= 0:
        raise UserError(f"{path} is turned or mirrored: --true-scale takes exports with north up; export it again")
    top, bottom = affine.f, affine.f + size["height"] * affine.e
    if top > HIGHEST or bottom < LOWEST:
        raise UserError(
            f"{path} reaches from {bottom:.2f}° to {top:.2f}° north: --true-scale warps to UTM, which ends at "
            f"{LOWEST:.0f}° and {HIGHEST:.0f}°; take it out"
        )
    return {
        "name": name,
        "region": region_and_offsets(path)[0],
        "synthetic": is_synthetic(path.parent),
        **size,
        "west": affine.c,
        "north": affine.f,
        "pixel_width": affine.a,
        "pixel_height": -affine.e,
    }


class Mosaic:
    """The files of one region. Seen as one picture, whatever the order of the files.

    Raises:
        UserError: two files cover the same ground.
    """

    def __init__(self, exports: Sequence[Export]) -> None:
        self.exports = sorted(exports, key=lambda export: (export.south, export.name))
        self._south = np.array([export.south for export in self.exports])
        self._north = np.array([export.north for export in self.exports])
        self._middle = np.array([(export.west + export.east) / 2 for export in self.exports])
        self._half = np.array([(export.east - export.west) / 2 for export in self.exports])
        self._tallest = float((self._north - self._south).max())
        for export in self.exports:
            x, y = 2 * export.pixel_width, 2 * export.pixel_height  # grids that are out of step may overlap by a pixel
            box = (export.west + x, export.south + y, export.east - x, export.north - y)
            others = [other for other in self.touching(*box) if other is not export]
            if others:
                raise UserError(
                    f"{export.path} and {others[0].path} cover the same ground: take one out, or pack them apart"
                )

    def touching(self, west: float, south: float, east: float, north: float) -> list[Export]:
        """The files that a box of degrees touches, whichever way their longitudes are counted."""
        first = np.searchsorted(self._south, south - self._tallest)
        last = np.searchsorted(self._south, north)
        part = np.s_[first:last]
        middle = (west + east) / 2
        apart = np.abs(near(self._middle[part], middle) - middle)
        touched = (apart < self._half[part] + (east - west) / 2) & (self._north[part] > south)
        return [self.exports[first + at] for at in np.flatnonzero(touched)]
