"""R1: memory and time of opening a set and reading from it, by the number of its samples.

Sets of 10³, 10⁶ and 10⁷ synthetic samples of one 64×64 column in shards of 1024: index and manifest are whole; of the
tars only those that the first batches read have any content, the others are holes of the right length. Each set is
opened and the same number of images read from it by a process of its own, as training does. Memory is told twice: at
the peak of the whole process, libraries and pages of mapped indexes included, which the system may take back (`VmHWM`),
and what opening and reading came to hold themselves (`RssAnon`). No peer: `webdataset` reads no index.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.b06_writing import SCRATCH
from benchmarks.figure import Figure, NotHereError, note
from waterscape.data.manifest import Column, Manifest, Shard
from waterscape.data.order import Order
from waterscape.data.shard import BLOCK as HEADER_BYTES
from waterscape.data.shard import RECORD, ShardWriter, encode, index_dtype, padding

COLUMN = "occurrence64.npy"
SAMPLES_PER_SHARD = 1024
IMAGES = 8192
ROUNDS = 7
SIZES = {"1e3": 10**3, "1e6": 10**6, "1e7": 10**7}

READ = """
import json, sys, time
from waterscape.data.batches import Batches
from waterscape.data.order import Order
from waterscape.data.shards import ShardSet

def memory():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return {name: int(lines[name].split()[0]) / 1024 for name in ("VmHWM", "RssAnon")}

before, began = memory(), time.perf_counter()
shards = ShardSet(sys.argv[1], "train")
opened = time.perf_counter() - began
with Batches(shards, [sys.argv[2]], batch=64, order=Order(shards.counts, 0), stop=int(sys.argv[3])) as batches:
    read = sum(len(loaded.keys) for loaded in batches)
print(json.dumps({"seconds": opened, "read": read, "before": before, "after": memory()}))
"""


def figures() -> Iterator[Figure]:
    """Growth of memory from 10³ to 10⁶ samples, time of opening; the same at 10⁷, as a look ahead."""
    if not Path("/proc/self/status").exists():
        raise NotHereError("the memory of a process is told by Linux only")
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        found = {}
        for name, samples in SIZES.items():
            make_set(Path(directory) / name, samples)
            rounds = [open_and_read(Path(directory) / name) for _ in range(ROUNDS)]
            found[name] = {key: np.array([one[key] for one in rounds]) for key in rounds[0]}
            told = ", ".join(f"{key} {np.median(values):.4g}" for key, values in found[name].items())
            note(f"R1 {name} samples: {told}")
    small, large, largest = found.values()
    yield Figure.over("R1", "own-MB-more-at-1e6", large["own_mb"] - small["own_mb"], "<=", 16)
    yield Figure.over("R1", "peak-MB-1e6", large["peak_mb"], "<=", 500)
    yield Figure.over("R1", "open-seconds-1e6", large["seconds"], "<=", 3)
    yield Figure.over("R1", "peak-MB-1e7", largest["peak_mb"], "<=", 500)
    yield Figure.over("R1", "open-seconds-1e7", largest["seconds"], "<=", 3)


def make_set(out: Path, samples: int) -> None:
    """A set whose shards have content only where the first `IMAGES` images of an epoch are read."""
    out.mkdir()
    counts = np.full(-(-samples // SAMPLES_PER_SHARD), SAMPLES_PER_SHARD)
    counts[-1] -= counts.sum() - samples
    filled = set(np.unique(Order(counts, 0).locate(0, min(IMAGES, samples))[0]).tolist())
    tile = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    size = sum(map(len, encode(COLUMN, tile)))
    record = HEADER_BYTES + size + padding(size)
    shards, first = [], 0
    for number, count in enumerate(counts.tolist()):
        name = f"{out.name}-train-{number:06d}"
        keys = [f"{first + row:09d}" for row in range(count)]
        if number in filled:
            writer = ShardWriter(out, name)
            for key in keys:
                writer.add(key, {COLUMN: tile})
            sha256, index_sha256 = writer.finish()
        else:
            table = np.zeros(count, index_dtype(9, [COLUMN]))
            table["key"] = keys
            table[COLUMN] = np.array([(record * row, size, 0) for row in range(count)], RECORD)
            stream = io.BytesIO()
            np.lib.format.write_array(stream, table, version=(1, 0))
            (out / f"{name}.index.npy").write_bytes(stream.getvalue())
            with (out / f"{name}.tar").open("wb") as tar:
                tar.truncate(record * count + 2 * HEADER_BYTES)
            sha256, index_sha256 = "0" * 64, hashlib.sha256(stream.getvalue()).hexdigest()
        shards.append(Shard(name, "train", count, record * count + 2 * HEADER_BYTES, sha256, index_sha256))
        first += count
    Manifest(out.name, (Column(COLUMN, "|u1", (64, 64)),), tuple(shards), {"synthetic": True}).save(out)


def open_and_read(out: Path) -> dict[str, float]:
    """Seconds of opening, megabytes at the peak, and megabytes that opening and reading came to hold themselves."""
    command = [sys.executable, "-c", READ, out, COLUMN, str(IMAGES)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert told["read"] == IMAGES
    before, after = told["before"], told["after"]
    own = after["RssAnon"] - before["RssAnon"]
    return {"seconds": told["seconds"], "peak_mb": after["VmHWM"], "own_mb": own}
