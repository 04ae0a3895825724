"""Synthetic scenes of towns, built of boxes: streets, and buildings seen from outside. Lengths are in metres."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from waterscape.sources.world.noise import Lot, look_up
from waterscape.sources.world.scenes.boxes import Box, cast, floor, on_ground, put
from waterscape.sources.world.scenes.light import TILE, Weather, mix, places, smooth, texture

if TYPE_CHECKING:
    from waterscape.sources.world.noise import Field


def street(lot: Lot, weather: Weather) -> Field:
    """A road between two rows of houses that meet far away, with cars, people and lamp posts."""
    rays = cast(weather, lot.uniform("horizon", 0.45, 0.62), lot.uniform("width", 0.9, 1.5))
    road = lot.uniform("road", 2.2, 6.0)
    kerb = road + lot.uniform("pavement", 1.2, 3.0)
    here = lot.uniform("standing", -0.7, 0.7) * road
    x, z = on_ground(rays)
    x = x + np.float32(here)
    rough = texture(lot, "asphalt", 24, 3)
    grain = look_up(rough, (TILE / 6) * z, (TILE / 6) * x) * np.exp(-z / 25)
    tar = np.array((0.30, 0.30, 0.31)) * lot.uniform("tar", 0.7, 1.5) * (1 + 0.2 * grain)[..., None]
    stone = np.array((0.56, 0.53, 0.50)) * (1 + 0.15 * grain)[..., None]
    paint = mix(tar, stone, smooth(np.abs(x), road - 0.05, road + 0.05))
    lines = (np.abs(x) < 0.1) & ((z % 6 < 3) | lot.chance("through", 0.3)) & lot.chance("line", 0.7)
    lines |= (np.abs(np.abs(x) - road + 0.4) < 0.07) & lot.chance("edges", 0.4)
    stop = lot.uniform("crossing at", 5, 16)
    lines |= (np.abs(z - stop) < 1.5) & (x % 1.1 < 0.55) & (np.abs(x) < road - 0.2) & lot.chance("crossing", 0.4)
    floor(rays, weather, np.where(lines[..., None], np.array((0.88, 0.87, 0.82)), paint))
    tall = lot.uniform("tall", 7, 26)
    for row, way in (("left", -1), ("right", 1)):
        own, start = lot.under(row), lot.uniform(f"{row} from", -4, 6)
        for number in range(16):
            house = own.under(number)
            deep = house.uniform("deep", 4, 11)
            gap = house.uniform("gap", 2, 8) if house.chance("a gap", 0.12) else 0
            top = max(4.5, tall * house.uniform("top", 0.6, 1.35))
            place = way * (kerb + house.uniform("back", 0, 0.6) + 8) - here
            put(rays, weather, Box(house, place, start + gap + deep, 8, deep, top))
            start += gap + 2 * deep
    if lot.chance("closed", 0.5):
        end = lot.under("end")
        put(rays, weather, Box(end, -here, end.uniform("at", 70, 140), 60, 8, tall * end.uniform("top", 0.5, 1.2)))
    for number in range(lot.integer("cars", 0, 7)):
        own = lot.under(f"car {number}")
        side = 1 if own.chance("right", 0.5) else -1
        z_car = own.uniform("at", 7, 45)
        middle = side * (road - 1.1 if own.chance("parked", 0.6) else 0.5 * road) - here
        paint_lot = Box(own, middle, z_car, 0.85, 2.1, 0.85, 0.15, kind="car")
        put(rays, weather, paint_lot)
        put(rays, weather, Box(own, middle, z_car, 0.75, 1.2, 1.45, 0.85, kind="car"))
    for number in range(lot.integer("people", 0, 6)):
        own = lot.under(f"person {number}")
        side = 1 if own.chance("right", 0.5) else -1
        place = side * own.uniform("from the middle", road + 0.2, kerb) - here
        put(
            rays,
            weather,
            Box(own, place, own.uniform("at", 5, 30), 0.24, 0.15, own.uniform("tall", 1.5, 1.85), kind="person"),
        )
    if lot.chance("lamps", 0.7):
        side = 1 if lot.chance("lamps right", 0.5) else -1
        for number in range(6):
            put(rays, weather, Box(lot, side * (road + 0.4) - here, 6 + 14 * number, 0.07, 0.07, 6.5, kind="post"))
            put(rays, weather, Box(lot, side * (road - 0.3) - here, 6 + 14 * number, 0.8, 0.1, 6.6, 6.45, kind="post"))
    return rays.canvas


def buildings(lot: Lot, weather: Weather) -> Field:
    """One large house seen from a corner, or several towers; a place, grass or trees before them."""
    towers = lot.chance("towers", 0.5)
    rays = cast(weather, lot.uniform("horizon", 0.72, 1.02), lot.uniform("width", 0.9, 1.5))
    x, z = on_ground(rays)
    rough = texture(lot, "ground", 20, 4)
    grain = look_up(rough, (TILE / 14) * z, (TILE / 14) * x) * np.exp(-z / 60)
    ground = np.array(((0.50, 0.48, 0.46), (0.26, 0.36, 0.16), (0.36, 0.36, 0.37))[lot.integer("ground", 0, 2)])
    floor(rays, weather, ground * (1 + 0.25 * grain)[..., None])
    if towers:
        for number in range(lot.integer("towers", 3, 8)):
            own = lot.under(number)
            away = own.uniform("away", 45, 130)
            top = away * own.uniform("top", 0.25, 1.0)
            box = Box(
                own, own.uniform("x", -0.6, 0.6) * away, away, own.uniform("w", 6, 14), own.uniform("d", 6, 14), top
            )
            put(rays, weather, replace(box, turn=own.uniform("turn", -0.7, 0.7)))
    else:
        own = lot.under("house")
        away, turn = (
            own.uniform("away", 24, 45),
            own.uniform("turn", 0.25, 1.2) * (1 if own.chance("right", 0.5) else -1),
        )
        box = Box(
            own,
            own.uniform("x", -9, 9),
            away,
            own.uniform("w", 9, 18),
            own.uniform("d", 8, 16),
            away * own.uniform("top", 0.4, 0.95),
        )
        put(rays, weather, replace(box, turn=turn))
        for number in range(lot.integer("neighbours", 0, 3)):
            other = lot.under(f"neighbour {number}")
            away = other.uniform("away", 50, 90)
            side = Box(other, other.uniform("x", -0.6, 0.6) * away, away, 10, 10, away * other.uniform("top", 0.2, 0.6))
            put(rays, weather, replace(side, turn=turn))
    if lot.chance("trees", 0.45):
        rays.canvas = _crowns(lot.under("trees"), weather, rays.canvas)
    return rays.canvas


def _crowns(lot: Lot, weather: Weather, canvas: Field) -> Field:
    """Round trees along the lower edge."""
    x, y = places()
    rough = texture(lot, "leaves", 22, 4, 0.8)
    grain = look_up(rough, TILE * 1.5 * y, TILE * 1.5 * x)
    for number in range(lot.integer("crowns", 1, 4)):
        own = lot.under(number)
        size = own.uniform("size", 0.07, 0.2)
        right, up = (x - own.uniform("x", 0, 1)) / size, (y - own.uniform("y", 0.85, 1.05)) / size
        inside = 1 - np.hypot(right, up) + 0.4 * grain
        light = 0.5 + 0.35 * (np.sign(weather.sun[0]) * right - up) * 0.6 + 0.4 * grain
        green = np.array((0.20, 0.30, 0.11)) * own.uniforms("tint", 3, low=0.8, high=1.25)
        canvas = mix(canvas, green * weather.light * (0.4 + light)[..., None], smooth(inside, 0, 0.15))
    return canvas
