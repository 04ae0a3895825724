"""Synthetic Landsat scenes: what the bands that tell water from land would show of ground that is made up.

The waters are those of the synthetic world (see `regions`), with narrow streams beside them; the ground has forest,
fields, towns, bare rock and snow, and the sun stands low enough for mountains to cast dark slopes. Snow and shadow look
like water to an index, turbid rivers and pixels that are water in part look like land: so the scenes are no easier than
they ought to be. Means of the classes are near those of Landsat 8 surface reflectance over such covers. Every scene is
a pure function of (seed, side), and none shows a real place.

    from waterscape.sources.world.landsat import draw_scene
    made = draw_scene(seed=7, side=512)
    made.reflectances, made.elevation, made.water, made.cover
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from waterscape.sources.world import regions
from waterscape.sources.world.channels import beside, valley
from waterscape.sources.world.noise import Lot, enlarge, fractal, octave
from waterscape.sources.world.terrain import SIZE, path

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.sources.world.noise import Field
    from waterscape.sources.world.terrain import Terrain

METRES_PER_PIXEL = 30.0
TREES, SHRUBS, GRASS, CROPS, BUILT, BARE, SNOW, WATER, WETLAND = 10, 20, 30, 40, 50, 60, 70, 80, 90
COVERS = {
    TREES: "tree cover",
    SHRUBS: "shrubland",
    GRASS: "grassland",
    CROPS: "cropland",
    BUILT: "built-up",
    BARE: "bare or sparse vegetation",
    SNOW: "snow and ice",
    WATER: "permanent water bodies",
    WETLAND: "herbaceous wetland",
}
"""Codes of ESA WorldCover."""

# reflectance in B2, B3, B4, B5, B6
SPECTRA = {
    TREES: (0.025, 0.045, 0.035, 0.270, 0.150),
    SHRUBS: (0.060, 0.090, 0.110, 0.230, 0.270),
    GRASS: (0.045, 0.080, 0.075, 0.280, 0.230),
    CROPS: (0.040, 0.075, 0.060, 0.350, 0.200),
    BUILT: (0.100, 0.120, 0.140, 0.210, 0.230),
    BARE: (0.110, 0.150, 0.200, 0.270, 0.330),
    SNOW: (0.800, 0.800, 0.780, 0.680, 0.100),
    WETLAND: (0.030, 0.050, 0.045, 0.180, 0.110),
}
PLOUGHED = (0.070, 0.100, 0.130, 0.210, 0.290)
ASPHALT = (0.060, 0.070, 0.075, 0.095, 0.090)
CLEAR, TURBID = (0.035, 0.035, 0.020, 0.012, 0.006), (0.070, 0.105, 0.110, 0.060, 0.025)
SKY = np.array([0.30, 0.22, 0.17, 0.12, 0.09])  # share of the light that comes from the sky, and reaches shadows


@dataclass(frozen=True)
class Scene:
    """A synthetic scene of 30 m pixels.

    `reflectances` (H W 5, float32) of B2 … B6; `elevation` (H W, float32) metres; `water` (H W, bool) the truth: more
    than half of the pixel is water on that day, floods included; `cover` (H W, uint8) land cover in ordinary times.
    """

    reflectances: Field
    elevation: Field
    water: NDArray[np.bool_]
    cover: NDArray[np.uint8]


def draw_scene(seed: int, side: int) -> Scene:
    """Make the scene `seed` of `side` × `side` pixels; between a hundredth and nine tenths of it are water."""
    lot = Lot(seed, "landsat")
    whole = max(side, SIZE)
    occurrence, terrain = _waters(lot)
    share = np.clip(0.5 + (enlarge(occurrence, whole) - lot.uniform("stage", 25, 60)) / 30, 0, 1)
    if lot.chance("streams", 0.7):
        share = np.maximum(share, _streams(lot, terrain, whole))
    wet = share > 0.5
    elevation = _elevation(lot, terrain, wet)
    cover = _cover(lot, elevation, enlarge(occurrence, whole), wet)
    ground = _ground(lot, cover)
    light = _light(lot, elevation)
    mixed = share[..., None]
    seen = (1 - mixed) * ground * light + mixed * _water_colour(lot, whole) * (0.5 + 0.5 * light)
    haze = lot.uniform("haze", 0, 0.015) * np.array([1.0, 0.6, 0.4, 0.2, 0.05])
    noise = 0.004 * np.stack([lot.grain(f"sensor {band}", whole, whole) for band in range(5)], axis=-1)
    rows, columns = _window(wet, side)
    at = np.s_[rows : rows + side, columns : columns + side]
    reflectances = (seen + haze + noise).astype(np.float32)
    return Scene(reflectances[at].copy(), elevation[at].copy(), wet[at].copy(), cover[at].copy())


def _waters(lot: Lot) -> tuple[Field, Terrain]:
    """Percent of the time under water (SIZE, SIZE), of the first tile of the world that holds water and land."""
    first = lot.integer("tile", 0, 10**6)
    for number in range(first, first + 100):
        tile = regions.tile(lot.seed, number)
        if 0.02 < np.mean(tile.occurrence > 60) < 0.8 and np.mean(tile.occurrence > 25) < 0.85:
            return tile.occurrence.astype(np.float32), tile.site.terrain
    raise AssertionError("a hundred tiles in a row without water, or without land")


def _streams(lot: Lot, terrain: Terrain, side: int) -> Field:
    """Share of water in each pixel of streams of about a pixel's width, down the valleys."""
    scale = side / SIZE
    starts = lot.uniforms("springs", lot.integer("count", 2, 5), high=terrain.coarse.size).astype(int)
    lines = [path(terrain.downstream, int(start)) for start in starts]
    courses = [valley(line, 6.0) for line in lines if len(line) > 12]
    if not courses:
        return np.zeros((side, side), np.float32)
    width = lot.uniform("width", 0.6, 2.4)
    place = beside(courses, [np.full(len(course), width / scale) for course in courses])
    inside = np.float32(width / 2) - enlarge(place.distance, side) * np.float32(scale)
    return np.asarray(np.clip(0.5 + inside, 0, min(1.0, width)), np.float32)


def _elevation(lot: Lot, terrain: Terrain, wet: NDArray[np.bool_]) -> Field:
    """Metres: hills or mountains, level where there is water."""
    height = lot.uniform("height", 1, 5) if lot.chance("mountains", 0.45) else lot.uniform("height", 0.3, 1)
    ground = enlarge(terrain.elevation, len(wet)) * np.float32(height)
    ground += np.float32(lot.uniform("base", 0, 400) * height - ground.min())
    smooth = len(wet) / 12
    near = ndimage.gaussian_filter(wet.astype(np.float32), smooth)
    surface = ndimage.gaussian_filter(np.where(wet, ground, 0), smooth) / np.maximum(near, 1e-6)
    level = np.where(wet, surface - 2, ground)
    radar = np.where(wet, 0.45, 1.5) * lot.grain("radar", *wet.shape)
    return np.asarray(level + radar, np.float32)


def _cover(lot: Lot, elevation: Field, occurrence: Field, wet: NDArray[np.bool_]) -> NDArray[np.uint8]:
    side = len(elevation)
    smooth = ndimage.gaussian_filter(elevation, 2)
    slope = np.hypot(*np.gradient(smooth, METRES_PER_PIXEL))
    moist = fractal(lot, "moist", 6, 5, side, gain=0.6) + np.float32(lot.uniform("climate", -0.35, 0.35))
    cover = np.full((side, side), GRASS, np.uint8)
    cover[moist > 0.1] = TREES
    cover[moist < -0.25] = SHRUBS
    plain = (slope < 0.08) & (octave(lot, "farms", 4, side) + np.float32(lot.uniform("farmed", -0.3, 0.3)) > 0.05)
    cover[plain] = CROPS
    rough = octave(lot, "rough", 24, side)
    cover[(slope > 0.55 + 0.3 * rough) | (moist < np.float32(-0.75))] = BARE
    cover[(smooth > 1500 + 250 * rough) & (cover != BARE)] = BARE
    if lot.chance("town", 0.5):
        town = octave(lot, "town", 5, side) + np.float32(0.4) * octave(lot, "streets", 40, side)
        cover[(town > np.quantile(town[::4, ::4], 0.96)) & (slope < 0.15)] = BUILT
    cover[(occurrence > 5) & (moist > -0.1)] = WETLAND
    if smooth.max() > 900:
        snowline = lot.uniform("snowline", 0.6, 1.0) * float(smooth.max())
        cover[(smooth + 150 * rough > max(snowline, 800)) & ~wet] = SNOW
    cover[(occurrence > 75) & wet] = WATER
    return cover


def _ground(lot: Lot, cover: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Reflectances (H W 5) of the ground in full light, water left out: what grows under floods is seen in part."""
    side = len(cover)
    table = np.zeros((256, 5))
    for code, spectrum in SPECTRA.items():
        table[code] = spectrum
    table[WATER] = SPECTRA[WETLAND]
    ground: NDArray[np.float64] = table[cover]
    fields = (cover == CROPS) & (_fields(lot, side) < lot.uniform("ploughed", 0.2, 0.6))
    ground[fields] = PLOUGHED
    ground[(cover == BUILT) & (octave(lot, "roofs", max(side // 5, 8), side) > 0.1)] = ASPHALT
    tint = 1 + 0.14 * fractal(lot, "tint", 12, 4, side)[..., None] + 0.06 * lot.grain("texture", side, side)[..., None]
    dry = 1 + 0.08 * np.stack([octave(lot, f"dry {band}", 9, side) for band in range(5)], axis=-1)
    return np.asarray(ground * tint * dry)


def _fields(lot: Lot, side: int) -> NDArray[np.float64]:
    """A number of 0 to 1 for each farm field: turned rectangles."""
    angle, long = lot.uniform("ploughing", high=np.pi), lot.uniform("field", 9, 24)
    row, column = np.indices((side, side), dtype=np.float32)
    u = (row * np.cos(angle) + column * np.sin(angle)) / long
    v = (column * np.cos(angle) - row * np.sin(angle)) / (0.6 * long)
    drawn = lot.uniforms("crop", 61, 67)
    return np.asarray(drawn[np.floor(u).astype(int) % 61, np.floor(v).astype(int) % 67])


def _light(lot: Lot, elevation: Field) -> NDArray[np.float64]:
    """Factor on reflectances (H W 5): slopes away from the sun have little but the sky's light, which is blue."""
    down, right = np.gradient(ndimage.gaussian_filter(elevation, 1.5), METRES_PER_PIXEL)
    height, azimuth = np.radians(lot.uniform("sun", 28, 60)), np.radians(lot.uniform("azimuth", 130, 170))
    # the sun's direction (east, north, up) on the ground's normal (−dz/deast, −dz/dnorth, 1); rows go southwards
    east, north = np.cos(height) * np.sin(azimuth), np.cos(height) * np.cos(azimuth)
    facing = (np.sin(height) - east * right + north * down) / np.sqrt(1 + right**2 + down**2)
    direct = np.clip(facing, 0, None) / np.sin(height)
    return np.asarray(SKY + (1 - SKY) * np.minimum(direct, 1.4)[..., None])


def _water_colour(lot: Lot, side: int) -> NDArray[np.float64]:
    silt = np.clip(lot.uniform("silt", -0.2, 1.0) + 0.4 * fractal(lot, "silt", 5, 3, side), 0, 1)[..., None]
    return np.asarray((1 - silt) * np.array(CLEAR) + silt * np.array(TURBID))


def _window(wet: NDArray[np.bool_], side: int) -> tuple[int, int]:
    """Upper left corner of the window whose share of water is nearest to a third."""
    room = len(wet) - side
    if not room:
        return 0, 0
    corners = [(row, column) for row in range(0, room + 1, 16) for column in range(0, room + 1, 16)]
    return min(corners, key=lambda at: abs(wet[at[0] : at[0] + side, at[1] : at[1] + side].mean() - 1 / 3))
