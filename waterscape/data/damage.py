"""Samples that cannot be read: which they are, and which whole ones are read in their place, within a budget.

A damaged sample is replaced by the next whole one of its shard, cyclically, then of the following shards. So what is
read at a place of the stream depends on nothing but what is damaged: shapes and steps stay as they are, and any number
of processes reads the same.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from waterscape.data.plan import Planned
from waterscape.data.shard import ShardError
from waterscape.data.shards import ShardSet

Place = tuple[int, int]  # shard, row


@dataclass(frozen=True)
class Skipped:
    """One reading that was replaced: at place `number` of the stream.

    `damaged`: "shard/key" → what is wrong, of each sample passed over; the first of them was the planned one.
    """

    number: int
    damaged: dict[str, str]


class Damage:
    """What is known to be damaged in a split; the threads that read share it.

    Args:
        shards: the split.
        budget: damaged samples that may be replaced; with one more, or with 0, reading ends.
        columns: that are read. What a tar that is missing or short lacks of them is known from the start.

    Raises:
        ShardError: more than the budget is known to be damaged.
    """

    def __init__(self, shards: ShardSet, budget: int, columns: Sequence[str] = ()) -> None:
        self.shards = shards
        self.budget = budget
        self._known: dict[Place, str] = {}
        self._lock = threading.Lock()
        lost = {(shard, row): column for shard, row, column in shards.lost(columns)}
        if len(lost) > budget:
            (shard, row), column = next(iter(lost.items()))
            raise over_budget(len(lost), budget, str(shards.diagnose(shard, row, column)))
        for (shard, row), column in lost.items():
            self._known[shard, row] = str(shards.diagnose(shard, row, column))

    def note(self, error: ShardError) -> None:
        """Remember the sample that `error` is about. Raises it, or one that names the budget, where it may not be."""
        if not self.budget or error.place is None:
            raise error
        with self._lock:
            self._known[error.place] = str(error)
            found = len(self._known)
        if found > self.budget:
            raise over_budget(found, self.budget, str(error))

    def avoid(self, planned: Planned) -> tuple[Planned, list[Skipped]]:
        """The same batch with whole samples in place of those that are known to be damaged."""
        if not self._known:
            return planned, []
        shards, rows, skipped = planned.shards.copy(), planned.rows.copy(), []
        for at, place in enumerate(zip(shards.tolist(), rows.tolist(), strict=True)):
            if place in self._known:
                (shards[at], rows[at]), passed = self._whole_after(place)
                skipped.append(Skipped(int(planned.numbers[at]), passed))
        if not skipped:
            return planned, []
        entries = {column: self.shards.entries(shards, rows, column) for column in planned.entries}
        return dataclasses.replace(planned, shards=shards, rows=rows, entries=entries), skipped

    def _whole_after(self, place: Place) -> tuple[Place, dict[str, str]]:
        passed: dict[str, str] = {}
        for shard, row in self._following(*place):
            wrong = self._known.get((shard, row))
            if wrong is None:
                return (shard, row), passed
            passed[f"{self.shards.shards[shard].name}/{self.shards.indexes[shard]['key'][row].decode()}"] = wrong
        raise ShardError(f"{self.shards.directory}: no sample of split {self.shards.split} is whole: pack it again")

    def _following(self, shard: int, row: int) -> Iterator[Place]:
        """The place itself, then all others in the order in which they stand in for it."""
        count = len(self.shards.indexes[shard])
        yield from ((shard, (row + step) % count) for step in range(count))
        for further in range(1, len(self.shards.shards)):
            other = (shard + further) % len(self.shards.shards)
            yield from ((other, at) for at in range(len(self.shards.indexes[other])))


def over_budget(found: int, budget: int, last: str) -> ShardError:
    """The error that ends a run."""
    return ShardError(f"{found} samples are damaged, more than the {budget} of --skip-damaged; one of them: {last}")
