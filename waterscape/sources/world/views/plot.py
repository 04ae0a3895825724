"""Noise and places in metres around the middle of a square of ground, and the kinds of what can cover it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from waterscape.sources.world.noise import Lot, fractal, octave

if TYPE_CHECKING:
    from waterscape.sources.world.noise import Field

COVERS = WATER, SAND, MEADOW, FIELD, FOREST, ROCK, SNOW = range(7)
COVER_NAMES = ("water", "sand", "meadow", "field", "forest", "rock", "snow")


class Plot:
    """A square of ground before anything stands on it: its random numbers, and where its pixels lie."""

    def __init__(self, lot: Lot, pixels: int, metres_per_pixel: float) -> None:
        self.lot, self.pixels, self.scale = lot, pixels, metres_per_pixel
        middle = np.float32((pixels - 1) / 2)
        along = (np.arange(pixels, dtype=np.float32) - middle) * np.float32(metres_per_pixel)
        self.east: Field = np.broadcast_to(along[None, :], (pixels, pixels))
        self.north: Field = np.broadcast_to(-along[:, None], (pixels, pixels))
        self.away: Field = np.hypot(self.east, self.north)

    def waves(self, name: str, metres: float, octaves: int, gain: float = 0.5) -> Field:
        """Noise of a wavelength, about −1 to 1."""
        return fractal(self.lot, name, self._cells(metres), octaves, self.pixels, gain=gain)

    def ripples(self, name: str, metres: float) -> Field:
        """One octave of noise, about −1 to 1."""
        return octave(self.lot, name, self._cells(metres), self.pixels)

    def _cells(self, metres: float) -> int:
        return max(1, round(self.pixels * self.scale / metres))

    def drawn(self, name: str, ends: tuple[float, float]) -> float:
        """A number of this place between two ends."""
        return self.lot.uniform(name, *ends)

    def turned(self, name: str) -> tuple[Field, Field]:
        """East and north, turned by an angle of its own."""
        angle = self.lot.uniform(name, 0, np.pi)
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        along, across = cosine * self.east + sine * self.north, cosine * self.north - sine * self.east
        return along.astype(np.float32), across.astype(np.float32)
