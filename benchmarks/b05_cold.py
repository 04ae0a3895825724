"""B5: an epoch of shuffled batches from a cold page cache, against a sequential read of the same files.

Ours: `Batches` of the full tiles from its making on, two threads and the one that reads ahead, crc on every read. Limit
and peer: the same tars from end to end in pieces of 1 MiB, by one thread or two, nothing looked at. Before each turn
the tars are put out of the cache by `posix_fadvise`, and `mincore` must say that they are. Told in bytes of tar a
second. The directory is made beside this file, where `/tmp` may lie in memory. A virtual disk may be kept in memory by
its host: then the figure says what the path costs on a fast disk, and nothing of a slow one.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.figure import Figure, note
from benchmarks.surroundings import scratch
from benchmarks.tiles import COLUMNS, write_shards
from benchmarks.turns import best, take_turns
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.order import Order

TILES = 12288
BATCH = 256
ROUNDS = 7
BRIEF = {"TILES": 512, "ROUNDS": 1}


def figures() -> Iterator[Figure]:
    """The share of a sequential read."""
    with scratch() as directory:
        shards = write_shards(directory / "cold", TILES, samples_per_shard=64)
        tars = [directory / "cold" / f"{shard.name}.tar" for shard in shards.shards]
        size = sum(tar.stat().st_size for tar in tars)
        note(f"B5 {size / 1e6:.0f} MB in {len(tars)} tars, {len(tars) / 16:g} blocks of the order")

        def cold(turn: Callable[[], None]) -> float:
            empty_cache(tars)
            began = time.perf_counter()
            turn()
            return size / (time.perf_counter() - began)

        def sequential(threads: int) -> float:
            return cold(lambda: read_files(tars, threads))

        threads = best("B5", {n: partial(sequential, n) for n in (1, 2)}, "from end to end, threads")
        sides = {"ours": lambda: cold(lambda: read_epoch(shards)), "sequential": partial(sequential, threads)}
        rates = take_turns("B5", sides, ROUNDS)
        yield Figure.over("B5", "limit", rates["ours"] / rates["sequential"], ">=", 0.9)


def read_epoch(shards: ShardSet) -> None:
    """Every tile once, shuffled."""
    order = Order(shards.counts, 0)
    with Batches(shards, [COLUMNS[256]], batch=BATCH, order=order, stop=TILES, threads=2) as stream:
        assert sum(len(loaded.keys) for loaded in stream) == TILES


def read_files(tars: list[Path], threads: int) -> None:
    """Every byte once, each file in the order of storing."""

    def read(some: list[Path]) -> None:
        piece = bytearray(1 << 20)
        for tar in some:
            with tar.open("rb", buffering=0) as file:
                while file.readinto(piece):
                    pass

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, [tars[number::threads] for number in range(threads)]))


def empty_cache(tars: list[Path]) -> None:
    """Put the files out of the page cache. Raises `RuntimeError` where they stay."""
    for tar in tars:
        with tar.open("rb") as file:
            os.fdatasync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            if cached_pages(file.fileno()):
                raise RuntimeError(f"{tar} stays in memory: a cold cache cannot be measured on this file system")


def cached_pages(descriptor: int) -> int:
    """Pages of a file that lie in the page cache."""
    length = os.fstat(descriptor).st_size
    with mmap.mmap(descriptor, length, prot=mmap.PROT_READ) as mapped:
        memory = np.frombuffer(mapped, np.uint8)
        pages = np.zeros(-(-length // mmap.PAGESIZE), np.uint8)
        where = ctypes.c_void_p(memory.ctypes.data), ctypes.c_size_t(length), ctypes.c_void_p(pages.ctypes.data)
        if ctypes.CDLL(None, use_errno=True).mincore(*where):
            raise OSError(ctypes.get_errno(), "mincore")
        del memory
    return int((pages & 1).sum())
