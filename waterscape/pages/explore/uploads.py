"""What a person hands to the page: bounded, decoded by few readers, and refused in one line where it is no picture."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from waterscape.errors import UserError
from waterscape.pages.classify import stored_water
from waterscape.sources import occurrence
from waterscape.sources.photo_file import Limits, Photo, PhotoError, decode

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_BYTES = 1 << 25
"""Of a request's body: 32 MiB, more than a telephone's photo has."""
LIMITS = Limits(most_megapixels=50.0)
MOST_WATER_PIXELS = 1 << 24
ENDINGS = {b"\x89PNG": ".png", b"II*\0": ".tif", b"MM\0*": ".tif", b"II+\0": ".tif", b"MM\0+": ".tif"}


def photo(content: bytes) -> Photo:
    """An uploaded photo. Raises `UserError` where it is none."""
    if not content:
        raise UserError("an empty file")
    try:
        return decode(content, LIMITS)
    except PhotoError as error:
        raise UserError(str(error)) from error


def water(content: bytes, side: int) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """An uploaded tile of water occurrence as percent (side × side), and what was done for it.

    It is written into a folder of its own meanwhile, since its readers, which are those of the packers, want a path.
    Raises `UserError` where it is no such tile.
    """
    ending = ENDINGS.get(content[:4])
    if ending is None:
        raise UserError("this is neither PNG nor GeoTIFF: give water occurrence, 8-bit grey PNG in percent or GeoTIFF")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"tile{ending}"
        path.write_bytes(content)
        try:
            if ending == ".tif":
                _check_size(path)
            return stored_water(occurrence.read(path), side)
        except UserError as error:
            raise UserError(str(error).replace(str(path), "the file")) from error


def drawn(content: bytes, side: int) -> NDArray[np.uint8]:
    """Percent (side × side) as the page's canvas sends it, a byte a pixel, row by row. Raises `UserError`."""
    if len(content) != side * side:
        raise UserError(f"{len(content)} bytes; a drawing has {side} × {side}, one for each pixel")
    percent = np.frombuffer(content, np.uint8).reshape(side, side)
    if percent.max() > 100:
        raise UserError(f"a pixel of the drawing holds {percent.max()}; the most is 100 percent")
    return percent


def _check_size(path: Path) -> None:
    """From the header: a small file may hold any number of equal pixels."""
    with occurrence.open_geotiff(path) as dataset:
        if dataset.width * dataset.height > MOST_WATER_PIXELS:
            raise UserError(f"{dataset.width} × {dataset.height} pixels: cut a square out of it, 4096 a side at most")
