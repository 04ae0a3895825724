"""Which pixels of a window lie in its own block of ground (see `data.split.place`).

Scenes that are shifted against each other, or lie in neighbouring UTM zones, show the same ground in windows whose
middles fall into different blocks. Where only pixels of a window's own block are labelled, no ground is in two splits.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from rasterio import Affine

    Points = tuple[NDArray[np.float64], NDArray[np.float64]]


def in_block_of(
    place: tuple[float, float], crs: str, transform: Affine, shape: tuple[int, int], block_km: float
) -> NDArray[np.bool_]:
    """Which pixels' centres (H W) lie in the block that holds a place.

    Args:
        place: longitude and latitude in degrees.
        crs: of the pixels.
        transform: pixel → coordinates of the CRS, north up.
        shape: height and width in pixels.
        block_km: side of a block in kilometres.
    """
    to_blocks = _to_equal_area(crs)

    def inside(rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.bool_]:
        there = to_blocks(transform.a * (columns + 0.5) + transform.c, transform.e * (rows + 0.5) + transform.f)
        return np.asarray((_block(there[0], block_km) == own[0]) & (_block(there[1], block_km) == own[1]))

    longitude, latitude = _to_equal_area("EPSG:4326")(np.array([place[0]]), np.array([place[1]]))
    own = _block(longitude, block_km), _block(latitude, block_km)
    edge = np.ones(shape, bool)
    edge[1:-1, 1:-1] = False
    if inside(*np.nonzero(edge)).all():  # then all within is
        return np.ones(shape, bool)
    rows, columns = np.indices(shape)
    return inside(rows, columns)


def _block(metres: NDArray[np.float64], block_km: float) -> NDArray[np.float64]:
    return np.asarray(np.floor(metres / 1000 / block_km))


@cache
def _to_equal_area(crs: str) -> Callable[..., Points]:
    from pyproj import Transformer

    transform: Callable[..., Points]
    transform = Transformer.from_crs(crs, "EPSG:6933", always_xy=True).transform
    return transform
