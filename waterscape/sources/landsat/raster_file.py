"""A raster file as it lies on the disk: opened, its grid of pixels, and windows of it beyond its edges too."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from waterscape.sources.landsat.layers import SceneError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray
    from rasterio import Affine

Window: TypeAlias = tuple[int, int, int, int]  # row and column of the upper left pixel, height, width
Opening: TypeAlias = "Callable[[Path], AbstractContextManager[Any]]"  # what opens a raster file: `opened`, or another

NO_FILE, DAMAGED, CHANGED = "no GeoTIFF that can be read", "damaged or cut off", "changed since it was opened"
TURNED, SOUTH_UP, OBLONG = "rotated or skewed", "stored south up", "pixels that are no squares"
MERCATOR, WEB_MERCATOR = "in Web Mercator", "+proj=merc +a=6378137 +b=6378137"
METRES_PER_DEGREE = 111_319.490793  # of the equator, as Earth Engine counts


@dataclass(frozen=True)
class Grid:
    """Where a raster's pixels lie."""

    crs: str | None
    """As WKT or EPSG code; None where the file has none."""
    transform: Affine
    height: int
    width: int
    metres_per_pixel: float | None
    """Side of a pixel. In degrees it is the height; the width shrinks with the cosine of the latitude."""
    degrees: bool


@dataclass(frozen=True)
class Header:
    """What a file says of itself; of each band its dtype, and scale and offset."""

    grid: Grid
    dtypes: tuple[str, ...]
    scalings: tuple[tuple[float, float], ...]
    tags: Mapping[str, str]


def header_of(path: Path) -> Header:
    """What a file says of itself. Raises `SceneError` for what cannot be read, or has a grid that will not do."""
    with opened(path) as dataset:
        scalings = tuple(zip(map(float, dataset.scales), map(float, dataset.offsets), strict=True))
        return Header(grid_of(path, dataset), tuple(dataset.dtypes), scalings, dataset.tags())


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A GeoTIFF (or PNG, by its name), open for reading. Raises `SceneError` for what cannot be read."""
    with open_file(path) as dataset, whole(path):
        yield dataset


def open_file(path: Path) -> Any:
    """As `opened`, but to be closed by who asks."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"):  # .msk, .aux.xml and .tfw are asked for by name
                return rasterio.open(path, driver="PNG" if path.suffix.lower() == ".png" else "GTiff")
    except RasterioError as error:
        raise SceneError(path, NO_FILE, " ".join(str(error).split())[:200]) from error


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """While a file is read: raises `SceneError` where it turns out to be damaged."""
    from rasterio.errors import RasterioError

    try:
        yield
    except RasterioError as error:
        raise SceneError(path, DAMAGED, "fetch it again, or take it out") from error


def grid_of(path: Path, dataset: Any) -> Grid:
    """Where an open raster's pixels lie. Raises `SceneError` unless they are squares, north up.

    Without a CRS nothing is known of their sides; the identity, with which rasterio says that a file tells no place at
    all, is taken for north up then.
    """
    affine, crs = dataset.transform, dataset.crs
    if crs is None and affine.is_identity:
        return Grid(None, affine, dataset.height, dataset.width, None, degrees=False)
    north_up = "gdalwarp IN.tif OUT.tif puts north up"
    if affine.b or affine.d:
        raise SceneError(path, TURNED, north_up)
    if affine.e >= 0 or affine.a <= 0:
        raise SceneError(path, SOUTH_UP if affine.e >= 0 else TURNED, north_up)
    if crs is None:
        return Grid(None, affine, dataset.height, dataset.width, None, degrees=False)
    if abs(affine.a + affine.e) > 1e-3 * affine.a:
        raise SceneError(path, OBLONG, f"{affine.a:g} × {-affine.e:g}: gdalwarp -tr 30 30 makes them square")
    if WEB_MERCATOR in crs.to_proj4():
        raise SceneError(path, MERCATOR, "its metres are none on the ground: gdalwarp -t_srs EPSG:326xx -tr 30 30")
    degrees = bool(crs.is_geographic)
    unit = METRES_PER_DEGREE if degrees else float(crs.linear_units_factor[1])
    code = crs.to_epsg()
    name = f"EPSG:{code}" if code else crs.to_wkt()
    return Grid(name, affine, dataset.height, dataset.width, round(-affine.e * unit, 4), degrees)


def on_one_grid(path: Path, dataset: Any, grid: Grid) -> bool:
    """Whether the pixels of an open raster lie where those of a grid do."""
    return same_grid(grid_of(path, dataset), grid)


def same_grid(one: Grid, other: Grid) -> bool:
    """Whether the pixels of both lie in the same places, but for rounding."""
    apart = np.abs(np.subtract(tuple(one.transform), tuple(other.transform))).max()
    near = apart <= 1e-3 * abs(one.transform.a)  # exports write corners with a few digits only
    return near and (one.crs, one.height, one.width) == (other.crs, other.height, other.width)


def part_of(
    dataset: Any, bands: Sequence[int], shape: tuple[int, int], window: Window
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A window of an open raster (B H W), and where it is no nodata; beyond the edges it is 0, and nodata.

    Raises `SceneError` where the raster is not as `shape` and `bands` say.
    """
    from rasterio.enums import MaskFlags
    from rasterio.windows import Window as Part

    if (dataset.height, dataset.width) != shape or max(bands) > dataset.count:
        raise SceneError(dataset.name, CHANGED, "start again when nobody writes there")
    row, column, height, width = window
    top, left = max(row, 0), max(column, 0)
    bottom, right = min(row + height, shape[0]), min(column + width, shape[1])
    inside = (bottom - top, right - left) == (height, width)
    dtype = np.result_type(*(dataset.dtypes[band - 1] for band in bands))
    pixels = (np.empty if inside else np.zeros)((len(bands), height, width), dtype)
    known = np.zeros(pixels.shape, bool)
    if top < bottom and left < right:
        part = Part(left, top, right - left, bottom - top)
        at = np.s_[:, top - row : bottom - row, left - column : right - column]
        dataset.read(list(bands), window=part, out=pixels[at])
        if all(flags == [MaskFlags.all_valid] for flags in (dataset.mask_flag_enums[band - 1] for band in bands)):
            known[at] = True
        else:
            known[at] = dataset.read_masks(list(bands), window=part) > 0
    return pixels, known
