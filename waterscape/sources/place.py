"""Where a picture lies on the Earth, and how long its pixels are there."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

CODE = re.compile(r"[A-Za-z]+:\d+")


@dataclass(frozen=True)
class Place:
    """Where a tile lies: its CRS and affine transform (a b c d e f: pixel → CRS), and what follows from them."""

    crs: str
    transform: tuple[float, ...]
    longitude: float
    """Degrees east of the centre, -180 to 180."""
    latitude: float
    metres_per_pixel: tuple[float, float]
    """On the ground at the centre, along a row and along a column. Unequal where the projection stretches."""


def locate(crs: str, affine: Any, width: int, height: int) -> Place:
    """The place of a picture of `width` × `height` pixels, from its CRS and affine transform; rotated ones too.

    Raises:
        ValueError, RuntimeError: it cannot be placed on the Earth; the message says why.
    """
    from pyproj import Geod

    if affine.is_degenerate:
        raise ValueError("its transform maps all pixels onto a line")
    column, row = width / 2, height / 2
    # the centre, then half a pixel to its left, right, top and bottom
    pixels = [(column, row), (column - 0.5, row), (column + 0.5, row), (column, row - 0.5), (column, row + 0.5)]
    longitudes, latitudes = _to_degrees(crs)(
        [affine.a * x + affine.b * y + affine.c for x, y in pixels],
        [affine.d * x + affine.e * y + affine.f for x, y in pixels],
    )
    if not all(math.isfinite(value) for value in (*longitudes, *latitudes)) or max(map(abs, latitudes)) > 90:
        raise ValueError("its centre lies outside of the CRS")
    ground = Geod(ellps="WGS84").inv(longitudes[1::2], latitudes[1::2], longitudes[2::2], latitudes[2::2])[2]
    longitude = (longitudes[0] + 180) % 360 - 180
    return Place(crs, tuple(affine)[:6], longitude, latitudes[0], (ground[0], ground[1]))


def is_code(crs: str) -> bool:
    """Whether a CRS is one of the standard ones, by its code: EPSG:32637."""
    return CODE.fullmatch(crs) is not None


@cache
def in_service_words(crs: str) -> str:
    """A CRS as Earth Engine takes it: its standard code, else well-known text of the OGC's first version."""
    from pyproj import CRS

    return crs if is_code(crs) else str(CRS(crs).to_wkt("WKT1_GDAL"))


@cache
def _to_degrees(crs: str) -> Callable[..., tuple[tuple[float, ...], tuple[float, ...]]]:
    from pyproj import Transformer

    transform: Callable[..., tuple[tuple[float, ...], tuple[float, ...]]]
    transform = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform
    return transform
