"""Probabilities → water, land or nodata, some rows at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from waterscape.sources.landsat.bands import LAND, UNKNOWN, WATER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from waterscape.rasters.unfinished import Unfinished

PIXELS = 1 << 20  # that are looked at together


@dataclass(frozen=True)
class Tally:
    """Pixels of each kind."""

    water: int
    land: int
    unknown: int


def write_mask(work: Unfinished, threshold: float, target: Path) -> Tally:
    """Write the mask of all probabilities, row by row, as bytes: water where they are above the threshold."""
    counts = np.zeros(256, np.int64)
    with target.open("wb") as file:
        for probability in strips(work):
            rows = np.where(probability > threshold, np.uint8(WATER), np.uint8(LAND))
            rows[np.isnan(probability)] = UNKNOWN
            file.write(rows.tobytes())
            counts += np.bincount(rows.ravel(), minlength=256)
    return Tally(*(int(counts[kind]) for kind in (WATER, LAND, UNKNOWN)))


def strips(work: Unfinished) -> Iterator[NDArray[np.float32]]:
    """All probabilities, in strips of whole rows."""
    height, width = work.shape
    step = max(1, PIXELS // width)
    for row in range(0, height, step):
        yield work.rows(row, min(step, height - row))
