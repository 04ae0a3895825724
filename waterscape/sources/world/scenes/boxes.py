"""Boxes with rows of windows, seen along a ray for each pixel: what synthetic scenes of towns are built of.

Lengths are in metres; the eye stands at the origin of the ground, `EYE` metres up, and looks away (z) with x to the
right and y up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from waterscape.sources.world.noise import Lot
from waterscape.sources.world.scenes.light import Weather, mix, places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.sources.world.noise import Field

EYE = 1.7
WALLS = (
    (0.62, 0.36, 0.26), (0.74, 0.62, 0.46), (0.80, 0.76, 0.68), (0.55, 0.54, 0.53), (0.70, 0.50, 0.36),
    (0.86, 0.82, 0.74), (0.45, 0.32, 0.28), (0.66, 0.70, 0.72),
)  # fmt: skip
PAINTS = ((0.70, 0.10, 0.10), (0.85, 0.85, 0.85), (0.12, 0.14, 0.18), (0.20, 0.30, 0.55), (0.90, 0.72, 0.12))


@dataclass(frozen=True)
class Box:
    """A block on the ground: its middle, half its width and depth, its foot and top, its turn about the upright."""

    lot: Lot
    x: float
    z: float
    half_width: float
    half_depth: float
    top: float
    foot: float = 0.0
    turn: float = 0.0
    kind: str = "house"


@dataclass(frozen=True)
class Spots:
    """Places on a box's faces, N each, in metres: `along` its `length` from one end, `up` from the ground.

    `face` 0 and 2 are walls, 1 is the roof.
    """

    along: Field
    length: Field
    up: Field
    face: NDArray[np.int8]


@dataclass
class Rays:
    """The scene so far, a ray for each pixel: direction (unit of depth), nearest distance hit, and canvas."""

    x: Field
    y: Field
    depth: Field
    canvas: Field


def cast(weather: Weather, horizon: float, width: float) -> Rays:
    """Rays into empty air: at depth 1 the canvas is `width` wide, and the horizon stands at y = `horizon`."""
    x, y = places()
    return Rays((x - 0.5) * width, (horizon - y) * width, np.full_like(x, 1e4), weather.sky(horizon))


def floor(rays: Rays, weather: Weather, paint: NDArray[np.floating]) -> None:
    """Put down the ground, coloured by `paint` (H W 3)."""
    there = rays.y < -1e-4
    depth = np.where(there, -EYE / np.minimum(rays.y, -1e-4), 1e4)
    lit = weather.hazed(paint * weather.lit(np.array((0, 1, 0), np.float32)), depth / 150)
    rays.canvas = np.where(there[..., None], lit, rays.canvas)
    rays.depth = np.where(there, depth, rays.depth).astype(np.float32)


def on_ground(rays: Rays) -> tuple[Field, Field]:
    """Where the rays meet the ground: x and z."""
    depth = np.asarray(EYE / np.maximum(-rays.y, 1e-3), np.float32)
    return np.asarray(rays.x * depth, np.float32), depth


def put(rays: Rays, weather: Weather, box: Box) -> None:
    """Draw a box before what is farther (the slab method, Kay & Kajiya 1986)."""
    cos, sin = math.cos(box.turn), math.sin(box.turn)
    part = _columns(rays, box, cos, sin)
    ray_x, ray_y, nearest, canvas = rays.x[:, part], rays.y[:, part], rays.depth[:, part], rays.canvas[:, part]
    start = np.array((box.z * sin - box.x * cos, -box.x * sin - box.z * cos), np.float32)  # the eye, as the box sees it
    ways = (ray_x * cos - sin, ray_x * sin + cos)
    enter, leave = np.zeros_like(ray_x), np.full_like(ray_x, 1e9)
    side = np.zeros(ray_x.shape, np.int8)
    slabs = (
        (start[0], ways[0], -box.half_width, box.half_width),
        (EYE, ray_y, box.foot, box.top),
        (start[1], ways[1], -box.half_depth, box.half_depth),
    )
    for axis, (at, way, low, high) in enumerate(slabs):
        safe = np.where(np.abs(way) < 1e-6, 1e-6, way)
        first, second = (low - at) / safe, (high - at) / safe
        near = np.minimum(first, second)
        side = np.where(near > enter, axis, side).astype(np.int8)
        enter, leave = np.maximum(enter, near), np.minimum(leave, np.maximum(first, second))
    hit = (enter < leave) & (enter > 0.3) & (enter < nearest)
    if not hit.any():
        return
    depth = enter[hit]
    right, up, back = start[0] + ways[0][hit] * depth, EYE + ray_y[hit] * depth, start[1] + ways[1][hit] * depth
    face = side[hit]
    along = np.where(face == 0, back + box.half_depth, right + box.half_width)
    length = np.where(face == 0, 2 * box.half_depth, 2 * box.half_width)
    normal = np.zeros((len(depth), 3), np.float32)
    turned = np.where(face == 0, -np.sign(ways[0][hit]), 0), np.where(face == 2, -np.sign(ways[1][hit]), 0)
    normal[:, 0], normal[:, 2] = turned[0] * cos + turned[1] * sin, -turned[0] * sin + turned[1] * cos
    normal[:, 1] = face == 1
    colour = SURFACES[box.kind](box, weather, Spots(along, length, up, face))
    canvas[hit] = weather.hazed(colour * weather.lit(normal), depth / 150)
    nearest[hit] = depth


def _columns(rays: Rays, box: Box, cos: float, sin: float) -> slice:
    """The canvas's columns in which the box may be seen; all of them where it reaches beside or behind the eye."""
    corners = [(i * box.half_width, j * box.half_depth) for i in (-1, 1) for j in (-1, 1)]
    away = [box.z - right * sin + back * cos for right, back in corners]
    if min(away) < 0.5:
        return slice(None)
    across = [(box.x + right * cos + back * sin) / z for (right, back), z in zip(corners, away, strict=True)]
    low, high = np.searchsorted(rays.x[0], (min(across), max(across)))
    return slice(int(max(0, low - 1)), int(high + 1))


def facade(box: Box, weather: Weather, spots: Spots) -> Field:
    """Storeys of windows between bands of wall; a roof above, shops or doors below."""
    lot, along, length, up = box.lot, spots.along, spots.length, spots.up
    wall = np.array(WALLS[lot.integer("wall", 0, len(WALLS) - 1)]) * lot.uniforms("tint", 3, low=0.88, high=1.1)
    storey = lot.uniform("storey", 2.9, 3.8)
    bay = length / np.maximum(np.round(length / lot.uniform("bay", 2.2, 4.2)), 1)
    across, height = (along / bay) % 1, (up / storey) % 1
    glassy = lot.chance("glass", 0.3 if box.top > 25 else 0.05)
    wide, high = (0.46, 0.44) if glassy else (lot.uniform("wide", 0.2, 0.36), lot.uniform("high", 0.22, 0.34))
    pane = (np.abs(across - 0.5) < wide) & (np.abs(height - 0.52) < high)
    frame = (np.abs(across - 0.5) < wide + 0.06) & (np.abs(height - 0.52) < high + 0.06)
    cell = np.floor(along / bay) * 57 + np.floor(up / storey) * 131 + spots.face * 17
    chance = (np.sin(cell * 12.9898 + lot.uniform("panes", 0, 99)) * 43758.5) % 1
    sky = 0.35 * weather.horizon + 0.65 * weather.zenith
    glass = mix(np.array((0.08, 0.10, 0.13)), sky, 0.15 + (0.7 if glassy else 0.45) * chance)
    glass = np.where((chance > lot.uniform("lights", 0.85, 1.0))[:, None], np.array((0.95, 0.80, 0.50)), glass)
    colour = np.broadcast_to(wall, (len(along), 3))
    band = height < 0.07
    colour = np.where(band[:, None], wall * 0.78, colour)
    colour = np.where(frame[:, None], wall * lot.uniform("frames", 0.7, 1.25), colour)
    colour = np.where(pane[:, None], glass, colour)
    low = up < storey * 1.05
    shop = np.array(PAINTS[lot.integer("shop", 0, len(PAINTS) - 1)]) * 0.6
    door = (np.abs(across - 0.5) < 0.38) & (up < 0.75 * storey)
    ground = np.where(
        door[:, None], np.array((0.10, 0.10, 0.11)), np.where(up[:, None] > 0.8 * storey, shop, wall * 0.8)
    )
    colour = np.where((low & lot.chance("shops", 0.6))[:, None], ground, colour)
    cornice = up > box.top - lot.uniform("cornice", 0.3, 0.9)
    colour = np.where(cornice[:, None], wall * lot.uniform("edge", 0.65, 1.2), colour)
    return np.asarray(np.where((spots.face == 1)[:, None], np.array((0.36, 0.33, 0.32)), colour), np.float32)


def car(box: Box, weather: Weather, spots: Spots) -> Field:
    """Paint, a strip of windows, dark below, lamps at the ends."""
    paint = np.array(PAINTS[box.lot.integer("paint", 0, len(PAINTS) - 1)])
    share = (spots.up - box.foot) / (box.top - box.foot)
    place = spots.along / spots.length
    colour = np.where((share < 0.22)[:, None], np.array((0.05, 0.05, 0.05)), paint)
    window = (share > 0.55) & (share < 0.92) & (place > 0.08) & (place < 0.92)
    colour = np.where(window[:, None], 0.25 * weather.horizon, colour)
    lamp = (spots.face == 2) & (share > 0.32) & (share < 0.48) & (np.abs(place - 0.5) > 0.36)
    return np.asarray(np.where(lamp[:, None], np.array((0.9, 0.15, 0.1)), colour), np.float32)


def dark(box: Box, _: Weather, spots: Spots) -> Field:
    """Lamp posts, and people from afar."""
    colour = np.array(PAINTS[2]) if box.kind == "post" else np.array(PAINTS[box.lot.integer("coat", 0, 4)]) * 0.5
    made = np.broadcast_to(colour, (len(spots.up), 3))
    head = (spots.up > box.top - 0.24) & (box.kind == "person")
    return np.asarray(np.where(head[:, None], np.array((0.55, 0.40, 0.32)), made), np.float32)


SURFACES = {"house": facade, "car": car, "post": dark, "person": dark}
