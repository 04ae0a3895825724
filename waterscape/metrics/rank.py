"""How many directions a set of features really spreads in: its effective rank (Roy and Vetterli 2007, EUSIPCO)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def effective_rank(features: ArrayLike) -> float:
    """Of N D features: the exponential of the entropy of their singular values about the mean, in 1..min(N − 1, D).

    1 where all differ along one line; 0 where they are all the same, as from a generator that has collapsed.

    Raises `ValueError` for fewer than two samples.
    """
    x = np.asarray(features, np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"a rank is of N D features, N of two or more, not {x.shape}")
    values = np.linalg.svd(x - x.mean(0), compute_uv=False)
    total = values.sum()
    if total <= 1e-12 * max(1.0, float(np.abs(x).max())) * len(values):
        return 0.0
    shares = values[values > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))
