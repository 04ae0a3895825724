"""What is kept of a comparison, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from benchmarks.study.entries import Entry
from waterscape.comparison import Cell, differences, path_of
from waterscape.comparison.wanted import changed
from waterscape.metrics.card import Card, Figure
from waterscape.pages.comparison import better

UNKNOWN = "not measured yet"


@dataclass(frozen=True)
class Outcome:
    """What is kept of a comparison: its cells by preset and seed, and the cards of what needs no training."""

    entry: Entry
    cells: Mapping[str, Mapping[int, Cell]]
    baselines: Mapping[str, Card]
    trials: Mapping[str, int]
    changed: Sequence[str]
    """What is no longer as it was when these were found, such as a preset's options."""

    @classmethod
    def load(cls, entry: Entry, cells: Path) -> Outcome:
        """Of the directory in which all are kept. Raises `UserError` for a damaged one."""
        kept = cells / entry.name
        found = {
            preset: {
                seed: Cell.load(path)
                for seed in range(1, entry.seeds + 1)
                if (path := path_of(kept, preset, seed)).exists()
            }
            for preset in entry.presets
        }
        simple = {path.stem: Card.load(path) for path in sorted((kept / "baselines").glob("*.json"))}
        trials = {preset: len(list((kept / "trials").glob(f"*-{preset}.json"))) for preset in entry.presets}
        unused = Path()
        asked = entry.comparison(unused, unused, kept, dict.fromkeys(entry.starts.values(), unused))
        return cls(entry, found, simple, trials, changed(asked))

    @property
    def pairs(self) -> list[int]:
        """The seeds that both presets were trained with."""
        first, second = (set(self.cells[preset]) for preset in self.entry.presets)
        return sorted(first & second)

    @property
    def cards(self) -> list[Card]:
        """All that trainings earned."""
        return [cell.card for its in self.cells.values() for cell in its.values()]

    def figure(self, name: str) -> Figure | None:
        """A figure of any of the cards, for its limits and for what is better."""
        return next((found for card in self.cards if (found := card.figure(name))), None)

    def values(self, preset: str, name: str) -> list[float]:
        """A figure of the preset's trainings, by seed."""
        cells = (self.cells[preset][seed] for seed in sorted(self.cells[preset]))
        return [cell.figures[name] for cell in cells if name in cell.figures]

    def difference(self, name: str) -> Mapping[str, float] | None:
        """Second preset less first, with its interval; None before all pairs are there."""
        first, second = ([self.cells[p][seed].figures for seed in self.pairs] for p in self.entry.presets)
        return differences(first, second).get(name) if len(first) == self.entry.seeds else None

    def verdict(self, name: str) -> str:
        """The preset that the interval speaks for."""
        figure, change = self.figure(name), self.difference(name)
        if figure is None or change is None:
            return UNKNOWN if not self.pairs else "not all measured yet"
        if figure.floor is not None and figure.better == "lower":
            means = [mean(self.values(preset, name)) for preset in self.entry.presets]
            if max(means) <= figure.floor:
                return "both at the floor"  # where true samples are no better, less says nothing
        return better(figure.better, change, *self.entry.presets)
