"""Smooth random fields that are pure functions of a key: value noise whose lattices are hashes.

No generator keeps a state here, so a field does not depend on what was drawn before it. Fields are smoothed and
enlarged by cubic B-splines, as two products with a banded matrix: about 0.15 ms for 256×256.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from waterscape.randomness import GOLDEN, hash64, mix64

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Field = NDArray[np.float32]


class Lot:
    """Named random numbers of one place: each is a pure function of (seed, parts, name), whatever else was drawn."""

    def __init__(self, seed: int, *parts: int | str) -> None:
        self.seed, self.parts = seed, parts

    def under(self, part: int | str) -> Lot:
        """The lot of one thing within this place."""
        return Lot(self.seed, *self.parts, part)

    def words(self, name: str, count: int) -> NDArray[np.uint64]:
        """`count` words of 64 random bits."""
        start = np.uint64(hash64(self.seed, *self.parts, name))
        with np.errstate(over="ignore"):
            return mix64(start + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN))

    def uniforms(self, name: str, *shape: int, low: float = 0.0, high: float = 1.0) -> NDArray[np.float64]:
        """Uniform in [low, high), of the given shape."""
        unit = (self.words(name, math.prod(shape)) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return (low + (high - low) * unit).reshape(shape)

    def grain(self, name: str, *shape: int) -> Field:
        """Uniform in [-1, 1) for every pixel, from 16 bits each: four times cheaper than `uniforms`."""
        count = math.prod(shape)
        bits = self.words(name, -(-count // 4)).astype("<u8").view("<u2")[:count]
        return (bits.astype(np.float32) * np.float32(2.0**-15) - 1).reshape(shape)

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0) -> float:
        """One number, uniform in [low, high)."""
        return low + (high - low) * (hash64(self.seed, *self.parts, name) >> 11) * 2.0**-53

    def chance(self, name: str, probability: float) -> bool:
        """True with the given probability."""
        return self.uniform(name) < probability

    def integer(self, name: str, low: int, high: int) -> int:
        """One of low … high, both included."""
        return low + hash64(self.seed, *self.parts, name) % (high - low + 1)


@cache
def spline_matrix(coefficients: int, first: float, step: float, size: int) -> Field:
    """Values of a uniform cubic B-spline at positions first + i·step, as a matrix (size, coefficients).

    Coefficient j peaks at position j; positions must lie in [1, coefficients - 2].
    """
    position = first + step * np.arange(size)
    knot = np.minimum(position.astype(int), coefficients - 3)
    t = position - knot
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6
    matrix = np.zeros((size, coefficients), np.float32)
    matrix[np.arange(size)[:, None], knot[:, None] + np.arange(-1, 3)] = weights
    return matrix


def enlarge(grid: Field, size: int) -> Field:
    """A smooth (size, size) picture of a square grid of cell values; the border values are continued outwards."""
    cells = len(grid)
    step = cells / size
    spline = spline_matrix(cells + 4, 1.5 + step / 2, step, size)
    return spline @ np.pad(grid.astype(np.float32, copy=False), 2, mode="edge") @ spline.T


def octave(lot: Lot, name: str, cells: int, size: int, *, torus: bool = False) -> Field:
    """One octave of value noise, (size, size), about -1 to 1 with deviation near 1/3: `cells` lattice cells a side.

    A torus joins its opposite edges smoothly.
    """
    knots = cells if torus else cells + 3
    lattice: Field = lot.uniforms(f"{name} {cells}", knots, knots, low=-1.7, high=1.7).astype(np.float32)
    if torus:
        lattice = np.pad(lattice, (0, 3), mode="wrap").astype(np.float32, copy=False)
    step = cells / size
    spline = spline_matrix(cells + 3, 1 + step / 2, step, size)
    return np.asarray(spline @ lattice @ spline.T, np.float32)


def fractal(
    lot: Lot, name: str, cells: int, octaves: int, size: int, *, gain: float = 0.5, torus: bool = False
) -> Field:
    """Octaves of value noise, each twice as fine and `gain` times as high as the one before: (size, size)."""
    total = octave(lot, name, cells, size, torus=torus)
    for number in range(1, octaves):
        total += np.float32(gain**number) * octave(lot, name, cells << number, size, torus=torus)
    return total


def look_up(field: Field, rows: Field, columns: Field) -> Field:
    """The field's values at fractional places (bilinear); places outside wrap round: use a torus there."""
    places = np.stack([rows, columns])
    found: Field = ndimage.map_coordinates(field, places, output=np.float32, order=1, mode="grid-wrap")
    return found
