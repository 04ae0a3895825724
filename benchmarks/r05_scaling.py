"""R5: what opening and reading cost, by the number of samples, shards and processes, and by the size of an image.

Synthetic sets with whole indexes, whose tars have content where the first images are read (`hollow_sets`): 10³ to 10⁷
samples in shards of 1024, of one column and of six; 10⁵ samples in 1 to 10⁴ shards; 10⁶ samples opened and read by 1, 2
and 4 processes at once, and by as many that know nothing of one another, since a core that is shared is slower; 1024
samples of 32 to 512 pixels a side. What a manifest costs a shard is told besides. Costs are processor time, which other
work on the machine moves less than the clock, the median of the rounds, after one to warm up: what libraries do at
their first moment does not count. Each should lie on a straight line, a fixed cost and one an item, or be flat; what is
told is the largest measured cost over its line's. The first batch, for which the first indexes are read, has no law but
a bound. The picture is drawn into `.bench/scaling.png`, and by
`python -m benchmarks.r05_scaling FILE` wherever one wants it.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from benchmarks.figure import Figure, NotHereError, note
from benchmarks.hollow_sets import make_set, open_and_read
from benchmarks.surroundings import KEPT, scratch
from waterscape.data.manifest import FILE, Manifest
from waterscape.errors import run_command

ROUNDS = 7
SAMPLES = (10**3, 10**4, 10**5, 10**6, 10**7)
SHARDS = (1, 10, 10**2, 10**3, 10**4)
PROCESSES = (1, 2, 4)
SIDES = (32, 64, 128, 256, 512)
IMAGES = 16_384  # twice what is planned at once, so that looking up the indexes counts
OPENING, FIRST, IMAGE = "opening", "the first batch", "an image"
OF_SIX, APART = ", six columns", "an image, processes apart"
INKS = {
    OPENING: "#1f6f9f",
    OPENING + OF_SIX: "#7fb2d4",
    FIRST: "#4d7a2a",
    FIRST + OF_SIX: "#a3c78a",
    IMAGE: "#c8562b",
    APART: "#e5ab92",
}


@dataclass(frozen=True)
class Panel:
    """Costs (second → one an item of `sizes`) in the order of `sizes`; `flat`: they should not grow; `free`: no law."""

    title: str
    across: str
    up: str
    sizes: tuple[int, ...]
    costs: Mapping[str, NDArray[np.float64]]
    flat: tuple[str, ...] = ()
    free: tuple[str, ...] = ()

    def line(self, name: str, at: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """What the law says at each size: a fixed cost and one an item, fitted by relative error; or the median."""
        costs, sizes = self.costs[name], np.array(self.sizes, float)
        at = sizes if at is None else at
        if name in self.flat:
            return np.full(len(at), np.median(costs))
        laws = np.stack([np.ones(len(sizes)), sizes], 1)
        (fixed, each), _ = nnls(laws / costs[:, None], np.ones(len(sizes)))  # neither cost is below nothing
        return np.asarray(fixed + each * at)

    def above(self, name: str) -> float:
        """The largest cost over its line's."""
        return float((self.costs[name] / self.line(name)).max())


def figures() -> Iterator[Figure]:
    """How straight the lines are, and how flat what should not grow."""
    panels = measure()
    draw(panels, KEPT / "scaling.png")
    samples, shards, processes, sides = panels
    for panel, name, what in (
        (samples, OPENING, "samples-opening-over-line"),
        (samples, OPENING + OF_SIX, "samples-of-six-columns-opening-over-line"),
        (samples, IMAGE, "samples-image-over-flat"),
        (shards, OPENING, "shards-opening-over-line"),
        (processes, OPENING, "processes-opening-over-flat"),
        (sides, IMAGE, "pixels-image-over-line"),
    ):
        yield Figure("R5", what, panel.above(name), "<=", 1.5)
    together, apart = (processes.costs[name] for name in (IMAGE, APART))
    yield Figure("R5", "processes-image-over-apart", float((together / apart).max()), "<=", 1.5)
    longest = max(float(costs.max()) for name, costs in samples.costs.items() if name in samples.free)
    yield Figure("R5", "first-batch-milliseconds", 1e3 * longest, "<=", 100)


def measure() -> list[Panel]:
    """All sets, one after another."""
    if not Path("/proc/self/status").exists():
        raise NotHereError("the memory of a process is told by Linux only")
    return [by_samples(), by_shards(), by_processes(), by_side()]


def by_samples() -> Panel:
    """10³ to 10⁷ samples."""
    costs = joined([taken(samples, samples_per_shard=1024) for samples in SAMPLES])
    of_six = joined([taken(samples, samples_per_shard=1024, columns=6) for samples in SAMPLES])
    costs |= {name + OF_SIX: of_six[name] for name in (OPENING, FIRST)}
    free = (FIRST, FIRST + OF_SIX)
    return Panel("samples", "samples, in shards of 1024", "seconds", SAMPLES, costs, (IMAGE,), free)


def by_shards() -> Panel:
    """1 to 10⁴ shards of 10⁵ samples."""
    costs = [taken(10**5, samples_per_shard=10**5 // shards, images=1024) for shards in SHARDS]
    return Panel("shards", "shards of 100 000 samples in all", "seconds", SHARDS, {OPENING: joined(costs)[OPENING]})


def by_processes() -> Panel:
    """10⁶ samples, by 1, 2 and 4 processes."""
    costs = [taken(10**6, samples_per_shard=1024, images=IMAGES * n, processes=n) for n in PROCESSES]
    of = joined(costs)
    apart = [taken(10**6, samples_per_shard=1024, images=IMAGES * n, processes=n, apart=True) for n in PROCESSES]
    of[APART] = joined(apart)[IMAGE]
    free = (FIRST, IMAGE, APART)
    return Panel("processes", "processes, a million samples", "seconds, a process", PROCESSES, of, (OPENING,), free)


def by_side() -> Panel:
    """32 to 512 pixels a side: cost by pixels."""
    costs = [taken(1024, samples_per_shard=128, side=side, images=4096) for side in SIDES]
    pixels = tuple(side * side for side in SIDES)
    return Panel("image size", "pixels of an image", "seconds", pixels, {IMAGE: joined(costs)[IMAGE]})


def taken(
    samples: int,
    *,
    samples_per_shard: int,
    side: int = 64,
    images: int = IMAGES,
    processes: int = 1,
    columns: int = 1,
    apart: bool = False,
) -> dict[str, float]:
    """Processor seconds of opening and of a first batch (of the dearest process) and of an image: medians."""
    with scratch() as directory:
        out = directory / "hollow"
        make_set(out, samples, images=images, samples_per_shard=samples_per_shard, side=side, columns=columns)
        indexes = sum(path.stat().st_size for path in out.glob("*.index.npy"))
        manifest = of_manifest(out)
        rounds = open_and_read(out, images, processes, ROUNDS + 1, apart=apart)[1:]
    opening, first = (
        float(np.median([max(one[name] for one in told) for told in rounds])) for name in ("open_busy", "first_busy")
    )
    image = float(np.median([sum(one["read_busy"] for one in told) / images for told in rounds]))
    seconds = np.median([max(one["seconds"] for one in told) for told in rounds])
    rate = np.median([images / max(one["read_seconds"] for one in told) for told in rounds])
    peak = np.median([max(one["peak_mb"] for one in told) for told in rounds])
    how = f"{processes} processes{' apart' if apart else ''}"
    note(
        f"R5 {samples} samples, {samples_per_shard} a shard, {columns} columns, {side} px, {how}: "
        f"first batch after {seconds:.3g} s ({opening:.3g} s of processor to open, {first:.3g} s then), {rate:,.0f} "
        f"images/s ({image * 1e6:.3g} µs of processor each), {peak:.0f} MB; {indexes / samples:.0f} bytes of index a "
        f"sample; {manifest}"
    )
    return {OPENING: opening, FIRST: first, IMAGE: image}


def of_manifest(out: Path) -> str:
    """What a manifest costs a shard, in words."""
    began = time.process_time()
    shards = len(Manifest.load(out).shards)
    spent = (time.process_time() - began) / shards
    tracemalloc.start()
    kept = Manifest.load(out)
    held = tracemalloc.get_traced_memory()[0] / len(kept.shards)
    tracemalloc.stop()
    size = (out / FILE).stat().st_size / shards
    return f"manifest: {size:.0f} bytes, {spent * 1e6:.3g} µs and {held:.0f} bytes of memory a shard"


def joined(costs: Sequence[Mapping[str, float]]) -> dict[str, NDArray[np.float64]]:
    """Name → one entry a size."""
    return {name: np.array([one[name] for one in costs]) for name in costs[0]}


def draw(panels: Sequence[Panel], path: Path) -> None:
    """Costs as dots, each on its line, both axes logarithmic."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(10, 8), layout="constrained")
    for panel, axis in zip(panels, axes.flat, strict=True):
        for name, costs in panel.costs.items():
            across = np.geomspace(panel.sizes[0], panel.sizes[-1], 100)
            if name not in panel.free:
                axis.plot(across, panel.line(name, across), color=INKS[name], linewidth=1, alpha=0.6)
            axis.plot(panel.sizes, costs, "o", color=INKS[name], label=name)
        axis.set(xscale="log", yscale="log", title=panel.title, xlabel=panel.across, ylabel=panel.up)
        axis.grid(alpha=0.25)
        place = {"loc": "center right", "bbox_to_anchor": (1, 0.35)} if len(panel.costs) > 1 else {"loc": "upper left"}
        axis.legend(frameon=False, **place)
    axes.flat[2].set_xticks(PROCESSES, [str(processes) for processes in PROCESSES], minor=False)
    axes.flat[2].minorticks_off()
    figure.suptitle(
        "Processor time of opening a set, its first batch, and an image; lines: fixed cost + cost an item, or flat"
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> int:
    """Measure, and draw into the file named."""
    draw(measure(), Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    run_command(main)
