"""How alike the water bodies of two sets of tiles are: their shapes, compared as distributions.

Each tile or body is described by a few numbers of hydrology and geomorphology; of each, the two sets' distributions are
compared by the 1-Wasserstein distance (how far, on average, values must move to turn one into the other), divided by a
stated scale, so that descriptors can be averaged. The scales are about the spread of true tiles, and fixed, so that
distances to different sets of true tiles can be compared.

    from waterscape.metrics.hydro_morphology import describe, hydro_morphology_distance
    hydro_morphology_distance(describe(true), describe(made))["hydro-morphology distance"]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from waterscape.metrics.morphology import COLUMNS, bodies
from waterscape.metrics.shape_classes import USUAL

Descriptors = Mapping[str, NDArray[np.float64]]

SCALES = {
    "water fraction": 0.2,  # share of a tile's pixels, 0 to 1
    "bodies": 5.0,  # in a tile
    "body size": 1.3,  # natural logarithm of pixels
    "shoreline density": 0.035,  # length of shores over a tile's area, 1/pixel
    "fractal dimension": 0.12,  # of a tile's shores, by counting boxes: 1 is a smooth line
    "sinuosity": 0.5,  # of bodies at least `LONG` pixels long
    "width": 1.3,  # natural logarithm of a body's mean width in pixels
}
NONE = {"body size": 0.0, "fractal dimension": 1.0, "sinuosity": 1.0, "width": 0.0}
"""What stands for the bodies of a set that has none: a straight one of one pixel."""
LONG = 16.0
"""Pixels of the longest way through a body whose sinuosity counts."""
BOXES = (1, 2, 4, 8)
"""Sides in pixels of the boxes that shores are covered by."""
LEAST_SHORE = 16
"""Corners of pixels that shores run through, in a tile whose fractal dimension counts."""
MEAN = "hydro-morphology distance"


def describe(tiles: Iterable[NDArray[np.uint8]]) -> dict[str, NDArray[np.float64]]:
    """The descriptors in `SCALES` of occurrence tiles (H W, in percent): one value a tile, or one a body."""
    found: dict[str, list[float]] = {name: [] for name in SCALES}
    area, perimeter, longest, sinuosity, width = (
        COLUMNS.index(name) for name in ("area", "perimeter", "longest_path", "sinuosity", "mean_width")
    )
    for tile in tiles:
        table = bodies(tile)
        found["water fraction"].append(float((tile >= USUAL.water).mean()))
        found["bodies"].append(float(len(table)))
        found["body size"] += np.log(table[:, area]).tolist()
        found["shoreline density"].append(float(table[:, perimeter].sum()) / tile.size)
        found["width"] += np.log(table[:, width]).tolist()
        found["fractal dimension"] += fractal_dimension(tile >= USUAL.water)
        found["sinuosity"] += table[table[:, longest] >= LONG, sinuosity].tolist()
    return {name: np.asarray(values) for name, values in found.items()}


def fractal_dimension(water: NDArray[np.bool_]) -> list[float]:
    """Of the shores in a picture (H W): the slope of log boxes over −log side, by least squares; none of short ones.

    Shores run between wet and dry pixels; a box counts where one runs through it (Mandelbrot 1967,
    doi:10.1126/science.156.3775.636; Liebovitch 1989, doi:10.1016/0375-9601(89)90854-2). 1 for a line of any direction,
    2 for a plane; of shores that are rough at every scale less than theirs, since boxes of few pixels see few scales.
    """
    corners = water[:-1, :-1].astype(np.int8) + water[1:, :-1] + water[:-1, 1:] + water[1:, 1:]
    shore = (corners > 0) & (corners < 4)
    if np.count_nonzero(shore) < LEAST_SHORE:
        return []
    counts = np.zeros(len(BOXES))
    for turned in (shore, shore[::-1], shore[:, ::-1], shore[::-1, ::-1]):  # or it would matter how a tile is turned
        whole = np.pad(turned, [(0, -side % BOXES[-1]) for side in shore.shape])
        height, width = whole.shape
        counts += [whole.reshape(height // box, box, width // box, box).any((1, 3)).sum() for box in BOXES]
    return [float(-np.polyfit(np.log(BOXES), np.log(counts), 1)[0])]


def hydro_morphology_distance(true: Descriptors, made: Descriptors) -> dict[str, float]:
    """The distance of each descriptor's distributions, over its scale, and their mean by the name `MEAN`.

    0 for equal sets, symmetric; 1 is a shift by about the spread of true tiles. Raises `ValueError` for an empty set.
    """
    if not len(true["water fraction"]) or not len(made["water fraction"]):
        raise ValueError("a set without tiles has no distance")
    distances = {name: _distance(name, true[name], made[name]) for name in SCALES}
    return {MEAN: float(np.mean(list(distances.values()))), **distances}


def _distance(name: str, true: NDArray[np.float64], made: NDArray[np.float64]) -> float:
    one, other = (values if len(values) else np.array([NONE[name]]) for values in (true, made))
    from scipy.stats import wasserstein_distance  # a second to import, which every start of a run would wait for

    return float(wasserstein_distance(one, other)) / SCALES[name]
