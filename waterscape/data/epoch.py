"""What each process reads in an epoch, counted sample by sample from the order that training follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waterscape.data.ahead import least_cache
from waterscape.data.order import Order
from waterscape.data.plan import part
from waterscape.data.shard import BLOCK
from waterscape.data.shards import ShardSet, column_names
from waterscape.errors import UserError

AT_ONCE = 1 << 20  # positions located together


@dataclass(frozen=True)
class Epoch:
    """The first epoch of a run: arrays have one entry a process."""

    samples: int
    batch: int
    images: NDArray[np.int64]
    bytes: NDArray[np.int64]
    """Of the records read."""
    touched: NDArray[np.bool_]
    """Process × shard: whether it reads from that shard."""
    tars: NDArray[np.int64]
    """Bytes of each shard's tar."""
    remote: bool
    """The set lies behind a URL: a node fetches whole tars."""
    least_cache: int
    """Bytes that the cache of a node must hold, where the set is remote."""
    per_step: NDArray[np.int64]
    """Images of each step. Where it is 0, the first image of each batch is read nevertheless (`data.plan.reading`)."""
    read_once: bool
    """Every sample of the split is read exactly once, by one process."""

    @property
    def steps(self) -> float:
        """Length of an epoch; the stream runs on over its end, so it need not be a whole number."""
        return self.samples / self.batch

    @property
    def shards(self) -> NDArray[np.int64]:
        """Number of shards that a process reads from."""
        count: NDArray[np.int64] = self.touched.sum(axis=1)
        return count

    def node_bytes(self, nodes: int) -> NDArray[np.int64]:
        """What comes to each of so many nodes: records, or whole tars of a remote set, each once for all processes.

        A remote set that the cache holds entirely comes in the first epoch only.
        """
        if self.remote:
            return self.touched.reshape(nodes, -1, len(self.tars)).any(axis=1) @ self.tars
        total: NDArray[np.int64] = self.bytes.reshape(nodes, -1).sum(axis=1)
        return total


def count_epoch(
    shards: ShardSet, *, processes: int, batch: int, seed: int = 0, columns: Sequence[str] | None = None
) -> Epoch:
    """Follow `Order`, `part` and `reading` through one epoch.

    Args:
        shards: the split that is read.
        processes: of the run.
        batch: images of the global batch.
        seed: of the order.
        columns: that are read; None: all.

    Raises:
        UserError: no such column; no process; no image in a batch.
    """
    if processes < 1:
        raise UserError(f"{processes} processes cannot train: give 1 or more")
    if batch < 1:
        raise UserError(f"a batch of {batch} images trains nothing: give 1 or more")
    for column in columns or ():
        shards.column(column)
    order = Order(shards.counts, seed)
    sizes = np.concatenate([_record_bytes(index, columns) for index in shards.indexes])
    firsts = np.cumsum(shards.counts) - shards.counts
    per_step = np.array([len(part(batch, rank, processes)) for rank in range(processes)], np.int64)
    owner = np.repeat(np.arange(processes), per_step)
    reads = np.zeros(order.total, np.int64)
    images, read = np.zeros(processes, np.int64), np.zeros(processes, np.int64)
    seen = np.zeros((processes, len(shards.counts)), bool)
    for start in range(0, order.total, AT_ONCE):
        count = min(AT_ONCE, order.total - start)
        rank = owner[(start + np.arange(count)) % batch]
        shard, row = order.locate(start, count)
        number = firsts[shard] + row
        np.add.at(reads, number, 1)
        images += np.bincount(rank, minlength=processes)
        np.add.at(read, rank, sizes[number])
        seen[rank, shard] = True
        first = np.arange(-start % batch, count, batch)  # of each batch: what those read that have no image in it
        for idle in np.flatnonzero(per_step == 0):
            read[idle] += sizes[number[first]].sum()
            seen[idle, shard[first]] = True
    tars = np.array([shard.bytes for shard in shards.shards], np.int64)
    least, remote, once = least_cache(shards, order.block), shards.store.remote, bool((reads == 1).all())
    return Epoch(order.total, batch, images, read, seen, tars, remote, least, per_step, once)


def _record_bytes(index: NDArray[np.void], columns: Sequence[str] | None) -> NDArray[np.int64]:
    """Bytes of the records of each sample, headers and padding too."""
    total = np.zeros(len(index), np.int64)
    for name in column_names(index):
        if columns is None or name in columns:
            size = index[name]["size"]
            total += np.where(size < 0, 0, BLOCK + size + -size % BLOCK)
    return total
