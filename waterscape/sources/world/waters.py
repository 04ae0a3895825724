"""What every drawn water is: the height of the ground above it, and the shapes that lakes and shores share.

Heights are in units of the stage's spread, above its commonest level: at -1.5 the ground is nearly always under water,
at 1 a third of the time, from 5.5 on never. Where several waters meet, the lowest height wins (see `world`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from waterscape.sources.world.noise import fractal
from waterscape.sources.world.terrain import SIZE

if TYPE_CHECKING:
    from waterscape.sources.world.noise import Field, Lot

DEEP = np.float32(-4.0)  # a height that every stage reaches,
USUAL = np.float32(1.5)  # 20 % of them,
SELDOM = np.float32(2.0)  # 13 %,
DRY = np.float32(9.0)  # none
CENTRE = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)  # of pixels, along a row or a column


@dataclass(frozen=True)
class Water:
    """One drawn water: its kind, and the ground's height above it (SIZE, SIZE) in spreads of the stage."""

    kind: str
    height: Field


def shore(outside: Field, slope: float) -> Field:
    """Height from pixels outside a shoreline (negative inside), rising by `slope` a pixel and faster on land."""
    rise = np.maximum(outside * np.float32(slope), DEEP)
    height: Field = rise + np.maximum(outside, 0) * np.float32(0.6 * slope)
    return height


def basin(lot: Lot, row: float, column: float, radius: float, rough: float) -> Field:
    """Pixels outside the uneven rim of a basin, negative inside; `rough` is the rim's unevenness in radii."""
    angle, stretch = lot.uniform("angle", high=np.pi), lot.uniform("stretch", 1.0, 2.0)
    uneven = fractal(lot, "rim", int(np.clip(SIZE / radius, 3, 20)), 3, SIZE, gain=0.55)
    u, v = turned(CENTRE[:, None] - np.float32(row), CENTRE[None, :] - np.float32(column), angle, stretch)
    outside: Field = np.hypot(u, v) + np.float32(1.6 * rough * radius) * uneven - np.float32(radius)
    return outside


def turned(y: Field, x: Field, angle: float, stretch: float) -> tuple[Field, Field]:
    """Coordinates along and across an angle; what is drawn round in them comes out `stretch` times longer than wide."""
    cos, sin, root = np.float32(np.cos(angle)), np.float32(np.sin(angle)), np.float32(stretch**0.5)
    return np.asarray((x * cos + y * sin) / root, np.float32), np.asarray((y * cos - x * sin) * root, np.float32)


def towards(heading: float) -> tuple[Field, Field]:
    """Pixels ahead of the tile's centre along a heading (radians from the column axis), and to its right."""
    middle = np.float32(SIZE / 2)
    return turned(CENTRE[:, None] - middle, CENTRE[None, :] - middle, heading, 1.0)
