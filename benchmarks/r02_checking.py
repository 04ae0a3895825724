"""R2: `waterscape shards check` of a whole set, against `sha256sum` by as many processes.

Ours: `check`, which reads each tar once and looks at every header, crc32, padding, JSON and `.npy` header beside the
sha256. Peer: `xargs -P CORES sha256sum`, which knows the sum alone. Limit: the same bytes read and hashed by as many
threads. Synthetic samples as `pack_occurrence` makes them, in the page cache. Taken in turn; the median of the rounds'
ratios counts.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.b06_writing import make_samples, write_set
from benchmarks.figure import Figure, note
from benchmarks.surroundings import scratch
from waterscape.data.doctor import check

ROUNDS = 9
CORES = min(8, os.cpu_count() or 1)
PIECE = 1 << 20
BRIEF = {"ROUNDS": 1}


def figures() -> Iterator[Figure]:
    """Ratio to the peer, and the share of the limit."""
    with scratch() as directory:
        out = directory / "water"
        write_set(make_samples(), out)
        tars = sorted(out.glob("*.tar"))
        turns = [lambda: check_whole(out), lambda: sum_apart(tars), lambda: sum_here(tars)]
        for turn in turns:
            turn()
        taken = np.array([[seconds(turn) for turn in turns] for _ in range(ROUNDS)]).T
        size = sum(tar.stat().st_size for tar in tars) / 1e6
    speeds = zip(("ours", "sha256sum", "read and sha256"), size / np.median(taken, axis=1), strict=True)
    note(f"R2 {size:.0f} MB on {CORES} cores in MB/s: " + ", ".join(f"{name} {speed:.0f}" for name, speed in speeds))
    yield Figure.over("R2", "sha256sum", taken[1] / taken[0], ">=", 0.6)
    yield Figure.over("R2", "limit", taken[2] / taken[0], ">=", 0.6)


def seconds(turn: Callable[[], None]) -> float:
    """That a turn takes."""
    began = time.perf_counter()
    turn()
    return time.perf_counter() - began


def check_whole(out: Path) -> None:
    """Ours."""
    assert not check(out, threads=CORES).findings


def sum_apart(tars: list[Path]) -> None:
    """The peer."""
    names = "\0".join(map(str, tars))
    command = ["xargs", "-0", "-n1", f"-P{CORES}", "sha256sum"]
    subprocess.run(command, input=names, text=True, check=True, stdout=subprocess.DEVNULL)


def sum_here(tars: list[Path]) -> None:
    """The limit."""
    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(_sum, tars))


def _sum(tar: Path) -> None:
    digest, buffer = hashlib.sha256(), memoryview(bytearray(PIECE))
    with tar.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
