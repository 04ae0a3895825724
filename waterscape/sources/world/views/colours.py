"""Which colour a synthetic ground has: patches of meadow, stands of trees, parcels of crops, depths of water."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from waterscape.sources.world.views.plot import FIELD, FOREST, MEADOW, ROCK, SAND, SNOW, WATER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.sources.world.noise import Field
    from waterscape.sources.world.views.plot import Plot

COLOURS = {  # red, green, blue in 0..1, at two ends between which noise varies
    "shallow and deep": ((0.20, 0.35, 0.36), (0.05, 0.13, 0.22)),
    "sand": ((0.78, 0.71, 0.53), (0.68, 0.60, 0.44)),
    "meadow": ((0.38, 0.50, 0.19), (0.57, 0.57, 0.29)),
    "dry meadow": ((0.55, 0.52, 0.27), (0.70, 0.62, 0.37)),
    "needles and leaves": ((0.10, 0.21, 0.12), (0.21, 0.35, 0.12)),
    "autumn": ((0.13, 0.23, 0.11), (0.64, 0.43, 0.12)),
    "rock": ((0.40, 0.38, 0.36), (0.58, 0.55, 0.51)),
    "snow": ((0.92, 0.94, 0.97), (0.98, 0.98, 0.99)),
}
CROPS = ((0.80, 0.69, 0.37), (0.42, 0.31, 0.23), (0.36, 0.56, 0.20), (0.84, 0.79, 0.24), (0.61, 0.58, 0.37))


def colours(plot: Plot, height: Field, cover: NDArray[np.uint8], canopy: Field) -> Field:
    """Colours (S S 3) of a ground of heights (metres above the water), covers and trees, under even light."""
    lot = plot.lot
    meadow = "dry meadow" if lot.chance("dry", 0.25) else "meadow"
    woods = "autumn" if lot.chance("autumn", 0.15) else "needles and leaves"
    large = 0.5 + 0.9 * plot.waves("patches", 160, 4, 0.6)
    small = 0.5 + 0.9 * plot.ripples("stands of colour", 45) + 0.35 * plot.ripples("crowns", 8.0)
    depth = np.clip(-height / 5, 0, 1)
    mixed = {
        WATER: ("shallow and deep", depth),
        SAND: ("sand", large),
        MEADOW: (meadow, large),
        FOREST: (woods, small),
        ROCK: ("rock", large),
        SNOW: ("snow", large),
    }
    colour = _crops(plot) if (cover == FIELD).any() else np.empty((*height.shape, 3), np.float32)
    for number, (ends, at) in mixed.items():
        there = cover == number
        colour[there] = _between(ends, at[there])
    lone = (canopy > 1) & (cover == MEADOW)
    colour[lone] = _between(woods, small[lone])
    grain = 1 + np.where(cover == WATER, np.float32(0.02), np.float32(0.09)) * lot.grain("grain", *height.shape)
    return np.clip(colour * grain[..., None], 0, 1)


def _between(name: str, at: Field) -> Field:
    """A colour between the two ends of `COLOURS`."""
    low, high = (np.array(end, np.float32) for end in COLOURS[name])
    return np.asarray(low + (high - low) * np.clip(at, 0, 1)[..., None], np.float32)


def _crops(plot: Plot) -> Field:
    """Parcels in rows, each of one crop, with furrows along it."""
    along, across = plot.turned("parcels")
    length, width = plot.drawn("parcel length", (150, 320)), plot.drawn("parcel width", (70, 150))
    row = np.floor((across + 8 * plot.ripples("hedges", 200)) / width).astype(int)
    column = np.floor(along / length + 0.37 * row).astype(int)
    pick = (row * 7 + column * 13) % 64
    crop = plot.lot.uniforms("crops", 64, low=0, high=len(CROPS)).astype(int)
    shade = 1 + 0.12 * (plot.lot.uniforms("shades", 64) - 0.5)
    furrows = 1 + 0.05 * np.sin(2 * np.pi * across / 9)
    return np.asarray(np.array(CROPS, np.float32)[crop[pick]] * (shade[pick] * furrows)[..., None], np.float32)
