"""Centrelines of streams, and each pixel's place beside them.

Places are (row, column) in pixels; (0, 0) is the outer corner of the tile's first pixel. A line may leave the tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from waterscape.sources.world.noise import spline_matrix
from waterscape.sources.world.terrain import CELLS, SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from waterscape.sources.world.noise import Field, Lot

    Line = NDArray[np.float64]  # (P, 2) rows and columns about one pixel apart, or P values along such a line

HALF = SIZE // 2  # the nearest point is searched at half resolution; offsets from it are exact
SLACK = 3.0  # pixels along a line by which the nearest point found may be off


@dataclass(frozen=True)
class Beside:
    """Where each pixel lies beside the nearest of some lines; fields are (SIZE, SIZE), in pixels.

    `offset` is signed, left of the direction of flow negative; `distance` is its size, growing also beyond a line's
    ends; `along` the distance from the line's start; `width` the line's width there; `line` the line's number.
    """

    offset: Field
    distance: Field
    along: Field
    width: Field
    line: NDArray[np.int16]


def wander(lot: Lot, name: str, length: float, wavelength: float, count: int) -> Line:
    """Smooth noise along a line, about -1 to 1: `count` values over `length` pixels."""
    knots = max(int(length / wavelength), 1) + 4
    step = (knots - 3.001) / max(count - 1, 1)
    values = spline_matrix(knots, 1.0, step, count) @ lot.uniforms(name, knots, low=-1.7, high=1.7)
    return np.asarray(values, dtype=np.float64)


def respace(points: Line, spacing: float = 1.0) -> Line:
    """The same line with points `spacing` pixels apart."""
    along = np.append(0.0, np.cumsum(np.hypot(*np.diff(points, axis=0).T)))
    places = np.linspace(0.0, along[-1], max(int(along[-1] / spacing), 2) + 1)
    return np.stack([np.interp(places, along, points[:, 0]), np.interp(places, along, points[:, 1])], axis=1)


def directions(points: Line) -> Line:
    """Unit vectors along the line."""
    steps = np.gradient(points, axis=0)
    return np.asarray(steps / np.maximum(np.hypot(steps[:, 0], steps[:, 1]), 1e-9)[:, None])


def valley(cells: NDArray[np.intp], smooth: float, beyond: float = 40.0) -> Line:
    """A smooth line through coarse cells, in pixels, led on by `beyond` pixels at both ends."""
    scale = SIZE / CELLS
    points = respace((np.stack(np.divmod(cells, CELLS), axis=1) + 0.5) * scale)
    points = respace(ndimage.gaussian_filter1d(points, smooth, axis=0, mode="nearest"))
    reach = max(min(len(points) // 4, 20), 1)
    first = points[0] + (points[0] - points[reach]) / reach * beyond
    last = points[-1] + (points[-1] - points[-1 - reach]) / reach * beyond
    return respace(np.concatenate([first[None], points, last[None]]))


def meander(lot: Lot, base: Line, wavelength: float, swing: float) -> Line:
    """A meandering line about `base`: the sine-generated curve of Langbein & Leopold 1966 (USGS PP 422-H).

    The heading swings by `swing` radians (0 straight, 1.1 sinuosity about 1.4, 1.9 loops) over `wavelength` pixels of
    path, neither regular: both wander along the line.
    """
    count = int(len(base) * 4)
    uneven = wander(lot, "meander wavelength", count, 1.5 * wavelength, count)
    phase = np.cumsum(2 * np.pi / wavelength * (1 + 0.35 * uneven)) + lot.uniform("meander phase", high=2 * np.pi)
    swings = np.minimum(swing * (1 + 0.35 * wander(lot, "meander swing", count, 2 * wavelength, count)), 1.85)
    heading = swings * np.sin(phase)
    forward, sideways = np.cumsum(np.cos(heading)), np.cumsum(np.sin(heading))
    sideways -= ndimage.gaussian_filter1d(sideways, 1.2 * wavelength, mode="nearest", truncate=2.0)
    end = int(np.argmax(forward > len(base) - 1)) or count
    forward, sideways = forward[:end].clip(0, len(base) - 1), sideways[:end]
    place = np.arange(len(base))
    along = directions(base)
    columns = [np.interp(forward, place, values) for values in (*base.T, *along.T)]
    return respace(np.stack([columns[0] - sideways * columns[3], columns[1] + sideways * columns[2]], axis=1))


def cut_off(points: Line, reach: int) -> tuple[Line, Line | None]:
    """Cut the narrowest neck of a meandering line: the shorter line, and the oxbow left behind (None: no neck).

    A neck joins two points at least `reach` path pixels apart that lie within a third of it.
    """
    inside = np.flatnonzero(((points > 30) & (points < SIZE - 30)).all(axis=1))
    best, span = 1 / 3, None
    for length in (reach, int(1.4 * reach)):
        starts = inside[(inside + length < len(points)) & np.isin(inside + length, inside)]
        if not len(starts):
            continue
        chord = np.hypot(*(points[starts + length] - points[starts]).T) / length
        if chord.min() < best:
            best, start = float(chord.min()), int(starts[chord.argmin()])
            span = (start, start + length)
    if span is None:
        return points, None
    first, last = span
    joined = np.concatenate([points[: max(first - 2, 1)], points[last + 2 :]])
    joined = respace(joined)
    smooth = ndimage.gaussian_filter1d(joined, 4.0, axis=0, mode="nearest")
    gap = int(0.2 * (last - first))
    return smooth, points[first + gap : last - gap]


def beside(lines: Sequence[Line], widths: Sequence[Line]) -> Beside:
    """Where each pixel lies beside the nearest of `lines`, whose points have `widths` pixels."""
    points = np.concatenate(lines)
    tangent = np.concatenate([directions(line) for line in lines]).astype(np.float32)
    along = np.concatenate([np.arange(len(line), dtype=np.float32) for line in lines])
    width = np.concatenate(widths).astype(np.float32)
    number = np.concatenate([np.full(len(line), k, np.int16) for k, line in enumerate(lines)])
    margin = 12
    side = HALF + 2 * margin
    cell = np.floor(points * (HALF / SIZE)).astype(np.intp) + margin
    kept = np.flatnonzero(((cell >= 0) & (cell < side)).all(axis=1))
    if not len(kept):  # the lines miss the tile: one far point stands for them
        kept, cell = np.array([0]), np.zeros_like(cell)
    seed = np.full((side, side), -1, np.int32)
    seed[cell[kept, 0], cell[kept, 1]] = kept
    nearest = ndimage.distance_transform_edt(seed < 0, return_distances=False, return_indices=True)
    index = seed[nearest[0], nearest[1]][margin:-margin, margin:-margin]

    def at_pixels(values: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(values[index]).repeat(2, axis=0).repeat(2, axis=1)

    centre = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
    rows = centre[:, None] - at_pixels(points[:, 0].astype(np.float32))
    columns = centre[None, :] - at_pixels(points[:, 1].astype(np.float32))
    down, right = at_pixels(tangent[:, 0]), at_pixels(tangent[:, 1])
    forward = rows * down + columns * right
    offset = columns * down - rows * right
    distance = np.hypot(offset, np.maximum(np.abs(forward) - SLACK, 0))
    return Beside(offset, distance, at_pixels(along) + forward, at_pixels(width), at_pixels(number))
