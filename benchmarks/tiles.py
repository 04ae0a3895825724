"""Synthetic tiles of water occurrence in shards, our reading of them, and the limit of reading them."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.figure import note
from benchmarks.turns import Rate, best
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.buffers import Rows
from waterscape.data.order import Order
from waterscape.data.pack import SetWriter
from waterscape.data.shard import BLOCK, crc32, fixed_size, padding

CHUNKS = (1 << 16, 1 << 18, 1 << 20)
COLUMNS = {256: "occurrence.npy", 64: "occurrence64.npy"}
BUFFERS = 3  # batches in turn, as many as one thread of `Batches` has in use


def make_tiles(count: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Tiles of 256 and of 64 pixels that compress like real ones: smooth fields, dry and full beyond thresholds."""
    random = np.random.default_rng(0)
    fields = [ndimage.gaussian_filter(random.normal(size=(256, 256)), sigma, mode="wrap") for sigma in range(5, 17)]
    for number in range(count):
        field = np.roll(fields[number % len(fields)], random.integers(0, 256, 2), axis=(0, 1))
        tile = np.clip(50 + 60 * (field / field.std() - random.normal()), 0, 100).astype(np.uint8)
        yield tile, tile.reshape(64, 4, 64, 4).mean((1, 3)).astype(np.uint8)


def write_shards(out: Path, count: int, samples_per_shard: int = 256) -> ShardSet:
    """The tiles of both sizes, column by column, in one split."""
    with SetWriter(out, facts={"synthetic": True}, samples_per_shard=samples_per_shard) as writer:
        for tile, small in make_tiles(count):
            writer.add("train", {COLUMNS[256]: tile, COLUMNS[64]: small})
        writer.finish()
    return ShardSet(out, "train")


class Ours:
    """Images a second of `Batches`, shuffled, with crc on every read."""

    def __init__(self, shards: ShardSet, column: str, batch: int, images: int, threads: int) -> None:
        order = Order(shards.counts, 0)
        self.stream = Batches(shards, [column], batch=batch, order=order, threads=threads)
        self.batches = images // batch

    def __call__(self) -> float:
        """One turn."""
        started = time.perf_counter()
        images = sum(len(loaded.keys) for loaded in islice(self.stream, self.batches))
        return images / (time.perf_counter() - started)

    def __del__(self) -> None:
        self.stream.close()


class Limit:
    """The column's records a second, if reading and crc32 were all there is to do.

    `pread` of the tars from end to end and crc32 of the bytes, into one buffer that stays in the cache.
    """

    def __init__(self, shards: ShardSet, column: str, chunk: int, threads: int) -> None:
        there = shards.column(column)
        assert there.dtype is not None
        assert there.shape is not None
        size = fixed_size(there.dtype, there.shape)
        self.record = BLOCK + size + padding(size)
        self.chunk = chunk
        self.threads = threads
        files = [(shards.file(number), shard.bytes) for number, shard in enumerate(shards.shards)]
        self.files = [file for file, _ in files]  # held open
        self.work = [(file.descriptor, offset) for file, end in files for offset in range(0, end, chunk)]
        self.bytes = sum(end for _, end in files)

    def __call__(self) -> float:
        """One turn: all tars."""
        started = time.perf_counter()
        threads = [threading.Thread(target=self._read, args=(number,)) for number in range(self.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.bytes / self.record / (time.perf_counter() - started)

    def _read(self, number: int) -> None:
        memory = memoryview(mmap.mmap(-1, self.chunk))
        for descriptor, offset in self.work[number :: self.threads]:
            crc32(memory[: os.preadv(descriptor, [memory], offset)])


class IntoRows:
    """The column's records a second, if reading each where a batch has it, and crc32, were all there is to do.

    One `preadv` a record in shuffled order, crc32 of as many together as ours takes, into as many batches in turn as a
    thread of ours has in use: nothing is planned, looked up, compared, named or handed over. Between this and the limit
    lies what memory costs that no cache holds, and a system call a record.
    """

    def __init__(
        self, shards: ShardSet, column: str, batch: int, images: int, threads: int, buffers: int = BUFFERS
    ) -> None:
        shard, row = Order(shards.counts, 0).locate(0, images // batch * batch)
        files = [shards.file(number) for number in range(len(shards.shards))]
        self.files = files  # held open
        descriptors = [files[number].descriptor for number in shard.tolist()]
        offsets = shards.entries(shard, row, column)["offset"].tolist()
        places = [slice(first, first + batch) for first in range(0, len(offsets), batch)]
        self.work = [(descriptors[place], offsets[place]) for place in places]
        self.rows = [[Rows(shards.column(column), batch) for _ in range(buffers)] for _ in range(threads)]

    def __call__(self) -> float:
        """One turn: as many images as ours."""
        started = time.perf_counter()
        threads = [threading.Thread(target=self._read, args=(number,)) for number in range(len(self.rows))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(len(offsets) for _, offsets in self.work) / (time.perf_counter() - started)

    def _read(self, number: int) -> None:
        for turn, (descriptors, offsets) in enumerate(self.work[number :: len(self.rows)]):
            rows = self.rows[number][turn % len(self.rows[number])]
            for first in range(0, len(offsets), rows.together):
                some = slice(first, min(first + rows.together, len(offsets)))
                sum(map(os.preadv, descriptors[some], rows.parts[some], offsets[some]))
                crc32(rows.records[some])


def ours_and_limits(row: str, shards: ShardSet, size: int, batch: int, images: int) -> dict[str, Rate]:
    """Ours and both limits at their best settings: 1 or 2 threads, the same number for all, and the limit's chunk."""
    column = COLUMNS[size]
    threads = best(row, {n: Ours(shards, column, batch, images, n) for n in (1, 2)}, f"{size} px, ours, threads")
    chunk = best(row, {n: Limit(shards, column, n, threads) for n in CHUNKS}, f"{size} px, limit, bytes a read")
    ours = Ours(shards, column, batch, images, threads)
    into_rows = IntoRows(shards, column, batch, images, threads)
    return {"ours": ours, "limit": Limit(shards, column, chunk, threads), "into-rows": into_rows}


def tell_into_rows(row: str, rates: Mapping[str, NDArray[np.float64]]) -> None:
    """Ours as a share of `IntoRows`."""
    low, median, high = np.percentile(rates["ours"] / rates["into-rows"], (25, 50, 75))
    note(f"{row} share of reading into batches alone: {median:.2f}, {low:.2f} to {high:.2f}")
