"""B16: pixels with their 7 × 7 surroundings, from windows in shards, against a record of 7 × 7 for each.

Ours: windows of 128 × 128 × 8 through `Batches`, crc on every read, as a step of `pixel_cnn` wants them: labels, known
pixels and each pixel's weight found (`samples`), or trained on besides (`training`). Every pixel that has a weight is a
sample. Peer: the same pixels as the reference gathers them, one record of 7 × 7 × 8 and its label each, through a plain
`webdataset` pipeline at the best of 0, 1 and 2 workers, in batches of 4096; for `training`, the same network's step on
them. The limit of `samples` is a copy of the same windows in memory. `training` is told and not judged: its limit is
the processor's arithmetic, which the peer, waiting for its records, does not come near.

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
from waterscape.models.pixel_cnn import PixelCnn
from waterscape.nn.pixel_network import MARGIN, PixelNetwork
from waterscape.randomness import Draw
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes
from waterscape.training.run import Run
from waterscape.training.torch_threads import torch_threads

WINDOWS, SIDE, BATCH = 256, 128, 8
RECORDS, PEER_BATCH = 12_288, 4096
STEPS = 2  # of training in a turn
FLOP = 6 * 38_514
"""Of a sample that is trained on: each weight multiplies and adds, forward and twice backward."""


def figures() -> Iterator[Figure]:
    """The ratio to the peer; told besides: the share of a copy, and the ratio of whole steps."""
    with torch_threads(1), tempfile.TemporaryDirectory() as directory:
        shards = write_windows(Path(directory) / "windows")
        tar = write_records(Path(directory) / "records.tar", shards)
        workers = best("B16", {n: Peer(tar, n) for n in (0, 1, 2)}, "webdataset, workers")
        delivering = {"ours": Ours(shards, train=False), "webdataset": Peer(tar, workers), "limit": copying()}
        rates = take_turns("B16", delivering)
        yield Figure.over("B16", "samples", rates["ours"] / rates["webdataset"], ">=", 100)
        note(f"B16 limit: {np.median(rates['ours'] / rates['limit']):.3f} of a copy of the same windows in memory")
        training = {"ours": Ours(shards, train=True), "webdataset": Peer(tar, workers, train=True)}
        rates = take_turns("B16", training)
        found = np.median(rates["ours"] / rates["webdataset"])
        note(f"B16 training: {found:.3g} times the peer, {np.median(rates['ours']) * FLOP / 1e9:.0f} Gflop/s")


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

    def __init__(self, shards: ShardSet, train: bool) -> None:
        self.recipe = PixelCnn(sampling="all", block=0, turns=False)
        run = Run(out=Path("unused"), batch=BATCH, tensorboard=False)
        networks = models.build(self.recipe)
        self.learner = Learner(self.recipe, run, networks, Processes(None, "float32", Path("unused")), len(shards))
        self.stream = Batches(shards, self.learner.columns, batch=BATCH, order=Order(shards.counts, 0))
        self.train = train

    def __call__(self) -> float:
        """One turn."""
        steps = STEPS if self.train else WINDOWS // BATCH
        samples, started = 0, time.perf_counter()
        for loaded in islice(self.stream, steps):
            if self.train:
                self.learner.step(loaded.columns, loaded.numbers, loaded.count)
                samples += loaded.count * (SIDE - 2 * MARGIN) ** 2
            else:
                batch = self.learner.batch(loaded.columns)
                weight = self.recipe.part(batch, Draw(0, loaded.numbers))[2]
                samples += int((weight > 0).sum())
        return samples / (time.perf_counter() - started)

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
