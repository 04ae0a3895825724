"""The light of a synthetic scene: weather, sky, haze, and the camera's last touch.

A canvas is H W 3 in 0..1, painted from far to near at twice the side of the finished photo. Places on it are `x` and
`y`, shares of its side from the upper left corner.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from waterscape.sources.world.noise import Lot, fractal, look_up, octave, spline_matrix

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from waterscape.sources.world.noise import Field

SIDE = 150
FINE = 2 * SIDE  # pixels a side while painting
TILE = 256  # pixels a side of a texture that repeats

DAYS = {  # zenith, horizon, light, shadow: linear enough for the eye
    "clear": ((0.16, 0.36, 0.70), (0.70, 0.82, 0.93), (1.06, 1.00, 0.90), (0.36, 0.42, 0.54)),
    "pale": ((0.42, 0.60, 0.80), (0.86, 0.89, 0.90), (0.98, 0.95, 0.90), (0.45, 0.48, 0.54)),
    "overcast": ((0.55, 0.59, 0.64), (0.80, 0.81, 0.82), (0.72, 0.73, 0.75), (0.50, 0.52, 0.56)),
    "low sun": ((0.24, 0.30, 0.50), (0.97, 0.68, 0.42), (1.05, 0.72, 0.46), (0.30, 0.29, 0.38)),
}


@dataclass(frozen=True)
class Weather:
    """Light and air of one scene: colours, where the sun stands, how thick the haze is (0 none … 1 fog)."""

    lot: Lot
    day: str
    zenith: Field
    horizon: Field
    light: Field
    shadow: Field
    haze: float
    sun: Field
    """Direction to the sun: right, up, away from the eye; length 1."""
    clouds: float
    """Share of the sky, about."""

    @classmethod
    def of(cls, lot: Lot) -> Weather:
        """The weather of a place."""
        day = ("clear", "clear", "pale", "overcast", "low sun")[lot.integer("day", 0, 4)]
        zenith, horizon, light, shadow = (np.array(colour, np.float32) for colour in DAYS[day])
        tint = lot.uniforms("tint", 3, low=0.94, high=1.06).astype(np.float32)
        up = lot.uniform("sun's height", 0.12, 0.25) if day == "low sun" else lot.uniform("sun's height", 0.35, 0.9)
        across = lot.uniform("sun's side", 0.35, 0.9) * (1 if lot.chance("sun at right", 0.5) else -1)
        away = lot.uniform("sun's back", -0.7, 0.5)
        sun = np.array([across, up, away], np.float32)
        clouds = {"overcast": 0.95, "clear": lot.uniform("clouds", -0.2, 0.5)}.get(day, lot.uniform("clouds", 0, 0.7))
        haze = lot.uniform("haze", 0.05, 0.5) + (0.35 if lot.chance("mist", 0.12) else 0)
        return cls(
            lot, day, zenith * tint, horizon * tint, light, shadow, haze, sun / np.float32(np.linalg.norm(sun)), clouds
        )

    def lit(self, normal: Field) -> Field:
        """Light on surfaces with these normals (… 3: right, up, away) → the colour to multiply theirs with."""
        facing = np.clip(normal @ self.sun, 0, 1)[..., None]
        made: Field = self.shadow + (self.light - np.float32(0.4) * self.shadow) * facing
        return made

    def hazed(self, colour: Field, depth: ArrayLike) -> Field:
        """Colours (… 3) seen through the air; `depth` 1 is where half of the light is lost in a haze of 0.5."""
        share = 1 - np.exp(-1.4 * self.haze * np.asarray(depth, np.float32))
        return mix(colour, 0.9 * self.horizon + 0.1 * self.zenith, share)

    def sky(self, horizon: float) -> Field:
        """The whole canvas as sky above a horizon at `horizon` (y)."""
        x, y = places()
        height = np.clip((horizon - y) / max(horizon, 0.3), 0, 1)
        made = mix(self.horizon, self.zenith, height**0.7)
        if self.day == "low sun":
            away = np.hypot(x - 0.5 - 0.4 * self.sun[0], 1.6 * (y - horizon + 0.12))
            made = mix(made, np.array([1.0, 0.9, 0.65], np.float32), 0.9 * np.exp(-((away / 0.16) ** 2)))
        depth = 1 / np.maximum(horizon - y + 0.12, 0.06)  # clouds hang on a ceiling, so they crowd at the horizon
        shape = texture(self.lot, "clouds", 5, 5)
        away = float(self.lot.uniform("cloud shift", 0, 9))
        seen = look_up(shape, TILE * (0.13 * depth + away), TILE * (0.16 * (x - 0.5) * depth + away))
        above = look_up(shape, TILE * (0.13 * depth + away) - 5, TILE * (0.16 * (x - 0.5) * depth + away))
        cover = smooth(seen, 0.45 - self.clouds, 0.95 - self.clouds) * smooth(horizon - y, 0.0, 0.1)
        white = np.clip(self.light + 0.12, 0, 1) * (0.88 + 0.3 * np.clip(seen - above, -0.4, 0.3))[..., None]
        if self.day == "overcast":
            return mix(made, white * 0.95, 0.5 * cover)
        return mix(made, white, 0.9 * cover)


@cache
def places() -> tuple[Field, Field]:
    """X and y of each pixel's middle: H W each."""
    middle = ((np.arange(FINE) + 0.5) / FINE).astype(np.float32)
    x, y = np.meshgrid(middle, middle)
    return x, y


def mix(first: ArrayLike, second: ArrayLike, share: ArrayLike) -> Field:
    """From the first colour (… 3) to the second, by a share (0..1, … without the colours)."""
    amount = np.asarray(share, np.float32)[..., None]
    made: Field = np.asarray(first, np.float32) * (1 - amount) + np.asarray(second, np.float32) * amount
    return made


def smooth(value: ArrayLike, low: float, high: float) -> Field:
    """0 below `low`, 1 above `high`, smoothly between."""
    t = np.clip((np.asarray(value, np.float32) - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def texture(lot: Lot, name: str, cells: int, octaves: int, gain: float = 0.55) -> Field:
    """Fractal noise that repeats, `TILE` pixels a side: about −1 to 1."""
    return fractal(lot, name, cells, octaves, TILE, gain=gain, torus=True)


def ridged(lot: Lot, name: str, cells: int, octaves: int, gain: float = 0.5) -> Field:
    """Sharp crests between smooth valleys (Musgrave's ridged noise), repeating, `TILE` pixels a side: 0 to about 1."""
    total, weight = np.zeros((TILE, TILE), np.float32), np.ones((TILE, TILE), np.float32)
    for number in range(octaves):
        crest = (1 - np.minimum(np.abs(1.5 * octave(lot, name, cells << number, TILE, torus=True)), 1)) ** 2
        total += np.float32(gain**number) * crest * weight
        weight = np.clip(1.4 * crest, 0.15, 1)
    return total / np.float32(1.5)


def profile(lot: Lot, name: str, cells: int, octaves: int, gain: float = 0.5) -> Field:
    """Noise along a line, one value a column: about −1 to 1."""
    total = np.zeros(FINE, np.float32)
    for number in range(octaves):
        knots, step = (cells << number) + 3, (cells << number) / FINE
        lattice = lot.uniforms(f"{name} {number}", knots, low=-1.5, high=1.5).astype(np.float32)
        total += np.float32(gain**number) * (spline_matrix(knots, 1 + step / 2, step, FINE) @ lattice)
    return total


def developed(lot: Lot, canvas: Field) -> NDArray[np.uint8]:
    """The photo of a canvas (`SIDE` pixels a side): exposure, contrast, colour, and the sensor's grain."""
    half = canvas.reshape(SIDE, 2, SIDE, 2, 3).mean((1, 3))
    if lot.chance("mirrored", 0.5):
        half = half[:, ::-1]
    grey = half.mean(2, keepdims=True)
    half = grey + lot.uniform("colour", 0.65, 1.2) * (half - grey)
    half = 0.45 + lot.uniform("contrast", 0.85, 1.2) * (half * lot.uniform("exposure", 0.8, 1.15) - 0.45)
    half = half + lot.uniform("grain", 0.005, 0.03) * lot.grain("grain of pixels", SIDE, SIDE, 3)
    return np.asarray(np.rint(255 * np.clip(half, 0, 1)), np.uint8)
