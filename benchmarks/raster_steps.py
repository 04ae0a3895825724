"""Where a prediction over a raster spends its time: `python -m benchmarks.raster_steps`, shares of the limit of B9.

What `waterscape predict` does is put on piece by piece, from the network's convolutions on tiles that are ready in
memory (the limit of B9), to probabilities on the disk (B9's ours). Below stands what bounds it: the convolutions and
GDAL's decoding of the file, which both take all cores, and nothing else. Scene, parts, tiles and threads are B9's; in
turn in one process, medians, a share is the rounds' ratio.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import rasterio
import torch

from benchmarks import b09_raster as b09
from benchmarks.surroundings import scratch
from benchmarks.turns import Rate, take_turns
from waterscape.models import Trained
from waterscape.nn.pixel_network import MARGIN
from waterscape.pages.predict_raster import segmenter
from waterscape.rasters.segment import Segment, by_pairs, probability
from waterscape.rasters.windows import TILE, evenly, parts_of, split
from waterscape.sources.landsat.bands import MARGIN as LINE
from waterscape.sources.landsat.kept_open import THREADS_A_HANDLE, KeptOpen
from waterscape.sources.landsat.raster_file import part_of
from waterscape.sources.landsat.scene import MEASURED, Scene, open_scene
from waterscape.training.heap import freed_memory_kept

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.sources.landsat.raster_file import Opening, Window

REACH = MARGIN + LINE


@dataclass
class InMemory:
    """A scene whose reflectances and elevation are there already, with `REACH` pixels of nodata around them."""

    reflectances: NDArray[np.float32]
    elevation: NDArray[np.float32]

    def read(self, window: Window, _: Opening) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """As `Scene.read`."""
        row, column, height, width = window
        at = np.s_[row + REACH : row + REACH + height, column + REACH : column + REACH + width]
        return self.reflectances[at], self.elevation[at]


def steps(scene: Scene, plain: Scene, trained: Trained, directory: Path) -> dict[str, Rate]:
    """What is done → pixels a second; each but the last does all that the one before it does."""
    network, segment = trained.networks["pixels"], segmenter(trained)
    margin, parts = trained.recipe.margin(), parts_of(scene, REACH)
    ordered = sorted(range(len(parts)), key=by_pairs(parts))
    height, width = scene.shape
    memory = InMemory(*scene.read((-REACH, -REACH, height + 2 * REACH, width + 2 * REACH)))
    bands = scene.bands((-MARGIN, -MARGIN, height + 2 * MARGIN, width + 2 * MARGIN))
    without = np.nan_to_num(bands)

    def over(work: Callable[[Window, Opening], object], readers: int = b09.THREADS) -> float:
        """Pixels a second of all parts, by B9's threads; files are kept open as for `readers`."""
        before = torch.get_num_threads()
        with freed_memory_kept(), KeptOpen(readers) as files:
            pool = ThreadPoolExecutor(b09.THREADS, initializer=torch.set_num_threads, initargs=(1,))
            began = time.perf_counter()
            with pool:
                list(pool.map(lambda number: work(parts[number], files.opened), ordered))
            taken = time.perf_counter() - began
        torch.set_num_threads(before)
        return height * width / taken

    def predicted(of: Scene | InMemory) -> Rate:
        return lambda: over(lambda part, opening: probability(cast("Scene", of), part, segment, margin, opening))

    def decode(part: Window, opening: Opening) -> None:
        row, column, tall, wide = part
        window = (row - REACH, column - REACH, tall + 2 * REACH, wide + 2 * REACH)
        with opening(scene.path) as dataset:
            part_of(dataset, [scene.layers[name].band for name in MEASURED], scene.shape, window)

    def both() -> float:
        decoded = over(decode, b09.THREADS * THREADS_A_HANDLE)  # nobody waits for another's handle
        return 1 / (1 / b09.convolutions(network, without) + 1 / decoded)

    return {
        "the convolutions of ready tiles: the limit": lambda: b09.convolutions(network, without),
        "asked as predict asks: nodata, softmax, put in place": lambda: over(lambda part, _: ask(part, bands, segment)),
        "and bands, from reflectances": predicted(memory),
        "and numbers, scaled, from a file without compression": predicted(plain),
        "and decoding: from B9's file": predicted(scene),
        "and the disk: all of predict's parts": lambda: b09.ours(scene, trained, directory),
        "the convolutions and decoding, nothing else": both,
    }


def ask(part: Window, bands: NDArray[np.float32], segment: Segment) -> NDArray[np.float32]:
    """As `probability`, from bands with `MARGIN` pixels around them."""
    row, column, height, width = part
    found = np.full((height, width), np.nan, np.float32)
    for top, left, tall, wide in split(height, width, evenly(height, TILE), evenly(width, TILE)):
        at = np.s_[row + top : row + top + tall + 2 * MARGIN, column + left : column + left + wide + 2 * MARGIN]
        found[top : top + tall, left : left + wide] = segment(bands[at])[MARGIN : MARGIN + tall, MARGIN : MARGIN + wide]
    return found


def uncompressed(path: Path, out: Path) -> Path:
    """The same raster in the same blocks, their numbers as they are."""
    with rasterio.open(path) as dataset:
        profile = {**dataset.profile, "compress": "none"}
        with rasterio.open(out, "w", **profile) as plain:
            plain.write(dataset.read())
            plain.scales, plain.offsets, plain.descriptions = dataset.scales, dataset.offsets, dataset.descriptions
    return out


def main() -> None:
    """Print the table."""
    with scratch() as directory:
        path = directory / "scene.tif"
        b09.write_scene(path)
        plain = open_scene(uncompressed(path, directory / "plain.tif"))
        rates = take_turns("raster", steps(open_scene(path), plain, b09.untrained(), directory))
    limit = next(iter(rates.values()))
    for name, found in rates.items():
        low, median, high = np.percentile(found / limit, (25, 50, 75))
        print(f"{np.median(found) / 1e6:8.2f} Mpixel/s {median:6.2f}  {low:.2f} to {high:.2f}  {name}")


if __name__ == "__main__":
    main()
