"""What opening and reading synthetic sets costs, set beside set, taken in turn (R5)."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.figure import note
from benchmarks.hollow_sets import Readers, make_set
from benchmarks.surroundings import scratch
from waterscape.data.manifest import FILE, Manifest

BUSY = {"opening": "open_busy", "first batch": "first_busy"}
CLOCK = {"start by the clock": "seconds"}
MEGABYTES = {"whole process": "peak_mb", "without libraries": "more_mb"}
"""What is told of a round (`Readers.round`): of processor time the mean over the processes, of others the largest; and
of an image seconds `by processor time` and `by the clock`, of all processes together."""


@dataclass(frozen=True)
class Hollow:
    """A synthetic set."""

    samples: int
    samples_per_shard: int = 1024
    side: int = 64
    columns: int = 1

    def __str__(self) -> str:
        return f"{self.samples} samples, {self.samples_per_shard} a shard, {self.columns} columns, {self.side} px"


@dataclass(frozen=True)
class Case:
    """A set, and how many processes open it and read `images` each; `apart`: know nothing of one another."""

    of: Hollow
    images: int
    processes: int = 1
    apart: bool = False

    @property
    def all_images(self) -> int:
        """Read by all processes together."""
        return self.images * self.processes


def take(cases: Sequence[Case], rounds: int) -> list[dict[str, float]]:
    """The costs of each case; the cases are taken in turn, to and fro, for so many rounds after one to warm up."""
    with scratch() as directory, ExitStack() as running:
        places = _make_sets(directory, cases)
        readers = [
            running.enter_context(Readers(places[case.of], case.all_images, case.processes, apart=case.apart))
            for case in cases
        ]
        found: list[list[dict[str, float]]] = [[] for _ in cases]
        for number in range(rounds + 1):
            for which in range(len(cases))[:: 1 if number % 2 == 0 else -1]:
                found[which].append(_costs(cases[which], readers[which].round()))
    return [_typical(case, costs) for case, costs in zip(cases, found, strict=True)]


def _make_sets(directory: Path, cases: Sequence[Case]) -> dict[Hollow, Path]:
    places: dict[Hollow, Path] = {}
    for one in dict.fromkeys(case.of for case in cases):
        places[one] = out = directory / f"hollow{len(places)}"
        images = max(case.all_images for case in cases if case.of == one)
        each, side, columns = one.samples_per_shard, one.side, one.columns
        make_set(out, one.samples, images=images, samples_per_shard=each, side=side, columns=columns)
        index = sum(path.stat().st_size for path in out.glob("*.index.npy")) / one.samples
        note(f"R5 {one}: {index:.0f} bytes of index a sample; {_of_manifest(out)}")
    return places


def _costs(case: Case, processes: Sequence[dict[str, float]]) -> dict[str, float]:
    costs = {name: sum(one[found] for one in processes) / len(processes) for name, found in BUSY.items()}
    costs |= {name: max(one[found] for one in processes) for name, found in (CLOCK | MEGABYTES).items()}
    costs["by processor time"] = sum(one["read_busy"] for one in processes) / case.all_images
    return costs | {"by the clock": max(one["read_seconds"] for one in processes) / case.all_images}


def _typical(case: Case, rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Medians without the first round; but memory of the first alone, as a training opens a set once."""
    what = f"{case.of}, {case.processes} processes{' apart' if case.apart else ''}"
    typical, told = {}, []
    for name in rounds[0]:
        chosen = rounds[:1] if name in MEGABYTES else rounds[1:]
        low, median, high = np.percentile([one[name] for one in chosen], (25, 50, 75)).tolist()
        typical[name] = median
        told.append(f"{name} {median:.3g}" + ("" if name in MEGABYTES else f" ({low:.3g}–{high:.3g})"))
    note(f"R5 {what}: {', '.join(told)}; {1 / typical['by the clock']:,.0f} images/s")
    return typical


def _of_manifest(out: Path) -> str:
    """What a manifest costs a shard, in words."""
    began = time.process_time()
    shards = len(Manifest.load(out).shards)
    spent = (time.process_time() - began) / shards
    tracemalloc.start()
    kept = Manifest.load(out)
    held = tracemalloc.get_traced_memory()[0] / len(kept.shards)
    tracemalloc.stop()
    size = (out / FILE).stat().st_size / shards
    return f"manifest: {size:.0f} bytes, {spent * 1e6:.3g} µs and {held:.0f} bytes of memory a shard"
