"""`benchmarks/results.md`, made of what is kept: a summary, then a table for each comparison."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import mean

from benchmarks.study.chart import draw_summary
from benchmarks.study.entries import Entry
from benchmarks.study.outcome import UNKNOWN, Outcome
from benchmarks.study.sets import SETS
from benchmarks.study.took import seconds_of
from waterscape.durable import write_text
from waterscape.metrics.card import Card, Figure
from waterscape.pages.comparison import seconds_told

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


def write_page(entries: Sequence[Entry], cells: Path, path: Path, *, quick: bool = False) -> Path:
    """Write the page, and its picture beside it; returns its path."""
    outcomes = [Outcome.load(entry, cells) for entry in entries]
    parts = [QUICK if quick else HEAD, "## Summary", _rows(SUMMARY, map(_summary, outcomes))]
    parts += _took(entries, cells.parent / "took")
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


def _took(entries: Sequence[Entry], kept: Path) -> Iterator[str]:
    """What all of it took, as far as it is known."""
    known = [entry.name for entry in entries if seconds_of(kept, [entry.name])]
    others = [path.stem for start in ("world", "set-", "start-") for path in kept.glob(f"{start}*.json")]
    minutes = seconds_of(kept, [*known, *others]) / 60
    if known:
        yield (
            f"{len(known)} of the {len(entries)} comparisons, with trials, judging, sets and what they start from, "
            f"took {minutes:.0f} minutes of processor time: {minutes / 2:.0f} minutes on two cores."
        )


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
        anew = f"Remove `cells/{entry.name}` and `took/{entry.name}.json` to measure anew."
        yield f"**Out of date**: other now: {', '.join(outcome.changed)}. {anew}"
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
