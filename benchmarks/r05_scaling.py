"""R5: what opening and reading cost, by the number of samples, shards and processes, and by the size of an image.

Synthetic sets with whole indexes, whose tars have content where the first images are read (`hollow_sets`): 10³ to 10⁷
samples in shards of 1024, of one column and of six; 10⁵ samples in 1 to 10⁴ shards; 10⁶ samples opened and read by 1, 2
and 4 processes at once, and by as many that know nothing of one another, since a core that is shared is slower; 1024
samples of 32 to 512 pixels a side. Of each: processor time of opening, of the first batch and of an image, which other
work on the machine moves less than the clock; images/s by the clock; and memory at the peak, of the whole process and
without what its libraries take. The sizes are taken in turn, to and fro, so that a machine that is slow for some
seconds strikes all alike; what is told is the median of the rounds, after one to warm up, and the memory of that one.

Each should lie on a straight line, a fixed cost and one an item, or be flat; images/s are a second over such a line, by
several processes as many seconds as cores are in use. Told is the largest measured cost over its line's. The first
batch, for which the first indexes are read, has no law but a bound. What a manifest costs a shard is told besides. The
picture is drawn into `.bench/scaling.png`, and by `python -m benchmarks.r05_scaling FILE` wherever one wants it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.figure import Figure, NotHereError
from benchmarks.scaling_cases import Case, Hollow, take
from benchmarks.scaling_panels import Column, Law, Numbers, Series, draw
from benchmarks.surroundings import KEPT
from waterscape.cores import cores
from waterscape.errors import run_command

ROUNDS = 9
SAMPLES: tuple[int, ...] = (10**3, 10**4, 10**5, 10**6, 10**7)
SHARDS: tuple[int, ...] = (1, 10, 10**2, 10**3, 10**4)
IN_SHARDS = 10**5  # samples, of so many shards
PROCESSES: tuple[int, ...] = (1, 2, 4)
BY_PROCESSES = 10**6  # samples, read by so many processes
SIDES: tuple[int, ...] = (32, 64, 128, 256, 512)
IMAGES = 16_384  # twice what is planned at once, so that looking up the indexes counts
BRIEF = {
    "ROUNDS": 1,
    "SAMPLES": (10**3, 10**4),
    "SHARDS": (1, 10),
    "IN_SHARDS": 10**3,
    "PROCESSES": (1, 2),
    "BY_PROCESSES": 10**4,
    "SIDES": (32, 64),
    "IMAGES": 1024,
}
OPENING, FIRST, BUSY, CLOCK = "opening", "first batch", "by processor time", "by the clock"
PEAK, MORE = "whole process", "without libraries"
SIX, APART = ", 6 columns", ", apart"
INKS = {
    OPENING: "#1f6f9f",
    OPENING + SIX: "#7fb2d4",
    FIRST: "#4d7a2a",
    FIRST + SIX: "#a3c78a",
    CLOCK: "#c8562b",
    CLOCK + APART: "#444444",
    BUSY: "#e5ab92",
    BUSY + APART: "#b0b0b0",
    PEAK: "#333333",
    MORE: "#7a4fa0",
    MORE + SIX: "#bda3d4",
}
ROWS = {
    "start-up, seconds of processor": (OPENING, FIRST),
    "images/s": (CLOCK, BUSY),
    "peak memory of a process, MB": (PEAK, MORE),
}


def figures() -> Iterator[Figure]:
    """How straight the lines are, and how flat what should not grow."""
    columns = samples, shards, processes, sides = measure()
    draw(columns, ROWS, INKS, KEPT / "scaling.png")
    for series, what in (
        (samples[OPENING], "samples-opening-over-line"),
        (samples[OPENING + SIX], "samples-of-six-columns-opening-over-line"),
        (samples[BUSY], "samples-image-over-flat"),
        (samples[CLOCK], "samples-image-by-the-clock-over-flat"),
        (samples[MORE], "samples-memory-over-line"),
        (samples[MORE + SIX], "samples-of-six-columns-memory-over-line"),
        (shards[OPENING], "shards-opening-over-line"),
        (shards[BUSY], "shards-image-over-line"),
        (shards[CLOCK], "shards-image-by-the-clock-over-line"),
        (processes[OPENING], "processes-opening-over-flat"),
        (processes[BUSY], "processes-image-over-line"),
        (processes[CLOCK], "processes-image-by-the-clock-over-line"),
        (processes[MORE], "processes-memory-over-line"),
        (sides[OPENING], "pixels-opening-over-flat"),
        (sides[BUSY], "pixels-image-over-line"),
        (sides[CLOCK], "pixels-image-by-the-clock-over-line"),
        (sides[MORE], "pixels-memory-over-line"),
    ):
        yield Figure("R5", what, series.above(), "<=", 1.5)
    # An index is read as a whole: one of all samples takes more than many small ones, which is off any line.
    yield Figure("R5", "shards-memory-over-line", shards[MORE].above(), "<=", 2)
    together, apart = processes[BUSY].costs, processes[BUSY + APART].costs
    yield Figure("R5", "processes-image-over-apart", float((together / apart).max()), "<=", 1.5)
    for column, what, most in (
        (samples, "first-batch-milliseconds", 100),
        (shards, "shards-first-batch-milliseconds", 300),
    ):
        first = max(float(series.costs.max()) for name, series in column.series.items() if FIRST in name)
        yield Figure("R5", what, 1e3 * first, "<=", most)


def measure() -> tuple[Column, Column, Column, Column]:
    """By samples, shards, processes and pixels."""
    if not Path("/proc/self/status").exists():
        raise NotHereError("the memory of a process is told by Linux only")
    return by_samples(), by_shards(), by_processes(), by_pixels()


def by_samples() -> Column:
    """10³ to 10⁷ samples, of one column and of six, of which one is read: an image costs the same."""
    cases = {also: [Case(Hollow(samples, columns=n), IMAGES) for samples in SAMPLES] for also, n in (("", 1), (SIX, 6))}
    return measured("samples, in shards of 1024", SAMPLES, cases, flat=(BUSY, CLOCK))


def by_shards() -> Column:
    """1 to 10⁴ shards of 10⁵ samples: the more there are, the more of them are opened for as many images."""
    cases = [Case(Hollow(IN_SHARDS, IN_SHARDS // shards), IMAGES) for shards in SHARDS]
    return measured(f"shards, {IN_SHARDS:_} samples in all".replace("_", " "), SHARDS, {"": cases})


def by_processes() -> Column:
    """10⁶ samples, by 1, 2 and 4 processes: each goes through all blocks of shards, for its part of their images.

    So the more there are, the more blocks each goes through for as many images, and the more indexes it keeps of them.
    """
    of = Hollow(BY_PROCESSES)
    cases = {also: [Case(of, IMAGES, n, apart=also == APART) for n in PROCESSES] for also in ("", APART)}
    return measured("processes", PROCESSES, cases, flat=(OPENING,), over=used)


def by_pixels() -> Column:
    """32 to 512 pixels a side: opening knows nothing of them."""
    cases = [Case(Hollow(1024, 128, side), IMAGES) for side in SIDES]
    return measured("pixels of an image", tuple(side * side for side in SIDES), {"": cases}, flat=(OPENING,))


def one_second(sizes: Numbers) -> Numbers:
    """What a rate is told of, whatever the size."""
    return np.ones(len(sizes))


def used(processes: Numbers) -> Numbers:
    """Seconds of the cores that so many processes have in a second."""
    return np.minimum(processes, float(cores()))


def measured(
    across: str,
    sizes: tuple[int, ...],
    cases: Mapping[str, Sequence[Case]],
    *,
    flat: Sequence[str] = (),
    over: Callable[[Numbers], Numbers] = one_second,
) -> Column:
    """What all cases cost, of those that the names of the costs end in; a rate by the clock is `over` its cost's line.

    What is not flat follows a line, but for the first batch and for processes apart.
    """
    costs = iter(take([case for group in cases.values() for case in group], ROUNDS))
    series = {}
    for also, group in cases.items():
        found = [next(costs) for _ in group]
        for name in (name for names in ROWS.values() for name in names if name + also in INKS):
            law: Law = "free" if name == FIRST or also == APART else "flat" if name in flat else "line"
            rated = over if name == CLOCK else one_second if name == BUSY else None
            values = np.array([one[name] for one in found])
            values = values * rated(np.array(sizes, float)) if rated else values
            series[name + also] = Series(sizes, values, law, rated)
    return Column(across, series)


def main() -> int:
    """Measure, and draw into the file named."""
    draw(measure(), ROWS, INKS, Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    run_command(main)
