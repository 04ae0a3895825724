"""B1: occurrence tiles from shards into batches, against an ImageFolder-style data set of the same tiles in PNG.

Ours: `Batches` in shuffled order, crc on, at the best of 1 and 2 threads. Peer: one PNG file a tile (Pillow's default
compression), decoded by Pillow to uint8 without the detour by RGB and float that torchvision takes, shuffled by the
`DataLoader` of torch at the best of 0, 1 and 2 workers, which stay alive. Both deliver uint8 batches of equal size. The
column of 64 pixels is compared twice: with the folder of the same tiles, 256-pixel PNG that the peer makes smaller by
box means as it reads (`imagefolder64`), and with a second folder of ready 64-pixel PNG (`imagefolder64-ready`).

Limit: `pread` of the same tars from end to end and crc32 of the bytes, by as many threads as ours, at the best of three
chunk sizes, into one buffer that stays in the cache; told in records of the column a second. Everything lies in the
page cache. Taken in turn in one process; the median of the rounds' ratios counts.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch.utils.data import DataLoader, Dataset

from benchmarks.figure import Figure, note
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.order import Order
from waterscape.data.pack import SetWriter
from waterscape.data.shard import BLOCK, crc32, fixed_size, padding

TILES = 1536
BATCH = {256: 256, 64: 1024}  # by pixels of a side; the peer's rate hardly depends on it
EPOCHS = {256: 10, 64: 40}  # of ours in a turn; a single one would be over before the clock has moved
ROUNDS = 9
CHUNKS = (1 << 16, 1 << 18, 1 << 20)


def figures() -> Iterator[Figure]:
    """Ratio to the peer for both sizes, and the share of the limit for full tiles."""
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more stand in the way of the peer's workers
    try:
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            write_tiles(root)
            ours, peer, limit = measure(root, "occurrence.npy", 256, 256)
            yield Figure("B1", "imagefolder", float(np.median(ours / peer)), ">=", 30)
            yield Figure("B1", "limit", float(np.median(ours / limit)), ">=", 0.6)
            for name, stored in (("imagefolder64", 256), ("imagefolder64-ready", 64)):
                ours, peer, _ = measure(root, "occurrence64.npy", 64, stored)
                yield Figure("B1", name, float(np.median(ours / peer)), ">=", 60)
    finally:
        torch.set_num_threads(torch_threads)


def write_tiles(root: Path) -> None:
    """Synthetic tiles that compress like real ones: smooth fields, dry below and full above two thresholds."""
    random = np.random.default_rng(0)
    fields = [ndimage.gaussian_filter(random.normal(size=(256, 256)), sigma, mode="wrap") for sigma in range(5, 17)]
    for size in (256, 64):
        (root / f"png{size}" / "water").mkdir(parents=True)
    with SetWriter(root / "shards", facts={"synthetic": True}, samples_per_shard=256) as writer:
        for number in range(TILES):
            field = np.roll(fields[number % len(fields)], random.integers(0, 256, 2), axis=(0, 1))
            tile = np.clip(50 + 60 * (field / field.std() - random.normal()), 0, 100).astype(np.uint8)
            small = tile.reshape(64, 4, 64, 4).mean((1, 3)).astype(np.uint8)
            writer.add("train", {"occurrence.npy": tile, "occurrence64.npy": small})
            for picture in (tile, small):
                path = root / f"png{len(picture)}" / "water" / f"{number:06d}.png"
                Image.fromarray(picture).save(path)
    for size in (256, 64):
        stored = [path.stat().st_size for path in (root / f"png{size}" / "water").iterdir()]
        note(f"B1 {TILES} synthetic tiles of {size} px, {np.mean(stored) / 1024:.1f} KiB each as PNG")


def measure(root: Path, column: str, size: int, stored: int) -> NDArray[np.float64]:
    """Images a second of ours, the peer and the limit (3 × rounds), for tiles of `size` pixels; PNG of `stored`."""
    shards, folder = ShardSet(root / "shards", "train"), root / f"png{stored}"
    check_same_tiles(shards, column, folder, size)
    threads = best({count: Ours(shards, column, size, count) for count in (1, 2)}, f"{size} px, ours, threads")
    workers = best({count: Peer(folder, size, count) for count in (0, 1, 2)}, f"{size} px, ImageFolder, workers")
    chunk = best({chunk: Limit(shards, column, chunk, threads) for chunk in CHUNKS}, f"{size} px, limit, bytes a read")
    turns = [
        Ours(shards, column, size, threads),
        Peer(folder, size, workers),
        Limit(shards, column, chunk, threads),
    ]
    for turn in turns:
        turn()
    rates = np.array([[turn() for turn in turns] for _ in range(ROUNDS)]).T
    ours, peer, limit = np.median(rates, axis=1)
    note(f"B1 {size} px: ours {ours:,.0f} images/s, ImageFolder {peer:,.0f}, limit {limit:,.0f}; batch {BATCH[size]}")
    return rates


def best(candidates: dict[int, Callable[[], float]], what: str) -> int:
    """The setting with the highest rate, by the best of three tries, the least disturbed, after one to warm up."""
    rates = {}
    for setting, rate in candidates.items():
        rate()
        rates[setting] = max(rate() for _ in range(3))
    candidates.clear()  # ends their threads and worker processes
    note(f"B1 {what}: " + ", ".join(f"{setting}: {rate:,.0f}/s" for setting, rate in rates.items()))
    return max(rates, key=rates.__getitem__)


class Ours:
    """Images a second of `Batches`."""

    def __init__(self, shards: ShardSet, column: str, size: int, threads: int) -> None:
        order = Order(shards.counts, 0)
        self.stream = Batches(shards, [column], batch=BATCH[size], order=order, threads=threads)
        self.batches = EPOCHS[size] * TILES // BATCH[size]

    def __call__(self) -> float:
        """One turn."""
        started = time.perf_counter()
        images = sum(len(loaded.keys) for loaded in islice(self.stream, self.batches))
        return images / (time.perf_counter() - started)

    def __del__(self) -> None:
        self.stream.close()


class Folder(Dataset[tuple[torch.Tensor, int]]):
    """A folder for each class, a PNG for each tile."""

    def __init__(self, root: Path, size: int) -> None:
        self.files = [(str(path), 0) for path in sorted(root.glob("*/*.png"))]
        self.size = size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        path, label = self.files[number]
        with Image.open(path) as picture:
            small = picture if picture.width == self.size else picture.reduce(picture.width // self.size)
            return torch.from_numpy(np.array(small))[None], label


class Peer:
    """Images a second of a `DataLoader` over `Folder`."""

    def __init__(self, root: Path, size: int, workers: int) -> None:
        alive = workers > 0
        self.loader = DataLoader(
            Folder(root, size), BATCH[size], shuffle=True, num_workers=workers, persistent_workers=alive
        )

    def __call__(self) -> float:
        """One turn: an epoch."""
        started = time.perf_counter()
        images = sum(len(tiles) for tiles, _ in self.loader)
        return images / (time.perf_counter() - started)


class Limit:
    """The column's records a second, if reading and crc32 were all there is to do."""

    def __init__(self, shards: ShardSet, column: str, chunk: int, threads: int) -> None:
        there = shards.column(column)
        assert there.dtype is not None
        assert there.shape is not None
        size = fixed_size(there.dtype, there.shape)
        self.record = BLOCK + size + padding(size)
        self.chunk = chunk
        self.threads = threads
        files = [(shards.file(number), shard.bytes) for number, shard in enumerate(shards.shards)]
        self.files = [file for file, _ in files]  # held open
        self.work = [(file.descriptor, offset) for file, end in files for offset in range(0, end, chunk)]
        self.bytes = sum(end for _, end in files)

    def __call__(self) -> float:
        """One turn: all tars."""
        started = time.perf_counter()
        threads = [threading.Thread(target=self._read, args=(number,)) for number in range(self.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.bytes / self.record / (time.perf_counter() - started)

    def _read(self, number: int) -> None:
        memory = memoryview(mmap.mmap(-1, self.chunk))
        for descriptor, offset in self.work[number :: self.threads]:
            crc32(memory[: os.preadv(descriptor, [memory], offset)])


def check_same_tiles(shards: ShardSet, column: str, folder: Path, size: int) -> None:
    """Both sides deliver the same pictures, or there is nothing to compare."""
    pictures = Folder(folder, size)
    for number in range(0, TILES, 100):
        # Two ways to round a mean of 16 pixels.
        np.testing.assert_allclose(shards.read(number)[column], pictures[number][0][0].numpy(), rtol=0, atol=1)
