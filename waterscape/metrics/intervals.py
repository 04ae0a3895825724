"""How sure a figure is that was taken of samples: the delete-a-group jackknife (Quenouille 1956, Tukey 1958).

Unlike the bootstrap it draws no sample twice, which distances between sets would take for likeness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from waterscape.randomness import permutation

GROUPS = 10
LEAST = 2 * GROUPS
"""Samples that an interval needs."""


class Interval(NamedTuple):
    """A figure and where the true one lies with a chance of 95 %."""

    value: float
    low: float
    high: float

    @property
    def standard_error(self) -> float:
        """Of the value."""
        return (self.high - self.low) / 2 / _quantile(GROUPS - 1)


def jackknife(figures: Callable[..., Mapping[str, float]], *sets: NDArray[Any], seed: int = 0) -> dict[str, Interval]:
    """Figures of several sets of samples (N …, each its own N), by name, and their 95 % intervals.

    Each of `GROUPS` times a group is left out of every set; how a figure moves tells its error. The interval is about
    the figure itself, whose bias it does not show: of the Fréchet distance of few samples that is larger.

    Raises:
        ValueError: a set of fewer than `LEAST` samples, and what `figures` raises.
    """
    if any(len(samples) < LEAST for samples in sets):
        counts = " and ".join(str(len(samples)) for samples in sets)
        raise ValueError(f"an interval needs {LEAST} samples or more, not {counts}")
    groups = [permutation(len(samples), seed, "jackknife", str(n)) % GROUPS for n, samples in enumerate(sets)]
    without = [
        figures(*(samples[group != left_out] for samples, group in zip(sets, groups, strict=True)))
        for left_out in range(GROUPS)
    ]
    reach = _quantile(GROUPS - 1) * (GROUPS - 1) ** 0.5
    found = {}
    for name, value in figures(*sets).items():
        spread = reach * float(np.std([each.get(name, np.nan) for each in without]))
        found[name] = Interval(value, value - spread, value + spread)
    return found


def _quantile(freedom: int) -> float:
    """0.975 of Student's distribution."""
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))
