"""Whoever looks at a run from outside while it goes on, and what comes of it: figures, a warning, advice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from waterscape.training.learner import Learner


@dataclass(frozen=True)
class Advice:
    """What a run should do, in the eyes of one who looked at it."""

    good: bool = False
    """The networks as they are now are worth going back to: a checkpoint of them is kept."""
    roll_back: str = ""
    """Why to go back to the newest checkpoint that was called good, and on from there at a lower rate; empty: go on."""


@dataclass(frozen=True)
class Sight:
    """What a watcher saw: an event of its name and, of the figures, curves."""

    figures: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else the event tells."""
    warning: str = ""
    """For whoever watches the terminal, and for the event."""
    advice: Advice = Advice()


@dataclass(frozen=True)
class Watcher:
    """Looks at a run each time `every` images have passed: on the first process, while the others wait."""

    name: str
    every: int
    look: Callable[[Learner], Sight]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What its figures were taken on: part of each event."""
    ends: bool = True
    """Whether it looks before the first step and after the last one too."""
    steers: bool = False
    """Whether its advice is taken. No look is missed then or taken out of turn, wherever the run was stopped: a run
    that is resumed gets the advice that it would have had."""
