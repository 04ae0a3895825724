"""A scene of any size → probability of water, part by part, as if the network had seen all of it at once.

Each part is read with the margin that the network sees around it, so no seam is left. One thread reads, computes and
stores a part; several do so side by side, and one reads while another computes. Each computes by itself, so that what
comes out does not depend on how many there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from waterscape.rasters.windows import TILE, evenly, split
from waterscape.sources.landsat.bands import MARGIN as LINE
from waterscape.sources.landsat.bands import band_stack
from waterscape.sources.landsat.kept_open import KeptOpen
from waterscape.sources.landsat.raster_file import opened
from waterscape.sources.parallel import progress
from waterscape.training.heap import freed_memory_kept

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from waterscape.rasters.unfinished import Unfinished
    from waterscape.sources.landsat.raster_file import Opening, Window
    from waterscape.sources.landsat.scene import Scene

Segment: TypeAlias = "Callable[[NDArray[np.float32]], NDArray[np.float32]]"
"""Bands (H W 8, NaN is nodata) → probability of water (H W), NaN where it is not known: at the edges too."""

STEPS = 2.0**21
"""Probabilities are rounded to 1 in so many, 2.4e-7 at most: files become smaller by half, and none can tell."""
SPARSE = 16
"""One pixel in so many along an axis is looked at first, to tell whether a tile is empty."""
KEEP_SECONDS = 2.0
"""After which what was done is forced to disk and noted."""


def segment_scene(scene: Scene, segment: Segment, margin: int, work: Unfinished, threads: int) -> None:
    """Compute the parts that are not done yet. Raises what reading and storing raise; what is done stays done."""
    left = sorted((number for number in range(len(work.parts)) if number not in work.done), key=by_pairs(work.parts))

    def compute(number: int) -> int:
        work.store(number, rounded(probability(scene, work.parts[number], segment, margin, files.opened)))
        return number

    def finished(futures: Sequence[Future[int]]) -> Iterator[int]:
        for future in as_completed(futures):
            yield future.result()

    before = torch.get_num_threads()
    with freed_memory_kept(), KeptOpen(threads) as files:
        pool = ThreadPoolExecutor(threads, "segment", initializer=torch.set_num_threads, initargs=(1,))
        futures = [pool.submit(compute, number) for number in left]
        try:
            kept = time.monotonic()
            for number in progress(finished(futures), len(left), scene.path.name, "part"):
                work.done.add(number)
                if time.monotonic() - kept >= KEEP_SECONDS:
                    work.keep()
                    kept = time.monotonic()
        finally:
            pool.shutdown(cancel_futures=True)
            done = [future for future in futures if not future.cancelled() and future.exception() is None]
            work.done.update(future.result() for future in done)
            torch.set_num_threads(before)
            work.keep()


def by_pairs(parts: Sequence[Window]) -> Callable[[int], tuple[int, int]]:
    """Key by which numbers of parts (which count row by row) go down two columns of parts, then the next two.

    So the blocks that a part shares with those above it and beside it are still decoded, however wide the scene.
    """
    columns = {column: at for at, column in enumerate(sorted({part[1] for part in parts}))}
    return lambda number: (columns[parts[number][1]] // 2, number)


def probability(
    scene: Scene, window: Window, segment: Segment, margin: int, opening: Opening = opened, tile: int = TILE
) -> NDArray[np.float32]:
    """Of water in a window (H W); NaN where a pixel that the network sees is nodata or beyond the scene's edge."""
    row, column, height, width = window
    reach = margin + LINE
    wider = (row - reach, column - reach, height + 2 * reach, width + 2 * reach)
    reflectances, elevation = scene.read(wider, opening)
    found = np.full((height, width), np.nan, np.float32)
    for top, left, tall, wide in split(height, width, evenly(height, tile), evenly(width, tile)):
        blue = reflectances[reach + top : reach + top + tall, reach + left : reach + left + wide, 0]
        if np.isnan(blue[::SPARSE, ::SPARSE]).all() and np.isnan(blue).all():  # beyond a scene's slanting edges
            continue
        seen = np.s_[top : top + tall + 2 * reach, left : left + wide + 2 * reach]
        bands = band_stack(reflectances[seen], elevation[seen])[LINE:-LINE, LINE:-LINE]
        found[top : top + tall, left : left + wide] = segment(bands)[margin : margin + tall, margin : margin + wide]
    return found


def rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities in steps of 1 / `STEPS`, exactly representable; NaN stays."""
    steps: NDArray[np.float32] = np.rint(values * np.float32(STEPS)) / np.float32(STEPS)
    return steps
