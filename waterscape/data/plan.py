"""What each rank reads for each batch: a pure function of order, batch, rank and world."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waterscape.data.order import Order
from waterscape.data.shards import ShardSet

LOOKED_UP = 8192  # images whose index entries are looked up at once: one look-up a shard is shared by many batches


@dataclass
class Planned:
    """One batch: this rank's positions in the stream, where they are stored, and each column's index entries."""

    position: int
    count: int
    numbers: NDArray[np.int64]
    shards: NDArray[np.int64]
    rows: NDArray[np.int64]
    entries: dict[str, NDArray[np.void]]


def part(count: int, rank: int, world: int) -> range:
    """A rank's contiguous part of `count` images; the first ranks get one more where the world does not divide it."""
    share, extra = divmod(count, world)
    first = rank * share + min(rank, extra)
    return range(first, first + share + (rank < extra))


def reading(count: int, rank: int, world: int) -> range:
    """What a rank reads of a batch: its part, or the first image where the batch is smaller than the world.

    Whoever has no image still takes part in whatever all processes compute together (`nn.global_batch.shares`).
    """
    return part(count, rank, world) or range(1)


def plan(
    shards: ShardSet,
    columns: Sequence[str],
    order: Order,
    *,
    batch: int,
    rank: int,
    world: int,
    start: int,
    stop: int | None,
) -> Iterator[Planned]:
    """Batches from position `start` up to `stop` (the last one may be smaller), or without end."""
    reads = part if batch >= world else reading
    # Few at first, so that the first batch is soon there; and not many epochs of a small set at once.
    stride, most = (max(1, min(images, order.total) // batch) * batch for images in (LOOKED_UP, LOOKED_UP * world))
    while stop is None or start < stop:
        end = start + stride if stop is None else min(start + stride, stop)
        starts = range(start, end, batch)
        counts = [min(batch, end - first) for first in starts]
        parts = [reads(count, rank, world) for count in counts]
        numbers = np.concatenate([first + np.arange(p.start, p.stop) for first, p in zip(starts, parts, strict=True)])
        shard, row = (places[numbers - start] for places in order.locate(start, end - start))
        entries = {column: shards.entries(shard, row, column) for column in columns}
        done = 0
        for first, count, p in zip(starts, counts, parts, strict=True):
            mine = slice(done, done + len(p))
            done = mine.stop
            chosen = {column: table[mine] for column, table in entries.items()}
            yield Planned(first, count, numbers[mine], shard[mine], row[mine], chosen)
        start, stride = end, min(2 * stride, most)
