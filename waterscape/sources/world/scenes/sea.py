"""Synthetic scenes of the sea: waves to the horizon; a beach with surf, a headland, or nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from waterscape.sources.world.noise import Lot, look_up
from waterscape.sources.world.scenes.ground import at
from waterscape.sources.world.scenes.light import TILE, Weather, mix, places, profile, smooth, texture

if TYPE_CHECKING:
    from waterscape.sources.world.noise import Field


def sea(lot: Lot, weather: Weather) -> Field:
    """Waves to the horizon, and what lies on either side of them."""
    x, y = places()
    horizon = lot.uniform("horizon", 0.25, 0.6)
    canvas = weather.sky(horizon)
    if lot.chance("headland", 0.45):
        canvas = _headland(lot, weather, canvas, horizon)
    below = np.maximum(y - horizon, 1e-3)
    away = 0.12 / below
    across = (x - 0.5) * away * 2
    waves, chop = texture(lot, "waves", 5, 4), texture(lot, "chop", 14, 3)
    swell = at(waves, 0.35 * across, away, 2.2) + 0.5 * at(chop, 0.6 * across, away, 0.7)
    swell = swell * np.float32(lot.uniform("swell", 0.3, 1.0))
    deep = np.array(((0.05, 0.20, 0.36), (0.06, 0.32, 0.42), (0.16, 0.24, 0.30))[lot.integer("water", 0, 2)])
    sky = mix(weather.horizon, weather.zenith, 0.35)
    gloss = np.clip(0.75 - 2.2 * below**0.8 + 0.35 * swell, 0.05, 0.95)  # flat to the eye, water mirrors
    shade = 0.35 + 0.65 * weather.light.mean()
    water = mix(deep * shade * (1 + 0.35 * swell)[..., None], sky, gloss)
    path = np.exp(-(((x - 0.5 - 0.4 * weather.sun[0]) / (0.06 + 0.35 * below)) ** 2))
    if weather.day == "low sun":
        water = mix(water, np.array((1.0, 0.82, 0.52)), 0.85 * path * smooth(swell, -0.3, 0.45))
    caps = smooth(swell, 0.75, 1.0) * lot.uniform("caps", 0, 0.8)
    water = mix(water, weather.light * 0.95, caps)
    if lot.chance("beach", 0.6):
        water = _beach(lot, weather, water, away, across, swell)
    water = weather.hazed(water, 0.6 * np.minimum(away, 3) / 3)
    made = np.where((y > horizon)[..., None], water, canvas)
    return np.asarray(made, np.float32)


def _headland(lot: Lot, weather: Weather, canvas: Field, horizon: float) -> Field:
    """Land that runs out into the sea from one side, its foot on the horizon."""
    x, y = places()
    end, tall = lot.uniform("end", 0.2, 0.75), lot.uniform("tall", 0.05, 0.2)
    line = profile(lot, "headland", 6, 5)
    top = tall * smooth(end - x[0], 0, 0.35) * (1 + 0.35 * line) + 0.01 * (x[0] < end)
    cover = smooth(top - (horizon - y), 0, 0.006)
    rough = look_up(texture(lot, "cliffs", 12, 4), TILE * 1.5 * y, TILE * x)
    colour = (
        np.array(((0.22, 0.27, 0.17), (0.40, 0.34, 0.27))[lot.integer("land", 0, 1)]) * (1 + 0.4 * rough)[..., None]
    )
    land = weather.hazed(colour * (0.4 * weather.light + 0.6 * weather.shadow + 0.1), lot.uniform("distance", 0.3, 1.6))
    return mix(canvas, land, cover)


def _beach(lot: Lot, weather: Weather, water: Field, away: Field, across: Field, swell: Field) -> Field:
    """Lines of surf, and sand before them, wet where the water was."""
    sand = np.array(((0.80, 0.70, 0.54), (0.62, 0.52, 0.40), (0.50, 0.46, 0.42))[lot.integer("sand", 0, 2)])
    fine = texture(lot, "sand", 20, 3)
    shore = lot.uniform("shore", 0.2, 0.42)
    line = away - shore - 0.12 * across * lot.uniform("slant", -1, 1) + 0.05 * at(fine, across, 0 * away + 1, 6.0)
    breakers = np.zeros_like(line)
    for number in range(lot.integer("breakers", 1, 3)):
        place = 0.03 + 0.16 * number + 0.05 * number**2
        wide = 0.012 + 0.02 * (number + 1)
        ragged = line - place + 0.05 * swell
        breakers = np.maximum(breakers, smooth(ragged, -wide, -0.3 * wide) * smooth(-ragged, -wide, wide))
    water = mix(water, weather.light * 0.96, 0.95 * breakers)
    wet = smooth(line, -0.09, -0.02)
    dry = sand * (weather.lit(np.array((0, 1, 0), np.float32)) * (1 + 0.10 * at(fine, across, away, 0.5))[..., None])
    ground = mix(dry, 0.55 * dry + 0.15 * weather.horizon, wet)
    return mix(ground, water, smooth(line, -0.012, 0.012))
