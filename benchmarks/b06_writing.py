"""B6: writing shards with index, crc32, sha256 and fsync, against `webdataset.ShardWriter`, which has none of these.

Ours: `SetWriter`, from arrays to a set under its own name. Peer: `webdataset.ShardWriter` at its best settings: whole
seconds as times (else a PAX header a member) and no `fsync`; once with its own encoding of the same arrays, and once
given bytes that somebody has encoded before, which ours is not. Both write the same columns of the same synthetic
samples, as `pack_occurrence` makes them, into the same number of tars.

Limit: the bytes of our tars, ready in memory, written in pieces of 1 MiB and forced to disk, as ours has it: the disk
begins while a file grows, and two files are forced at once while the next one is written. All of it lies on a disk, not
in memory. Taken in turn in one process; the median of the rounds' ratios counts. Where the rest goes, and what two
cores allow at best, `python -m benchmarks.writing_steps` says (its output: `docs/speed.md`).
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import webdataset
from scipy import ndimage

from benchmarks.figure import Figure, note
from benchmarks.surroundings import scratch
from waterscape.data.hashed_file import AT_ONCE
from waterscape.data.pack import MOST_CLOSING, SetWriter
from waterscape.data.shard import Value, encode
from waterscape.durable import start_sync

SAMPLES = 3072
SAMPLES_PER_SHARD = 512
DISTINCT = 128  # tiles in memory; more would only leave the processor's cache the sooner
ROUNDS = 9
PIECE = 1 << 20
BRIEF = {"SAMPLES": 256, "SAMPLES_PER_SHARD": 64, "ROUNDS": 1}


def figures() -> Iterator[Figure]:
    """Ratio to the peer, and the share of the limit."""
    samples = make_samples()
    encoded = [{column: b"".join(encode(column, value)) for column, value in one.items()} for one in samples]
    with scratch() as directory:
        out = directory / "water"
        write_set(samples, out)
        tars = [path.read_bytes() for path in sorted(out.glob("*.tar"))]
        turns: list[Callable[[], None]] = [
            lambda: write_set(samples, out),
            lambda: write_as_peer(samples, out, encoder=True),
            lambda: write_as_peer(encoded, out, encoder=False),
            lambda: write_plainly(tars, out),
        ]
        taken = np.array([[seconds(turn, out) for turn in turns] for _ in range(ROUNDS)]).T
    size = sum(map(len, tars)) / 1e6
    names = ("ours", "ShardWriter", "ShardWriter given bytes", "plain write + fsync")
    speeds = zip(names, size / np.median(taken, axis=1), strict=True)
    note(f"B6 {size:.0f} MB in MB/s: " + ", ".join(f"{name} {speed:.0f}" for name, speed in speeds))
    yield Figure.over("B6", "shardwriter", taken[1] / taken[0], ">=", 3)
    yield Figure.over("B6", "shardwriter-given-bytes", taken[2] / taken[0], ">=", 3)
    yield Figure.over("B6", "limit", taken[3] / taken[0], ">=", 0.6)


def seconds(turn: Callable[[], None], out: Path) -> float:
    """That a turn takes, from nothing; what it made is removed, and its last writes are over, before the next one."""
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    began = time.perf_counter()
    turn()
    return time.perf_counter() - began


def make_samples() -> list[dict[str, Value]]:
    """Synthetic tiles with the columns that `pack_occurrence` writes."""
    random = np.random.default_rng(0)
    field = ndimage.gaussian_filter(random.normal(size=(256, 256)), 8, mode="wrap")
    samples: list[dict[str, Value]] = []
    for number in range(DISTINCT):
        moved = np.roll(field, random.integers(0, 256, 2), axis=(0, 1)) / field.std() - random.normal()
        tile = np.clip(50 + 60 * moved, 0, 100).astype(np.uint8)
        facts: dict[str, Any] = {"source": f"synthetic-{number:010d}", "longitude": 90.1, "latitude": 60.5}
        bodies = random.normal(size=(random.integers(1, 12), 24)).astype(np.float32)
        small = tile.reshape(64, 4, 64, 4).mean((1, 3)).astype(np.uint8)
        columns = {"occurrence.npy": tile, "occurrence64.npy": small, "bodies.npy": bodies}
        samples.append({**columns, "shape.npy": np.array(number % 9, np.uint8), "json": facts})
    return samples


def write_set(samples: list[dict[str, Value]], out: Path) -> None:
    """Ours: everything, durably."""
    with SetWriter(out, facts={"synthetic": True}, samples_per_shard=SAMPLES_PER_SHARD) as writer:
        for number in range(SAMPLES):
            writer.add("train", samples[number % len(samples)])


def write_as_peer(samples: list[Any], out: Path, *, encoder: bool) -> None:
    """By `webdataset.ShardWriter`, with its own encoding of values, or bytes as they are."""
    out.mkdir()
    options = {"maxcount": SAMPLES_PER_SHARD, "maxsize": 1e12, "verbose": 0, "mtime": 0, "encoder": encoder}
    with webdataset.ShardWriter(f"{out}/water-%06d.tar", **options) as writer:
        for number in range(SAMPLES):
            writer.write({"__key__": f"{number:09d}", **samples[number % len(samples)]})


def write_plainly(tars: list[bytes], out: Path) -> None:
    """The limit."""
    out.mkdir()
    with ThreadPoolExecutor(MOST_CLOSING) as background:
        forced: list[Future[None]] = []
        for number, tar in enumerate(tars):
            descriptor = os.open(out / f"{number}.tar", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            view = memoryview(tar)
            for start in range(0, len(tar), PIECE):
                os.write(descriptor, view[start : start + PIECE])
                if (start + PIECE) % AT_ONCE == 0:
                    start_sync(descriptor)
            forced.append(background.submit(force, descriptor))
        for one in forced:
            one.result()


def force(descriptor: int) -> None:
    """A file to disk, and closed."""
    os.fsync(descriptor)
    os.close(descriptor)
