"""Where writing spends its time: `python -m benchmarks.writing_steps`, MB/s and shares of the limit of B6.

The pieces of `SetWriter` are put on one after another, from bytes that are ready and are only written and forced to
disk, to a set under its own name. Below stands what bounds it: sha256 of the tars on one thread, which a writer that
makes one shard after the other cannot exceed, since a sum goes from a file's beginning to its end; sha256 and the plain
write, with all cores at work all the time and nothing else to do; and all the processor time that ours takes, shared
among the cores without a moment's wait. The samples are B6's, on a disk; medians, a share is the rounds' ratio.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.b06_writing import (
    SAMPLES,
    SAMPLES_PER_SHARD,
    make_samples,
    seconds,
    write_plainly,
    write_set,
)
from benchmarks.surroundings import scratch
from benchmarks.turns import Rate, take_turns
from waterscape.cores import cores
from waterscape.data.hashed_file import HashedFile
from waterscape.data.pack import MOST_CLOSING
from waterscape.data.shard import ShardWriter, Value, crc32

PIECE = 1 << 16  # bytes, about a sample's


def steps(samples: list[dict[str, Value]], tars: list[bytes], out: Path) -> dict[str, Rate]:
    """What is done → MB a second; each of the first five does all that the one before it does."""
    size = sum(map(len, tars)) / 1e6

    def rate(turn: Callable[[], None]) -> Rate:
        return lambda: size / seconds(turn, out)

    def shared(turn: Callable[[], None]) -> Rate:
        return lambda: size / (processor_seconds(turn, out) / cores())

    def hash_and_write() -> None:
        hash_alone(tars)
        write_plainly(tars, out)

    return {
        "written and forced to disk: the limit": rate(lambda: write_plainly(tars, out)),
        "and sha256, in a thread": rate(lambda: write_hashed(tars, out, crc=False)),
        "and crc32": rate(lambda: write_hashed(tars, out, crc=True)),
        "from arrays: headers, records, index": rate(lambda: write_shards(samples, out)),
        "manifest, the set's name: SetWriter": rate(lambda: write_set(samples, out)),
        "sha256 on one thread, nothing else": rate(lambda: hash_alone(tars)),
        "sha256 and the plain write, shared among the cores": shared(hash_and_write),
        "all of SetWriter, shared among the cores": shared(lambda: write_set(samples, out)),
    }


def processor_seconds(turn: Callable[[], None], out: Path) -> float:
    """Of all threads in a turn; what the kernel does for the disk in threads of its own is not counted."""
    taken: list[float] = []

    def measured() -> None:
        began = time.process_time()
        turn()
        taken.append(time.process_time() - began)

    seconds(measured, out)
    return taken[0]


def hash_alone(tars: list[bytes]) -> None:
    """A sum for each."""
    for tar in tars:
        hashlib.sha256(tar).digest()


def write_hashed(tars: list[bytes], out: Path, *, crc: bool) -> None:
    """Bytes that are ready, through `HashedFile`; the last of each file are waited for in the background."""
    out.mkdir()
    with ThreadPoolExecutor(MOST_CLOSING) as background:
        closing = []
        for number, tar in enumerate(tars):
            file, view = HashedFile(out / f"{number}.tar"), memoryview(tar)
            for start in range(0, len(tar), PIECE):
                piece = view[start : start + PIECE]
                if crc:
                    crc32(piece)
                file.append(piece)
            closing.append(background.submit(file.finish))
        for one in closing:
            one.result()


def write_shards(samples: list[dict[str, Value]], out: Path) -> None:
    """Shards with their indexes, in a folder under its own name at once, without a manifest."""
    out.mkdir()
    endless = itertools.cycle(samples)
    with ThreadPoolExecutor(MOST_CLOSING) as background:
        closing: list[Future[tuple[str, str]]] = []
        for first in range(0, SAMPLES, SAMPLES_PER_SHARD):
            writer = ShardWriter(out, f"{first:09d}")
            for number in range(first, first + SAMPLES_PER_SHARD):
                writer.add(f"{number:09d}", next(endless))
            closing.append(background.submit(writer.finish))
        for one in closing:
            one.result()


def table(samples: list[dict[str, Value]], out: Path) -> Iterator[str]:
    """A line for each step: MB/s, the share of the limit, its quartiles."""
    write_set(samples, out)
    tars = [path.read_bytes() for path in sorted(out.glob("*.tar"))]
    rates = list(take_turns("writing", steps(samples, tars, out)).items())
    _, limit = rates[0]
    for name, values in rates:
        low, median, high = np.percentile(values / limit, (25, 50, 75))
        yield f"{np.median(values):8.0f} MB/s  {median:5.2f}  {low:.2f} to {high:.2f}  {name}"


def main() -> None:
    """Print the table."""
    with scratch() as directory:
        for line in table(make_samples(), directory / "water"):
            print(line, flush=True)


if __name__ == "__main__":
    main()
