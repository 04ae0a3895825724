"""A synthetic place as somebody who stands in its middle and looks north would photograph it.

The ground is cast in planes of equal depth, from the eye outwards: in each column of the picture a pixel shows the
first plane whose surface reaches up to it (voxel space, as flight simulators of the nineties drew their ground). Beyond
the known ground hazy hills go on. Water mirrors what stands above it, the more the flatter it is seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from waterscape.sources.world.noise import fractal, look_up
from waterscape.sources.world.views.above import lit
from waterscape.sources.world.views.plot import SNOW, WATER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.sources.world.noise import Field, Lot
    from waterscape.sources.world.views.ground import Ground

EYE = 10.0  # metres above the ground: a look-out
FIELD_OF_VIEW = 75.0  # degrees from left to right
NEAREST, FARTHEST = 2.0, 9000.0  # metres
PLANES, FAR_PLANES = 420, 90
FINER = 2  # pixels cast for each of the photo's, both ways
FAR_WOODS, FAR_SNOW = (0.17, 0.27, 0.16), (0.50, 0.52, 0.56)  # colours of hills beyond the known ground
TEXTURE = 256  # pixels a side of the noise that roughens grass, leaves and ripples


@dataclass(frozen=True)
class Weather:
    """Light and air of a photo. Colours are red, green, blue in 0..1."""

    azimuth: float
    elevation: float
    """Degrees of the sun's place."""
    zenith: Field
    horizon: Field
    sunlight: Field
    clouds: float
    """0: clear; 1: overcast."""
    visibility: float
    """Metres in which a share of 1 − 1/e of the contrast is lost."""

    @classmethod
    def of(cls, lot: Lot) -> Weather:
        """A place's weather: fair, mostly."""
        clouds = lot.uniform("clouds") ** 1.5
        zenith = _mix((0.22, 0.43, 0.75), (0.58, 0.62, 0.67), clouds)
        horizon = _mix((0.72, 0.82, 0.91), (0.78, 0.80, 0.82), clouds)
        warm = lot.uniform("warmth") ** 2
        horizon = _mix(horizon, (0.95, 0.83, 0.68), 0.6 * warm * (1 - clouds))
        sunlight = _mix((1.06, 1.03, 0.97), (0.86, 0.87, 0.89), clouds)
        elevation = lot.uniform("sun height", 25, 55)
        return cls(
            lot.uniform("sun", 90, 270), elevation, zenith, horizon, sunlight, clouds, lot.uniform("air", 2500, 9000)
        )


@dataclass(frozen=True)
class _Cast:
    """Where each pixel's ray ends. Arrays are (H, W)."""

    depth: Field
    """Metres northwards; inf: the sky."""
    east: Field
    """Metres eastwards."""
    rise: Field
    """Tangent of the ray's angle above the horizontal."""
    below: Field
    """Metres that the ray's end lies below the surface there: how far down a treetop's side."""


def from_within(ground: Ground, lot: Lot, pixels: int) -> NDArray[np.uint8]:
    """The photo: `pixels` a side, H W 3. `lot` draws what the ground does not say: weather, the horizon's height."""
    side = FINER * pixels
    weather = Weather.of(lot.under("weather"))
    sky_line = lot.uniform("sky line", 0.42, 0.6) * side
    focal = side / 2 / math.tan(math.radians(FIELD_OF_VIEW) / 2)
    across = ((np.arange(side, dtype=np.float32) + 0.5) - side / 2) / np.float32(focal)
    rise = (np.float32(sky_line) - (np.arange(side, dtype=np.float32) + 0.5)) / np.float32(focal)
    cast = _cast(ground, lot, across, rise)
    picture = _sky(lot, weather, across, rise)
    seen, water = _land(ground, lot, weather, cast)
    there = np.isfinite(cast.depth)
    haze = (1 - np.exp(-cast.depth[there] / weather.visibility))[:, None]
    picture[there] = seen[there] * (1 - haze) + weather.horizon * haze
    picture = _mirrored(picture, lot, cast, water & there, sky_line)
    small = picture.reshape(pixels, FINER, pixels, FINER, 3).mean((1, 3))
    return np.asarray(np.rint(np.clip(small, 0, 1) * 255), np.uint8)


def _mix(first: object, second: object, share: float) -> Field:
    one, other = (np.asarray(colour, np.float32) for colour in (first, second))
    return np.asarray(one + (other - one) * np.float32(share), np.float32)


def _at(ground: Ground, east: Field, north: Field) -> Field:
    """Rows and columns of places in metres from the middle: 2 × shape."""
    middle = (len(ground.height) - 1) / 2
    return np.stack([middle - north / ground.metres_per_pixel, middle + east / ground.metres_per_pixel])


def _cast(ground: Ground, lot: Lot, across: Field, rise: Field) -> _Cast:
    """Follow all rays to where they end."""
    surface = ground.surface
    reach = len(surface) / 2 * ground.metres_per_pixel * 0.98 / max(1.0, float(across.max()))
    near = np.geomspace(NEAREST, reach, PLANES, dtype=np.float32)
    far = np.geomspace(reach * 1.03, FARTHEST, FAR_PLANES, dtype=np.float32)
    depth = np.concatenate([near, far])
    place = _at(ground, near[:, None] * across, np.broadcast_to(near[:, None], (PLANES, len(across))))
    top = np.empty((len(depth), len(across)), np.float32)
    top[:PLANES] = ndimage.map_coordinates(surface, place, output=np.float32, order=1, mode="nearest")
    crowns = ndimage.map_coordinates(ground.canopy, place, output=np.float32, order=1, mode="nearest")
    tips = 0.8 - 1.6 * np.abs(_texture(lot, near[:, None] * across / 0.35, near[:, None] / 0.35))
    top[:PLANES] += 0.4 * np.minimum(crowns, 14) * tips
    top[PLANES:] = _far_hills(ground, lot, far, across)
    eye = float(ground.height[len(surface) // 2, len(surface) // 2]) + EYE
    angle = np.maximum.accumulate((top - np.float32(eye)) / depth[:, None], axis=0)  # the highest so far
    first = np.stack([np.searchsorted(angle[:, column], rise) for column in range(len(across))], axis=1)
    hit = first < len(depth)
    plane = np.minimum(first, len(depth) - 1)
    ends = np.where(hit, depth[plane], np.inf).astype(np.float32)
    column = np.arange(len(across))
    below = np.where(hit, top[plane, column] - (eye + depth[plane] * rise[:, None]), 0)
    east = np.where(hit, depth[plane] * across, 0)
    return _Cast(ends, east.astype(np.float32), np.broadcast_to(rise[:, None], ends.shape), below.astype(np.float32))


def _far_hills(ground: Ground, lot: Lot, far: Field, across: Field) -> Field:
    """Heights (planes, columns) beyond the known ground: a torus of hills whose relief is the ground's own."""
    rim = ground.surface[: len(ground.surface) // 8]
    hills = fractal(lot, "far hills", 6, 5, 256, torus=True)
    rows, columns = np.broadcast_arrays(-far[:, None] / 30, far[:, None] * across / 30)
    swell = look_up(hills, rows, columns)
    relief = 2.2 * float(ground.surface.std()) + 8
    grown = np.clip((far - far[0]) / 2500, 0, 1)[:, None]
    return np.asarray(float(rim.mean()) + relief * swell * (0.4 + grown) + 25 * grown * swell, np.float32)


def _texture(lot: Lot, east: NDArray[np.floating[Any]], north: NDArray[np.floating[Any]]) -> Field:
    """Fine noise at places given in its own pixels, about −1 to 1."""
    noise = fractal(lot, "texture", 48, 3, TEXTURE, gain=0.7, torus=True)
    rows, columns = np.broadcast_arrays(north, east)
    return look_up(noise, rows.astype(np.float32), columns.astype(np.float32))


def _land(ground: Ground, lot: Lot, weather: Weather, cast: _Cast) -> tuple[Field, NDArray[np.bool_]]:
    """Colours (H W 3) of the ends of all rays under the sun, without the air between; and where they are water."""
    depth = np.where(np.isfinite(cast.depth), cast.depth, FARTHEST).astype(np.float32)
    place = _at(ground, cast.east, depth)
    size = len(ground.height)
    known = (place >= 0).all(0) & (place <= size - 1).all(0)
    row, column = np.clip(np.rint(place), 0, size - 1).astype(int)
    light = lit(ground.surface, ground.metres_per_pixel, weather.azimuth, weather.elevation)
    bright = np.float32(0.5) + 0.5 * np.minimum(light, 1.5)
    shaded = ground.colour * bright[..., None] * weather.sunlight
    colour = np.stack(
        [ndimage.map_coordinates(shaded[..., band], place, order=1, mode="nearest") for band in range(3)], axis=-1
    )
    cover = ground.cover[row, column]
    canopy = ndimage.map_coordinates(ground.canopy, place, order=1, mode="nearest")
    trees = (canopy > 0.8) & known
    behind = np.maximum(row[trees] - 1, 0)  # an edge's own pixel is half meadow
    wooded = ground.canopy[behind, column[trees]] > 1
    colour[trees] = shaded[np.where(wooded, behind, row[trees]), column[trees]]
    far = np.asarray(FAR_SNOW if (ground.cover == SNOW).any() else FAR_WOODS, np.float32) * weather.sunlight
    colour[~known] = far * (1 + 0.15 * _texture(lot, cast.east / 40, depth / 40)[~known])[:, None]
    grass = 0.16 * _texture(lot, cast.east / 0.08, depth / 0.2) + 0.12 * _texture(lot, cast.east / 1.1, depth / 1.6)
    leaves = 0.7 * _texture(lot, cast.east / 0.25 + depth, cast.below / 0.3)
    rough, fade = np.where(trees, leaves, grass), 1 / (1 + depth / 150)
    down = np.clip(cast.below / 14, 0, 1) * trees
    water = (cover == WATER) & known
    change = (1 + rough * fade) * (1 - 0.55 * down)
    colour *= np.where(water, 1, change)[..., None]
    return colour.astype(np.float32), water


def _sky(lot: Lot, weather: Weather, across: Field, rise: Field) -> Field:
    """Blue that pales towards the horizon, and clouds on a plane above."""
    up = np.maximum(rise, 0)[:, None, None]
    pale = np.exp(-3.2 * up)
    sky = weather.zenith * (1 - pale) + weather.horizon * pale
    high = np.maximum(rise, 0.02)[:, None]
    noise = fractal(lot, "clouds in the sky", 5, 6, TEXTURE, gain=0.55, torus=True)
    found = look_up(noise, *(part.astype(np.float32) for part in np.broadcast_arrays(26 / high, 26 * across / high)))
    thick = np.clip((found + 1.5 * weather.clouds - 0.55) * 2.2, 0, 1) * np.clip(rise / 0.08, 0, 1)[:, None] * 0.9
    white = _mix((0.97, 0.97, 0.98), (0.80, 0.82, 0.85), weather.clouds) * (0.92 + 0.08 * (1 - thick[..., None]))
    return np.asarray(sky * (1 - thick[..., None]) + white * thick[..., None], np.float32)


def _mirrored(picture: Field, lot: Lot, cast: _Cast, water: NDArray[np.bool_], sky_line: float) -> Field:
    """The picture with what the water mirrors: what stands as high above the horizon as the water lies below it."""
    if not water.any():
        return picture
    rows, columns = np.nonzero(water)
    depth, east = cast.depth[water], cast.east[water]
    ripple = _texture(lot, east / 0.9, depth / 2.5) * (2 + 0.03 * len(picture) * -cast.rise[water])
    above = np.clip(np.rint(2 * sky_line - rows + ripple), 0, len(picture) - 1).astype(int)
    flat = np.clip(0.12 + 0.75 * np.exp(5.5 * cast.rise[water]), 0, 0.85)[:, None]  # Fresnel's law, roughly
    made = picture.copy()
    made[water] = picture[water] * (1 - flat) + picture[above, columns] * 0.93 * flat
    return made
