"""One tile of water occurrence: what the servers sent, judged before it is believed, and its file.

A tile is whole percent in 8 bits, 255 where occurrence is masked (water was never seen there), which the file declares
as its nodata. A file of ours carries the checksum of its pixels; one that Earth Engine wrote (Drive, Cloud Storage) is
read to its end and judged by its place and its values.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.durable import replacing
from waterscape.errors import UserError
from waterscape.sources.tile_requests import TileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

MASKED = 255
IN_STEP = 1e-4  # of a pixel by which a corner may be off
CHECKSUM = "crc32"
ALONE = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}  # else each tile that is opened lists the folder of all


def decoded(content: bytes, crs: str, transform: tuple[float, ...], width: int, height: int) -> NDArray[np.uint8]:
    """The percent (H W, 255: masked) in a GeoTIFF from the servers. Raises `TileError`."""
    from rasterio.errors import RasterioError
    from rasterio.io import MemoryFile

    if not content:
        raise TileError("the answer is empty")
    try:
        with MemoryFile(content) as memory, memory.open(driver="GTiff") as dataset:
            problem = _differs(dataset, crs, transform, width, height)
            if problem:
                raise TileError(f"the answer {problem}")
            percent: NDArray[np.uint8] = dataset.read(1)
    except (RasterioError, ValueError) as error:
        raise TileError("the answer is no GeoTIFF that can be read") from error
    if _impossible(percent).any():
        raise TileError(f"the answer holds {percent[_impossible(percent)][0]}, which is no percent")
    return percent


def write_tile(
    path: Path, percent: NDArray[np.uint8], crs: str, transform: tuple[float, ...], tags: Mapping[str, str]
) -> None:
    """Write a tile (H W) as a compressed GeoTIFF, whole or not at all. Raises `UserError` where the disk refuses it."""
    import rasterio
    from rasterio import Affine
    from rasterio.errors import RasterioError

    height, width = percent.shape
    facts = {"count": 1, "height": height, "width": width, "dtype": "uint8", "nodata": MASKED, "compress": "deflate"}
    try:
        with replacing(path) as partial:
            with rasterio.open(partial, "w", driver="GTiff", crs=crs, transform=Affine(*transform), **facts) as file:
                file.write(percent, 1)
                file.descriptions = ("occurrence",)
                file.update_tags(**tags, **{CHECKSUM: _checksum(percent)})
            if not is_whole(partial, crs, transform, width):  # GDAL does not tell of a disk that was full at the end
                raise UserError(f"{path} cannot be written: make room; the same command goes on")
    except (RasterioError, OSError) as error:
        raise UserError(f"{path} cannot be written ({error}): make room or rights; the same command goes on") from error


def is_whole(path: Path, crs: str, transform: tuple[float, ...], size: int) -> bool:
    """Whether a tile's file is there, lies where it must, and holds all of its pixels unharmed."""
    import rasterio
    from rasterio.errors import RasterioError

    if not path.is_file():
        return False
    try:
        with rasterio.Env(**ALONE), rasterio.open(path, driver="GTiff") as dataset:
            if _differs(dataset, crs, transform, size, size):
                return False
            percent = dataset.read(1)
            checksum = dataset.tags().get(CHECKSUM)
    except (RasterioError, ValueError):
        return False
    return bool(checksum == _checksum(percent) if checksum else not _impossible(percent).any())


def _checksum(percent: NDArray[np.uint8]) -> str:
    return f"{zlib.crc32(percent.tobytes()):08x}"


def _impossible(percent: NDArray[np.uint8]) -> NDArray[np.bool_]:
    wrong: NDArray[np.bool_] = (percent > 100) & (percent != MASKED)
    return wrong


def _differs(dataset: Any, crs: str, transform: tuple[float, ...], width: int, height: int) -> str | None:
    """In what a raster is not the tile; None where it is."""
    from rasterio.crs import CRS

    if (dataset.height, dataset.width) != (height, width):
        return f"is {dataset.width} × {dataset.height} pixels instead of {width} × {height}"
    if dataset.count != 1 or dataset.dtypes[0] != "uint8":
        return f"has {dataset.count} bands of {dataset.dtypes[0]} instead of one of uint8"
    if dataset.crs != CRS.from_user_input(crs):
        return f"is in {dataset.crs or 'no CRS'} instead of {crs}"
    a, b, c, d, e, f = np.abs(np.subtract(tuple(dataset.transform)[:6], transform)) / transform[0]
    if max(c, f, (a + b) * width, (d + e) * height) > IN_STEP:
        return "lies elsewhere"
    return None
