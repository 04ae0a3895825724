"""A synthetic place from above: what a satellite would show of its ground, north up, lit from the south-east."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from waterscape.sources.world.views.plot import WATER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.sources.world.noise import Field
    from waterscape.sources.world.views.ground import Ground

SUN = (150.0, 42.0)  # degrees: azimuth from north by east, and height
AIR = (0.05, 0.06, 0.08)  # light that the air adds


def lit(surface: Field, metres_per_pixel: float, azimuth: float, elevation: float) -> Field:
    """Light that falls on each pixel of a surface in metres, 1 on flat ground, never below 0 (Lambert's law)."""
    down, right = np.gradient(surface, np.float32(metres_per_pixel))
    east = math.cos(math.radians(elevation)) * math.sin(math.radians(azimuth))
    north = math.cos(math.radians(elevation)) * math.cos(math.radians(azimuth))
    up = math.sin(math.radians(elevation))
    cosine = (up - east * right + north * down) / np.sqrt(1 + right**2 + down**2)
    return np.asarray(np.maximum(cosine / up, 0), np.float32)


def from_above(ground: Ground, pixels: int) -> NDArray[np.uint8]:
    """The middle of a ground as a satellite shows it: `pixels` a side, H W 3."""
    start = (len(ground.height) - pixels) // 2
    part = np.s_[start : start + pixels, start : start + pixels]
    light = 0.45 + 0.55 * np.minimum(lit(ground.surface, ground.metres_per_pixel, *SUN)[part], 1.6)
    light[ground.cover[part] == WATER] = 1
    seen = ground.colour[part] * light[..., None] * np.float32(0.92) + np.array(AIR, np.float32)
    return np.asarray(np.rint(np.clip(seen, 0, 1) * 255), np.uint8)
