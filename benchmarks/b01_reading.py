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
from benchmarks.tiles import COLUMNS, make_tiles, ours_and_limit, write_shards
from benchmarks.turns import best, ratio, take_turns
from waterscape.data.batches import ShardSet

TILES = 1536
BATCH = {256: 256, 64: 1024}  # by pixels of a side; the peer's rate hardly depends on it
IMAGES = {256: 10 * TILES, 64: 40 * TILES}  # of ours in a turn; an epoch would be over before the clock has moved


def figures() -> Iterator[Figure]:
    """Ratio to the peer for both sizes, and the share of the limit for full tiles."""
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more stand in the way of the peer's workers
    try:
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            shards = write_shards(root / "shards", TILES)
            write_folders(root)
            rates = measure(shards, root / "png256", 256)
            yield Figure("B1", "imagefolder", ratio(rates, "ours", "ImageFolder"), ">=", 30)
            yield Figure("B1", "limit", ratio(rates, "ours", "limit"), ">=", 0.6)
            for name, stored in (("imagefolder64", 256), ("imagefolder64-ready", 64)):
                rates = measure(shards, root / f"png{stored}", 64)
                yield Figure("B1", name, ratio(rates, "ours", "ImageFolder"), ">=", 60)
    finally:
        torch.set_num_threads(torch_threads)


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
    """Images a second of ours, the peer and the limit in each round, for tiles of `size` pixels."""
    check_same_tiles(shards, folder, size)
    ours, limit = ours_and_limit("B1", shards, size, BATCH[size], IMAGES[size])
    what = f"{size} px from {folder.name}, ImageFolder, workers"
    workers = best("B1", {count: Peer(folder, size, count) for count in (0, 1, 2)}, what)
    return take_turns("B1", {"ours": ours, "ImageFolder": Peer(folder, size, workers), "limit": limit})


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
        stored = shards.read(number)[COLUMNS[size]]
        np.testing.assert_allclose(stored, pictures[number][0][0].numpy(), rtol=0, atol=1)
