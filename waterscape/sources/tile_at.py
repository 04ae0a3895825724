"""The satellite tile around a point, cut from a mosaic in any coordinate system: north up, pixels of so many metres.

It is warped to the azimuthal equidistant projection about the point, in which lengths from there are true (Snyder 1987,
doi:10.3133/pp1395, pp. 191–202); over the few kilometres of a tile all lengths are.
"""

from __future__ import annotations

import math
import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.errors import UserError
from waterscape.sources.satellite.source import METRES_IN_DEGREE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

COLOURS = 3
LEAST_COVERED = 0.995
"""Share of a tile that the mosaic must have: single dark pixels are nodata in many a one, whose nodata is 0."""

MIDDLE = re.compile(r"\+lon_0=(\S+)")
WORLD_DATUMS = {"+datum=WGS84", "+nadgrids=@null"}
"""As PROJ's line has it of systems that reach round the Earth; of regional ones it may leave the datum out."""


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

    width, height = pixels
    # over: longitudes run on across 180, where a jump would have GDAL read, and smooth, all between its two sides
    local = f"+proj=aeqd +lat_0={latitude} +lon_0={longitude} +datum=WGS84 +units=m +over +no_defs"
    target = Affine(
        metres_per_pixel, 0, -width / 2 * metres_per_pixel, 0, -metres_per_pixel, height / 2 * metres_per_pixel
    )
    with opened(source) as dataset:
        _check_inside(source, dataset, latitude, longitude)
        reach = math.hypot(width, height) / 2 * metres_per_pixel / METRES_IN_DEGREE
        reach /= max(math.cos(math.radians(abs(latitude) + reach)), 1e-3)
        tile, covered = warped(dataset, local, target, width, height, (longitude - reach, longitude + reach))
    if covered.mean() < LEAST_COVERED:
        metres = f"{width * metres_per_pixel:.0f} × {height * metres_per_pixel:.0f} m"
        raise HoleError(
            f"{source} holds only {100 * covered.mean():.1f} % of the tile of {metres} around {latitude},{longitude}: "
            "choose a point further inside, or a larger mosaic",
            float(covered.mean()),
        )
    return np.ascontiguousarray(tile.transpose(1, 2, 0))


def warped(
    dataset: Any, crs: str, transform: Any, width: int, height: int, longitudes: tuple[float, float]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A mosaic's colours (3 H W) on another grid, and where it has any (H W). `longitudes`: the grid's, in degrees.

    Degrees may be counted on beyond 180, by the mosaic as by the grid: it is laid wherever the grid meets it.
    """
    from rasterio.vrt import WarpedVRT
    from rasterio.warp import Resampling

    asked: dict[str, Any] = {"crs": crs, "transform": transform, "width": width, "height": height}
    alpha = dataset.count == COLOURS and dataset.nodata is None
    colours, there = np.zeros((COLOURS, height, width), np.uint8), np.zeros((height, width), bool)
    asked["src_crs"], places = _laid(dataset, longitudes)
    for laid in places:
        with WarpedVRT(dataset, src_transform=laid, resampling=Resampling.bilinear, add_alpha=alpha, **asked) as seen:
            pixels, found = seen.read((1, 2, 3)), seen.dataset_mask() > 0
        colours = np.where(there, colours, pixels)
        there |= found
    return colours, there


def _laid(dataset: Any, longitudes: tuple[float, float]) -> tuple[str, list[Any]]:
    """A mosaic's coordinate system, and its transforms where it meets these longitudes, whole turns away too.

    A cylindrical projection is turned until its middle is theirs: at its edge x jumps, and GDAL would smooth over all
    that lies between. Any other but degrees stays as it is.
    """
    from rasterio.transform import Affine

    low, high = longitudes
    if dataset.crs.is_geographic:
        crs, degree, zero, shift = dataset.crs.to_wkt(), 1 / math.degrees(dataset.crs.units_factor[1]), 0.0, 0.0
    elif (found := _cylinder(dataset)) is None:
        return str(dataset.crs.to_wkt()), [dataset.transform]
    else:
        zero, degree = found
        middle = ((low + high) / 2 + 180) % 360 - 180
        crs = MIDDLE.sub(f"+lon_0={middle}", dataset.crs.to_proj4())
        shift = degree * (float(MIDDLE.findall(dataset.crs.to_proj4())[0]) - middle)
        low, high = (edge + middle - sum(longitudes) / 2 for edge in longitudes)
    west, east = sorted((edge - zero) / degree for edge in (dataset.bounds.left, dataset.bounds.right))
    turns = [turn for turn in (0.0, -360.0, 360.0) if west + turn <= high and east + turn >= low]
    return str(crs), [Affine.translation(shift + turn * degree, 0) @ dataset.transform for turn in turns]


def _cylinder(dataset: Any) -> tuple[float, float] | None:
    """A mosaic's x at longitude 0 and length of a degree, where it is cylindrical and PROJ's line tells all of it."""
    from pyproj import Transformer

    line = dataset.crs.to_proj4()
    if not MIDDLE.search(line) or WORLD_DATUMS.isdisjoint(line.split()):
        return None
    there = Transformer.from_crs("EPSG:4326", dataset.crs.to_wkt(), always_xy=True)
    x = np.reshape(there.transform([0, 1, 2, 3] * 2, [0] * 4 + [60] * 4)[0], (2, 4))
    if not (np.isfinite(x).all() and np.allclose(x[0], x[1], rtol=0, atol=1e-3)):
        return None
    return float(x[0, 0]), float(np.median(np.diff(x[0])))  # the median: x may jump between two of them


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

    crs, places = _laid(dataset, (longitude, longitude))
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(longitude, latitude)
    for laid in places:
        column, row = ~laid @ (x, y)
        if 0 <= column < dataset.width and 0 <= row < dataset.height:
            return
    back = Transformer.from_crs(dataset.crs.to_wkt(), "EPSG:4326", always_xy=True)
    west, south, east, north = back.transform_bounds(*dataset.bounds)
    raise OutsideError(
        f"{latitude},{longitude} lies outside of {source}, which reaches from {south:.4f},{west:.4f} to "
        f"{north:.4f},{east:.4f} (latitude,longitude)"
    )
