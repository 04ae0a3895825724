"""B16: pixels with their 7 × 7 surroundings, from windows in shards, against a record of 7 × 7 for each.

Ours: windows of 128 × 128 × 8 through `Batches`, crc on every read, as a step of `pixel_cnn` wants them: labels, known
pixels and each pixel's weight found. Every pixel that has a weight is a sample. `samples` are those of whole windows
(`sampling all, block 0`), what the loader can deliver; `recommended` and `reference` are what these presets learn from:
a block of 16 × 16 pixels of each window, and for `reference` those that are drawn of it. Peer: the same pixels as the
reference gathers them, one record of 7 × 7 × 8 and its label each, through a plain `webdataset` pipeline at the best of
0, 1 and 2 workers, in batches of 4096. The limit of `samples` is a copy of the same windows in memory. The presets are
told and not judged: they read a window for a block of it, so that the pixels of a batch are of many places.

`training` is a step on these besides, and for the peer the same network's step on its records; it is told, since its
limit is the processor's arithmetic, which the peer, waiting for its records, does not come near.

All in one thread of torch; a turn of the peer is counted from its first batch on.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import webdataset
from scipy import ndimage

from benchmarks.figure import Figure, note
from benchmarks.turns import best, take_turns
from waterscape import models
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.order import Order
from waterscape.data.pack import SetWriter
from waterscape.models.pixel_cnn import PRESETS, PixelCnn
from waterscape.nn.pixel_network import MARGIN, PixelNetwork
from waterscape.randomness import Draw
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes
from waterscape.training.run import Run
from waterscape.training.torch_threads import torch_threads

WINDOWS, SIDE, BATCH = 256, 128, 8
RECORDS, PEER_BATCH = 12_288, 4096
BRIEF = {"WINDOWS": 16, "RECORDS": 4096, "PEER_BATCH": 512}
RECIPES = {"samples": PixelCnn(sampling="all", block=0), **PRESETS}
"""What is learned of a window: all of it, and what the presets learn."""
STEPS = 2  # of training in a turn
FLOP = 6 * 38_514
"""Of a sample that is trained on: each weight multiplies and adds, forward and twice backward."""


def figures() -> Iterator[Figure]:
    """The ratio to the peer, of whole windows and of the presets; told besides: shares of a copy, and whole steps."""
    with torch_threads(1), tempfile.TemporaryDirectory() as directory:
        shards = write_windows(Path(directory) / "windows")
        tar = write_records(Path(directory) / "records.tar", shards)
        workers = best("B16", {n: Peer(tar, n) for n in (0, 1, 2)}, "webdataset, workers")
        delivering = {name: Ours(shards, recipe, train=False) for name, recipe in RECIPES.items()}
        rates = take_turns("B16", {**delivering, "webdataset": Peer(tar, workers), "limit": copying()})
        yield Figure.over("B16", "samples", rates["samples"] / rates["webdataset"], ">=", 100)
        for preset in ("recommended", "reference"):
            yield Figure.over("B16", preset, rates[preset] / rates["webdataset"])
        note(f"B16 limit: {np.median(rates['samples'] / rates['limit']):.3f} of a copy of the same windows in memory")
        training = {name: Ours(shards, recipe, train=True) for name, recipe in RECIPES.items()}
        rates = take_turns("B16", {**training, "webdataset": Peer(tar, workers, train=True)})
        told = {name: np.median(rates[name] / rates["webdataset"]) for name in RECIPES}
        note("B16 training: " + ", ".join(f"{name} {times:.3g} times the peer" for name, times in told.items()))
        note(f"B16 training: {np.median(rates['samples']) * FLOP / 1e9:.0f} Gflop/s on whole windows")


def write_windows(out: Path) -> ShardSet:
    """Synthetic windows: smooth fields in each band, water in their hollows."""
    random = np.random.default_rng(0)
    fields = [ndimage.gaussian_filter(random.normal(size=(SIDE, SIDE, 8)), (5, 5, 0), mode="wrap") for _ in range(8)]
    with SetWriter(out, facts={"synthetic": True}) as writer:
        for number in range(WINDOWS):
            bands = np.roll(fields[number % 8], random.integers(0, SIDE, 2), axis=(0, 1)).astype(np.float32)
            water = (bands[..., 3] < -0.4 * bands[..., 3].std()).astype(np.uint8)
            writer.add("train", {"bands.npy": bands, "water.npy": water})
        writer.finish()
    return ShardSet(out, "train")


def write_records(path: Path, shards: ShardSet) -> str:
    """Pixels of those windows, each as a record of its own, in no order."""
    random = np.random.default_rng(1)
    windows = [shards.read(number) for number in range(16)]
    with webdataset.TarWriter(str(path)) as writer:
        for number in range(RECORDS):
            held = windows[random.integers(16)]
            row, column = random.integers(0, SIDE - 2 * MARGIN, 2)
            patch = np.asarray(held["bands.npy"])[row : row + 7, column : column + 7]
            label = np.asarray(held["water.npy"])[row + MARGIN, column + MARGIN]
            writer.write({"__key__": f"{number:09d}", "npy": np.ascontiguousarray(patch), "cls": int(label)})
    return str(path)


class Ours:
    """Samples a second of windows that are ready to train on, or trained on."""

    def __init__(self, shards: ShardSet, recipe: PixelCnn, train: bool) -> None:
        self.recipe = recipe
        run = Run(out=Path("unused"), batch=BATCH, tensorboard=False)
        networks = models.build(self.recipe)
        self.learner = Learner(self.recipe, run, networks, Processes(None, "float32", Path("unused")), len(shards))
        self.stream = Batches(shards, self.learner.columns, batch=BATCH, order=Order(shards.counts, 0))
        self.train = train
        self.each = self._deliver() / WINDOWS

    def __call__(self) -> float:
        """One turn."""
        started = time.perf_counter()
        samples = self._learn(WINDOWS // BATCH if self.recipe.block else STEPS) if self.train else self._deliver()
        return samples / (time.perf_counter() - started)

    def _deliver(self) -> int:
        """How many samples as many batches have as there are windows for."""
        samples = 0
        for loaded in islice(self.stream, WINDOWS // BATCH):
            batch = self.learner.batch(loaded.columns)
            samples += int((self.recipe.part(batch, Draw(0, loaded.numbers))[2] > 0).sum())
        return samples

    def _learn(self, steps: int) -> float:
        """Take steps; how many samples as many windows have on average."""
        for loaded in islice(self.stream, steps):
            self.learner.step(loaded.columns, loaded.numbers, loaded.count)
        return steps * BATCH * self.each

    def __del__(self) -> None:
        self.stream.close()


class Peer:
    """Samples a second of a `WebDataset` pipeline, and of a step on each batch where it trains."""

    def __init__(self, tar: str, workers: int, train: bool = False) -> None:
        samples = webdataset.WebDataset(
            [tar] * max(1, workers), shardshuffle=False, workersplitter=webdataset.split_by_worker
        )
        batches = samples.shuffle(1000).decode().to_tuple("npy", "cls").batched(PEER_BATCH, collation_fn=stacked)
        self.loader = webdataset.WebLoader(
            batches, batch_size=None, num_workers=workers, persistent_workers=workers > 0
        )
        self.network = PixelNetwork()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-5, fused=True)
        self.train = train

    def __call__(self) -> float:
        """One turn: an epoch, without its first batch."""
        samples, started = -1, 0.0
        for patches, labels in self.loader:
            if self.train:
                self.optimizer.zero_grad()
                torch.nn.functional.cross_entropy(self.network(patches)[:, :, 0, 0], labels).backward()
                self.optimizer.step()
            samples = samples + len(labels) if samples >= 0 else 0
            started = started or time.perf_counter()
        return samples / (time.perf_counter() - started)


def stacked(samples: list[tuple[np.ndarray, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of patches N 8 7 7 and their labels."""
    patches, labels = zip(*samples, strict=True)
    return torch.from_numpy(np.stack(patches).transpose(0, 3, 1, 2).copy()), torch.tensor(labels)


def copying() -> Callable[[], float]:
    """Samples a second if copying the windows' bytes in memory were all there is to do."""
    held = np.ones((BATCH, SIDE, SIDE, 8), np.float32)
    made = np.empty_like(held)

    def rate() -> float:
        started = time.perf_counter()
        for _ in range(WINDOWS // BATCH):
            np.copyto(made, held)
        return WINDOWS * (SIDE - 2 * MARGIN) ** 2 / (time.perf_counter() - started)

    return rate
