"""Square windows over a raster of any size: every pixel belongs to just one of them, well inside of it.

Neighbours overlap, so that around each pixel that a window owns lies all that a network sees of it, as far as the
raster reaches. What another window owns is seen but not labelled: no pixel is lost, and none is trained on twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

from waterscape.errors import UserError

REACH = 5
"""Pixels around one that its class depends on: three of the network, two of the line enhancement."""


@dataclass(frozen=True)
class Cut:
    """A window, and which of its pixels it owns."""

    row: int
    """Of its upper left pixel."""
    column: int
    rows: tuple[int, int]
    """First row that it owns and the one after the last, counted within the window."""
    columns: tuple[int, int]


def cuts(height: int, width: int, side: int, overlap: int = 2 * REACH) -> list[Cut]:
    """As few windows of `side` × `side` as cover a raster, row by row, evenly spaced.

    They overlap by `overlap` pixels or more; of an overlap each window owns its half. A raster that is smaller than a
    window gets one, which reaches beyond it.

    Raises:
        UserError: windows no larger than what they share.
    """
    if overlap < 0 or side <= overlap:
        raise UserError(f"--tile-size {side}, --overlap {overlap}: tiles must be larger than what they share")
    down, right = _along(height, side, overlap), _along(width, side, overlap)
    return [Cut(row, column, rows, columns) for (row, rows), (column, columns) in product(down, right)]


def _along(length: int, side: int, overlap: int) -> list[tuple[int, tuple[int, int]]]:
    """Starts along an axis, and what each owns from there."""
    count = max(1, -(-(length - overlap) // (side - overlap)))
    starts = [(length - side) * number // max(count - 1, 1) for number in range(count)] if count > 1 else [0]
    borders = [0, *((first + side + second) // 2 for first, second in pairwise(starts)), length]
    return [
        (start, (own - start, after - start)) for start, (own, after) in zip(starts, pairwise(borders), strict=True)
    ]
