"""`benchmarks/results.md`, made of what is kept: a summary, then a table for each comparison."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from benchmarks.study.chart import draw_summary
from benchmarks.study.entries import Entry
from benchmarks.study.sets import SETS
from waterscape.comparison import Cell, differences, path_of
from waterscape.comparison.wanted import changed
from waterscape.durable import write_text
from waterscape.metrics.card import Card, Figure
from waterscape.pages.comparison import better, seconds_told

HEAD = """# Study: what each model is worth

Written by `make study` (`python -m benchmarks.study`); every cell comes from a file in `benchmarks/study/cells`.

For each model the preset `reference`, as published, against `recommended`, by the rules of a fair comparison: the same
data and split, the same processor time and threads, the same number of tuning trials, three pairs of equal seed.
Figures are of the test split, by which nothing was chosen; a difference is the second preset less the first, with the
95 % interval over the pairs (Student's t); where that holds zero, the verdict is `undecided`. It tells how seeds
differ; how sure a figure is that was taken of few samples, its card tells. Lost comparisons stand here like won ones.

How long a training lasts is stated as a number of images, which follows from the presets' speeds, measured once in
processor time. These are budgets of a CPU: minutes, not the hours for which the models were published.

`synthetic` and `real` say what a model was trained and judged on. Figures on synthetic sets tell one preset from
another; they do not tell what a model is worth on real data. A metric card of each training, with the interval of each
figure, the hashes of checkpoint, data and features, and the versions of all that it depends on, is in its cell."""
QUICK = """# Study, the quick form

This only shows that the whole way runs: a second of training of each. Its figures mean nothing."""
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


def write_page(entries: Sequence[Entry], cells: Path, path: Path, *, quick: bool = False) -> Path:
    """Write the page, and its picture beside it; returns its path."""
    outcomes = [Outcome.load(entry, cells) for entry in entries]
    parts = [QUICK if quick else HEAD, "## Summary", _rows(SUMMARY, map(_summary, outcomes))]
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = draw_summary(outcomes, path.with_suffix(".png"))
    if picture:
        parts.append(f"![How much better the second preset is, for each model, with its interval]({picture.name})")
    for outcome in outcomes:
        parts += _section(outcome)
    write_text(path, "\n\n".join(parts) + "\n")
    return path


SUMMARY = (
    "model",
    "data",
    "figure",
    "first preset",
    "second preset",
    "difference",
    "95 %",
    "without training",
    "better",
)


def _summary(outcome: Outcome) -> Sequence[str]:
    entry, name = outcome.entry, outcome.entry.told[0]
    kind = "real" if SETS[entry.data].real else "synthetic"
    values = (_value(outcome.values(preset, name)) for preset in entry.presets)
    figure = outcome.figure(name)
    arrow = {"lower": " ↓", "higher": " ↑"}.get(figure.better if figure else "", "")
    simple = _best_baseline(outcome, name)
    return (
        f"[{entry.model}](#{_anchor(entry)})", f"{entry.data}, {kind}", name + arrow, *values,
        *_change(outcome, name), simple, f"**{outcome.verdict(name)}**",
    )  # fmt: skip


def _section(outcome: Outcome) -> Iterator[str]:
    entry = outcome.entry
    first, second = entry.presets
    yield f"## {entry.name}"
    told = [f"{'REAL' if SETS[entry.data].real else 'SYNTHETIC'}: {SETS[entry.data].what}."]
    if outcome.cards:
        told.append(f"Judged on {outcome.cards[0].data['samples']} held-out samples.")
    if entry.settings:
        told.append(f"Taken with {', '.join(f'`{word}`' for word in entry.settings)}.")
    yield " ".join([*told, *_cost(outcome)])
    if outcome.changed:
        yield f"**Out of date**: other now: {', '.join(outcome.changed)}. Remove `cells/{entry.name}` to measure anew."
    head = ("figure", first, second, "difference", "95 %", "floor", "ceiling", *outcome.baselines, "better")
    rows = [_figure_row(outcome, name) for name in entry.told if outcome.figure(name)]
    yield _rows(head, rows) if rows else f"{UNKNOWN}: `python -m benchmarks.study {entry.name}`"


def _figure_row(outcome: Outcome, name: str) -> Sequence[str]:
    figure = outcome.figure(name)
    assert figure is not None
    counterparts = [_counterpart(card, name) for card in outcome.baselines.values()]
    simple = [_number(found.value if found else None) for found in counterparts]
    values = [_value(outcome.values(preset, name)) for preset in outcome.entry.presets]
    limits = (_number(figure.floor), _number(figure.ceiling))
    return name, *values, *_change(outcome, name), *limits, *simple, outcome.verdict(name)


def _cost(outcome: Outcome) -> Iterator[str]:
    """What the trainings were, and what they took."""
    told = []
    for preset, its in outcome.cells.items():
        if its:
            cell, given = next(iter(its.values())), set(outcome.entry.settings)
            took = ", ".join(seconds_told(one.processor_seconds) for one in its.values())
            chosen = {n: v for n, v in cell.settings.items() if not {f"{n}={v}", f"{preset}.{n}={v}"} & given}
            tuned = f" with {', '.join(f'{n} {v}' for n, v in chosen.items())}" if chosen else ""
            told.append(f"`{preset}`{tuned} {cell.images} images in {took} s")
    if told:
        yield f"{outcome.entry.seconds:g} s of steps each; processor time with the start: {'; '.join(told)}."
    if any(outcome.trials.values()):
        yield f"Settings tried for each before, on the valid split: {max(outcome.trials.values())}."


def _best_baseline(outcome: Outcome, name: str) -> str:
    """The best of what needs no training, and its name."""
    found = {which: figure for which, card in outcome.baselines.items() if (figure := _counterpart(card, name))}
    if not found:
        return ""
    sign = -1 if next(iter(found.values())).better == "higher" else 1
    which = min(found, key=lambda one: sign * found[one].value)
    return f"{_number(found[which].value)} ({which})"


def _counterpart(card: Card, name: str) -> Figure | None:
    """The figure of a simple way that a network's own is to be held against: `PSNR: enlarged` against its `PSNR`."""
    return card.figure(name.removesuffix(": enlarged"))


def _change(outcome: Outcome, name: str) -> tuple[str, str]:
    change = outcome.difference(name)
    if change is None:
        return "", f"{len(outcome.pairs)} of {outcome.entry.seeds} pairs"
    return f"{change['mean']:+.3g}", f"{change['low']:.3g} … {change['high']:.3g}"


def _value(values: Sequence[float]) -> str:
    return _number(mean(values)) if values else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _anchor(entry: Entry) -> str:
    return entry.name.lower()


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
