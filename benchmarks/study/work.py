"""The study at work: worlds, sets, runs to start from, then comparisons, several at a time; what is there stays."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.figure import note
from benchmarks.study.entries import STARTS, Entry
from benchmarks.study.sets import SETS, missing_inputs, provide, provide_world
from benchmarks.study.took import counted
from waterscape.comparison import compare
from waterscape.comparison.cells import missing, train
from waterscape.errors import UserError
from waterscape.sources.parallel import Workers


@dataclass(frozen=True)
class Places:
    """Where things lie: worlds, sets and runs; what is kept; the page; the real inputs, or None."""

    work: Path
    cells: Path
    page: Path
    real: Path | None

    @property
    def took(self) -> Path:
        """Where it is kept what each part took."""
        return self.cells.parent / "took"


def study(entries: Sequence[Entry], places: Places, processes: int) -> list[str]:
    """Do what is missing, the longest first; a line for each that failed."""
    began = time.monotonic()
    todo = [entry for entry in entries if missing(places.cells / entry.name, entry.presets, entry.seeds)]
    able = [entry for entry in todo if not missing_inputs(entry.data, places.real)]
    for entry in todo:
        if entry not in able:
            note(f"{entry.name}: not here: {missing_inputs(entry.data, places.real)}")
    able.sort(key=lambda entry: -entry.processor_seconds)
    minutes = sum(entry.processor_seconds for entry in able) / 60
    note(f"{len(able)} of {len(entries)} comparisons to do: {minutes:.0f} minutes of one core for the trainings alone")
    needed = list(dict.fromkeys([*(entry.data for entry in able), *(STARTS[which].data for which in wanted(able))]))
    needed = [name for name in needed if not missing_inputs(name, places.real)]
    worlds = list(dict.fromkeys(SETS[name].world for name in needed if SETS[name].world))
    failed: list[str] = []
    with Workers(processes, few=1, chunk=1) as workers:
        for parts in (  # one after another: two sets may be cut of one world, two comparisons want one set
            {f"world{''.join(words)}": partial(provide_world, words, places.work) for words in worlds},
            {f"set-{name}": partial(_provide, places=places, name=name) for name in needed},
            {f"start-{name}": partial(_start, places=places, name=name) for name in wanted(able)},
            {entry.name: partial(_compare, places=places, entry=entry) for entry in able},
        ):
            failed += [told for told in workers.in_order(partial(_call, places=places), list(parts.items())) if told]
    note(f"{(time.monotonic() - began) / 60:.1f} minutes in all")
    return failed


def wanted(entries: Sequence[Entry]) -> list[str]:
    """The runs that some start from."""
    return list(dict.fromkeys(which for entry in entries for which in entry.starts.values()))


def _call(part: tuple[str, Callable[[], object]], places: Places) -> str:
    """Do a part of the work; what failed, in words: one that fails does not end the others.

    Of what is no mistake of the user's the traceback is added to failed.log.
    """
    name, work = part
    try:
        with counted(places.took, name):
            work()
    except UserError as error:
        return f"failed: {error}"
    except Exception as error:
        log = places.work / "failed.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            file.write(traceback.format_exc())
        return f"failed: {type(error).__name__}: {' '.join(str(error).split())} (traceback: {log})"
    return ""


def _provide(places: Places, name: str) -> None:
    note(f"set {name}")
    provide(name, places.work, places.real)


def _start(places: Places, name: str) -> None:
    start, run = STARTS[name], places.work / "starts" / name
    note(f"run {name}, from which others start")
    model, *options = start.train
    words = ["--data", places.work / "sets" / start.data, "--out", run, "--images", start.images, *options]
    train(model, [*map(str, words), "--no-tensorboard", "--evaluate-every", "0"], 1, run)


def _compare(places: Places, entry: Entry) -> None:
    note(f"{entry.name} …")
    starts: Mapping[str, Path] = {name: places.work / "starts" / name for name in STARTS}
    data, out = places.work / "sets" / entry.data, places.work / "runs" / entry.name
    try:
        compare(entry.comparison(data, out, places.cells / entry.name, starts))
    except UserError as error:
        raise UserError(f"{entry.name}: {error}") from error
    note(f"{entry.name}: done")
