"""Which settings are tried, which is the best of them, and by how much one preset is better than another."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

from scipy import stats

from waterscape import models
from waterscape.comparison.wanted import Candidate, Settings
from waterscape.errors import UserError
from waterscape.metrics.classification import CROSS_ENTROPY
from waterscape.metrics.evaluation import KERNEL
from waterscape.metrics.hydro_morphology import MEAN
from waterscape.metrics.water_maps import JACCARD
from waterscape.randomness import permutation

JUDGED_BY = ("made again: squared error", KERNEL, MEAN, JACCARD, CROSS_ENTROPY)
"""Figures, all the lower the better, whose mean rank chooses among a preset's trials."""


def settings_to_try(model: str, trials: int) -> list[Settings]:
    """The same for each preset: none changed, then draws from what the model's source leaves open.

    Of each option every value comes once before any comes again (Latin hypercube: McKay 1979, doi:10.2307/1268522).
    """
    space = models.search_space(model)
    if trials > 1 and not space:
        raise UserError(f"{model} states no SEARCH, so there is nothing to try: --trials 1")
    found: list[Settings] = [{}]
    while len(found) < trials:
        turn = len(found)
        orders = {name: permutation(len(values), 0, name, turn) for name, values in space.items()}
        rounds = min(len(values) for values in space.values())
        found += [{name: space[name][order[i]] for name, order in orders.items()} for i in range(rounds)]
    return found[:trials]


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """The candidate of the best mean rank in the figures of `JUDGED_BY`; the only one where nothing was tried."""
    names = [name for name in JUDGED_BY if name in candidates[0].figures]
    if not names:
        return candidates[0]
    ranks = stats.rankdata([[candidate.figures[name] for name in names] for candidate in candidates], axis=0)
    return candidates[int(ranks.mean(1).argmin())]


def differences(
    first: Sequence[dict[str, float]], second: Sequence[dict[str, float]], level: float = 0.95
) -> dict[str, dict[str, float]]:
    """Of each figure that all have, second less first: the mean over pairs, and its interval (Student's t, paired)."""
    found = {}
    for name in first[0]:
        if not all(name in figures for figures in (*first, *second)):
            continue  # a class that one run never names has no precision
        changes = [other[name] - one[name] for one, other in zip(first, second, strict=True)]
        reach = float(stats.t.ppf((1 + level) / 2, len(changes) - 1)) * stdev(changes) / len(changes) ** 0.5
        found[name] = {"mean": mean(changes), "low": mean(changes) - reach, "high": mean(changes) + reach}
    return found
