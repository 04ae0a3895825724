"""In which order samples are read: planned, the same for any number of processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from waterscape.errors import UserError
from waterscape.randomness import GOLDEN, hash64, mix64

Places = tuple[NDArray[np.int64], NDArray[np.int64]]  # shard, row within the shard


class Order:
    """A stream of samples without end: position -> (shard, row), a pure function of (seed, counts, block).

    In each epoch the shards are shuffled, then the samples within blocks of shards; every sample comes once an epoch.
    Reading follows the blocks, so few shards are in use at a time. Nothing but the current block's permutation is kept.

    Args:
        counts: samples in each shard.
        seed: of the shuffles.
        block: shards that are shuffled together; more is a better shuffle and more files in use at a time.

    Raises:
        UserError: nothing to read, or a block of no shard.
    """

    def __init__(self, counts: Sequence[int] | NDArray[np.int64], seed: int, block: int = 16) -> None:
        self.counts = np.asarray(counts, dtype=np.int64)
        self.seed: int | None = seed
        self.block = block
        self.total = int(self.counts.sum())
        if self.total < 1 or self.counts.min() < 0:
            raise UserError("an order needs at least one sample, and no shard with fewer than none")
        if block < 1:
            raise UserError(f"a block of {block} shards cannot be shuffled: give 1 or more")
        self._epoch: tuple[int, NDArray[np.int64], NDArray[np.int64]] | None = None
        self._block: tuple[tuple[int, int], Places] | None = None

    @classmethod
    def sequential(cls, counts: Sequence[int] | NDArray[np.int64]) -> Self:
        """The order in which the samples are stored, again and again."""
        order = cls(counts, seed=0)
        order.seed = None
        return order

    def locate(self, start: int, count: int) -> Places:
        """Shard and row (int64) of the positions `start` … `start + count - 1`; the stream runs over epoch ends."""
        if start < 0 or count < 0:
            raise ValueError(f"positions {start} + {count} do not exist")
        shards, rows = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        while count > 0:
            epoch, place = divmod(start, self.total)
            ends = self._plan(epoch)[1]
            number = int(np.searchsorted(ends, place, side="right"))
            first = place - (int(ends[number - 1]) if number else 0)
            shard, row = self._shuffle(epoch, number)
            taken = min(count, len(shard) - first)
            shards.append(shard[first : first + taken])
            rows.append(row[first : first + taken])
            start, count = start + taken, count - taken
        return np.concatenate(shards), np.concatenate(rows)

    def _plan(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The epoch's order of shards, and the position at which each of its blocks ends."""
        if self._epoch is None or self._epoch[0] != epoch:
            shards = self._permutation(len(self.counts), "shards", epoch)
            ends = np.cumsum(self.counts[shards])
            last = np.minimum(np.arange(self.block, len(shards) + self.block, self.block), len(shards)) - 1
            self._epoch = epoch, shards, ends[last]
        return self._epoch[1:]

    def _shuffle(self, epoch: int, number: int) -> Places:
        """Shard and row of a block's samples in the order of reading."""
        if self._block is None or self._block[0] != (epoch, number):
            shards = self._plan(epoch)[0][number * self.block : (number + 1) * self.block]
            counts = self.counts[shards]
            shard = np.repeat(shards, counts)
            row = np.arange(len(shard)) - np.repeat(np.cumsum(counts) - counts, counts)
            permutation = self._permutation(len(shard), "samples", epoch, number)
            self._block = (epoch, number), (shard[permutation], row[permutation])
        return self._block[1]

    def _permutation(self, length: int, *what: int | str) -> NDArray[np.int64]:
        if self.seed is None:
            return np.arange(length)
        words = np.arange(1, length + 1, dtype=np.uint64) * np.uint64(GOLDEN)
        return np.argsort(mix64(words + np.uint64(hash64(self.seed, *what))), kind="stable")
