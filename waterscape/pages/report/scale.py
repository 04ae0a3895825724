"""The axes of a chart: where a value lies, and the round numbers that are written beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LOGARITHMIC_FROM = 20.0
"""Of the largest to the smallest value, where all are above zero."""


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` along pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    @classmethod
    def of(cls, values: Sequence[float], start: float, end: float, *, may_be_logarithmic: bool = False) -> Scale:
        """One on which all of the values (at least one, finite) lie, with a little room around them."""
        low, high = min(values), max(values)
        if may_be_logarithmic and low > 0 and high / low > LOGARITHMIC_FROM:
            room = (high / low) ** 0.04
            return cls(low / room, high * room, start, end, logarithmic=True)
        room = 0.05 * (high - low) or abs(high) * 0.1 or 1.0
        least = 0.0 if low >= 0 and low - room < 0 else low - room
        return cls(least, high + room, start, end)

    def place(self, value: float) -> float:
        """The pixel at which a value lies."""
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, about: int) -> list[float]:
        """About so many round values within."""
        if self.logarithmic:
            exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for steps in ((1, 2, 5), (1, 3), (1,)):
                found = [s * 10.0**e for e in exponents for s in steps if self.low <= s * 10.0**e <= self.high]
                if len(found) <= about + 2:
                    return found
            return found[:: -(-len(found) // about)]
        rough = (self.high - self.low) / about
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough)
        first = math.ceil(self.low / step)
        return [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


def apart(ticks: Sequence[float]) -> float:
    """How far the two nearest ticks are from each other; 0 where there is one."""
    return min((after - before for before, after in pairwise(ticks)), default=0.0)


def short(value: float, step: float = 0.0) -> str:
    """A number as an axis writes it: 0.05, 1,500, 20k, 3M; with as many digits as tell it from others a `step` away."""
    value = 0.0 if abs(value) < step / 1e6 else float(f"{value:.12g}")
    digits = math.floor(math.log10(abs(value))) - math.floor(math.log10(step)) + 2 if value and step else 0
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            unit = 1e3 if letter == "k" else size
            return f"{value / unit:.{max(4, min(digits, 12))}g}{letter}"
    return f"{value:,.{max(4 if abs(value) >= 1000 else 3, min(digits, 12))}g}"
