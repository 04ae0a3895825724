"""A large export → tiles of the usual size, each a GeoTIFF of its own, as Earth Engine itself would have split it.

A file is read once from north to south, some rows of tiles at a time, by a few threads that have a handle of their own
each; a window a tile would decode each strip of a striped file anew once the cache is too small for a row, and threads
would wait for one another after each. GDAL keeps what it decoded, for somebody who asks again; nobody does, so it may
keep little: a quarter of the time would go into memory that is asked for the first time.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.durable import replacing
from waterscape.errors import UserError
from waterscape.sources.occurrence import open_geotiff, region_and_offsets

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

AT_ONCE = 1 << 21  # bytes decoded at a time by a thread, or one row of tiles where that is more
IN_MEMORY = 1 << 28  # bytes decoded by all threads together, or one row of tiles or of blocks
KEPT = 1 << 22  # bytes of decoded blocks that GDAL keeps, or as many as the threads have in hand
THREADS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class Piece:
    """A tile within a file."""

    row: int
    """Of its upper left pixel."""
    column: int
    pixels: NDArray[Any]
    """B H W."""
    mask: NDArray[np.uint8] | None
    """H W, 0 where masked. None where the file has no mask, or tells it by a value."""


@dataclass(frozen=True)
class CutUp:
    """What became of some files."""

    tiles: int
    pixels_left: int
    """At the eastern and southern edges, which make no whole tile."""


def pieces(dataset: Any, tile_size: int) -> Generator[Piece]:
    """The whole tiles of an open raster, row by row from its north-western corner. Raises `RasterioError`."""
    import rasterio
    from rasterio.enums import MaskFlags
    from rasterio.windows import Window

    masked = any(MaskFlags.per_dataset in flags for flags in dataset.mask_flag_enums)
    line_bytes = dataset.width * sum(np.dtype(kind).itemsize for kind in dataset.dtypes)
    row_bytes = tile_size * line_bytes
    height = tile_size * max(1, AT_ONCE // row_bytes)
    tallest = max(tall for tall, _ in dataset.block_shapes)  # a block is decoded whole: a file may be a single strip
    threads = max(1, min(THREADS, IN_MEMORY // (line_bytes * max(height, tallest))))
    south, east = (length // tile_size * tile_size for length in (dataset.height, dataset.width))
    free: SimpleQueue[tuple[Any, NDArray[Any]]] = SimpleQueue()  # a handle of GDAL serves one thread at a time

    def cut(top: int) -> list[Piece]:
        handle, rows = free.get()
        try:
            window = Window(0, top, dataset.width, min(height, south - top))
            pixels = handle.read(window=window, out=rows[:, : window.height])
            mask = handle.dataset_mask(window=window) if masked else None
            found = []
            for row, column in itertools.product(range(0, pixels.shape[1], tile_size), range(0, east, tile_size)):
                part = np.s_[..., row : row + tile_size, column : column + tile_size]
                found.append(Piece(top + row, column, pixels[part].copy(), None if mask is None else mask[part].copy()))
            return found
        finally:
            free.put((handle, rows))  # of a failed read too: another thread may be waiting for it

    tops = iter(range(0, south, height))
    kept = max(KEPT, 2 * threads * line_bytes * tallest)
    with ExitStack() as opened, cache_of(kept), ThreadPoolExecutor(threads, "cutting") as pool:
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
            for _ in range(threads):  # here, since a thread that opens its first file registers all of GDAL's drivers
                handle = opened.enter_context(rasterio.open(dataset.name, driver=dataset.driver))
                free.put((handle, np.empty((dataset.count, height, dataset.width), dataset.dtypes[0])))
        try:
            ahead = deque(pool.submit(cut, top) for top in itertools.islice(tops, threads + 1))
            while ahead:
                yield from ahead.popleft().result()
                ahead.extend(pool.submit(cut, top) for top in itertools.islice(tops, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def cut_up(paths: Sequence[Path], out: Path, tile_size: int, advance: Callable[[int], None] | None = None) -> CutUp:
    """Write the tiles of some exports into `out`, a folder for each region: `REGION-{row:010d}-{column:010d}.tif`.

    Args:
        paths: GeoTIFF of water occurrence (see `occurrence.read`). Where their names tell offsets in a larger export,
            the tiles' offsets count from the same origin.
        out: a folder; tiles that stand there already are made again.
        tile_size: side in pixels.
        advance: told the number of tiles.

    Raises:
        UserError: no GeoTIFF of occurrence, or one that is damaged; two files make a tile of the same name.
    """
    from rasterio.errors import RasterioError

    done: dict[Path, Path] = {}
    left = 0
    for path in paths:
        region, offsets = region_and_offsets(path)
        region, (north, west) = (region, offsets) if offsets else (path.stem, (0, 0))
        (out / region).mkdir(parents=True, exist_ok=True)
        before = len(done)
        with open_geotiff(path) as dataset:
            try:
                with closing(pieces(dataset, tile_size)) as found:
                    for piece in found:
                        name = f"{region}-{north + piece.row:010d}-{west + piece.column:010d}.tif"
                        target = out / region / name
                        if target in done:
                            other = done[target]
                            raise UserError(f"{path} and {other} both make {name}: rename one, or cut them apart")
                        _write(target, dataset, piece, tile_size)
                        done[target] = path
                        if advance:
                            advance(1)
            except RasterioError as error:
                raise UserError(f"{path} is damaged or cut off: export it again, or take it out") from error
            left += dataset.width * dataset.height - (len(done) - before) * tile_size**2
    return CutUp(len(done), left)


@contextmanager
def cache_of(count: int) -> Iterator[None]:
    """GDAL's cache of blocks bounded to so many bytes; `rasterio.Env` would give it back only if it were outermost."""
    from rasterio.env import get_gdal_config, set_gdal_config

    before = get_gdal_config("GDAL_CACHEMAX")
    set_gdal_config("GDAL_CACHEMAX", count)
    try:
        yield
    finally:
        set_gdal_config("GDAL_CACHEMAX", before)


def _write(target: Path, dataset: Any, piece: Piece, tile_size: int) -> None:
    import rasterio
    from rasterio import Affine

    profile = {"count": dataset.count, "height": tile_size, "width": tile_size, "dtype": dataset.dtypes[0]}
    place = {"crs": dataset.crs, "transform": dataset.transform @ Affine.translation(piece.column, piece.row)}
    options = {"nodata": dataset.nodata, "compress": "deflate"}
    with (
        replacing(target) as partial,
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(partial, "w", driver="GTiff", **profile, **place, **options) as tile,
    ):
        tile.write(piece.pixels)
        if piece.mask is not None:
            tile.write_mask(piece.mask)
