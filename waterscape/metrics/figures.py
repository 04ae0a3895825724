"""Figures as cards hold them: with their intervals, within their bounds, and which way they are better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.metrics import classification, reconstruction, water_maps
from waterscape.metrics.card import Better, Figure
from waterscape.metrics.intervals import LEAST, Interval, jackknife

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

LOWER = ("Fréchet distance", "kernel distance", "hydro-morphology distance", "cross-entropy", "calibration error")
HIGHER = (
    *reconstruction.HIGHER_IS_BETTER, *water_maps.HIGHER_IS_BETTER, classification.ACCURACY, classification.MEAN_RECALL,
    "precision", "recall", "density", "coverage",
)  # fmt: skip

SHARES = (
    "accuracy",
    "mean recall",
    "precision",
    "recall",
    "coverage",
    "IoU",
    "boundary IoU",
    "F1",
    "calibration error",
)
"""Figures that lie between 0 and 1, and their intervals with them."""


def with_intervals(figures: Callable[..., Mapping[str, float]], *sets: NDArray[Any]) -> dict[str, Interval]:
    """Of sets of samples, by name: with intervals where there are samples enough; else with none, told by NaN."""
    if min(map(len, sets)) >= LEAST:
        return jackknife(figures, *sets)
    return {name: Interval(value, np.nan, np.nan) for name, value in figures(*sets).items()}


def figure_of(name: str, found: Interval, floor: float | None = None, ceiling: float | None = None) -> Figure:
    """A card's figure. `floor`, `ceiling`: what it is of true pictures, and of noise."""
    plain = name.removeprefix("made again: ").partition(": ")[0]
    better: Better = "lower" if plain in LOWER or "error" in plain else "higher" if plain in HIGHER else ""
    if plain in SHARES:
        found = Interval(found.value, max(found.low, 0.0), min(found.high, 1.0))
    low, high = (None if np.isnan(limit) else float(limit) for limit in (found.low, found.high))
    return Figure(name, float(found.value), low, high, floor, ceiling, better)
