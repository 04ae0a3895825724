"""Rates of several sides, taken in turn, so that whatever else the machine does strikes all of them alike."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from benchmarks.figure import note
from benchmarks.surroundings import KEPT

ROUNDS = 9
brief = False
"""One round and one try, to see that a row works; its figures say nothing."""

Rate = Callable[[], float]


def best(row: str, candidates: dict[int, Rate], what: str, tries: int = 3) -> int:
    """The setting with the highest rate, by the best of some tries, the least disturbed, after one to warm up."""
    rates: dict[int, float] = {}
    for rate in candidates.values():
        rate()
    for _ in range(1 if brief else tries):
        for setting, rate in candidates.items():
            rates[setting] = max(rates.get(setting, 0), rate())
    candidates.clear()  # ends their threads and worker processes
    note(f"{row} {what}: " + ", ".join(f"{setting}: {rate:,.0f}/s" for setting, rate in rates.items()))
    return max(rates, key=rates.__getitem__)


def take_turns(row: str, sides: Mapping[str, Rate], rounds: int = ROUNDS) -> dict[str, NDArray[np.float64]]:
    """The rates of each side in each round, after one to warm up; every other round goes backwards.

    All are added to `.bench/turns.csv`: row, time, round, side, rate.
    """
    for rate in sides.values():
        rate()
    taken: dict[str, list[float]] = {side: [] for side in sides}
    KEPT.mkdir(exist_ok=True)
    with (KEPT / "turns.csv").open("a", newline="") as file:
        lines = csv.writer(file)
        for number in range(1 if brief else rounds):
            for side in list(sides)[:: 1 if number % 2 == 0 else -1]:
                taken[side].append(sides[side]())
                lines.writerow([row, datetime.now(UTC).isoformat(), number, side, taken[side][-1]])
    note(f"{row} " + ", ".join(f"{side} {np.median(rates):,.0f}/s" for side, rates in taken.items()))
    return {side: np.array(rates) for side, rates in taken.items()}


def time_epoch(counts: Iterable[int]) -> float:
    """Images a second of an epoch that gives the sizes of its batches, from the arrival of the first one on."""
    batches = iter(counts)
    next(batches)
    started = time.perf_counter()
    images = sum(batches)
    return images / (time.perf_counter() - started)
