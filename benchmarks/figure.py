"""One measured figure beside the one to reach."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """`str` gives the line that is printed: `B3 litdata 1.7 >= 1.5 ok`, or `short` at its end."""

    row: str
    name: str
    value: float
    relation: Literal[">=", "<="]
    goal: float

    @property
    def reached(self) -> bool:
        """Whether the value, unrounded, reaches the goal."""
        return self.value >= self.goal if self.relation == ">=" else self.value <= self.goal

    def __str__(self) -> str:
        value = f"{self.value:.0f}" if self.value >= 100 else f"{self.value:.3g}"
        return f"{self.row} {self.name} {value} {self.relation} {self.goal:g} {'ok' if self.reached else 'short'}"


def note(text: str) -> None:
    """Say on stderr how a figure came about; stdout holds the figures alone."""
    print(text, file=sys.stderr, flush=True)
