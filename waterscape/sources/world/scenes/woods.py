"""Synthetic scenes of forests: among trunks under a roof of leaves, or rows of conifers seen from a clearing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from waterscape.sources.world.noise import Lot, look_up
from waterscape.sources.world.scenes.light import FINE, TILE, Weather, mix, places, profile, smooth, texture

if TYPE_CHECKING:
    from waterscape.sources.world.noise import Field

LEAVES = (  # in light, in shade
    ((0.50, 0.66, 0.20), (0.08, 0.20, 0.06)),
    ((0.38, 0.52, 0.22), (0.06, 0.15, 0.07)),
    ((0.80, 0.55, 0.16), (0.28, 0.15, 0.05)),
    ((0.30, 0.42, 0.26), (0.05, 0.11, 0.08)),
)
GROUNDS = ((0.26, 0.36, 0.12), (0.36, 0.26, 0.15), (0.20, 0.27, 0.12))
BARKS = ((0.30, 0.24, 0.19), (0.20, 0.17, 0.14), (0.52, 0.48, 0.44))


def forest(lot: Lot, weather: Weather) -> Field:
    """One of both."""
    return conifers(lot, weather) if lot.chance("conifers", 0.4) else trunks(lot, weather)


def trunks(lot: Lot, weather: Weather) -> Field:
    """Trunks from far to near, leaves between and above them, undergrowth or litter below."""
    x, y = places()
    light, shade = (np.array(colour) for colour in LEAVES[lot.integer("leaves", 0, len(LEAVES) - 1)])
    ground = np.array(GROUNDS[lot.integer("ground", 0, len(GROUNDS) - 1)])
    leaves, floor = texture(lot, "leaves", 32, 3, 0.9), texture(lot, "floor", 14, 4, 0.7)
    boughs, dark_roof = texture(lot, "boughs", 6, 3), lot.uniform("dark roof", 0, 0.5)
    glow = mix(weather.horizon, weather.light, 0.5) * lot.uniform("glow", 0.6, 1.05)
    foot = lot.uniform("foot", 0.5, 0.72)
    behind = look_up(leaves, TILE * 1.2 * y, TILE * 1.2 * x)
    canvas = mix(
        mix(shade, light, smooth(behind, -0.6, 0.6)), glow, lot.uniform("open", 0.1, 0.8) * smooth(behind, 0.0, 0.9)
    )
    bark = np.array(BARKS[lot.integer("bark", 0, len(BARKS) - 1)])
    layers = lot.integer("layers", 5, 8)
    leafy = lot.uniform("leafy", -0.25, 0.35)
    straight = lot.uniform("straight", 0.0, 0.06)
    for layer in range(layers):
        near = layer / (layers - 1)
        own = lot.under(layer)
        rise = foot + (1.05 - foot) * near**1.8  # where this layer stands
        _undergrowth(own, weather, canvas, floor, ground, near, rise)
        for number in range(own.integer("trunks", 3, 7) if layer < layers - 1 else own.integer("trunks", 0, 2)):
            _trunk(own.under(number), weather, canvas, bark, near, rise, straight)
        roof = canvas[: int(rise * FINE)]
        right, down = (place[: len(roof)] for place in (x, y))
        scale = 0.45 + 0.75 * near
        blobs = look_up(boughs, TILE * (0.6 * down / scale + 0.31 * layer), TILE * (0.6 * right / scale + 0.17 * layer))
        fine = look_up(leaves, TILE * (1.5 * down / scale + 0.31 * layer), TILE * 1.5 * right / scale)
        high = smooth(0.55 - down, -0.1, 0.45) + 0.25 * smooth(np.abs(right - 0.5), 0.2, 0.5)
        mass = smooth(0.55 * blobs + 0.75 * fine + leafy + 0.75 * high - 0.95, -0.05, 0.12)
        tone = mix(shade, light, np.clip(0.4 + 0.8 * fine + 0.3 * blobs - near * dark_roof, 0, 1))
        roof[:] = mix(roof, weather.hazed(tone * (0.5 + 0.6 * weather.light.mean()), 0.8 * (1 - near)), mass)
    return canvas


def _undergrowth(
    lot: Lot, weather: Weather, canvas: Field, floor: Field, ground: Field, near: float, rise: float
) -> None:
    """Paint the ground on which one layer of trunks stands, from `rise` downwards."""
    part = slice(int((rise - 0.06 - 0.04 * near) * FINE), None)
    x, y = (place[part] for place in places())
    uneven = rise + 0.02 * profile(lot, "ground", 5, 3) * (0.5 + near)
    down = 0.3 + 1.8 * (y - rise) / (0.15 + near)
    grass = look_up(floor, TILE * down, TILE * (x / (0.25 + near) + lot.uniform("shift", 0, 1)))
    cover = smooth(y - uneven - 0.03 * grass * (0.5 + near), -0.01, 0.01)
    lit = 0.45 + 0.55 * (weather.light.mean() * (0.8 + 0.5 * grass))
    tone = weather.hazed(ground * (lit * (0.65 + 0.5 * near))[..., None], 0.9 * (1 - near))
    canvas[part] = mix(canvas[part], tone, cover)


def _trunk(lot: Lot, weather: Weather, canvas: Field, bark: Field, near: float, rise: float, straight: float) -> None:
    """Paint one trunk onto the canvas: lighter where the sun is, its bark drawn out upwards."""
    half = (0.006 + 0.045 * near**1.5) * lot.uniform("girth", 0.6, 1.5)
    stand = lot.uniform("middle", -0.05, 1.05)
    part = columns(stand, 1.6 * half + 2 * straight)
    x, y = (place[:, part] for place in places())
    middle = stand + lot.uniform("lean", -straight, straight) * (rise - y) * 2
    foot = rise + 0.02 * lot.uniform("foot", -1, 1)
    wide = half * (1 + 0.9 * np.exp(-np.maximum(foot - y, 0) / (0.02 + 0.04 * near)) * 0.5 - 0.25 * (foot - y))
    away = (x - middle) / np.maximum(wide, 1e-3)
    cover = smooth(1 - np.abs(away), 0, 0.006 / half) * smooth(foot - y, 0, 0.01)
    round_light = np.clip(0.55 + 0.5 * np.sign(weather.sun[0]) * away, 0.15, 1)
    grooves = profile(lot, "grooves", 40, 2)
    turned = np.interp(np.clip(0.5 + 0.25 * away, 0, 1) * (FINE - 1), np.arange(FINE), grooves).astype(np.float32)
    tone = bark * (round_light * (0.85 + 0.25 * turned) * (0.45 + 0.6 * weather.light.mean()))[..., None]
    canvas[:, part] = mix(canvas[:, part], weather.hazed(tone, 1.1 * (1 - near) ** 1.3), cover)


def conifers(lot: Lot, weather: Weather) -> Field:
    """Rows of firs and pines, the farther the paler, under a strip of sky or before a wooded slope."""
    x, y = places()
    winter = lot.chance("winter", 0.2)
    needles = np.array(((0.10, 0.22, 0.12), (0.13, 0.24, 0.10), (0.09, 0.17, 0.14))[lot.integer("needles", 0, 2)])
    sky = lot.uniform("sky", -0.1, 0.3)
    canvas = weather.sky(sky + 0.35)
    rough = texture(lot, "rough", 24, 4, 0.8)
    layers = lot.integer("rows", 4, 6)
    for layer in range(layers):
        near = layer / (layers - 1)
        own = lot.under(layer)
        foot = sky + 0.25 + (0.95 - sky) * near**1.3 + 0.03 * profile(own, "foot", 4, 3)
        tall = 0.16 + 0.5 * near**1.2
        top = np.full((FINE, FINE), -1.0, np.float32)  # how deep within the nearest tree, 0 at its edge
        tone = np.zeros((FINE, FINE), np.float32)
        for number in range(int(12 / (0.35 + near))):
            tree = own.under(number)
            part, inside, light = _fir(tree, weather, foot, tall)
            nearer = inside > np.maximum(top[:, part], 0)
            tone[:, part] = np.where(nearer, light, tone[:, part])
            top[:, part] = np.maximum(top[:, part], inside)
        grain = look_up(rough, TILE * (y / (0.3 + 0.5 * near) + 0.3 * layer), TILE * x / (0.3 + 0.5 * near))
        below = smooth(y - foot - 0.01 * grain, 0, 0.012)
        cover = np.maximum(smooth(top + 0.35 * grain * (top > -0.5), 0, 0.15), below)
        colour = needles * (0.45 + (0.75 + 0.5 * grain) * np.where(below > 0.5, 0.75, tone))[..., None]
        colour = colour * (0.3 + weather.light)
        if winter:
            colour = mix(colour, np.array((0.92, 0.94, 0.98)), smooth(grain + 0.5 * tone, 0.15, 0.7) * 0.85)
        canvas = mix(canvas, weather.hazed(colour, 1.5 * (1 - near)), cover)
    meadow = np.array((0.9, 0.92, 0.96)) if winter else np.array(GROUNDS[lot.integer("meadow", 0, 2)]) * 1.1
    grass = look_up(rough, TILE * 2.5 * y, TILE * 1.1 * x)
    edge = lot.uniform("meadow from", 0.8, 1.15) + 0.02 * profile(lot, "meadow's edge", 4, 4)
    return mix(canvas, meadow * (weather.light * 0.9) * (1 + 0.25 * grass)[..., None], smooth(y - edge, 0, 0.02))


def _fir(lot: Lot, weather: Weather, foot: Field, tall: float) -> tuple[slice, Field, Field]:
    """One tree: its columns, how far inside of it each pixel of those lies (shares of its half width), its light."""
    middle = lot.uniform("middle", -0.05, 1.05)
    base = foot[min(max(int(middle * FINE), 0), FINE - 1)] + 0.02
    height = tall * lot.uniform("tall", 0.65, 1.25)
    part = columns(middle, 0.27 * height)
    x, y = (place[:, part] for place in places())
    down = (y - base + height) / height  # 0 at the tip, 1 at the foot
    tiers = 0.78 + 0.22 * ((down * lot.integer("tiers", 7, 12)) % 1)
    half = height * lot.uniform("slim", 0.15, 0.26) * np.clip(down, 0, 1) ** 0.9 * tiers
    inside = 1 - np.abs(x - middle) / np.maximum(half, 1e-3)
    inside = np.where((down > 0) & (down < 1.03), inside, -1)
    side = np.clip(0.5 + 0.6 * np.sign(weather.sun[0]) * (x - middle) / np.maximum(half, 1e-3), 0, 1)
    light = side * (0.55 + 0.45 * tiers)
    return part, np.maximum(inside, -1).astype(np.float32), light.astype(np.float32)


def columns(middle: float, half: float) -> slice:
    """The canvas's columns within `half` of `middle`."""
    return slice(max(0, int((middle - half) * FINE)), max(0, int((middle + half) * FINE) + 1))
