"""B9: the pixel CNN over a raster, against gathered 7×7 patches and against its convolutions alone.

Ours: `rasters.segment.segment_scene`, from the GeoTIFF (int16, 256×256 blocks, deflate) to probabilities on the disk,
bands, nodata and softmax included. Peers, on bands that are in memory already: `unfold`, torch's view of all patches
copied batch by batch; `python-gather`, a slice for each pixel, stacked: both 4096 patches a batch (the reference's) and
torch's usual threads. Limit: the convolutions alone, called as ours calls them, on ready bands in our tiles and
threads, with nothing before or after. Pixels a second, taken in turn; the scene is synthetic, the network the
reference's, untrained.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray

from benchmarks.figure import Figure
from benchmarks.surroundings import scratch
from benchmarks.turns import take_turns
from waterscape import models
from waterscape.models import Trained
from waterscape.nn.pixel_network import MARGIN
from waterscape.pages.predict_raster import segmenter
from waterscape.rasters.segment import segment_scene
from waterscape.rasters.unfinished import Unfinished
from waterscape.rasters.windows import TILE, parts_of, split
from waterscape.sources.landsat.bands import MARGIN as LINE
from waterscape.sources.landsat.bands import OFFSET, REFLECTANCES, SCALE
from waterscape.sources.landsat.scene import Scene, open_scene
from waterscape.sources.world.landsat import draw_scene
from waterscape.training.heap import freed_memory_kept

HEIGHT, WIDTH = 2048, 4096  # eight parts; of two, their beginning and end would be most of what is measured
PATCHES, BATCH = 65_536, 4096  # of the peers in a turn, and at once; of fewer, a turn takes 0.05 s and is noise
THREADS = os.cpu_count() or 1
ROUNDS = 7
BRIEF = {"HEIGHT": 512, "WIDTH": 1024, "PATCHES": 4096, "ROUNDS": 1}


def figures() -> Iterator[Figure]:
    """Ratios to both peers, and the share of the limit."""
    trained = untrained()
    with scratch() as directory:
        path = directory / "scene.tif"
        write_scene(path)
        scene = open_scene(path)
        bands = scene.bands((0, 0, HEIGHT, WIDTH))
        bands[np.isnan(bands)] = 0
        network = trained.networks["pixels"]
        sides: dict[str, Callable[[], float]] = {
            "ours": lambda: ours(scene, trained, directory),
            "convolutions": lambda: convolutions(network, bands),
            "unfold": lambda: patches(network, unfolded(bands)),
            "python-gather": lambda: patches(network, gathered(bands)),
        }
        rates = take_turns("B9", sides, ROUNDS)
    yield Figure.over("B9", "unfold", rates["ours"] / rates["unfold"], ">=", 8)
    yield Figure.over("B9", "python-gather", rates["ours"] / rates["python-gather"], ">=", 12)
    yield Figure.over("B9", "limit", rates["ours"] / rates["convolutions"], ">=", 0.85)


def untrained() -> Trained:
    """The reference network as it begins: it takes as long as a trained one."""
    recipe = models.presets("pixel_cnn")["reference"]
    torch.manual_seed(0)
    networks = {name: network.eval() for name, network in models.build(recipe).items()}
    return Trained(Path(), "pixel_cnn", "reference", recipe, networks, "", "", 0, {})


def write_scene(path: Path) -> None:
    """Synthetic, in Landsat's numbers."""
    drawn = [draw_scene(seed, HEIGHT) for seed in range(WIDTH // HEIGHT)]
    numbers = [np.dstack([(one.reflectances - OFFSET) / SCALE / 2, one.elevation]) for one in drawn]
    pixels = np.concatenate(numbers, axis=1).clip(1, 32_000).astype(np.int16).transpose(2, 0, 1)
    profile = {"driver": "GTiff", "count": 6, "height": HEIGHT, "width": WIDTH, "dtype": "int16", "crs": "EPSG:32637"}
    blocks = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    place = {"transform": rasterio.Affine(30, 0, 4e5, 0, -30, 6e6)}
    with rasterio.open(path, "w", **profile, **blocks, **place) as dataset:
        dataset.write(pixels)
        dataset.scales, dataset.offsets = [2 * SCALE] * 5 + [1], [OFFSET] * 5 + [0]
        dataset.descriptions = (*REFLECTANCES, "elevation")


def ours(scene: Scene, trained: Trained, directory: Path) -> float:
    """From the file to probabilities on the disk."""
    began = time.perf_counter()
    with Unfinished(directory / "water.tif", {}, scene.shape, parts_of(scene, MARGIN + LINE), anew=True) as work:
        segment_scene(scene, segmenter(trained), trained.recipe.margin(), work, THREADS)
        taken = time.perf_counter() - began
        work.remove()
    return HEIGHT * WIDTH / taken


def convolutions(network: torch.nn.Module, bands: NDArray[np.float32]) -> float:
    """The limit: our tiles, each by one thread."""
    laid, reach = torch.from_numpy(bands)[None].permute(0, 3, 1, 2), 2 * MARGIN
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def tile(seen: torch.Tensor) -> int:
        with torch.inference_mode():
            return int(network(seen).shape[2])

    before = torch.get_num_threads()
    windows = split(HEIGHT - reach, WIDTH - reach, TILE, TILE)
    cut = [laid[:, :, y : y + height + reach, x : x + width + reach] for y, x, height, width in windows]
    ready = [each.contiguous(memory_format=torch.channels_last) for each in cut]
    pool = ThreadPoolExecutor(THREADS, initializer=torch.set_num_threads, initargs=(1,))
    with freed_memory_kept(), pool:
        began = time.perf_counter()
        list(pool.map(tile, ready))
        taken = time.perf_counter() - began
    torch.set_num_threads(before)
    return (HEIGHT - 2 * MARGIN) * (WIDTH - 2 * MARGIN) / taken


def patches(network: torch.nn.Module, batches: Iterator[torch.Tensor]) -> float:
    """A peer: one answer for each patch of 7 × 7 pixels."""
    torch.set_num_threads(THREADS)
    began, done = time.perf_counter(), 0
    with torch.inference_mode():
        for batch in batches:
            done += network(batch).softmax(1)[:, 0].numel()
    return done / (time.perf_counter() - began)


def unfolded(bands: NDArray[np.float32]) -> Iterator[torch.Tensor]:
    """Batches of patches (N 8 7 7), copied from a view of all."""
    side = 2 * MARGIN + 1
    view = torch.from_numpy(bands).permute(2, 0, 1).unfold(1, side, 1).unfold(2, side, 1)  # 8 H W 7 7
    across = view.shape[2]
    rows = -(-BATCH // across)
    for row in range(0, rows * (PATCHES // BATCH), rows):
        some = view[:, row : row + rows].permute(1, 2, 0, 3, 4).reshape(-1, len(view), side, side)
        yield from torch.split(some, BATCH)


def gathered(bands: NDArray[np.float32]) -> Iterator[torch.Tensor]:
    """Batches of patches (N 8 7 7), each cut by Python."""
    side = 2 * MARGIN + 1
    turned = bands.transpose(2, 0, 1).copy()
    for first in range(0, PATCHES, BATCH):
        places = (divmod(number, WIDTH - side + 1) for number in range(first, first + BATCH))
        yield torch.from_numpy(np.stack([turned[:, row : row + side, at : at + side] for row, at in places]))
