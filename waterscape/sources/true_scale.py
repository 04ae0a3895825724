"""Exports in degrees, cut anew into tiles whose pixels are as many metres wide as high.

A pixel of an export in EPSG:4326 is as wide as high in degrees, so on the ground its width shrinks with the cosine of
the latitude, and the picture is stretched: twofold at 60° N. Here every tile is a square of a UTM zone (see `utm`),
filled from the files of its region that it touches: few are in memory at a time, however large the region.

GDAL takes the mean over each new pixel's area (its `average`). From east to west several old pixels go into a new one:
all of them count, so the mean occurrence of the ground stays what it was, where bilinear interpolation would pick two
and leave others out. From north to south, at equal scale, both are the same. Only observed pixels count: a new pixel is
masked where less than half of it was observed, and else holds the mean of what was.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.errors import UserError
from waterscape.sources.mosaic import Export, Mosaic, header
from waterscape.sources.occurrence import Tile
from waterscape.sources.occurrence_rules import ZONE_EDGE
from waterscape.sources.occurrence_survey import check_bands
from waterscape.sources.place import locate
from waterscape.sources.utm import Cell, cells_centred_in, giving_way
from waterscape.sources.warp import patches, warp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from waterscape.sources.parallel import Each

METRES_PER_DEGREE = 6_378_137 * math.pi / 180  # of the equator: how Earth Engine turns a scale in metres into degrees
WHOLE = 0.999  # of a pixel that must lie on the files; the rest is rounding
LARGEST = 100_000.0  # metres of a tile's side: a zone is 139 km wide at 78° N


@dataclass(frozen=True)
class Cut:
    """A tile that is cut out of the mosaic of a region's files."""

    region: str
    cell: Cell
    tile_size: int
    metres_per_pixel: float
    exports: tuple[Export, ...]
    """The files that the tile touches."""
    reason: str | None = None

    @property
    def name(self) -> str:
        """Region, zone, and the square's row and column in the zone."""
        return f"{self.region}-{self.cell}"

    def __str__(self) -> str:
        return f"{self.name} (cut from {self.exports[0].path} and {len(self.exports) - 1} more)"

    @property
    def side(self) -> float:
        """Metres."""
        return self.tile_size * self.metres_per_pixel

    def origin(self) -> dict[str, Any]:
        """Its name, the files it was cut from, and the pixel offsets of its corner from the origin of the CRS."""
        row, column = -(self.cell.row + 1) * self.tile_size, self.cell.column * self.tile_size
        return {
            "source": self.name,
            "exports": [export.name for export in self.exports],
            "region": self.region,
            "row": row,
            "column": column,
            "synthetic": any(export.synthetic for export in self.exports),
        }

    def read(self, size: int | None = None) -> Tile:  # noqa: ARG002 (its size is known)
        """Cut the tile. Where the files do not cover all of it, it says so by `covered`."""
        from rasterio.transform import Affine

        longitudes, latitudes = self.cell.outline(self.side)
        east, north = self.cell.north_west(self.side)
        metres = self.metres_per_pixel
        target = Affine(metres, 0, east, 0, -metres, north)
        parts = patches(self.exports, longitudes, latitudes)
        warped = [warp(part, target, self.cell.crs, self.tile_size) for part in parts]
        covered, observed, amount = np.sum(warped, axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            percent = np.floor(np.clip(amount / observed, 0, 100) + 0.5)
        seen = (2 * observed >= covered) & (covered > 0)
        whole = bool(covered.min() >= WHOLE)
        largest = max(parts, key=lambda part: part.within.size)
        return Tile(
            bands=self.exports[0].bands,
            width=self.tile_size,
            height=self.tile_size,
            occurrence=np.where(seen, percent, 0).astype(np.uint8),
            observed=seen if any(part.masked for part in parts) else None,
            place=locate(self.cell.crs, target, self.tile_size, self.tile_size),
            crc=sum(part.crc for part in parts) % 2**32,
            covered=None if whole else covered >= WHOLE,
            exported=largest.within,
        )


def cut_anew(paths: Mapping[str, Path], tile_size: int, metres_per_pixel: float | None, each: Each) -> list[Cut]:
    """All tiles whose centre lies on a file, in the order of their names.

    Args:
        paths: name → GeoTIFF in EPSG:4326; files of one region (see `region_and_offsets`) make up a mosaic.
        tile_size: side of the new tiles in pixels.
        metres_per_pixel: of the new tiles; None: of the files, from north to south, as Earth Engine counts.
        each: runs the reading of headers.

    Raises:
        UserError: files that cannot be used (see `mosaic.header`), that overlap, or whose scales differ where none was
            asked for; tiles that are too large.
    """
    headers = each("headers", header, list(paths.items()))
    exports = [Export(path=str(path), **found) for path, found in zip(paths.values(), headers, strict=True)]
    check_bands((export.bands, export.path) for export in exports)
    metres = _common_scale(exports) if metres_per_pixel is None else metres_per_pixel
    side = tile_size * metres
    if not 0 < side <= LARGEST:
        raise UserError(
            f"tiles of {tile_size} pixels of {metres:g} m: --true-scale takes sides of up to {LARGEST / 1000:g} km; "
            "give a smaller --tile-size or --metres-per-pixel"
        )
    regions: defaultdict[str, list[Export]] = defaultdict(list)
    for export in exports:
        regions[export.region].append(export)
    cuts = []
    for region, files in regions.items():
        mosaic = Mosaic(files)
        boxes = [(file.west, file.south, file.east, file.north) for file in files]
        cells = {cell for box in boxes for cell in cells_centred_in(*box, side)}
        gone = giving_way(cells, side)
        for cell in cells:
            longitudes, latitudes = cell.outline(side)
            touched = mosaic.touching(longitudes.min(), latitudes.min(), longitudes.max(), latitudes.max())
            touched.sort(key=lambda export: export.name)
            reason = ZONE_EDGE if cell in gone else None
            cuts.append(Cut(region, cell, tile_size, metres, tuple(touched), reason))
    return sorted(cuts, key=lambda cut: cut.name)


def _common_scale(exports: Sequence[Export]) -> float:
    """Metres per pixel from north to south, to the millimetre."""
    scales = {round(export.pixel_height * METRES_PER_DEGREE, 3): export.path for export in exports}
    if len(scales) > 1:
        told = ", ".join(f"{path} has {scale:g} m" for scale, path in sorted(scales.items())[:3])
        raise UserError(f"the files differ in scale ({told}): say which to cut, as in --metres-per-pixel 100")
    return next(iter(scales))
