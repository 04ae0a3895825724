"""Pictures as the page shows them: decoded within bounds, made small, without EXIF, kept in memory only.

No file is ever sent as it is: whatever is no picture cannot be read through the page. And nothing is left on the disk
of a photo that its owner wants to be forgotten.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from waterscape.sources.ledger.overview import tiles_of
from waterscape.sources.photo_file import PhotoError, content_of, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from waterscape.sources.ledger import Ledger

SIDES = (320, 640, 1280, 2560)
"""Pixels of the longer side, at most."""
QUALITY = 85
CACHE_BYTES = 1 << 28
OUTSIDE = "lies outside the ledger's folder; name its folder by --photos"


class Pictures:
    """The photos and tiles of a ledger, as small JPEG. Safe to use from many threads; how many bounds the memory."""

    def __init__(self, ledger: Ledger, folders: Sequence[Path] = (), cache_bytes: int = CACHE_BYTES) -> None:
        """`folders`: where files may lie besides the ledger's own folder."""
        self._ledger = ledger
        self._folders = [folder.resolve() for folder in (ledger.path.absolute().parent, *folders)]
        self._cache, self._left = OrderedDict[tuple[object, ...], bytes](), cache_bytes
        self._lock = threading.Lock()

    def photo(self, key: str, side: int) -> bytes:
        """A photo. Raises `PhotoError`, and `LookupError` where there is none."""
        photo = self._ledger.photo(key)
        if photo is None or not photo.file:
            raise LookupError(f"there is no photo {key}")
        return self._small(self._checked(photo.file), side, lambda content: decode(content, small=side).image)

    def tile(self, key: str, source: str, side: int) -> bytes:
        """The satellite tile of a photo's place. Raises as `photo`."""
        for tile in tiles_of(self._ledger, key):
            if tile.source == source and tile.file:
                return self._small(self._checked(tile.file), side, lambda content: _tile(content, side))
        raise LookupError(f"there is no tile of {source} for {key}")

    def _checked(self, file: str) -> Path:
        """Where a file lies; a row may say anything, so links and `..` are followed before it is judged."""
        path = self._ledger.path_of(file)
        resolved = path.resolve()
        if not any(resolved.is_relative_to(folder) for folder in self._folders):
            raise PhotoError("not shown", OUTSIDE)
        return resolved

    def _small(self, path: Path, side: int, decoded: Callable[[bytes], Image.Image]) -> bytes:
        try:
            status = path.stat()
        except OSError as error:
            raise LookupError(f"the file is not there ({error.strerror})") from error
        name = (path, side, status.st_mtime_ns, status.st_size)
        with self._lock:
            if name in self._cache:
                self._cache.move_to_end(name)
                return self._cache[name]
        made = small_jpeg(decoded(content_of(path)), side)
        with self._lock:
            if name not in self._cache:
                self._cache[name], self._left = made, self._left - len(made)
            while self._left < 0:
                self._left += len(self._cache.popitem(last=False)[1])
        return made


def small_jpeg(image: Image.Image, side: int) -> bytes:
    """A picture as JPEG of at most so many pixels a side, with nothing of its EXIF."""
    small = image.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    stream = io.BytesIO()
    small.info.clear()
    small.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def _tile(content: bytes, side: int) -> Image.Image:
    """A tile: a picture, or a GeoTIFF of any number type, whose first three bands are stretched."""
    try:
        return decode(content, small=side).image
    except PhotoError:
        if content[:2] not in (b"II", b"MM"):
            raise
    import rasterio

    try:
        with rasterio.MemoryFile(content) as memory, memory.open(driver="GTiff") as raster:
            scale = min(1.0, side / max(raster.shape))
            shape = [max(1, round(size * scale)) for size in raster.shape]
            bands = [1, 2, 3] if raster.count >= 3 else [1]
            read = raster.read(bands, out_shape=(len(bands), *shape), masked=True)
    except rasterio.errors.RasterioError as error:
        raise PhotoError("damaged or cut short", str(error)[:100]) from error
    values = read.astype(np.float32).filled(np.nan)
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, (2, 98)) if known.size else (0.0, 1.0)
    steps = np.nan_to_num(np.clip((values - low) / max(high - low, 1e-6), 0, 1)) * 255
    return Image.fromarray(np.moveaxis(np.broadcast_to(steps, (3, *steps.shape[1:])), 0, 2).astype(np.uint8))
