"""Synthetic scenes of open ground, seen from a point above it: mountains, deserts and glaciers.

Ground is a height over the plane; what each pixel sees of it is found along all columns at once, from near to far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from waterscape.sources.world.noise import Lot, look_up
from waterscape.sources.world.scenes.light import (
    FINE,
    TILE,
    Weather,
    mix,
    places,
    ridged,
    smooth,
    texture,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.sources.world.noise import Field

Height: TypeAlias = "Callable[[Field, Field], Field]"  # across and away → height

STEPS = 200  # along a line of sight, from near to far
NEAR, FAR = 0.35, 40.0
STILL = 0.02  # distance over which slopes are taken, as a share of the depth


@dataclass(frozen=True)
class Seen:
    """Which pixels see ground (H W), and what those see: its place (across, away), height (N each), normal (N 3)."""

    there: NDArray[np.bool_]
    across: Field
    away: Field
    height: Field
    normal: Field


def look(height: Height, eye: float, horizon: float, width: float = 1.0) -> Seen:
    """See ground from `eye` above zero, the horizon at y = `horizon`; at distance 1 the canvas is `width` wide."""
    x, _ = places()
    away = np.geomspace(NEAR, FAR, STEPS, dtype=np.float32)[:, None]
    across = (x[:1] - 0.5) * width * away
    rows = horizon + (eye - height(across, np.broadcast_to(away, across.shape))) / (away * width)
    tops = np.minimum.accumulate(rows, axis=0) * FINE - 0.5  # of what stands up to here, in pixels
    first = np.clip(np.ceil(tops), 0, FINE).astype(np.intp)  # rows from here on are hidden by it
    counts = np.zeros((FINE + 1, FINE), np.intp)
    columns = np.broadcast_to(np.arange(FINE), first.shape)
    np.add.at(counts, (first, columns), 1)
    step = STEPS - np.cumsum(counts, axis=0)[:FINE]  # the first that reaches up to the pixel
    there = step < STEPS
    step = np.minimum(step, STEPS - 1)
    low, high = (np.take_along_axis(tops, np.maximum(at, 0), axis=0) for at in (step - 1, step))
    pixel = np.arange(FINE, dtype=np.float32)[:, None]
    part = np.where(step > 0, np.clip((low - pixel) / np.maximum(low - high, 1e-6), 0, 1), 1)
    found = (away[np.maximum(step - 1, 0), 0] * (1 - part) + away[step, 0] * part)[there].astype(np.float32)
    right = (x[there] - 0.5) * np.float32(width) * found
    here, still = height(right, found), STILL * found
    slope_x = (height(right + still, found) - here) / still
    slope_z = (height(right, found + still) - here) / still
    normal = np.stack([-slope_x, np.ones_like(here), -slope_z], axis=1)
    return Seen(there, right, found, here, normal / np.linalg.norm(normal, axis=1, keepdims=True))


def at(field: Field, across: Field, away: Field, scale: float) -> Field:
    """A texture's value on the ground; it repeats after `scale`."""
    per = np.float32(TILE / scale)
    return look_up(field, away * per, across * per)


def mountain(lot: Lot, weather: Weather) -> Field:
    """Peaks of rock and snow above woods or meadows."""
    crest, rough = ridged(lot, "crest", 3, 6), texture(lot, "rough", 12, 4)
    steep, start = lot.uniform("steep", 1.6, 3.2), lot.uniform("start", 1.0, 3.0)
    shift = lot.uniform("shift", 0, 9)
    lonely = lot.chance("lonely peak", 0.35)
    summit = lot.uniform("summit", -1.2, 1.2)

    def height(across: Field, away: Field) -> Field:
        rise = smooth(away, start, start + 3.5)
        peaks = at(crest, across + shift, away + shift, 9.0)
        if lonely:
            peaks = 0.45 * peaks + 0.8 * np.exp(-((np.hypot(across - summit, away - start - 3) / 1.9) ** 2)) * (
                0.55 + peaks
            )
        return rise * steep * peaks + 0.08 * at(rough, across, away, 2.5)

    eye = lot.uniform("eye", 0.35, 1.3)
    horizon = lot.uniform("horizon", 0.45, 0.7)
    seen = look(height, eye, horizon, lot.uniform("width", 0.9, 1.5))
    grain = at(rough, seen.across, seen.away, 1.1)
    rock = np.array((0.42, 0.39, 0.36), np.float32) * lot.uniforms("rock", 3, low=0.8, high=1.15).astype(np.float32)
    green = np.array(((0.16, 0.26, 0.12), (0.36, 0.38, 0.16), (0.45, 0.34, 0.16))[lot.integer("season", 0, 2)])
    woods = np.array((0.07, 0.13, 0.09), np.float32)
    colour = rock * (0.85 + 0.35 * grain)[..., None]
    level = seen.height / steep
    meadow = smooth(0.35 - level + 0.12 * grain, 0, 0.12) * smooth(seen.normal[..., 1], 0.35, 0.6)
    colour = mix(colour, green * (0.9 + 0.25 * grain)[..., None], meadow)
    clumps = at(rough, seen.across, seen.away, 0.5)
    forest = smooth(0.27 - level + 0.1 * grain, 0, 0.05) * smooth(clumps, -0.35, 0.15) * lot.uniform("woods", 0.2, 1)
    colour = mix(colour, woods * (1 + 0.5 * clumps)[..., None], forest)
    line = lot.uniform("snow line", 0.0, 0.75) if lot.chance("snowy", 0.8) else 2.0
    snow = smooth(level - line + 0.18 * grain, 0, 0.1) * smooth(seen.normal[..., 1] + 0.1 * grain, 0.3, 0.5)
    colour = mix(colour, np.array((0.95, 0.96, 1.0), np.float32), snow)
    return _shown(weather, seen, colour, horizon, 0.07)


def desert(lot: Lot, weather: Weather) -> Field:
    """Dunes with sharp crests and ripples, or red table mountains above a stony plain."""
    if lot.chance("tables", 0.35):
        return _tables(lot, weather)
    warp, fine = texture(lot, "warp", 4, 4), texture(lot, "fine", 16, 3)
    turn = lot.uniform("turn", -0.9, 0.9)
    sand = np.array(((0.80, 0.48, 0.24), (0.86, 0.66, 0.42), (0.90, 0.80, 0.62))[lot.integer("sand", 0, 2)])
    tall, length = lot.uniform("tall", 0.35, 0.8), lot.uniform("length", 2.0, 4.5)

    def wave(across: Field, away: Field, length: float, much: float, shift: float) -> Field:
        line = (away * np.cos(turn) + across * np.sin(turn)) / length + much * at(warp, across + shift, away, 11.0)
        t = line % 1
        rising = np.minimum(t / 0.72, (1 - t) / 0.28)  # a long windward side, a steep lee
        return np.asarray(rising ** np.float32(1.25), np.float32)

    def height(across: Field, away: Field) -> Field:
        broad = 0.6 + 0.8 * at(warp, across, away + 3, 17.0)
        dunes = wave(across, away, length, 0.9, 1.0) * np.clip(broad, 0.15, 1.3)
        made: Field = np.float32(tall) * (dunes + np.float32(0.25) * wave(across, away, 0.37 * length, 1.2, 5.0))
        return made

    horizon = lot.uniform("horizon", 0.3, 0.55)
    seen = look(height, tall * lot.uniform("eye", 1.2, 2.6), horizon, lot.uniform("width", 0.9, 1.3))
    ripple = np.sin(70 * (seen.away + 0.35 * at(warp, seen.across, seen.away, 2.0) + 0.2 * seen.across))
    near = np.exp(-0.9 * seen.away)
    seen.normal[..., 2] += 0.25 * ripple * near
    grain = 1 + 0.06 * at(fine, seen.across, seen.away, 0.8)
    return _shown(weather, seen, sand * grain[..., None], horizon, 0.05)


def _tables(lot: Lot, weather: Weather) -> Field:
    shape, fine = texture(lot, "tables", 4, 5), texture(lot, "fine", 16, 4)
    tall = lot.uniform("tall", 0.6, 1.3)
    edge = lot.uniform("edge", 0.25, 0.45)

    def height(across: Field, away: Field) -> Field:
        field = at(shape, across, away, 16.0)
        far = smooth(away, 1.8, 3.0)
        return far * tall * (0.75 * smooth(field, edge, edge + 0.05) + 0.35 * smooth(field, edge - 0.3, edge)) + (
            0.03 * at(fine, across, away, 2.0)
        )

    horizon = lot.uniform("horizon", 0.4, 0.6)
    seen = look(height, lot.uniform("eye", 0.25, 0.5), horizon, lot.uniform("width", 0.9, 1.4))
    grain = at(fine, seen.across, seen.away, 1.3)
    tint = lot.uniforms("tint", 3, low=0.88, high=1.12)
    sand, rock = tint * (0.72, 0.46, 0.29), tint * (0.62, 0.30, 0.18)
    layers = 0.85 + 0.2 * np.sin(60 * seen.height / tall + 2 * grain)
    colour = mix(sand * (1 + 0.12 * grain)[..., None], rock * layers[..., None], smooth(seen.height, 0.08, 0.2))
    shrubs = (
        smooth(at(fine, seen.across + 3, seen.away, 0.9), 0.5, 0.62) * (seen.height < 0.1) * smooth(8 - seen.away, 0, 4)
    )
    colour = mix(colour, np.array((0.27, 0.29, 0.15)), lot.uniform("shrubs", 0, 0.9) * shrubs)
    return _shown(weather, seen, colour, horizon, 0.04)


def glacier(lot: Lot, weather: Weather) -> Field:
    """A tongue of crevassed ice between dark slopes; or its front, a broken wall above water with floes."""
    front = lot.chance("front", 0.5)
    crest, rough = ridged(lot, "crest", 3, 6), texture(lot, "rough", 10, 4)
    cracks = ridged(lot, "cracks", 6, 4)
    width, bend = lot.uniform("tongue", 1.2, 2.2), lot.uniform("bend", -0.5, 0.5)
    shift, steep = lot.uniform("shift", 0, 9), lot.uniform("steep", 1.6, 2.6)
    cliff = lot.uniform("cliff", 0.28, 0.5)
    edge = lot.uniform("edge", 1.6, 2.4)

    def tongue(across: Field, away: Field) -> Field:
        """1 on the ice, 0 beside it."""
        middle = bend * np.sin(0.55 * away)
        broad = 9.0 if front else width * (0.55 + 0.12 * away)
        return smooth(np.abs(across - middle) - broad + 0.25 * at(rough, across, away, 4.0), 0.35, -0.15 + 0.1)

    def height(across: Field, away: Field) -> Field:
        ice = tongue(across, away)
        broken = 0.10 * at(cracks, 0.55 * across, 1.6 * away, 2.6) + 0.04 * at(rough, across, away, 1.2)
        flow = 0.05 * away + 0.02 * np.maximum(away - 4, 0) ** 1.5 + broken
        rise = smooth(away, 1.5, 6.0) if not front else smooth(away, edge + 1, edge + 6)
        slopes = rise * steep * at(crest, across + shift, away + shift, 8.0) + 0.1
        if front:
            back = smooth(away - edge + 0.3 * at(rough, across, away, 6.0), 0, 0.06)
            wall = back * (cliff + 0.16 * at(rough, across, 0.3 * away, 1.5) + 0.06 * at(cracks, across, away, 1.0))
            return np.where(away > edge + 1.2, np.maximum(wall + 0.1, slopes), wall) * (back > 0)
        return np.asarray(ice * flow + (1 - ice) * np.maximum(slopes, flow - 0.05), np.float32)

    horizon = lot.uniform("horizon", 0.28, 0.5)
    seen = look(height, lot.uniform("eye", 0.5, 0.9), horizon, lot.uniform("width", 0.9, 1.3))
    grain = at(rough, seen.across, seen.away, 0.9)
    rock = np.array((0.27, 0.25, 0.24)) * lot.uniforms("rock", 3, low=0.8, high=1.3)
    land = rock * (0.9 + 0.4 * grain)[..., None]
    snow = smooth(seen.height / steep + 0.25 * grain, 0.25, 0.45) * smooth(seen.normal[..., 1], 0.35, 0.55)
    land = mix(land, np.array((0.93, 0.95, 1.0)), snow)
    if front:
        ice = ((seen.away < edge + 1.3) & (seen.height > 0.02)).astype(np.float32)
        x, y = (place[seen.there] for place in places())
        crack = look_up(cracks, TILE * (0.35 * y), TILE * (2.2 * x))  # upright where the wall is
    else:
        ice = tongue(seen.across, seen.away)
        crack = at(cracks, 0.55 * seen.across, 1.6 * seen.away, 2.6)
    deep = smooth(0.42 - crack, -0.1, 0.3)
    white = mix(np.array((0.90, 0.95, 0.99)), np.array((0.34, 0.62, 0.78)), lot.uniform("blue", 0.55, 1.0) * deep)
    dirt = lot.uniform("dirt", 0.0, 0.55) * smooth(
        np.sin(9 * (seen.across - bend * np.sin(0.55 * seen.away)) + grain), 0.5, 1
    )
    white = mix(white, np.array((0.38, 0.34, 0.30)), dirt * (not front))
    made = _shown(weather, seen, mix(land, white, ice), horizon, 0.06)
    if front:
        lake = np.where(
            (seen.height <= 0.02)[:, None], _still_water(lot, weather, seen, made, horizon), made[seen.there]
        )
        made[seen.there] = lake
    return made


def _still_water(lot: Lot, weather: Weather, seen: Seen, behind: Field, horizon: float) -> Field:
    """A lake of melt water in front of the ice: it mirrors, and floes drift on it."""
    waves, floes = texture(lot, "waves", 10, 4), texture(lot, "floes", 6, 4)
    colour = np.array(((0.25, 0.42, 0.46), (0.20, 0.30, 0.38), (0.45, 0.55, 0.53))[lot.integer("lake", 0, 2)])
    ripple = at(waves, seen.across, seen.away, 1.2)
    mirrored = behind[np.clip((2 * int(0.75 * horizon * FINE) - np.arange(FINE)), 0, FINE - 1)][seen.there]
    water = mix(colour * (1 + 0.15 * ripple)[..., None], 0.5 * mirrored + 0.4 * weather.horizon, 0.35)
    drift = at(floes, seen.across, seen.away, 2.2)
    ice = smooth(drift + 0.1 * ripple, 0.55 - lot.uniform("drift", -0.3, 0.35), 0.62)
    white = np.array((0.86, 0.92, 0.96)) * weather.light * (0.8 + 0.3 * drift + 0.15 * ripple)[..., None]
    return mix(water, white, ice)


def _shown(weather: Weather, seen: Seen, colour: Field, horizon: float, thick: float) -> Field:
    """The canvas: ground in its light and haze before the sky; `thick`: how much a unit of distance hides."""
    canvas = weather.sky(horizon)
    canvas[seen.there] = weather.hazed(colour * weather.lit(seen.normal), thick * seen.away)
    return canvas
