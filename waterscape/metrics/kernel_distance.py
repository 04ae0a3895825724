"""Kernel distance between two sets of samples by their features: KID (Bińkowski 2018, arXiv:1801.01401).

The squared maximum mean discrepancy with the kernel (x·y / d + 1)³, in its unbiased form (Gretton 2012, lemma 6): zero
on average where both sets come from one distribution, so it may come out below zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waterscape.randomness import permutation


class KernelDistance(NamedTuple):
    """The mean over subsets, and its standard error."""

    mean: float
    standard_error: float


def kernel_distance(true: ArrayLike, made: ArrayLike, subsets: int = 8, seed: int = 0) -> KernelDistance:
    """KID of two sets of features (N D and M D): the unbiased MMD² of disjoint random subsets, mean and standard error.

    The subsets share no sample, so that their spread tells the error of their mean; each has N // `subsets` and
    M // `subsets` samples.

    Raises:
        ValueError: sets of unequal width, or fewer than two samples for a subset.
    """
    x, y = np.asarray(true, np.float64), np.asarray(made, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"features are N D and M D, not {x.shape} and {y.shape}")
    if min(len(x), len(y)) < 2 * subsets:
        raise ValueError(f"{subsets} subsets of two or more need {2 * subsets} samples, not {len(x)} and {len(y)}")
    parts = zip(_subsets(x, subsets, seed, "true"), _subsets(y, subsets, seed, "made"), strict=True)
    found = [squared_discrepancy(one, other) for one, other in parts]
    return KernelDistance(float(np.mean(found)), float(np.std(found, ddof=1) / subsets**0.5) if subsets > 1 else 0.0)


def squared_discrepancy(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """The unbiased estimate of MMD² with the cubic kernel: N D, M D → scalar."""
    n, m = len(x), len(y)
    within_x, within_y, across = _kernel(x, x), _kernel(y, y), _kernel(x, y)
    of_x = (within_x.sum() - within_x.trace()) / (n * (n - 1))
    of_y = (within_y.sum() - within_y.trace()) / (m * (m - 1))
    return float(of_x + of_y - 2 * across.mean())


def _kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = x @ y.T / x.shape[1] + 1
    return product**3


def _subsets(samples: NDArray[np.float64], subsets: int, seed: int, name: str) -> list[NDArray[np.float64]]:
    """Disjoint subsets of equal size, drawn in an order that is the same on every machine."""
    order = permutation(len(samples), seed, "kernel distance", name)
    size = len(samples) // subsets
    return [samples[order[i * size : (i + 1) * size]] for i in range(subsets)]
