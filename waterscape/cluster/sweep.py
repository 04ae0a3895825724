"""`waterscape sweep`: one training for each combination of a grid's values, and which of them came out best."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from waterscape.cluster.submit import Allocation
from waterscape.errors import UserError
from waterscape.training.events import read_events
from waterscape.training.outcome import read_outcome

USUAL = Allocation()
SHORT = {"lr": "learning-rate"}
"""Names that people type."""


@dataclass(frozen=True)
class Sweep:
    """A grid of trainings as an array of jobs. The same command again submits what is not done, and ranks the rest.

    All other options are those of `waterscape train`; --out is the directory that takes the runs.
    """

    grid: tuple[str, ...]
    """OPTION=VALUE,VALUE …, such as --grid lr=1e-4,3e-4 batch=32,64."""
    rank_by: str | None = None
    """The held-out figure to rank by, lower is better. None: the first that the model measures."""
    table: bool = False
    """Only print the table of what stands."""
    allocation: Allocation = USUAL


def combinations(grid: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each combination of a grid: its name, as of a directory, and the words that train takes.

    Raises:
        UserError: a word that is not OPTION=VALUE,VALUE …, or an option that is named twice.
    """
    axes: dict[str, list[str]] = {}
    for word in grid:
        name, _, listed = word.partition("=")
        values = listed.split(",")
        if not name or not all(values):
            raise UserError(f"--grid {word} is not OPTION=VALUE,VALUE such as lr=1e-4,3e-4")
        if name in axes:
            raise UserError(f"--grid names {name} twice: give all its values at once")
        axes[name] = values
    for chosen in itertools.product(*axes.values()):
        pairs = list(zip(axes, chosen, strict=True))
        options = [(SHORT.get(name, name).replace("_", "-"), value) for name, value in pairs]
        yield (
            ",".join(f"{name}={value}" for name, value in pairs),
            [word for name, value in options for word in (f"--{name}", value)],
        )


def ranked(outs: Sequence[Path], figure: str | None = None) -> list[str]:
    """The lines of a table: the runs by a figure of held-out samples as measured last, the best first.

    Raises `UserError` where runs have measured, but nothing of that name.
    """
    rows = []
    names: list[str] = []
    for out in outs:
        events = [event for event in read_events(out) if event["event"] == "picture"]
        measured = events[-1]["measured"] if events else {}
        names += [name for name in measured if name not in names]
        outcome = read_outcome(out) if out.is_dir() else None
        rows.append((out.name, events[-1]["images"] if events else 0, outcome.word if outcome else "-", measured))
    if figure is not None and names and figure not in names:
        raise UserError(f"--rank-by {figure}: the runs have measured {', '.join(names)}")
    figure = figure or (names[0] if names else "figure")
    rows.sort(key=lambda row: (row[3].get(figure, float("inf")), row[0]))
    width = max([3, *(len(row[0]) for row in rows)])
    lines = [f"{'run':{width}} {figure:>16} {'images':>10}  outcome"]
    for name, images, word, measured in rows:
        value = f"{measured[figure]:.6g}" if figure in measured else "-"
        lines.append(f"{name:{width}} {value:>16} {images:>10}  {word}")
    return lines
