"""Damaged samples that a run passed over: told once, and counted over all processes and all starts of the run."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from waterscape.data.damage import Skipped, over_budget
from waterscape.training.events import Events, read_events
from waterscape.training.processes import Processes


class Skips:
    """What the processes skipped since the last gathering, and the samples known before to any of them.

    The count of a resumed run goes on from its events, which are cut back to the checkpoint.
    """

    def __init__(self, out: Path, processes: Processes, budget: int) -> None:
        self.processes, self.budget = processes, budget
        found = count_skipped(read_events(out)) if processes.first else None
        self.samples: dict[str, str]
        self.samples, self.reads = processes.broadcast(found)
        self._new: dict[str, str] = {}
        self._new_reads = 0

    def note(self, skipped: Iterable[Skipped]) -> None:
        """Readings that were replaced in one step of this process."""
        for one in skipped:
            self._new |= one.damaged
            self._new_reads += 1

    def gather(self, events: Events | None, images: int) -> None:
        """Add up all processes' counts; the first process tells each sample once, on stderr and as an event.

        Raises:
            ShardError: on every process, where more samples are damaged than may be skipped.
        """
        reads = int(self.processes.sum(torch.tensor(float(self._new_reads), device=self.processes.device)))
        if not reads:
            return
        found: dict[str, str] = {}
        for of_one in self.processes.gather(self._new):
            found |= {name: wrong for name, wrong in of_one.items() if name not in self.samples}
        self._new, self._new_reads = {}, 0
        self.samples |= found
        self.reads += reads
        if events:
            for wrong in found.values():
                print(f"skipped: {wrong}", file=sys.stderr, flush=True)
            events.write("skipped", images, samples=found, reads=reads)
        if len(self.samples) > self.budget:
            raise over_budget(len(self.samples), self.budget, next(iter((found or self.samples).values())))


def count_skipped(events: Iterable[Mapping[str, Any]]) -> tuple[dict[str, str], int]:
    """Of a run's events: each damaged sample with what is wrong, and how many readings were replaced."""
    samples: dict[str, str] = {}
    reads = 0
    for event in events:
        if event["event"] == "skipped":
            samples |= event["samples"]
            reads += event["reads"]
    return samples, reads


def describe_skipped(out: Path) -> str:
    """For the last line of a run: how many were skipped; empty where none were."""
    samples, reads = count_skipped(read_events(out))
    return f"; {len(samples)} damaged samples skipped, replaced in {reads} readings" if samples else ""
