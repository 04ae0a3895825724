"""One measured figure beside the one to reach."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np


class NotHereError(Exception):
    """A row that this machine cannot measure; the message says what it lacks."""


@dataclass(frozen=True)
class Figure:
    """`str` gives the line that is printed: `B3 litdata 1.7 >= 1.5 ok`, or `short` at its end.

    `name` is the peer's, `limit` for a share of the physical limit, or else what was measured. Without `relation` and
    `goal` it is told and not judged. `spread`: the quartiles over `repeats` rounds.
    """

    row: str
    name: str
    value: float
    relation: Literal[">=", "<="] | None = None
    goal: float | None = None
    spread: tuple[float, float] | None = None
    repeats: int | None = None

    @classmethod
    def over(
        cls,
        row: str,
        name: str,
        values: Iterable[float],
        relation: Literal[">=", "<="] | None = None,
        goal: float | None = None,
    ) -> Self:
        """The median over rounds, with the quartiles."""
        measured = [float(value) for value in values]
        low, median, high = (float(value) for value in np.percentile(measured, (25, 50, 75)))
        return cls(row, name, median, relation, goal, (low, high), len(measured))

    @property
    def verdict(self) -> Literal["ok", "short", ""]:
        """Whether the value, unrounded, reaches the goal; empty without one."""
        if self.goal is None:
            return ""
        reached = self.value >= self.goal if self.relation == ">=" else self.value <= self.goal
        return "ok" if reached else "short"

    def __str__(self) -> str:
        told = f"{self.row} {self.name} {shown(self.value)}"
        return told if self.goal is None else f"{told} {self.relation} {self.goal:g} {self.verdict}"


def shown(value: float) -> str:
    """Three digits."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def note(text: str) -> None:
    """Say on stderr how a figure came about; stdout holds the figures alone."""
    print(text, file=sys.stderr, flush=True)
