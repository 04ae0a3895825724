"""R7: memory of `waterscape predict` by the size of the raster, with the reference network of `pixel_cnn`.

Synthetic rasters of 4000², 8000² and 20 000² pixels, six bands, one after the other by a process of its own with one
thread: mask, probabilities, picture and outlines on the disk. One in `EVERY` blocks of the file holds data, the others
are nodata, where the network is not asked: so it takes minutes instead of hours on a busy machine, and every part is
read, stored and written all the same. The network is untrained. Memory is that at the peak of the whole process,
libraries included (`VmHWM`). No peer. The same raster takes tens of MiB more or less from one round to the next, so the
two that are to be equal are taken several times; the largest once.

Blocks with data stand alone, so no body of water crosses from one to the next; how many bodies there are is told. What
outlines of real water take, where one body may cross all of a raster, is not bounded here.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from benchmarks.figure import Figure, note
from benchmarks.surroundings import scratch
from waterscape.sources.landsat.bands import OFFSET, REFLECTANCES, SCALE
from waterscape.sources.world.landsat import draw_scene

ROUNDS = {4000: 5, 8000: 5, 20_000: 1}  # of each side
BRIEF = {"ROUNDS": {512: 1, 1024: 1}}
BLOCK = 256
EVERY = 32
BODIES = re.compile(r"([\d,]+) bodies")

PREDICT = """
import sys
from pathlib import Path
import torch
from waterscape import models
from waterscape.models import Trained
from waterscape.pages.predict_raster import PredictRaster, predict_raster
torch.manual_seed(0)
recipe = models.presets("pixel_cnn")["reference"]
networks = {name: network.eval() for name, network in models.build(recipe).items()}
trained = Trained(Path("untrained"), "pixel_cnn", "reference", recipe, networks, "untrained", "0", 0, {})
scene, out = Path(sys.argv[1]), Path(sys.argv[2])
options = PredictRaster(trained.run, scene, out, outlines=out.with_suffix(".gpkg"), threads=1)
assert predict_raster(trained, options) == 0
print("PEAK", next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def figures() -> Iterator[Figure]:
    """Peak at each raster, and how much more 8000² takes than 4000²."""
    with scratch() as directory:
        peaks = {side: [peak(directory, side) for _ in range(rounds)] for side, rounds in ROUNDS.items()}
    for side, mebibytes in peaks.items():
        yield Figure.over("R7", f"MiB-at-{side}", mebibytes, "<=", 2048)
    small, large = list(peaks)[:2]
    yield Figure.over("R7", f"MiB-more-at-{large}", np.subtract(peaks[large], peaks[small]), "<=", 64)


def peak(directory: Path, side: int) -> float:
    """MiB that a prediction of a raster of side² pixels takes at most."""
    path = directory / f"{side}.tif"
    write_raster(path, side)
    began = time.perf_counter()
    words = [sys.executable, "-c", PREDICT, str(path), str(directory / f"water{side}.tif")]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    taken, bodies = time.perf_counter() - began, BODIES.findall(done.stdout)[-1]
    found = int(done.stdout.split("PEAK")[1]) / 1024
    note(f"R7 {side}²: {found:.0f} MiB at the peak, {bodies} bodies, {taken:.0f} s")
    for made in directory.iterdir():
        made.unlink()
    return found


def write_raster(path: Path, side: int) -> None:
    """Synthetic, in Landsat's numbers; the same block again and again, one of `EVERY` in each row of them."""
    drawn = draw_scene(0, BLOCK)
    block = np.dstack([(drawn.reflectances - OFFSET) / SCALE / 2, drawn.elevation])
    pixels = block.clip(1, 32_000).astype(np.int16).transpose(2, 0, 1)
    profile = {"driver": "GTiff", "count": 6, "height": side, "width": side, "dtype": "int16"}
    blocks = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate", "sparse_ok": True}
    place = {"crs": "EPSG:32637", "transform": rasterio.Affine(30, 0, 4e5, 0, -30, 6e6), "nodata": 0}
    with rasterio.open(path, "w", **profile, **blocks, **place) as dataset:
        dataset.scales, dataset.offsets = [2 * SCALE] * 5 + [1], [OFFSET] * 5 + [0]
        dataset.descriptions = (*REFLECTANCES, "elevation")
        dataset.update_tags(synthetic="true")
        for number, top in enumerate(range(0, side, BLOCK)):
            for left in range((number * 5 % EVERY) * BLOCK, side, EVERY * BLOCK):
                tall, wide = min(BLOCK, side - top), min(BLOCK, side - left)
                dataset.write(pixels[:, :tall, :wide], window=Window(left, top, wide, tall))
