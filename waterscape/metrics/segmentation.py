"""What a map of water is worth: pixels told right and wrong, its shores, its area; and the threshold everyone compares.

All take arrays of equal shape, of any number of axes unless it says otherwise: `predicted` and `truth` are true where
there is water, `known` (default: everywhere) where both may be judged. Ratios of nothing are NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

SUMMED = ("tp", "fp", "fn", "tn")
"""The entries of a `Confusion`, under whose names a recipe sums them."""


@dataclass(frozen=True)
class Confusion:
    """How many pixels are water and called so (tp), land called water (fp), water called land (fn), land (tn)."""

    tp: int
    fp: int
    fn: int
    tn: int

    def __add__(self, other: Confusion) -> Confusion:
        """The counts of both: ratios of the sum are those of all pixels together, not a mean over tiles."""
        return Confusion(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def accuracy(self) -> float:
        """Share of pixels called right."""
        return _ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)

    @property
    def iou(self) -> float:
        """Intersection over union of water (Jaccard 1912); NaN where neither map has any."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        """Of the pixels called water, the share that are; NaN where none is called so."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Of the pixels of water, the share that are called so; NaN where there are none."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall (Dice 1945): 2·IoU / (1 + IoU)."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def area_error(self) -> float:
        """Area of water called minus the true one, as a share of the true one; NaN where there is none."""
        return _ratio(self.fp - self.fn, self.tp + self.fn)


def confusion(predicted: npt.ArrayLike, truth: npt.ArrayLike, known: npt.ArrayLike | None = None) -> Confusion:
    """The counts over all pixels that are known."""
    called, true, judged = _maps(predicted, truth, known)
    water, wrong = true & judged, (called ^ true) & judged
    fn, fp, tp = (int(np.count_nonzero(some)) for some in (wrong & true, wrong & called, water & called))
    return Confusion(tp, fp, fn, int(np.count_nonzero(judged)) - tp - fp - fn)


def boundary_confusion(
    predicted: npt.ArrayLike, truth: npt.ArrayLike, known: npt.ArrayLike | None = None, pixels: int = 2
) -> Confusion:
    """The counts of `boundary_iou` of one pair of maps (H W), so that those of many can be added."""
    called, true, judged = _maps(predicted, truth, known)
    return confusion(_rim(called, judged, pixels), _rim(true, judged, pixels), judged)


def boundary_iou(
    predicted: npt.ArrayLike, truth: npt.ArrayLike, known: npt.ArrayLike | None = None, pixels: int = 2
) -> float:
    """Intersection over union of the water within so many pixels of its shore (Cheng 2021, arXiv:2103.16562): H W.

    Unlike there, the picture's own edge is no shore, nor is that of what is not known.
    """
    return boundary_confusion(predicted, truth, known, pixels).iou


def otsu_threshold(values: npt.ArrayLike) -> float:
    """The threshold that parts values into two groups with means as far apart as can be (Otsu 1979); NaN is left out.

    Exact, not of a histogram: the weighted squared distance of the means is greatest between the two neighbouring
    values that it lies in the middle of. Raises `ValueError` where there are no two values to part.
    """
    flat = np.asarray(values, np.float64).ravel()
    flat = np.sort(flat[~np.isnan(flat)])
    if not flat.size or flat[0] == flat[-1]:
        raise ValueError("no two different values to set a threshold between")
    below = np.arange(1, flat.size)
    sums = np.cumsum(flat - flat.mean())[:-1]  # about zero, so that the means do not cancel
    apart = sums**2 / (below * (flat.size - below))
    apart[flat[1:] == flat[:-1]] = -1.0  # equal values cannot be parted
    place = int(apart.argmax())
    return float((flat[place] + flat[place + 1]) / 2)


def figures(means: Mapping[str, float]) -> dict[str, float]:
    """What people read, of the means of `SUMMED`: ratios over all pixels. What is a ratio of nothing is left out."""
    tp, fp, fn, tn = (means[name] for name in SUMMED)
    ratios = {
        "accuracy": _ratio(tp + tn, tp + fp + fn + tn),
        "IoU": _ratio(tp, tp + fp + fn),
        "F1": _ratio(2 * tp, 2 * tp + fp + fn),
        "area error": _ratio(fp - fn, tp + fn),
    }
    return {name: value for name, value in ratios.items() if not math.isnan(value)}


def _maps(
    predicted: npt.ArrayLike, truth: npt.ArrayLike, known: npt.ArrayLike | None
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    called, true = np.asarray(predicted, bool), np.asarray(truth, bool)
    judged = np.ones(true.shape, bool) if known is None else np.asarray(known, bool)
    if not called.shape == true.shape == judged.shape:
        raise ValueError(f"maps of different shapes: {called.shape}, {true.shape}, known {judged.shape}")
    return called, true, judged


def _rim(water: npt.NDArray[np.bool_], judged: npt.NDArray[np.bool_], pixels: int) -> npt.NDArray[np.bool_]:
    """Water within so many pixels of land, by king's moves."""
    inside = ndimage.binary_erosion(water | ~judged, np.ones((3, 3)), iterations=pixels, border_value=1)
    return np.asarray(water & ~inside)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
