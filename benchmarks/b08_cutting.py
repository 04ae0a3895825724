"""B8: cutting a large export into tiles, against a window loop by rasterio.

Ours: `sources.cutting.pieces`, from opening the file to the last tile. Peer: `rasterio`, one handle, `dataset.read` of
one 256×256 window after the other, with GDAL's `NUM_THREADS=ALL_CPUS`. Both deliver the pixels of every tile as an
array of its own, in the same order. Limit: one `read` of the whole raster by all of GDAL's threads. Ours may exceed it,
since GDAL decodes by several threads but copies by one. Peer and limit have GDAL's block cache as it is or as small as
ours, whichever is faster for each.

Told besides, not judged: the most that can be won where GDAL decodes, `most-…`: the peer's time over that of as many
threads as ours has, each with a handle of its own, which decode all rows and do nothing else. In `most-windows` the
peer's windows are the file's blocks, each decoded once, which is nearly all it does: only by decoding otherwise than
GDAL could ours go beyond. In `most-windows-of-strips` a window touches 32 strips of the whole width. A strip is decoded
once if GDAL's cache holds it until the row of windows is read, else again for a later window, and each window is copied
out of the strips: what the peer does beyond decoding once can be won too.

The raster is synthetic occurrence, 6144×6144 bytes, of two kinds: blocks of 256×256 with LZW, as Earth Engine exports,
and strips of eight rows with deflate. It lies in the page cache. Taken in turn in one process, GDAL's cache emptied by
closing the file; the median of the rounds' ratios counts.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from benchmarks.figure import Figure, note
from benchmarks.surroundings import scratch
from waterscape.sources.cutting import KEPT, THREADS, cache_of, pieces
from waterscape.sources.occurrence import open_geotiff

SIDE, TILE = 6144, 256
ROUNDS = 9
BRIEF = {"SIDE": 1024, "ROUNDS": 1}
ALL_CPUS = {"NUM_THREADS": "ALL_CPUS"}
KINDS: dict[str, dict[str, Any]] = {
    "windows": {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "lzw"},
    "windows-of-strips": {"tiled": False, "blockysize": 8, "compress": "deflate"},
}


def figures() -> Iterator[Figure]:
    """Ratio to the peer for both kinds of file, and the share of the limit."""
    with scratch() as directory:
        for name, kind in KINDS.items():
            path = directory / f"{name}.tif"
            write_raster(path, kind)
            if cut(path) != loop(path):
                raise AssertionError("ours and the peer's tiles differ")
            turns = [cut, *(at_its_best(name, turn, path) for turn in (loop, read_whole, decode))]
            taken = np.array([[seconds(turn, path) for turn in turns] for _ in range(ROUNDS)]).T
            names = ("ours", "window loop", "whole read", "decoding alone")
            speeds = zip(names, (SIDE // TILE) ** 2 / np.median(taken, 1), strict=True)
            note(f"B8 {name}, tiles/s: " + ", ".join(f"{who} {speed:,.0f}" for who, speed in speeds))
            yield Figure.over("B8", name, taken[1] / taken[0], ">=", 2)
            yield Figure.over("B8", f"limit-{name}", taken[2] / taken[0], ">=", 0.6)
            yield Figure.over("B8", f"most-{name}", taken[1] / taken[3])


def write_raster(path: Path, kind: dict[str, Any]) -> None:
    """Synthetic occurrence that compresses like real: dry land, full waters, noisy shores."""
    random = np.random.default_rng(0)
    field = ndimage.zoom(random.normal(size=(SIDE // 32, SIDE // 32)), 32, order=1, grid_mode=True, mode="grid-wrap")
    shore = field * 90 + random.normal(size=field.shape, scale=4)
    pixels = np.where(field < 0, 0, np.clip(shore, 0, 100)).astype(np.uint8)
    profile = {"driver": "GTiff", "count": 1, "height": SIDE, "width": SIDE, "dtype": "uint8", "crs": "EPSG:32645"}
    place = {"transform": rasterio.Affine(30, 0, 3e5, 0, -30, 7e6)}
    with rasterio.open(path, "w", **profile, **place, **kind) as dataset:
        dataset.write(pixels, 1)
    note(f"B8 {path.stem}: {path.stat().st_size / SIDE**2:.2f} bytes a pixel")


def at_its_best(row: str, turn: Callable[[Path], int], path: Path) -> Callable[[Path], int]:
    """With GDAL's usual cache of blocks or with one as small as ours, by the best of five turns."""

    def with_small_cache(path: Path) -> int:
        with cache_of(KEPT):
            return turn(path)

    both = {"usual": turn, "small": with_small_cache}
    taken = {name: min(seconds(one, path) for _ in range(5)) for name, one in both.items()}
    note(
        f"B8 {row}, {turn.__name__}: " + ", ".join(f"{name} cache {took * 1e3:.0f} ms" for name, took in taken.items())
    )
    return both[min(taken, key=taken.__getitem__)]


def seconds(turn: Callable[[Path], int], path: Path) -> float:
    """That a turn takes."""
    began = time.perf_counter()
    turn(path)
    return time.perf_counter() - began


def cut(path: Path) -> int:
    """Ours."""
    with open_geotiff(path) as dataset:
        return _looked_at(piece.pixels[0] for piece in pieces(dataset, TILE))


def loop(path: Path) -> int:
    """The peer."""
    with rasterio.open(path, **ALL_CPUS) as dataset:
        corners = ((row, column) for row in range(0, SIDE, TILE) for column in range(0, SIDE, TILE))
        return _looked_at(dataset.read(1, window=Window(column, row, TILE, TILE)) for row, column in corners)


def read_whole(path: Path) -> int:
    """The limit."""
    with rasterio.open(path, **ALL_CPUS) as dataset:
        return int(dataset.read(1)[0, 0])


def decode(path: Path) -> int:
    """Every block once, by as many threads as ours, each into memory of its own that holds a row of tiles."""

    def share(handle: Any, first: int) -> int:
        rows = np.empty((TILE, SIDE), np.uint8)
        for row in range(first * TILE, SIDE, THREADS * TILE):
            handle.read(1, window=Window(0, row, SIDE, TILE), out=rows)
        return int(rows[0, 0])

    with ExitStack() as opened, ThreadPoolExecutor(THREADS) as pool:
        handles = [opened.enter_context(rasterio.open(path)) for _ in range(THREADS)]
        return sum(pool.map(share, handles, range(THREADS)))


def _looked_at(tiles: Iterator[NDArray[np.uint8]]) -> int:
    """A crc32 over one row of each tile: that all have been made, in the same order."""
    crc = 0
    for tile in tiles:
        crc = zlib.crc32(tile[TILE // 2].tobytes(), crc)
    return crc
