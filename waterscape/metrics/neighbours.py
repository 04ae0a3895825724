"""What nearest neighbours among features tell of made samples: fidelity, variety, and whether they are copies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

ROWS = 1024  # of a table of distances at once

Distances = NDArray[np.float64]


class Manifold(NamedTuple):
    """How two sets lie in one another. The first two need no outlier to mislead them less than the last two."""

    precision: float
    """Share of made samples that lie within the true ones' balls (Kynkäänniemi 2019, arXiv:1904.06991)."""
    recall: float
    """Share of true samples that lie within the made ones' balls (the same)."""
    density: float
    """True balls that a made sample lies in, on average, over `k`; may exceed 1 (Naeem 2020, arXiv:2002.09797)."""
    coverage: float
    """Share of true samples whose ball holds a made one (the same)."""


def manifold(true: ArrayLike, made: ArrayLike, k: int = 5) -> Manifold:
    """Precision, recall, density and coverage of two sets of features (N D and M D).

    A sample's ball reaches to its `k`-th nearest neighbour in its own set.

    Raises:
        ValueError: sets of unequal width, or no more than `k` samples.
    """
    x, y = _checked(true, made)
    if min(len(x), len(y)) <= k:
        raise ValueError(f"balls of {k} neighbours need more than {k} samples, not {len(x)} and {len(y)}")
    reach_of_true, reach_of_made = _reach(x, k), _reach(y, k)
    within = np.zeros(len(y), np.int64)  # true balls that each made sample lies in
    recalled, covered = [], []
    for first in range(0, len(x), ROWS):
        rows = slice(first, first + ROWS)
        apart = cdist(x[rows], y)
        held = apart <= reach_of_true[rows, None]
        within += held.sum(0)
        covered.append(held.any(1))
        recalled.append((apart <= reach_of_made).any(1))
    return Manifold(
        precision=float((within > 0).mean()),
        recall=float(np.concatenate(recalled).mean()),
        density=float(within.mean() / k),
        coverage=float(np.concatenate(covered).mean()),
    )


class Memory(NamedTuple):
    """Whether made samples are copies of training samples, in the light of true samples that nobody trained on."""

    copied: float
    """Share of made samples that lie nearer to a training sample than all but 1 % of held-out samples do: 0.01 where
    the network has learnt the distribution, 1 where it repeats the training set."""
    nearer: float
    """Chance that a made sample lies nearer to the training set than a held-out one does (the statistic of Mann and
    Whitney, as Meehan 2020, arXiv:2004.05675, uses it): 0.5 is right, 1 a copy, 0 far from all that was seen."""
    nearest: NDArray[np.int64]
    """The training sample nearest to each made one."""
    distances: Distances
    """How far that is."""


def memory(training: ArrayLike, held_out: ArrayLike, made: ArrayLike) -> Memory:
    """Compare made samples' way to the nearest training sample with that of held-out ones: features N D each.

    Raises `ValueError` for sets of unequal width, or an empty one.
    """
    seen, other = _checked(training, held_out)
    _, new = _checked(training, made)
    distances, nearest = nearest_to(new, seen)
    usual = nearest_to(other, seen)[0]
    below, equal = (np.searchsorted(np.sort(usual), distances, side) for side in ("left", "right"))
    further = len(usual) - (below + equal) / 2  # held-out samples that lie further away, ties by half
    return Memory(
        copied=float((distances < np.quantile(usual, 0.01)).mean()),
        nearer=float(further.mean() / len(usual)),
        nearest=nearest,
        distances=distances,
    )


def nearest_to(samples: ArrayLike, others: ArrayLike) -> tuple[Distances, NDArray[np.int64]]:
    """Distance of each sample (N D) to the nearest of the others (M D), and which that is."""
    x, y = _checked(samples, others)
    distances, numbers = [], []
    for first in range(0, len(x), ROWS):
        apart = cdist(x[first : first + ROWS], y)
        numbers.append(apart.argmin(1))
        distances.append(apart.min(1))
    return np.concatenate(distances), np.concatenate(numbers).astype(np.int64)


def _reach(samples: NDArray[np.float64], k: int) -> Distances:
    """Distance of each sample to its `k`-th nearest neighbour, itself not counted."""
    found = [np.partition(cdist(samples[i : i + ROWS], samples), k, axis=1)[:, k] for i in range(0, len(samples), ROWS)]
    return np.concatenate(found)


def _checked(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    one, other = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1] or not len(one) or not len(other):
        raise ValueError(f"features are N D and M D, none empty, not {one.shape} and {other.shape}")
    return one, other
