"""The ground of the map: tiles of any point at the training scale, and, of a mosaic, its own picture to choose from."""

from __future__ import annotations

import json
import math
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from waterscape.errors import UserError
from waterscape.pages.tile_landscape import tile_of
from waterscape.sheet import png
from waterscape.sources.satellite.choosing import SERVICES, Choices, source_at_scale, source_of
from waterscape.sources.tile_at import opened, warped

if TYPE_CHECKING:
    from waterscape.sources.satellite.source import TileSource

DEGREES = "EPSG:4326"
MOST_SIDE = 1600  # pixels of a view
MOST_READ = 2e8  # pixels of a mosaic without overviews that are read for one view


class Ground:
    """Where tiles come from. Entered, its services stay connected; safe to use from many threads, one at a time."""

    def __init__(self, word: str) -> None:
        """`word`: a GeoTIFF's path, or one of `SERVICES`. Raises `UserError` where it is none."""
        self.word = word
        self.mosaic = None if word in SERVICES else Path(word)
        self.bounds = _bounds(self.mosaic) if self.mosaic else None
        self._connected: dict[str, TileSource] = {}
        self._stack = ExitStack()
        self._lock = threading.Lock()

    def __enter__(self) -> Ground:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def connect(self, pixels: tuple[int, int], metres: float, latitude: float = 0.0) -> TileSource:
        """The source of tiles of so many pixels (width, height) of so many metres, connected. Raises `UserError`."""
        if self.mosaic:
            source = source_of(self.word, Choices(size=pixels, metres_per_pixel=metres))
        else:
            source = source_at_scale(self.word, pixels, metres, latitude, waited_for=True)
        name = json.dumps(source.plan, sort_keys=True)
        if name not in self._connected:
            self._connected[name] = self._stack.enter_context(source)
        return self._connected[name]

    def tile(self, latitude: float, longitude: float, pixels: tuple[int, int], metres: float) -> tuple[bytes, str]:
        """The tile around a point as JPEG, and whose it is. Raises `UserError` where there is none."""
        with self._lock:
            source = self.connect(pixels, metres, latitude)
            return tile_of(source, latitude, longitude, metres), f"{source.name} · licence {source.licence}"

    def view(self, box: tuple[float, float, float, float], width: int, height: int) -> bytes:
        """The mosaic within a box (west, south, east, north in degrees) as PNG, clear where it has nothing.

        Raises `UserError`: no mosaic, a box that is none, or too much to read for it.
        """
        from rasterio.errors import RasterioError
        from rasterio.transform import from_bounds

        west, south, east, north = box
        if not (all(map(math.isfinite, box)) and -540 <= west < east <= 540 and -90 <= south < north <= 90):
            raise UserError("west, south, east and north in degrees are wanted")
        if not self.mosaic or not (1 <= width <= MOST_SIDE and 1 <= height <= MOST_SIDE):
            raise UserError(f"a view is of a mosaic, and has 1 to {MOST_SIDE} pixels a side")
        with opened(self.mosaic) as dataset:
            _check_quick(dataset, box, self.bounds)
            try:
                colours, there = warped(dataset, DEGREES, from_bounds(*box, width, height), width, height, (west, east))
            except RasterioError as error:
                raise UserError(f"the mosaic cannot be drawn there ({' '.join(str(error).split())[:100]})") from error
        return png(Image.fromarray(np.dstack([*colours, 255 * there.astype(np.uint8)])))


def _bounds(mosaic: Path) -> tuple[float, float, float, float]:
    """West, south, east, north in degrees."""
    from rasterio.warp import transform_bounds

    with opened(mosaic) as dataset:
        west, south, east, north = transform_bounds(dataset.crs, DEGREES, *dataset.bounds)
    return west, max(south, -90.0), east if east >= west else east + 360, min(north, 90.0)


def _check_quick(dataset: Any, box: tuple[float, ...], bounds: tuple[float, ...] | None) -> None:
    """A mosaic that keeps no smaller copies of itself is read in full for a view of all of it."""
    if dataset.overviews(1) or bounds is None:
        return
    west, south, east, north = bounds
    turn = 360 * round((west + east - box[0] - box[2]) / 720)  # the box may be counted another way round the Earth
    wide = max(0.0, min(east, box[2] + turn) - max(west, box[0] + turn)) / max(east - west, 1e-9)
    high = max(0.0, min(north, box[3]) - max(south, box[1])) / max(north - south, 1e-9)
    if dataset.width * dataset.height * wide * high > MOST_READ:
        raise UserError("zoom in to see the mosaic: it has no overviews (gdaladdo FILE makes them)")
