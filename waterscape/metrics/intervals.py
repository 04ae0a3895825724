"""How sure a figure is that was taken of samples: the delete-a-group jackknife (Quenouille 1956, Tukey 1958).

Unlike the bootstrap it draws no sample twice, which distances between sets would take for likeness.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from waterscape.randomness import permutation

GROUPS = 10


class Interval(NamedTuple):
    """A figure and where the true one lies with a chance of 95 %."""

    value: float
    low: float
    high: float

    @property
    def standard_error(self) -> float:
        """Of the value."""
        return (self.high - self.low) / 2 / _quantile(GROUPS - 1)


def jackknife(figure: Callable[..., float], *sets: NDArray[np.float64], seed: int = 0) -> Interval:
    """A figure of several sets of samples (N D each), and its 95 % interval.

    Each of `GROUPS` times a group is left out of every set; how the figure moves tells its error. The interval is about
    the figure itself, whose bias it does not show: of the Fréchet distance of few samples that is larger.

    Raises:
        ValueError: a set of fewer than 2 · `GROUPS` samples, and what `figure` raises.
    """
    if any(len(samples) < 2 * GROUPS for samples in sets):
        counts = " and ".join(str(len(samples)) for samples in sets)
        raise ValueError(f"an interval needs {2 * GROUPS} samples or more, not {counts}")
    groups = [permutation(len(samples), seed, "jackknife", str(n)) % GROUPS for n, samples in enumerate(sets)]
    without = [
        figure(*(samples[group != left_out] for samples, group in zip(sets, groups, strict=True)))
        for left_out in range(GROUPS)
    ]
    value = figure(*sets)
    error = np.sqrt((GROUPS - 1) * np.var(without))
    reach = _quantile(GROUPS - 1) * float(error)
    return Interval(value, value - reach, value + reach)


def _quantile(freedom: int) -> float:
    """0.975 of Student's distribution."""
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))
