"""Pixels of files in degrees → pixels of a tile in metres: files are put together as arrays, GDAL warps them."""

from __future__ import annotations

import math
import zlib
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from waterscape.sources.utm import near

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from waterscape.sources.mosaic import Export

MARGIN = 3  # pixels of the files around a tile
IN_STEP = 0.02  # of a pixel by which files of one grid may be out of step


class Patch(NamedTuple):
    """The files of one grid around a tile, as one picture."""

    planes: NDArray[np.float32]
    """3 H W: 1 where a file has a pixel; 1 where it was observed; its percent, masked 0."""
    west: float
    """Degrees east of `middle`."""
    north: float
    middle: int
    """Degrees east of Greenwich, a meridian near by: the antimeridian is none of GDAL's business then."""
    pixel_width: float
    pixel_height: float
    masked: bool
    """Whether some file knows of a mask."""
    within: NDArray[np.uint8]
    """The percent of a box that lies within the tile, where the files cover it."""
    crc: int


def patches(exports: Sequence[Export], longitudes: NDArray[np.float64], latitudes: NDArray[np.float64]) -> list[Patch]:
    """What files hold around a tile, given by its outline (see `Cell.outline`): a patch for each grid.

    Usually there is one. Files on either side of the antimeridian can be out of step, since 360° are no whole number of
    pixels.
    """
    return [_patch(group, longitudes, latitudes) for group in _grids(exports, float(longitudes.mean()))]


def warp(patch: Patch, target: Any, crs: str, side: int) -> NDArray[np.float32]:
    """The planes of a patch in the pixels of a tile (3 H W): shares of each pixel's area, and their percent."""
    from rasterio.transform import Affine
    from rasterio.warp import Resampling, reproject

    warped = np.zeros((len(patch.planes), side, side), np.float32)
    reproject(
        patch.planes,
        warped,
        src_transform=Affine(patch.pixel_width, 0, patch.west, 0, -patch.pixel_height, patch.north),
        src_crs=_crs(f"+proj=longlat +datum=WGS84 +pm={patch.middle} +no_defs"),
        dst_transform=target,
        dst_crs=_crs(crs),
        resampling=Resampling.average,
        num_threads=1,
    )
    return warped


@cache
def _crs(words: str) -> Any:
    from rasterio.crs import CRS

    return CRS.from_user_input(words)


def _grids(exports: Sequence[Export], longitude: float) -> list[list[Export]]:
    """The files in groups whose pixels are of one grid."""
    groups: list[list[Export]] = []
    for export in exports:
        for group in groups:
            if _in_step(export, group[0], longitude):
                group.append(export)
                break
        else:
            groups.append([export])
    return groups


def _in_step(one: Export, other: Export, longitude: float) -> bool:
    x, y = _offset(one, other, longitude)
    same_size = math.isclose(one.pixel_width, other.pixel_width, rel_tol=1e-7) and math.isclose(
        one.pixel_height, other.pixel_height, rel_tol=1e-7
    )
    return same_size and max(abs(x - round(x)), abs(y - round(y))) < IN_STEP


def _offset(one: Export, other: Export, longitude: float) -> tuple[float, float]:
    """Columns and rows of a file's corner in the grid of another, both counted near a longitude."""
    middles = [near((export.west + export.east) / 2, longitude) for export in (one, other)]
    wests = [middle - (export.east - export.west) / 2 for middle, export in zip(middles, (one, other), strict=True)]
    return (wests[0] - wests[1]) / other.pixel_width, (other.north - one.north) / other.pixel_height


def _patch(exports: Sequence[Export], longitudes: NDArray[np.float64], latitudes: NDArray[np.float64]) -> Patch:
    """What files of one grid hold around a tile, given by its outline (see `Cell.outline`)."""
    first = exports[0]
    longitude = float(longitudes.mean())
    middle = round(longitude)
    west = near((first.west + first.east) / 2, longitude) - (first.east - first.west) / 2
    x = (longitudes - west) / first.pixel_width  # the outline in pixels of the grid, from the first file's corner
    y = (first.north - latitudes) / first.pixel_height
    left, top = math.floor(x.min()) - MARGIN, math.floor(y.min()) - MARGIN
    height, width = math.ceil(y.max()) + MARGIN - top, math.ceil(x.max()) + MARGIN - left
    covered, observed = np.zeros((2, height, width), bool)
    percent = np.zeros((height, width), np.uint8)
    masked = False
    for export in exports:
        column, row = (round(offset) for offset in _offset(export, first, longitude))
        rows = _shared(row - top, export.height, height)
        columns = _shared(column - left, export.width, width)
        if rows[1] <= 0 or columns[1] <= 0:
            continue
        pixels, seen = export.pixels(rows[0] - (row - top), columns[0] - (column - left), rows[1], columns[1])
        part = np.s_[rows[0] : rows[0] + rows[1], columns[0] : columns[0] + columns[1]]
        percent[part], covered[part], observed[part] = pixels, True, True if seen is None else seen
        masked |= seen is not None
    within = _covered_part(
        covered,
        (math.ceil(y[1].max()) - top, math.floor(y[0].min()) - top),
        (math.ceil(x[2].max()) - left, math.floor(x[3].min()) - left),
    )
    return Patch(
        planes=np.stack([covered, observed, percent]).astype(np.float32),
        west=west + left * first.pixel_width - middle,
        north=first.north - top * first.pixel_height,
        middle=middle,
        pixel_width=first.pixel_width,
        pixel_height=first.pixel_height,
        masked=masked,
        within=percent[within],
        crc=zlib.crc32(observed.tobytes(), zlib.crc32(percent.tobytes())),
    )


def _shared(start: int, length: int, whole: int) -> tuple[int, int]:
    """Start and length of the part of a stretch that lies in 0 … whole; a length of 0 or less: none does."""
    first = max(start, 0)
    return first, min(start + length, whole) - first


def _covered_part(covered: NDArray[np.bool_], rows: tuple[int, int], columns: tuple[int, int]) -> tuple[slice, slice]:
    """A box of rows and columns, from … to, without the edges where nothing is covered."""
    part = covered[slice(*rows), slice(*columns)]
    spans = []
    for start, axis in ((rows[0], 1), (columns[0], 0)):
        lines = np.flatnonzero(part.any(axis=axis))
        spans.append(slice(start + lines[0], start + lines[-1] + 1) if lines.size else slice(0, 0))
    return spans[0], spans[1]
