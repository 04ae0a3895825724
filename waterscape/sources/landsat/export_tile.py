"""One exported tile: what the servers sent, judged before it is believed, and its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.durable import replacing
from waterscape.errors import UserError
from waterscape.sources.landsat.bands import BANDS, ELEVATION_METRES, REFLECTANCES
from waterscape.sources.landsat.composite import ELEVATION, ELEVATION_ELSEWHERE, LABEL
from waterscape.sources.tile_requests import TileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from waterscape.sources.landsat.grid import GridTile

NODATA = -9999.0
"""What masked pixels are filled with on the way here: the documentation does not say what they are otherwise."""
NAMES = (*BANDS, LABEL)
IN_STEP = 1e-4  # of a pixel by which the corner may be off
RANGES = dict.fromkeys(REFLECTANCES, (-0.21, 1.62)) | {  # of 16 bits; the smallest to the largest
    "MNDWI": (-1.001, 1.001),
    "line": (-4.01, 4.01),
    "elevation": (-500 / ELEVATION_METRES, 9000 / ELEVATION_METRES),
    LABEL: (-0.001, 1.001),
}


def tile_bands(content: bytes, tile: GridTile) -> NDArray[np.float32]:
    """The bands (9 H W: `BANDS`, `LABEL`) in a GeoTIFF from the servers, NaN where they are masked.

    Raises `TileError` where it is damaged, of another place or size, or holds what cannot be.
    """
    from rasterio.errors import RasterioError
    from rasterio.io import MemoryFile

    if not content:
        raise TileError("the answer is empty")
    try:
        with MemoryFile(content) as memory, memory.open(driver="GTiff") as dataset:
            problem = _differs(dataset, tile)
            if problem:
                raise TileError(f"the answer {problem}")
            bands: NDArray[np.float32] = dataset.read(out_dtype=np.float32)
    except (RasterioError, ValueError) as error:
        raise TileError("the answer is no GeoTIFF that can be read") from error
    bands[bands == NODATA] = np.nan
    for name, band in zip(NAMES, bands, strict=True):
        low, high = RANGES[name]
        known = band[np.isfinite(band)]
        if np.isinf(band).any() or (known.size and not (low <= known.min() and known.max() <= high)):
            raise TileError(f"the answer's band {name} has values outside of {low:g} … {high:g}")
    if not np.isfinite(bands[NAMES.index("elevation")]).all():
        raise TileError("the answer has pixels without an elevation")
    return bands


def clear_share(bands: NDArray[np.float32]) -> float:
    """The share of the pixels that have all reflectances and a label."""
    wanted = [NAMES.index(name) for name in (*REFLECTANCES, LABEL)]
    return float(np.isfinite(bands[wanted]).all(0).mean())


def write_tile(path: Path, tile: GridTile, bands: NDArray[np.float32], tags: Mapping[str, str]) -> None:
    """Write a tile as a compressed GeoTIFF, whole or not at all. Raises `UserError` where the disk refuses it."""
    import rasterio
    from rasterio import Affine
    from rasterio.errors import RasterioError

    about = {"elevation": f"{ELEVATION}; elsewhere {ELEVATION_ELSEWHERE}; sea 0", "clear": f"{clear_share(bands):.4f}"}
    place = {"crs": tile.crs, "transform": Affine(*tile.transform), "nodata": np.nan}
    shape = {"count": len(bands), "height": tile.height, "width": tile.width, "dtype": "float32"}
    layout: dict[str, Any] = {"tiled": True, "blockxsize": 256, "blockysize": 256, "interleave": "band"}
    packed = {"compress": "deflate", "predictor": 3}
    try:
        with replacing(path) as partial:
            with rasterio.open(partial, "w", driver="GTiff", **shape, **place, **layout, **packed) as file:
                file.write(bands)
                file.descriptions = NAMES
                file.update_tags(**tags, **about)
            if not is_whole(partial, tile):  # GDAL does not tell of a disk that was full when it closed the file
                raise UserError(f"{path} cannot be written: make room; the same command goes on")
    except (RasterioError, OSError) as error:
        raise UserError(f"{path} cannot be written ({error}): make room or rights; the same command goes on") from error


def is_whole(path: Path, tile: GridTile) -> bool:
    """Whether a tile's file is there, is that tile, and can be read to its end."""
    import rasterio
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    if not path.is_file():
        return False
    try:
        with rasterio.open(path) as dataset:
            if _differs(dataset, tile) or dataset.descriptions != NAMES:  # they stand at the file's end
                return False
            corner = Window(tile.width - 1, tile.height - 1, 1, 1)  # of the last block, which is written last
            dataset.read(len(NAMES), window=corner)
    except (RasterioError, ValueError):
        return False
    return True


def _differs(dataset: Any, tile: GridTile) -> str | None:
    """In what a raster is not the tile; None where it is."""
    from rasterio.crs import CRS

    if (dataset.height, dataset.width) != (tile.height, tile.width):
        return f"is {dataset.width} × {dataset.height} pixels instead of {tile.width} × {tile.height}"
    if dataset.count != len(NAMES):
        return f"has {dataset.count} bands instead of {len(NAMES)}"
    if all(dataset.descriptions) and dataset.descriptions != NAMES:
        return f"has the bands {', '.join(dataset.descriptions)} instead of {', '.join(NAMES)}"
    if dataset.crs != CRS.from_user_input(tile.crs):
        return f"is in {dataset.crs or 'no CRS'} instead of {tile.crs}"
    a, b, c, d, e, f = np.abs(np.subtract(tuple(dataset.transform)[:6], tile.transform)) / tile.transform[0]
    if max(c, f, (a + b) * tile.width, (d + e) * tile.height) > IN_STEP:
        return "lies elsewhere"
    return None
