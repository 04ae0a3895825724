"""Where reading spends its time: `python -m benchmarks.reading_steps`, microseconds a record, and what each piece adds.

The pieces of `Batches` are put on one after another, from a bare read of the same bytes to batches that a thread hands
over, each measured as a rate of records on one thread, taken in turn, the median of the rounds; so a line's cost is
what it adds to the line before. Synthetic tiles as in B1, in the page cache.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from benchmarks.b01_reading import BATCH, IMAGES, TILES
from benchmarks.tiles import BUFFERS, COLUMNS, IntoRows, Limit, Ours, write_shards
from benchmarks.turns import Rate, take_turns
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.buffers import Rows
from waterscape.data.order import Order
from waterscape.data.plan import Planned, plan

CHUNK = 1 << 18


def steps(shards: ShardSet, size: int) -> dict[str, Rate]:
    """What is done → records a second, each line doing all that the one before it does."""
    column, batch, images = COLUMNS[size], BATCH[size], IMAGES[size]
    small = Rows(shards.column(column), 1).together  # rows that the processor's cache holds
    return {
        "read and crc32, 256 KiB at a time, into one buffer": Limit(shards, column, CHUNK, 1),
        "one preadv a record, shuffled": IntoRows(shards, column, small, images, 1, buffers=1),
        "into the memory of whole batches": IntoRows(shards, column, batch, images, 1),
        "names, .npy headers, each crc32 compared": Filled(shards, column, batch, images),
        "order, index, keys, tensors": Assembled(shards, column, batch, images),
        "handed over by a thread": Ours(shards, column, batch, images, 1),
    }


class Filled:
    """Records a second of `Rows.fill`, of batches that were planned before."""

    def __init__(self, shards: ShardSet, column: str, batch: int, images: int) -> None:
        order = Order(shards.counts, 0)
        plans = plan(shards, [column], order, batch=batch, rank=0, world=1, start=0, stop=None)
        self.rows = [Rows(shards.column(column), batch) for _ in range(BUFFERS)]
        self.files = [shards.file(number) for number in range(len(shards.shards))]
        self.work = [self._prepare(planned, column) for planned in islice(plans, images // batch)]
        self.images = images // batch * batch

    def __call__(self) -> float:
        """One turn."""
        started = time.perf_counter()
        for turn, work in enumerate(self.work):
            assert work(self.rows[turn % BUFFERS]) is None
        return self.images / (time.perf_counter() - started)

    def _prepare(self, planned: Planned, column: str) -> Callable[[Rows], int | None]:
        entries = planned.entries[column]
        descriptors = [self.files[shard].descriptor for shard in planned.shards.tolist()]
        offsets, crcs, names = entries["offset"].tolist(), entries["crc32"], entries["name"]
        return lambda rows: rows.fill(descriptors, offsets, crcs, names)


class Assembled:
    """Records a second of all that a thread of `Batches` does, done by the caller."""

    def __init__(self, shards: ShardSet, column: str, batch: int, images: int) -> None:
        order = Order(shards.counts, 0)
        self.stream = Batches(shards, [column], batch=batch, order=order)
        self.stream.close()  # its thread is not wanted here
        self.plan = plan(shards, [column], order, batch=batch, rank=0, world=1, start=0, stop=None)
        self.batches = images // batch

    def __call__(self) -> float:
        """One turn."""
        started = time.perf_counter()
        kept: list[object] = []
        images = 0
        for planned in islice(self.plan, self.batches):
            loaded = self.stream._assemble(planned)
            kept = [*kept[1 - BUFFERS :], loaded]  # as many batches are alive as with a thread
            images += len(loaded.keys)
        return images / (time.perf_counter() - started)


def table(shards: ShardSet, size: int) -> Iterator[str]:
    """A line for each step: microseconds a record up to and with it, and what it adds."""
    rates = take_turns(f"reading {size} px", steps(shards, size))
    yield f"{size} × {size} pixels, batches of {BATCH[size]}"
    before = np.zeros(1)
    for name, values in rates.items():
        cost = 1e6 / values
        added = np.median(cost - before)
        yield f"{np.median(cost):8.2f} µs  {added:+6.2f}  {name}"
        before = cost


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        shards = write_shards(Path(directory) / "shards", TILES)
        for size in COLUMNS:
            for line in table(shards, size):
                print(line, flush=True)


if __name__ == "__main__":
    main()
