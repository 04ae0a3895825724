"""Fréchet distance between two sets of samples by their features: FID (Heusel 2017, arXiv:1706.08500).

Each set is taken as a Gaussian of its mean m and covariance S: |m₁ − m₂|² + tr S₁ + tr S₂ − 2 tr (S₁ S₂)^½.

It is zero for equal sets alone, and of two finite sets of one distribution above zero, the more the fewer there are:
figures are to be compared only at equal numbers, and beside their floor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def frechet_distance(true: ArrayLike, made: ArrayLike) -> float:
    """FID of two sets of features (N D and M D), in float64.

    With centred features A of N − 1 and B of M − 1 degrees of freedom, S₁ = AᵀA and S₂ = BᵀB, and the trace of the root
    of their product is the sum of the singular values of A Bᵀ: no root of a matrix is taken, so it holds for sets that
    are smaller than their features are wide too.

    Raises:
        ValueError: sets of unequal width, fewer than two samples, numbers that are not finite.
    """
    x, y = np.asarray(true, np.float64), np.asarray(made, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"features are N D and M D, not {x.shape} and {y.shape}")
    if min(len(x), len(y)) < 2:
        raise ValueError(f"a spread needs two samples or more, not {len(x)} and {len(y)}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("features are not finite")
    a, b = _root(x), _root(y)
    shift = x.mean(0) - y.mean(0)
    across = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(shift @ shift + (a**2).sum() + (b**2).sum() - 2 * across)


def _root(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """R of which RᵀR is the covariance, at most as many rows as features are wide."""
    centred: NDArray[np.float64] = (features - features.mean(0)) / np.sqrt(len(features) - 1)
    if len(centred) <= centred.shape[1]:
        return centred
    triangle: Any = np.linalg.qr(centred, mode="r")
    return np.asarray(triangle, np.float64)
