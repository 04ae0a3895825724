"""B1: occurrence tiles from shards into batches, against an ImageFolder-style data set of the same tiles in PNG.

Ours: `Batches` in shuffled order, crc on, at the best of 1 and 2 threads. Peer: one PNG file a tile (Pillow's default
compression), decoded by Pillow to uint8 without the detour by RGB and float that torchvision takes, shuffled by the
`DataLoader` of torch at the best of 0, 1 and 2 workers, which stay alive. Both deliver uint8 batches of equal size. The
column of 64 pixels is compared twice: with the folder of the same tiles, 256-pixel PNG that the peer makes smaller by
box means as it reads (`imagefolder64`), and with a second folder of ready 64-pixel PNG (`imagefolder64-ready`).

Limit: `pread` of the same tars from end to end and crc32 of the bytes, by as many threads as ours, at the best of three
chunk sizes, into one buffer that stays in the cache; told in records of the column a second. Told besides, not judged:
the share of what can be had by whoever delivers batches: the same bytes, a system call a record, into the memory of
whole batches (17 MB of full tiles, several in turn, more than the cache holds), and crc32. Everything lies in the page
cache.
Taken in turn in one process; the median of the rounds' ratios counts.

Where a figure is short, `python -m benchmarks.reading_steps` says why (its output: `docs/speed.md`). Of the 9.6 µs
of a full tile 8.5 are system call, crc32 and memory, which leaves 0.6 to 0.7 of the limit to anybody who fills batches.
Of the 2.8 µs of a tile of 64 pixels, a record of 5 KiB, 1.7 are its system call with crc32: 60 times the peer's
14 thousand a second is more than one thread so reads if it does nothing else. Linux's asynchronous reading, many
records a call, was tried: one thread gained a tenth. A mapped file needs no calls, but ends the process if it shrinks.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from benchmarks.figure import Figure, note
from benchmarks.tiles import COLUMNS, make_tiles, ours_and_limits, tell_into_rows, write_shards
from benchmarks.turns import best, take_turns
from waterscape.data.batches import ShardSet
from waterscape.training.torch_threads import torch_threads

TILES = 1536
BATCH = {256: 256, 64: 1024}  # by pixels of a side; the peer's rate hardly depends on it
IMAGES = {256: 10 * TILES, 64: 40 * TILES}  # of ours in a turn; an epoch would be over before the clock has moved
BRIEF = {"TILES": 128, "BATCH": {256: 64, 64: 64}, "IMAGES": {256: 256, 64: 512}}


def figures() -> Iterator[Figure]:
    """Ratio to the peer for both sizes, and the share of the limit for full tiles."""
    with torch_threads(1), tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        shards = write_shards(root / "shards", TILES)
        write_folders(root)
        rates = measure(shards, root / "png256", 256)
        yield Figure.over("B1", "imagefolder", rates["ours"] / rates["ImageFolder"], ">=", 30)
        yield Figure.over("B1", "limit", rates["ours"] / rates["limit"], ">=", 0.6)
        tell_into_rows("B1", rates)
        for name, stored in (("imagefolder64", 256), ("imagefolder64-ready", 64)):
            rates = measure(shards, root / f"png{stored}", 64)
            yield Figure.over("B1", name, rates["ours"] / rates["ImageFolder"], ">=", 60)
        tell_into_rows("B1 64 px", rates)


def write_folders(root: Path) -> None:
    """A folder of PNG for each size."""
    for size in (256, 64):
        (root / f"png{size}" / "water").mkdir(parents=True)
    for number, pictures in enumerate(make_tiles(TILES)):
        for picture in pictures:
            Image.fromarray(picture).save(root / f"png{len(picture)}" / "water" / f"{number:06d}.png")
    for size in (256, 64):
        stored = [path.stat().st_size for path in (root / f"png{size}" / "water").iterdir()]
        note(f"B1 {TILES} synthetic tiles of {size} px, {np.mean(stored) / 1024:.1f} KiB each as PNG")


def measure(shards: ShardSet, folder: Path, size: int) -> dict[str, NDArray[np.float64]]:
    """Images a second of ours, the peer and the limits in each round, for tiles of `size` pixels."""
    check_same_tiles(shards, folder, size)
    sides = ours_and_limits("B1", shards, size, BATCH[size], IMAGES[size])
    what = f"{size} px from {folder.name}, ImageFolder, workers"
    workers = best("B1", {count: Peer(folder, size, count) for count in (0, 1, 2)}, what)
    return take_turns("B1", {"ImageFolder": Peer(folder, size, workers), **sides})


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


def check_same_tiles(shards: ShardSet, folder: Path, size: int) -> None:
    """Both sides deliver the same pictures, or there is nothing to compare."""
    pictures = Folder(folder, size)
    for number in range(0, TILES, 100):
        # Two ways to round a mean of 16 pixels.
        stored = np.asarray(shards.read(number)[COLUMNS[size]])
        np.testing.assert_allclose(stored, pictures[number][0][0].numpy(), rtol=0, atol=1)
