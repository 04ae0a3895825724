"""The satellite tile around a point, cut from a mosaic in any coordinate system: north up, pixels of so many metres.

It is warped to the azimuthal equidistant projection about the point, in which lengths from there are true (Snyder 1987,
doi:10.3133/pp1395, pp. 191–202); over the few kilometres of a tile all lengths are.
"""

from __future__ import annotations

import math
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

COLOURS = 3
LEAST_COVERED = 0.995
"""Share of a tile that the mosaic must have: single dark pixels are nodata in many a one, whose nodata is 0."""


class OutsideError(UserError):
    """The point lies outside of the mosaic."""


class HoleError(UserError):
    """A part of the tile lies outside of the mosaic, or where it has no data; `share` of it is there."""

    def __init__(self, words: str, share: float) -> None:
        super().__init__(words)
        self.share = share


def parse_place(text: str) -> tuple[float, float]:
    """Latitude and longitude of `55.12,37.45`. Raises `UserError` where it is no place."""
    parts = text.split(",")
    try:
        latitude, longitude = (float(part) for part in parts)
    except ValueError:
        latitude = longitude = math.nan
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        raise UserError(f"--at {text}: give latitude and longitude in degrees, as in --at 55.12,37.45")
    return latitude, longitude


def tile_at(
    source: Path, latitude: float, longitude: float, pixels: tuple[int, int], metres_per_pixel: float
) -> NDArray[np.uint8]:
    """The tile (H W 3) of `pixels` (width, height) whose middle is the point.

    Raises:
        UserError: no GeoTIFF with a coordinate system, or not of three bands of 8 bits.
        OutsideError, HoleError: the point or a part of the tile lies outside of it, or where it has no data.
    """
    from rasterio.transform import Affine
    from rasterio.vrt import WarpedVRT
    from rasterio.warp import Resampling

    width, height = pixels
    local = f"+proj=aeqd +lat_0={latitude} +lon_0={longitude} +datum=WGS84 +units=m +no_defs"
    target = Affine(
        metres_per_pixel, 0, -width / 2 * metres_per_pixel, 0, -metres_per_pixel, height / 2 * metres_per_pixel
    )
    with opened(source) as dataset:
        _check_inside(source, dataset, latitude, longitude)
        asked: dict[str, Any] = {"transform": target, "width": width, "height": height}
        alpha = dataset.count == COLOURS and dataset.nodata is None
        with WarpedVRT(dataset, crs=local, resampling=Resampling.bilinear, add_alpha=alpha, **asked) as warped:
            tile: NDArray[np.uint8] = warped.read((1, 2, 3))
            covered = warped.dataset_mask() > 0
    if covered.mean() < LEAST_COVERED:
        metres = f"{width * metres_per_pixel:.0f} × {height * metres_per_pixel:.0f} m"
        raise HoleError(
            f"{source} holds only {100 * covered.mean():.1f} % of the tile of {metres} around {latitude},{longitude}: "
            "choose a point further inside, or a larger mosaic",
            float(covered.mean()),
        )
    return np.ascontiguousarray(tile.transpose(1, 2, 0))


@contextmanager
def opened(source: Path) -> Iterator[Any]:
    """A mosaic's dataset. Raises `UserError`: no GeoTIFF with a coordinate system, or not of three bands of 8 bits."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    if not source.is_file():
        raise UserError(f"--source {source}: there is no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(source) as dataset:
                _check(source, dataset)
                yield dataset
    except RasterioError as error:
        raise UserError(f"--source {source} cannot be read ({' '.join(str(error).split())[:100]})") from error


def _check(source: Path, dataset: Any) -> None:
    if dataset.crs is None:
        raise UserError(f"--source {source} has no coordinate system: give a GeoTIFF that has one")
    kinds = set(dataset.dtypes)
    if dataset.count not in (COLOURS, COLOURS + 1) or kinds != {"uint8"}:
        raise UserError(
            f"--source {source} has {dataset.count} bands of {', '.join(sorted(kinds))}: give red, green and blue of "
            "8 bits (gdal_translate -ot Byte -b 1 -b 2 -b 3 -scale makes such)"
        )


def _check_inside(source: Path, dataset: Any, latitude: float, longitude: float) -> None:
    from pyproj import Transformer

    there = Transformer.from_crs("EPSG:4326", dataset.crs.to_wkt(), always_xy=True)
    x, y = there.transform(longitude, latitude)
    place = ~dataset.transform
    column, row = place.a * x + place.b * y + place.c, place.d * x + place.e * y + place.f
    if 0 <= column < dataset.width and 0 <= row < dataset.height:
        return
    back = Transformer.from_crs(dataset.crs.to_wkt(), "EPSG:4326", always_xy=True)
    west, south, east, north = back.transform_bounds(*dataset.bounds)
    raise OutsideError(
        f"{latitude},{longitude} lies outside of {source}, which reaches from {south:.4f},{west:.4f} to "
        f"{north:.4f},{east:.4f} (latitude,longitude)"
    )
