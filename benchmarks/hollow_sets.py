"""Synthetic sets whose tars have content only where the first images of an epoch are read; the rest are holes.

Indexes and manifest are whole, so a start costs what it costs for a real set of that size.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import numpy as np

from waterscape.data.manifest import Column, Manifest, Shard
from waterscape.data.order import Order
from waterscape.data.shard import BLOCK, ShardWriter, encode, index_dtype, padding
from waterscape.training.events import read_events
from waterscape.training.outcome import CODES

COLUMN = "occurrence64.npy"
TRAINED = 4096  # images of a run that is stopped after its first step

READ = """
import json, sys, time
import numpy.char, numpy.ma  # libraries load these at a first use, which is no cost of a set
from waterscape.data.batches import Batches
from waterscape.data.order import Order
from waterscape.data.shards import ShardSet

def memory():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return {name: int(lines[name].split()[0]) / 1024 for name in ("VmHWM", "VmRSS", "RssAnon")}

libraries = memory()
place, column, images, rank, world = sys.argv[1:3] + [int(word) for word in sys.argv[3:]]
for _ in sys.stdin:  # a line a round, once all processes have imported what they need
    before, began, busy = memory(), time.perf_counter(), time.process_time()
    shards = ShardSet(place, "train")
    opened = time.process_time()
    options = {"batch": 64 * world, "order": Order(shards.counts, 0), "stop": images, "rank": rank, "world": world}
    with Batches(shards, [column], **options) as batches:
        first = len(next(batches).keys)
        started, start_busy = time.perf_counter(), time.process_time()
        read = first + sum(len(loaded.keys) for loaded in batches)
    told = {"seconds": started - began, "read": read, "libraries": libraries, "before": before}
    told |= {"read_seconds": time.perf_counter() - started, "read_busy": time.process_time() - start_busy}
    told |= {"open_busy": opened - busy, "first_busy": start_busy - opened, "after": memory()}
    del shards, options, batches  # else the next round would hold them beside its own
    print(json.dumps(told), flush=True)
"""


def make_set(
    out: Path, samples: int, *, images: int, samples_per_shard: int = 1024, side: int = 64, columns: int = 1
) -> None:
    """A set of columns of `side` × `side` bytes, from which the first `images` of epoch 0 (seed 0) can be read.

    A small shard of the split valid is whole: of it a run shows samples.
    """
    names = [COLUMN, *(f"other{number}.npy" for number in range(1, columns))]
    out.mkdir()
    counts = np.full(-(-samples // samples_per_shard), samples_per_shard)
    counts[-1] -= counts.sum() - samples
    filled = set(np.unique(Order(counts, 0).locate(0, min(images, samples))[0]).tolist())
    tile = np.resize(np.arange(251, dtype=np.uint8), (side, side))
    size = sum(map(len, encode(COLUMN, tile)))
    record = BLOCK + size + padding(size)
    shards, first = [], 0
    planned = [("train", number, count) for number, count in enumerate(counts.tolist())] + [("valid", 0, 64)]
    for split, number, count in planned:
        name, keys = f"{out.name}-{split}-{number:06d}", [f"{first + row:09d}" for row in range(count)]
        if split == "valid" or number in filled:
            writer = ShardWriter(out, name)
            for key in keys:
                writer.add(key, dict.fromkeys(names, tile))
            sha256, index_sha256 = writer.finish()
        else:
            sha256, index_sha256 = "0" * 64, _write_hole(out, name, keys, names, size, record)
        shards.append(Shard(name, split, count, record * count * columns + 2 * BLOCK, sha256, index_sha256))
        first += count
    held = tuple(Column(name, "|u1", (side, side)) for name in names)
    Manifest(out.name, held, tuple(shards), {"synthetic": True}).save(out)


def _write_hole(out: Path, name: str, keys: list[str], columns: list[str], size: int, record: int) -> str:
    """A tar of the right length without content, and its index; returns the index's sha256."""
    table = np.zeros(len(keys), index_dtype(9, columns))
    table["key"] = keys
    for number, column in enumerate(columns):
        table[column]["offset"] = record * (number + len(columns) * np.arange(len(keys)))
        table[column]["size"] = size
    stream = io.BytesIO()
    np.lib.format.write_array(stream, table, version=(1, 0))
    (out / f"{name}.index.npy").write_bytes(stream.getvalue())
    with (out / f"{name}.tar").open("wb") as tar:
        tar.truncate(record * len(keys) * len(columns) + 2 * BLOCK)
    return hashlib.sha256(stream.getvalue()).hexdigest()


def begin_run(data: Path) -> dict[str, float]:
    """What `waterscape train` takes: `seconds` until it reports its first step, of 64 images, and its `peak_mb`.

    It goes on meanwhile and is then asked to stop, which it does once it has saved.
    """
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "run"
        words = ["--images", TRAINED, "--batch", 64, "--evaluate-every", 0, "--no-tensorboard"]
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "waterscape", "train", "water_vae", "--data", data, "--out", out, *map(str, words)],
            stderr=subprocess.DEVNULL,
        )
        while not _has_reported(out) and not _ended(process.pid):
            time.sleep(0.002)
        seconds = time.perf_counter() - began
        os.kill(process.pid, signal.SIGTERM)  # `terminate` would wait for one that has failed, and take its figures
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (CODES["continue"], CODES["done"]) or not _has_reported(out):
            raise RuntimeError(f"{data}: training ended with {process.returncode}")
        return {"seconds": seconds, "peak_mb": usage.ru_maxrss / 1024}


def _has_reported(out: Path) -> bool:
    return any(event["event"] == "report" for event in read_events(out))


def _ended(number: int) -> bool:
    return os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class Readers:
    """So many processes that open a set and read their part of `images` whenever they are asked to, round after round.

    `apart`: processes that know nothing of one another, each of which reads as many images from the beginning.
    """

    def __init__(self, out: Path, images: int, processes: int = 1, *, apart: bool = False) -> None:
        self.out, self.images = out, images
        words = [sys.executable, "-c", READ, str(out), COLUMN, str(images // processes if apart else images)]
        places = [(0, 1)] * processes if apart else [(rank, processes) for rank in range(processes)]
        self._started = [
            subprocess.Popen([*words, str(rank), str(world)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for rank, world in places
        ]

    def round(self) -> list[dict[str, float]]:
        """What each process tells.

        `seconds` until the first batch is there, `read_seconds` for all others of `read` images; `open_busy`,
        `first_busy` and `read_busy`: processor time, of all threads, of opening, then of the first batch, then of the
        others; `peak_mb` of the process, `more_mb` of that than its libraries took before the first round; `own_mb`
        that the round came to hold itself.
        """
        for process in self._started:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        told: list[dict[str, Any]] = [
            json.loads(process.stdout.readline()) for process in self._started if process.stdout
        ]
        if sum(one["read"] for one in told) != self.images:
            raise RuntimeError(f"{self.out}: not all of the {self.images} images were read")
        for one in told:
            libraries, before, after = one.pop("libraries"), one.pop("before"), one.pop("after")
            one |= {"peak_mb": after["VmHWM"], "more_mb": after["VmHWM"] - libraries["VmRSS"]}
            one["own_mb"] = after["RssAnon"] - before["RssAnon"]
        return told

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.communicate()


def open_and_read(out: Path, images: int, processes: int = 1, rounds: int = 1) -> list[list[dict[str, float]]]:
    """What so many processes tell, round by round (`Readers.round`)."""
    with Readers(out, images, processes) as readers:
        return [readers.round() for _ in range(rounds)]
