"""In which order samples are read: planned, the same for any number of processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from waterscape.errors import UserError
from waterscape.randomness import hash64, permutation

Places = tuple[NDArray[np.int64], NDArray[np.int64]]  # shard, row within the shard


class Order:
    """A stream of samples without end: position -> (shard, row), a pure function of (seed, counts, block).

    In each epoch the shards are shuffled, then the samples within blocks of shards; every sample comes once an epoch.
    Reading follows the blocks, so few shards are in use at a time. Nothing but the current block's permutation is kept.

    Args:
        counts: samples in each shard.
        seed: of the shuffles.
        block: shards that are shuffled together; more is a better shuffle and more files in use at a time.
        weights: how often each sample comes, relatively, in the order of storage; None: all alike. An epoch keeps its
            length, and a sample of weight w comes ⌊c⌋ or ⌈c⌉ times in it, c = w ÷ mean weight, on average c times
            (systematic resampling: Kitagawa 1996, doi:10.1080/10618600.1996.10474692).

    Raises:
        UserError: nothing to read, or a block of no shard.
    """

    def __init__(
        self,
        counts: Sequence[int] | NDArray[np.int64],
        seed: int,
        block: int = 16,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self.counts = np.asarray(counts, dtype=np.int64)
        self.seed: int | None = seed
        self.block = block
        self.total = int(self.counts.sum())
        if self.total < 1 or self.counts.min() < 0:
            raise UserError("an order needs at least one sample, and no shard with fewer than none")
        if block < 1:
            raise UserError(f"a block of {block} shards cannot be shuffled: give 1 or more")
        self._firsts = np.cumsum(self.counts) - self.counts
        self._shares = None if weights is None else _shares(weights, self.total)
        self._copied: tuple[int, NDArray[np.int64]] | None = None
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

    def blocks(self, start: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """From position `start` on, without end: where each block ends, and the shards read there, in order."""
        while True:
            epoch, place = divmod(start, self.total)
            ends = self._plan(epoch)[1]
            number = int(np.searchsorted(ends, place, side="right"))
            shard = self._shuffle(epoch, number)[0]
            start = epoch * self.total + int(ends[number])
            shards, firsts = np.unique(shard[len(shard) - int(ends[number]) + place :], return_index=True)
            yield start, shards[np.argsort(firsts)]

    def _plan(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The epoch's order of shards, and the position at which each of its blocks ends."""
        if self._epoch is None or self._epoch[0] != epoch:
            shards = self._permutation(len(self.counts), "shards", epoch)
            counts = self.counts
            if self._shares is not None:
                before = np.concatenate([[0], np.cumsum(self._copies(epoch))])
                counts = before[self._firsts + self.counts] - before[self._firsts]
            ends = np.cumsum(counts[shards])
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
            if self._shares is not None:
                copies = self._copies(epoch)[self._firsts[shard] + row]
                shard, row = np.repeat(shard, copies), np.repeat(row, copies)
            permutation = self._permutation(len(shard), "samples", epoch, number)
            self._block = (epoch, number), (shard[permutation], row[permutation])
        return self._block[1]

    def _copies(self, epoch: int) -> NDArray[np.int64]:
        """How often each sample comes in the epoch, in the order of storage."""
        assert self._shares is not None
        assert self.seed is not None
        if self._copied is None or self._copied[0] != epoch:
            offset = hash64(self.seed, "weights", epoch) / 2**64
            steps = np.floor(np.concatenate([[0.0], self._shares]) + offset).astype(np.int64)
            self._copied = epoch, np.diff(steps)
        return self._copied[1]

    def _permutation(self, length: int, *what: int | str) -> NDArray[np.int64]:
        if self.seed is None:
            return np.arange(length)
        return permutation(length, self.seed, *what)


def _shares(weights: NDArray[np.float64], total: int) -> NDArray[np.float64]:
    """Up to and with each sample, how many places of an epoch the weights give; the last is `total` exactly."""
    if len(weights) != total or not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() <= 0:
        raise ValueError(f"an order of {total} samples needs as many finite weights, none negative, not all zero")
    shares = np.cumsum(weights, dtype=np.float64)
    shares *= total / shares[-1]
    shares[-1] = total
    return shares
