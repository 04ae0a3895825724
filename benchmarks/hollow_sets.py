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
from typing import Any

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
    return {name: int(lines[name].split()[0]) / 1024 for name in ("VmHWM", "RssAnon")}

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
    told = {"seconds": started - began, "read": read, "before": before, "after": memory()}
    told |= {"read_seconds": time.perf_counter() - started, "read_busy": time.process_time() - start_busy}
    told |= {"open_busy": opened - busy, "first_busy": start_busy - opened}
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


def open_and_read(
    out: Path, images: int, processes: int = 1, rounds: int = 1, *, apart: bool = False
) -> list[list[dict[str, float]]]:
    """What so many processes tell, round by round, each of which opens the set and reads its part of `images`.

    `seconds` until the first batch is there, `read_seconds` for all others of `read` images; `open_busy`, `first_busy`
    and `read_busy`: processor time, of all threads, of opening, then of the first batch, then of the others; `peak_mb`
    of the process, `own_mb` that the round came to hold itself. `apart`: processes that know nothing of one another,
    each of which reads as many images from the beginning.
    """
    words = [sys.executable, "-c", READ, str(out), COLUMN, str(images // processes if apart else images)]
    places = [(0, 1)] * processes if apart else [(rank, processes) for rank in range(processes)]
    started = [
        subprocess.Popen([*words, str(rank), str(world)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for rank, world in places
    ]
    told = [_round(started) for _ in range(rounds)]
    for process in started:
        process.communicate()
    for one in (one for found in told for one in found):
        before, after = one.pop("before"), one.pop("after")
        one |= {"peak_mb": after["VmHWM"], "own_mb": after["RssAnon"] - before["RssAnon"]}
    if any(sum(one["read"] for one in found) != images for found in told):
        raise RuntimeError(f"{out}: not all of the {images} images were read")
    return told


def _round(processes: list[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    lines = [process.stdout.readline() if process.stdout else "" for process in processes]
    return [json.loads(line) for line in lines]
