"""The ground of a synthetic place at walking distances: how high it lies, what covers it and in which colour.

One description of the ground, seen twice: from above by `above`, from within by `within`. Every
number is a pure function of the place's `Lot`. Heights are fractal noise with a knoll in the middle, where an observer
stands; the middle is dry and free of trees. Of its four sides the one with the most open view, or of mountains the
highest, is turned to the north, where the observer looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from waterscape.sources.world.views.colours import colours
from waterscape.sources.world.views.plot import (
    COVER_NAMES,
    COVERS,
    FIELD,
    FOREST,
    MEADOW,
    ROCK,
    SAND,
    SNOW,
    WATER,
    Plot,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.sources.world.noise import Field, Lot

CLEARING = 45.0  # metres around the middle without trees
KNOLL = (9.0, 90.0)  # metres: height of the rise in the middle, and its Gaussian radius
BANK = 0.8  # metres above the water up to which the shore is sand
LEEWAY = 4.0  # metres that the middle is higher than a lake's level, at least
OUTLOOK = (40.0, 500.0)  # metres from the middle between which a view is open or not


@dataclass(frozen=True)
class Setting:
    """A kind of landscape; pairs are ranges of which each place draws its own."""

    percent: int
    """How often it comes."""
    relief: tuple[float, float]
    """Metres between valleys and hills, about."""
    forest: tuple[float, float]
    """Share of the ground under trees, where trees can stand."""
    fields: tuple[float, float]
    """Share under crops, where it is flat and open."""
    water: Literal["lake", "river", "none"] = "none"
    alpine: bool = False
    """Ridges with rock and snow in place of rounded hills."""


SETTINGS = {
    "lake": Setting(26, (12, 45), (0.25, 0.75), (0.0, 0.25), "lake"),
    "river": Setting(20, (10, 40), (0.15, 0.65), (0.0, 0.5), "river"),
    "forest": Setting(18, (15, 60), (0.65, 0.9), (0.0, 0.1)),
    "fields": Setting(20, (8, 35), (0.05, 0.3), (0.5, 0.9)),
    "mountains": Setting(16, (120, 260), (0.2, 0.6), (0.0, 0.0), "lake", alpine=True),
}


@dataclass(frozen=True)
class Ground:
    """A square of ground, north up. Arrays are (S, S), or (S, S, 3) of colour in 0..1."""

    setting: str
    metres_per_pixel: float
    height: Field
    """Metres above the water; negative: the water's bed."""
    canopy: Field
    """Metres that trees rise above the ground."""
    cover: NDArray[np.uint8]
    """One of `COVERS`."""
    colour: Field
    """Under white light from everywhere."""

    @property
    def surface(self) -> Field:
        """Metres above the water of what one sees: ground, treetops, water."""
        return np.maximum(self.height, 0) + self.canopy

    def shares(self) -> dict[str, float]:
        """How much of the ground each cover takes."""
        counted = np.bincount(self.cover.ravel(), minlength=len(COVERS)) / self.cover.size
        return {name: round(float(share), 4) for name, share in zip(COVER_NAMES, counted, strict=True)}


def setting_of(lot: Lot) -> str:
    """Which setting a place has."""
    bounds = np.cumsum([setting.percent for setting in SETTINGS.values()])
    at = np.searchsorted(bounds, lot.uniform("setting", 0, bounds[-1]), side="right")
    return list(SETTINGS)[int(at)]


def ground(lot: Lot, pixels: int, metres_per_pixel: float) -> Ground:
    """Make the ground around a place: `pixels` a side."""
    name = setting_of(lot)
    setting, plot = SETTINGS[name], Plot(lot, pixels, metres_per_pixel)
    height = _height(plot, setting)
    slope = np.hypot(*np.gradient(height, np.float32(metres_per_pixel)))
    cover = _cover(plot, setting, height, slope)
    trees = plot.ripples("crowns", 8.0) * np.float32(0.35) + plot.ripples("stands", 60.0) * np.float32(0.3) + 1
    tall = np.float32(lot.uniform("tree height", 9, 17))
    canopy = np.where(cover == FOREST, np.maximum(tall * trees, 2), 0).astype(np.float32)
    canopy += _lone_trees(plot, cover)
    colour = colours(plot, height, cover, canopy)
    turns = _open_side(plot, height + canopy, highest=setting.alpine)
    return Ground(
        setting=name,
        metres_per_pixel=metres_per_pixel,
        height=np.rot90(height, turns).copy(),
        canopy=np.rot90(canopy, turns).copy(),
        cover=np.rot90(cover, turns).copy(),
        colour=np.rot90(colour, turns).copy(),
    )


def _open_side(plot: Plot, surface: Field, *, highest: bool) -> int:
    """How many quarter turns bring the side with the most open view to the north, or the one that rises highest."""
    nearest, farthest = OUTLOOK
    seen = np.where(highest, -surface, surface / np.maximum(plot.away, 1))
    nearest = farthest / 2 if highest else nearest
    north = (plot.north > np.abs(plot.east)) & (plot.away > nearest) & (plot.away < farthest)
    return int(np.argmin([np.rot90(seen, turns)[north].mean() for turns in range(4)]))


def _height(plot: Plot, setting: Setting) -> Field:
    relief = np.float32(plot.drawn("relief", setting.relief))
    if setting.alpine:
        ridges = 1 - np.abs(plot.waves("ridges", 900, 6, 0.45)) * 1.6
        height = relief * (ridges + np.float32(0.4) * plot.waves("hills", 1200, 2)).astype(np.float32)
    else:
        height = relief * np.float32(0.8) * plot.waves("hills", 650, 6, 0.42)
    rise, radius = KNOLL
    height += np.float32(rise) * np.exp(-((plot.away / np.float32(radius)) ** 2) / 2)
    if setting.water == "lake":
        level = _quantile(height, plot.drawn("lake", (0.1, 0.45)))
        level = min(level, float(height[plot.pixels // 2, plot.pixels // 2]) - LEEWAY)
        return np.asarray(height - np.float32(level), np.float32)
    height -= height.min() - np.float32(1.5)
    return _carved(plot, height) if setting.water == "river" else height


def _carved(plot: Plot, height: Field) -> Field:
    """The ground with a meandering river's valley; its water lies at 0 and passes by the middle."""
    along, across = plot.turned("river")
    half = plot.drawn("river width", (9, 32))
    swing, wave = plot.drawn("meander", (30, 90)), 2 * np.pi / plot.drawn("meander length", (350, 800))
    phase = plot.drawn("meander phase", (0, 2 * np.pi))
    apart = plot.drawn("river distance", (half + 35, half + 160)) * (1 if plot.lot.chance("river side", 0.5) else -1)
    bend = np.sin(wave * along + phase) + 0.35 * np.sin(2.7 * wave * along + 2 * phase)
    bend -= np.sin(phase) + 0.35 * np.sin(2 * phase)
    away = np.abs(across - apart - swing * bend)
    edge = np.clip((away - half) / plot.drawn("valley", (120, 300)), 0, 1)
    rising = edge * edge * (3 - 2 * edge)
    bed = -3 * (1 - np.minimum(away / half, 1) ** 2)
    banks = np.where(away < half, bed, 0.03 * (away - half))
    return np.asarray(np.where(away < half, bed, banks * (1 - rising) + height * rising + 0.02), np.float32)


def _cover(plot: Plot, setting: Setting, height: Field, slope: Field) -> NDArray[np.uint8]:
    cover = np.full(height.shape, MEADOW, np.uint8)
    flat = (slope < 0.15) & (height > 2)
    cover[_share(plot.waves("farmland", 700, 3), plot.drawn("fields", setting.fields)) & flat] = FIELD
    woods = _share(plot.waves("woods", 320, 5, 0.45), plot.drawn("forest", setting.forest))
    edge = np.float32(CLEARING) + 12 * plot.ripples("clearing", 25)
    woods &= (height > 1.2) & (slope < 0.9) & (plot.away > edge)
    if setting.alpine:
        rough = 18 * plot.waves("tree line", 150, 3)
        high = _quantile(height, 0.55) + rough
        woods &= height < high
        cover[woods] = FOREST
        cover[(slope > 0.75) | (height > high + 25)] = ROCK
        cover[(height > _quantile(height, plot.drawn("snow", (0.7, 1.0))) + rough) & (slope < 1.1)] = SNOW
    else:
        cover[woods] = FOREST
    if setting.water != "none":
        cover[height < BANK + 0.5 * plot.ripples("shore", 30)] = SAND
        cover[height < 0] = WATER
    return cover


def _quantile(field: Field, share: float) -> float:
    """Of every fourth pixel each way: quick, and near enough."""
    return float(np.quantile(field[::4, ::4], share))


def _share(field: Field, share: float) -> NDArray[np.bool_]:
    """The given share of the ground, where a field is highest."""
    return np.asarray(field > _quantile(field, 1 - share))


def _lone_trees(plot: Plot, cover: NDArray[np.uint8]) -> Field:
    """Heights of trees and bushes that stand in meadows."""
    crowns = plot.ripples("lone trees", 14.0) - np.float32(plot.drawn("openness", (0.62, 0.95)))
    there = (cover == MEADOW) & (plot.away > CLEARING)
    return np.where(there, np.clip(40 * crowns, 0, 9), 0).astype(np.float32)
