"""Which preset of a model is better: the same data, time, threads and number of tuning trials, in pairs of equal seed.

First every candidate's speed is measured, in turn and in short slices, in images per second of processor time: what a
quiet core needs, whatever else the machine does; in each part of a training that takes other phases. Each training then
lasts as many images as its candidate makes in the stated seconds. Of each preset the same settings are tried, drawn
from what the model's source leaves open (`SEARCH` in the model's file), and judged on the `valid` split; the best is
trained anew with each seed and judged on `test`, which nothing was chosen by. Each training earns a metric card, and so
does what needs no training, where there is such a way.

Speeds and cards are kept: the same call again, with the runs or without, does only what is missing.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from waterscape.comparison.cells import Cell, cell, path_of
from waterscape.comparison.choice import JUDGED_BY, choose, differences, settings_to_try
from waterscape.comparison.speeds import measure_speeds
from waterscape.comparison.wanted import SPLIT, TRIAL_SPLIT, Candidate, Comparison, prepare
from waterscape.data.batches import ShardSet
from waterscape.durable import write_text
from waterscape.errors import UserError
from waterscape.pages.comparison import draw_comparison, table
from waterscape.training.processes import Processes

__all__ = ["Candidate", "Cell", "Comparison", "choose", "compare", "differences", "path_of", "settings_to_try"]

TRIAL_SEED = 0


def compare(wanted: Comparison) -> Path:
    """Run the whole comparison; returns its table, `comparison.md`. Raises `UserError` for what cannot be compared."""
    wanted, processes = prepare(wanted)
    candidates = [
        Candidate(preset, wanted.given(preset) | settings)
        for settings in settings_to_try(wanted.model, wanted.trials)
        for preset in wanted.presets
    ]
    say(f"{wanted.model}: measuring the speed of {len(candidates)} candidates")
    measure_speeds(wanted, candidates, processes)
    best = try_out(wanted, candidates, processes)
    cells: dict[str, list[Cell]] = {preset: [] for preset in wanted.presets}
    for seed in range(1, wanted.seeds + 1):
        for preset in wanted.presets if seed % 2 else reversed(wanted.presets):
            say(f"{wanted.model}, seed {seed} of {wanted.seeds}: {told(best[preset])}")
            name = path_of(Path(), preset, seed).stem
            cells[preset].append(cell(wanted, best[preset], name, seed, wanted.seconds, SPLIT, processes))
    check_starts(wanted, cells)
    conclude(wanted, candidates, best, cells)
    return wanted.place / "comparison.md"


def check_starts(wanted: Comparison, cells: Mapping[str, Sequence[Cell]]) -> None:
    """Raise `UserError` where trainings started from different checkpoints of the same run."""
    found: dict[str, set[str | None]] = {}
    for preset, its in cells.items():
        for word in wanted.starts(preset):
            found.setdefault(word, set()).update(one.starts.get(word.partition("=")[0]) for one in its)
    others = [word for word, hashes in found.items() if len(hashes) > 1]
    if others:
        raise UserError(
            f"{wanted.results} holds trainings from different checkpoints of {others[0]}: remove it to train all anew"
        )


def try_out(wanted: Comparison, candidates: list[Candidate], processes: Processes) -> dict[str, Candidate]:
    """The best candidate of each preset, by a trial of each on the `valid` split; where there is one alone, that."""
    if len(candidates) > len(wanted.presets):
        for number, candidate in enumerate(candidates):
            say(f"{wanted.model}, trial {number + 1} of {len(candidates)}: {told(candidate)}")
            name = f"trials/{number // 2:02d}-{candidate.preset}"
            tried = cell(wanted, candidate, name, TRIAL_SEED, wanted.trial_seconds, TRIAL_SPLIT, processes)
            candidate.figures = {name: value for name, value in tried.figures.items() if name in JUDGED_BY}
    return {preset: choose([c for c in candidates if c.preset == preset]) for preset in wanted.presets}


def conclude(
    wanted: Comparison, candidates: list[Candidate], best: dict[str, Candidate], cells: dict[str, list[Cell]]
) -> None:
    """Write the table as Markdown and JSON, and the picture where the runs are still there."""
    first, second = wanted.presets
    for preset in wanted.presets:
        best[preset].images = cells[preset][0].images
    figures = {preset: [one.figures for one in found] for preset, found in cells.items()}
    card = cells[first][0].card
    result = {
        "comparison": dataclasses.asdict(wanted),
        "candidates": [dataclasses.asdict(candidate) for candidate in candidates],
        "chosen": {preset: dataclasses.asdict(candidate) for preset, candidate in best.items()},
        "processor_seconds": {preset: [one.processor_seconds for one in found] for preset, found in cells.items()},
        "figures": figures,
        "limits": {figure.name: [figure.floor, figure.ceiling] for figure in card.figures},
        "better": {figure.name: figure.better for figure in card.figures},
        "differences": differences(figures[first], figures[second]),
        "judged_by": JUDGED_BY,
        "synthetic": card.data["synthetic"],
    }
    write_text(wanted.place / "comparison.json", json.dumps(result, indent=1, default=str) + "\n")
    write_text(wanted.place / "comparison.md", table(result))
    if all((wanted.place / "runs" / f"{preset}-1" / "run.json").exists() for preset in wanted.presets):
        draw_comparison(wanted.place, wanted.model, wanted.presets, ShardSet(wanted.data, SPLIT))


def told(candidate: Candidate) -> str:
    """A candidate in words."""
    return f"{candidate.preset} {candidate.settings or 'as it stands'}"


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)
