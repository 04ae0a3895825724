"""R1: memory and time of opening a set and reading from it, by the number of its samples and of their columns.

Sets of 10³, 10⁶ and 10⁷ synthetic samples of one 64×64 column in shards of 1024, and of 10⁷ with six such columns:
index and manifest are whole; of the tars only those that the first batches read have any content, the others are holes
of the right length. Each set is opened and the same number of images read from it by a process of its own, as training
does. Time is that until the first batch is there. Memory is told twice: at the peak of the whole process, libraries
included (`VmHWM`), and what opening and reading came to hold themselves (`RssAnon`). No peer: `webdataset` reads no
index. At 10³ and 10⁷ a whole `waterscape train` is started too: seconds until its report of the first step is written,
of which loading libraries takes most, how many more they are at 10⁷, and its peak; then it is asked to stop.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.figure import Figure, NotHereError, note
from benchmarks.hollow_sets import begin_run, make_set, open_and_read
from benchmarks.surroundings import scratch

IMAGES = 8192
ROUNDS = 7
SIZES = {"1e3": (10**3, 1), "1e6": (10**6, 1), "1e7": (10**7, 1), "1e7-of-6-columns": (10**7, 6)}
BRIEF = {"IMAGES": 512, "ROUNDS": 1, "SIZES": {name: (1000, columns) for name, (_, columns) in SIZES.items()}}


def figures() -> Iterator[Figure]:
    """Growth of memory from 10³ to 10⁶ samples, time until the first batch; the same at 10⁷."""
    if not Path("/proc/self/status").exists():
        raise NotHereError("the memory of a process is told by Linux only")
    with scratch() as directory:
        found = {}
        for name, (samples, columns) in SIZES.items():
            make_set(directory / name, samples, images=min(IMAGES, samples), columns=columns)
            rounds = [open_and_read(directory / name, IMAGES)[0][0] for _ in range(ROUNDS)]
            found[name] = {key: np.array([one[key] for one in rounds]) for key in rounds[0]}
            told = ", ".join(f"{key} {np.median(values):.4g}" for key, values in found[name].items())
            note(f"R1 {name} samples: {told}")
        begun = {name: [begin_run(directory / name) for _ in range(ROUNDS)] for name in ("1e3", "1e7")}
    small, large, *largest = found.values()
    yield Figure.over("R1", "own-MB-more-at-1e6", large["own_mb"] - small["own_mb"], "<=", 16)
    yield Figure.over("R1", "peak-MB-1e6", large["peak_mb"], "<=", 500)
    yield Figure.over("R1", "start-seconds-1e6", large["seconds"], "<=", 3)
    for name, of in zip(list(SIZES)[2:], largest, strict=True):
        yield Figure.over("R1", f"peak-MB-{name}", of["peak_mb"], "<=", 500)
        yield Figure.over("R1", f"start-seconds-{name}", of["seconds"], "<=", 3)
    few, many = (np.array([one["seconds"] for one in begun[name]]) for name in ("1e3", "1e7"))
    note(f"R1 train: seconds to the first step {np.median(few):.3g} at 1e3, {np.median(many):.3g} at 1e7")
    yield Figure.over("R1", "train-seconds-more-at-1e7", many - few, "<=", 3)
    yield Figure.over("R1", "train-seconds-1e7", many)
    yield Figure.over("R1", "train-peak-MB-1e7", [one["peak_mb"] for one in begun["1e7"]], "<=", 500)
